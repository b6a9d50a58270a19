"""What a second collector adds: one against two, each with a journal of its own, writing one lake under load.

    python -m benchmarks.ingest.collectors --spans 100000

Agent traces of the side-by-side harness are sent over HTTP by as many connections to one collector as to both
together. The rate is from the first byte sent until the lake holds every span; the commits that lost their place to
the other collector's and were tried again are in the lake's log and cost what they cost. With --reading a process
asks for the latest traces all the while. On a machine of two cores both share what one had; `cpu_us_per_span`, what
the collectors together took of the processors, says what sharing the table costs, whoever else is at work there.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from benchmarks.ingest.run import REPOSITORY, keep
from core.clock import NS_PER_S
from core.windows import Window
from server.bootstrap import bootstrap
from server.settings import Settings
from store.asked import Asked
from store.engines import engine_for
from store.lake import Lake
from store.tenant import Store
from store.traces import list_traces

CONNECTIONS = 4


def start(data: Path, lake: Path, control: str, port_base: int) -> subprocess.Popen[bytes]:
    """A collector on `data` that writes `lake`; returns once it listens."""
    command = [sys.executable, "-m", "server.cli.main", "serve", "collector"]
    command += ["--data", str(data), "--port-base", str(port_base)]
    environment = {"ASSAY_LAKE": str(lake), "ASSAY_CONTROL_URL": control}
    process = subprocess.Popen(["env", *(f"{k}={v}" for k, v in environment.items()), *command], cwd=REPOSITORY)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urlopen(f"http://127.0.0.1:{port_base + 1}/healthz", timeout=1).close()
            return process
        except OSError:
            time.sleep(0.05)
    process.kill()
    raise SystemExit(f"the collector on {data} did not come up")


def send(load: Any, bodies: list[bytes], endpoints: list[str], key: str) -> None:
    """Sends every body once over CONNECTIONS connections, spread over the endpoints; raises when one is refused."""
    left = iter(bodies)
    lock = threading.Lock()
    refused: list[object] = []

    def work(number: int) -> None:
        sender = load._HttpSender(endpoints[number % len(endpoints)], {"x-api-key": key}, False)
        while True:
            with lock:
                body = next(left, None)
            if body is None or refused:
                return
            stored, again, n_rejected, wait_s, note = sender.send(body)
            while again and not stored:
                time.sleep(wait_s)
                stored, again, n_rejected, wait_s, note = sender.send(body)
            if not stored or n_rejected:
                refused.append(note or n_rejected)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if refused:
        raise SystemExit(f"refused: {refused[0]}")


def measure(n_collectors: int, load: Any, work: Any, port_base: int, reading: bool) -> dict[str, object]:
    """One row: spans per second until all are in the lake, with `n_collectors` writing it."""
    with tempfile.TemporaryDirectory(prefix="assay-collectors-") as folder:
        root = Path(folder)
        first = root / "0"
        control, lake = f"sqlite:///{first / 'control.db'}", root / "lake"
        credentials = bootstrap(Settings(data=first, lake=str(lake), control_url=control))
        bases = [port_base + 10 * number for number in range(n_collectors)]
        running = []
        stop = threading.Event()
        read_ms: list[float] = []
        reader = threading.Thread(target=_read, args=(lake, stop, read_ms))
        try:
            for number, base in enumerate(bases):
                if number:
                    shutil.copytree(first / "secrets", root / str(number) / "secrets")
                running.append(start(root / str(number), lake, control, base))
            seen = Lake(str(lake))
            if reading:
                reader.start()
            began, began_cpu_s = time.perf_counter(), _cpu_s(running)
            send(load, work.bodies, [f"http://127.0.0.1:{base + 1}/v1/traces" for base in bases], credentials["key"])
            acked = time.perf_counter() - began
            while (stored := sum(file.n_rows for file in seen.snapshot("spans").files)) < work.spans:
                if time.perf_counter() - began > 300:
                    raise SystemExit(f"{stored} of {work.spans} spans after 300 s")
                time.sleep(0.05)
            took, cpu_s = time.perf_counter() - began, _cpu_s(running) - began_cpu_s
            commits = seen.snapshot("spans").version
        finally:
            stop.set()
            for process in running:
                process.terminate()
            for process in running:
                process.wait()
            if reader.ident:
                reader.join()
    row: dict[str, object] = {
        "collectors": n_collectors,
        "spans": work.spans,
        "acknowledged_per_s": round(work.spans / acked),
        "spans_per_s": round(work.spans / took),
        "cpu_us_per_span": round(cpu_s * 1e6 / work.spans, 1),
        "commits": commits,
    }
    if read_ms:
        row |= {"readings": len(read_ms), "latest_50_ms": round(sorted(read_ms)[len(read_ms) // 2])}
    return row


def _cpu_s(processes: list[subprocess.Popen[bytes]]) -> float:
    """What the processes have taken of the processors, in seconds."""
    told = [Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split() for process in processes]
    return sum(int(fields[11]) + int(fields[12]) for fields in told) / os.sysconf("SC_CLK_TCK")


def _read(lake: Path, stop: threading.Event, times_ms: list[float]) -> None:
    seen = Lake(str(lake))
    store = Store(seen, engine_for(seen)).tenant("default")
    while not stop.wait(0.2):
        now = time.time_ns()
        began = time.perf_counter()
        list_traces(store, Asked(window=Window(start_ns=now - 3 * 86_400 * NS_PER_S, end_ns=now)))
        times_ms.append((time.perf_counter() - began) * 1000)


def main() -> int:
    """Measures one and two, in turns, and keeps the rows in benchmarks/results/collectors.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--harness", type=Path, default=REPOSITORY.parent / "shared" / "bench")
    parser.add_argument("--spans", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--port-base", type=int, default=27400)
    parser.add_argument("--reading", action="store_true", help="a reader asks for the latest traces beside")
    parser.add_argument("--no-keep", action="store_true", help="print the rows, write nothing")
    args = parser.parse_args()
    sys.path.insert(0, str(args.harness.resolve()))
    load = importlib.import_module("otlp_load")
    work = load.build(args.spans, seed=1, cache=None)
    rows = []
    for turn in range(args.rounds):
        for n_collectors in (1, 2):
            rows.append({"round": turn} | measure(n_collectors, load, work, args.port_base, args.reading))
            print(rows[-1], flush=True)
    if not args.no_keep:
        print(keep("collectors", ["python", "-m", "benchmarks.ingest.collectors", *sys.argv[1:]], rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
