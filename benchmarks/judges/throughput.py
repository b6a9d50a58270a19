"""Verdicts a second of one core against a model that takes 20 ms; calls in flight, memory, and what 20 kills cost.

    python -m benchmarks.judges.throughput [--verdicts 10000] [--kills 20] [--concurrency 32]

Sessions of one turn with 2 KB of text lie in the store. A process that is pinned to one core (sched_setaffinity) reads
them, asks, keeps each verdict, writes scores and sends traces, as the server does it (server/judging.py); the model is
a process of its own on another core. Then the same sessions are judged by another judge, whose process is killed
(SIGKILL) at 20 random moments and started again. The model honours Idempotency-Key: what it charged is what it was
asked under different keys; `asked_again` counts requests beyond these, which a provider that does not honour keys would
charge.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
import psutil

from benchmarks.evaluators.throughput import ROOT, commit, machine
from core.ids import tenant_id
from core.records import Principal, Role
from core.windows import Window
from judges import service_jobs
from judges.reach import model_ref
from judges.records import JudgeSpec
from judges.rubrics import read_rubric
from judges.stored import rubric_record, spec_json
from server.judging import carry_out
from server.process_name import is_gone, this_process
from server.settings import Settings
from server.wiring import Services, build_services
from store.control.judge_records import JobRecord
from tests.stack import free_port_base
from tests.store.build import agent_trace, fill

RESULT: Final = ROOT / "benchmarks" / "results" / "judge_throughput.json"
RUBRIC: Final = ROOT / "rubrics" / "resolution" / "v1.md"
TENANT: Final = tenant_id("bench")
BY: Final = Principal(tenant=TENANT, role=Role.ADMIN, name="bench")
TEXT: Final = "The customer asks for a refund of an order that came late, and the agent looks it up. " * 12
CORE, OTHER_CORE = 1, 0


def main() -> None:
    """Measures and writes the result; with --work, is the process that works."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--verdicts", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--work", nargs=2, metavar=("DATA", "URL"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(Path(args.work[0]), args.work[1])
        return
    with tempfile.TemporaryDirectory() as name, model() as url:
        services = build_services(Settings(data=Path(name)))
        services.control.ensure_tenant(TENANT)
        sessions(services, args.verdicts)
        found: dict[str, Any] = {"verdicts": args.verdicts, "concurrency": args.concurrency, "model_ms": 20}
        found["one_core"] = straight(services, url, args)
        found["killed"] = killed(services, url, args)
        services.control.close()
    found |= {"at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine(), "commit": commit()}
    args.out.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


def work(data: Path, url: str) -> None:
    """Works on the jobs of a data folder until none is left."""
    services = build_services(Settings(data=data, collector_url=url))
    while jobs := services.control.take_judge_jobs(this_process(), 1, set(), gone=is_gone):
        carry_out(services, jobs[0], this_process(), "a key", threading.Event())


def sessions(services: Services, n: int) -> None:
    """So many sessions of one turn, each with a text of its own."""
    for first in range(1, n + 1, 1_000):
        rows = []
        for number in range(first, min(first + 1_000, n + 1)):
            trace = agent_trace(number, at_s=number, tenant=str(TENANT), session_id=f"s{number}", app="shop")
            trace[0] |= {"input": f"{number} {TEXT}", "output": f"{number} {TEXT}"}
            rows += trace
        fill(services.lake, rows)


def straight(services: Services, url: str, args: argparse.Namespace) -> dict[str, Any]:
    """A job from beginning to end."""
    job = begun(services, "straight", url, args.concurrency)
    before = told(url)
    began = time.perf_counter()
    process, sizes = worker(services, url), []
    running = psutil.Process(process.pid)
    cpu_s = 0.0
    while process.poll() is None:
        try:
            size, cpu = running.memory_info().rss, running.cpu_times()
        except psutil.NoSuchProcess:
            break
        cpu_s = cpu.user + cpu.system
        sizes.append((services.control.judge_job(TENANT, job.job_id).n_paid, size))
        time.sleep(0.25)
    seconds = time.perf_counter() - began
    done, after = services.control.judge_job(TENANT, job.job_id), told(url)
    asking = [(n, size) for n, size in sizes if n]
    part = max(1, len(asking) // 10)
    return {
        "seconds": round(seconds, 1),
        "seconds_of_asking": round(len(asking) * seconds / max(1, len(sizes)), 1),
        "verdicts_per_s": round(done.n_done / seconds, 1),
        "cpu_ms_per_verdict": round(1000 * cpu_s / done.n_done, 2),
        "most_in_flight": after["n_most_in_flight"],
        "n_done": done.n_done,
        "n_requests": after["n_requests"] - before["n_requests"],
        "rss_mib_first_tenth": mean_mib(asking[:part]),
        "rss_mib_last_tenth": mean_mib(asking[-part:]),
        "rss_mib_most": round(max(size for _, size in sizes) / 2**20, 1),
    }


def killed(services: Services, url: str, args: argparse.Namespace) -> dict[str, Any]:
    """A job whose process is killed again and again."""
    drawn = random.Random(args.seed)
    job, before = begun(services, "killed", url, args.concurrency), told(url)
    moments = sorted(drawn.randrange(1, args.verdicts) for _ in range(args.kills))
    most, n_kept_asked, began = 0, 0, time.perf_counter()
    for moment in moments:
        process = worker(services, url)
        while told(url, most_too=False)["n_requests"] - before["n_requests"] < moment and process.poll() is None:
            time.sleep(drawn.uniform(0.01, 0.05))
        process.kill()
        process.wait()
        most = max(most, told(url)["n_most_in_flight"])
        kept = services.control.judge_job(TENANT, job.job_id).n_paid
        n_kept_asked = max(n_kept_asked, told(url)["n_charged"] - before["n_charged"] - kept)
    worker(services, url).wait()
    seconds = time.perf_counter() - began
    done, after = services.control.judge_job(TENANT, job.job_id), told(url)
    n_charged = after["n_charged"] - before["n_charged"]
    n_scores = n_scored(services, "killed")
    return {
        "kills": len(moments),
        "seconds": round(seconds, 1),
        "status": done.status.value,
        "n_done": done.n_done,
        "n_scores": n_scores,
        "verdicts_lost": args.verdicts - n_scores,
        "charged": n_charged,
        "paid_twice": n_charged - args.verdicts,
        "asked_again": after["n_requests"] - before["n_requests"] - n_charged,
        "most_in_flight_at_a_kill": n_kept_asked,
        "most_in_flight": max(most, after["n_most_in_flight"]),
    }


def begun(services: Services, name: str, url: str, concurrency: int) -> JobRecord:
    """A judge of the model, and a job of it over every session."""
    rubric = read_rubric(RUBRIC.read_text())
    services.control.add_rubric(rubric_record(TENANT, rubric), by=BY)
    models = (model_ref("openai:gpt-4o-mini", f"{url}/v1"),)
    spec = JudgeSpec(
        name=name, rubric=rubric.name, rubric_version=rubric.version, rubric_digest=rubric.digest, models=models,
        max_output_tokens=1_000 if name == "straight" else 999,
    )  # fmt: skip
    services.control.put_judge(TENANT, name, spec.version, spec_json(spec), by=BY)
    within = Window(start_ns=0, end_ns=2**62)
    wanted = service_jobs.Wanted(judge=name, app="shop", within=within, concurrency=concurrency, budget_usd=1_000)
    plan = service_jobs.plan(services.control, services.store.tenant(TENANT), TENANT, wanted)
    return service_jobs.begin(services.control, plan, by=BY)


def worker(services: Services, url: str) -> subprocess.Popen[bytes]:
    """The process that works, on its one core."""
    words = [sys.executable, "-m", "benchmarks.judges.throughput", "--work", str(services.settings.data), url]
    return subprocess.Popen(words, cwd=ROOT, preexec_fn=lambda: os.sched_setaffinity(0, {CORE}))


@contextmanager
def model() -> Iterator[str]:
    """The model on its own core; its address."""
    port = free_port_base(1)
    words = [sys.executable, "-m", "benchmarks.judges.model_20ms", str(port)]
    process = subprocess.Popen(words, cwd=ROOT, preexec_fn=lambda: os.sched_setaffinity(0, {OTHER_CORE}))
    url = f"http://127.0.0.1:{port}"
    while True:
        try:
            told(url)
            break
        except httpx.HTTPError:
            time.sleep(0.1)
    yield url
    process.terminate()
    process.wait(10)


def told(url: str, *, most_too: bool = True) -> dict[str, int]:
    """What the model counted; the maximum begins anew unless it is left alone."""
    found: dict[str, int] = httpx.get(f"{url}/stats", params={} if most_too else {"keep": "1"}, timeout=10).json()
    return found


def n_scored(services: Services, judge: str) -> int:
    """Targets with exactly one score of the judge."""
    store = services.store.tenant(TENANT)
    scores = store.table("scores")
    rows = store.frame(scores.filter(scores.evaluator == judge).select("tenant", "session_id", "score_id"))
    assert rows["session_id"].is_unique().all(), "a target was scored twice"
    return rows.height


def mean_mib(asked: list[tuple[int, int]]) -> float:
    """The mean size of some readings."""
    return round(sum(size for _, size in asked) / max(1, len(asked)) / 2**20, 1)


if __name__ == "__main__":
    main()
