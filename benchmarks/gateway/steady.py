"""The gateway at 100 requests a second, its memory over 100,000 calls, and what each policy costs.

    python -m benchmarks.gateway.steady --calls 100000

The upstream is the load harness's fake one. Paced: requests leave at their time whether the one before is answered or
not, direct and through the gateway by turns. Memory: 16 in flight, every third streamed, the process's proportional set
(PSS) every tenth of the way. Policies: their times as the spans in the lake say.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import psutil

from benchmarks.gateway.overhead import CONFIG
from benchmarks.ingest.run import REPOSITORY, keep
from tests.stack import Stack, running_stack
from tests.waiting import wait_until

MESSAGES: Final = [
    {"role": "system", "content": "You are a support agent. " * 20},
    {"role": "user", "content": "Where is my refund for order 48213? Write to maria.lopez@example.com. " * 12},
]
UPSTREAM: Final = "http://127.0.0.1:18080/v1/chat/completions"


async def paced(url: str, headers: dict[str, str], rate: float, seconds: float) -> list[float]:
    """Milliseconds of every request of an open loop."""
    times: list[float] = []
    body = json.dumps({"model": "fake-0", "messages": MESSAGES, "temperature": 0.2}).encode()
    loop = asyncio.get_running_loop()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers={**headers, "content-type": "application/json"}) as s:

        async def one() -> None:
            began = loop.time()
            async with s.post(url, data=body) as answer:
                await answer.read()
                answer.raise_for_status()
            times.append((loop.time() - began) * 1e3)

        tasks, begin = [], loop.time() + 0.1
        for n in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, begin + n / rate - loop.time()))
            tasks.append(loop.create_task(one()))
        await asyncio.gather(*tasks)
    return times


async def many(url: str, headers: dict[str, str], n_calls: int, at_once: int = 16) -> int:
    """So many calls, every third streamed; returns how many failed."""
    left, failed = iter(range(n_calls)), 0
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers={**headers, "content-type": "application/json"}) as s:

        async def go_on() -> None:
            nonlocal failed
            for n in left:
                body = {"model": "fake-0", "messages": MESSAGES, "temperature": 0.2, "user": f"user-{n % 5000}"}
                async with s.post(url, json={**body, "stream": n % 3 == 0}) as answer:
                    text = await answer.read()
                    failed += answer.status != 200 or (n % 3 == 0 and b"[DONE]" not in text)

        await asyncio.gather(*(go_on() for _ in range(at_once)))
    return failed


def quantile(times: list[float], share: float) -> float:
    """By nearest rank."""
    ordered = sorted(times)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3)


@contextmanager
def upstream(harness: Path) -> Iterator[None]:
    """The harness's upstream."""
    command = [sys.executable, str(harness / "gateway_load.py"), "upstream", "--ports", "18080:0,18081:20"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def measure(stack: Stack, n_calls: int) -> list[dict[str, Any]]:
    """The rows of one run."""
    url = f"{stack.gateway}/v1/chat/completions"
    state = stack.data_dir / "run" / "state.json"
    wait_until(state.exists, 60, "the state of the instance")
    pid = json.loads(state.read_text())["pids"]["gateway"]
    process = psutil.Process(pid)
    asyncio.run(many(url, stack.headers, 500))
    rows: list[dict[str, Any]] = []
    both: dict[str, list[list[float]]] = {"direct": [], "gateway": []}
    for _ in range(3):
        both["direct"].append(asyncio.run(paced(UPSTREAM, {}, 100, 10)))
        both["gateway"].append(asyncio.run(paced(url, stack.headers, 100, 10)))
    for name, rounds in both.items():
        p50, p99 = ([quantile(times, share) for times in rounds] for share in (0.5, 0.99))
        medians = {"p50_ms": statistics.median(p50), "p99_ms": statistics.median(p99)}
        rows.append({"what": "paced", "rate": 100, "target": name, **medians, "p99_of_rounds": p99})
    memory = [round(process.memory_full_info().pss / 1e6, 1)]
    failed = 0
    for _ in range(10):
        failed += asyncio.run(many(url, stack.headers, n_calls // 10))
        memory.append(round(process.memory_full_info().pss / 1e6, 1))
        print(f"{len(memory) - 1} of 10: {memory[-1]} MB PSS, {failed} failed", flush=True)
    rss = round(process.memory_info().rss / 1e6, 1)
    rows.append({"what": "memory", "calls": n_calls, "failed": failed, "pss_mb": memory, "rss_mb": rss})
    rows.append(policies(stack, n_calls))
    return rows


def policies(stack: Stack, at_least: int) -> dict[str, Any]:
    """What the spans in the lake say of policies, once they are all there."""

    def summary() -> dict[str, Any]:
        with stack.client() as api:
            found: dict[str, Any] = api.get("/api/v1/gateway/summary", params={"since": "24h"}).json()
        return found

    wait_until(lambda: summary()["n_calls"] >= at_least, 300, "the spans of all calls in the lake")
    found = summary()
    return {"what": "policies", **{name: found[name] for name in ("n_calls", "overhead_ms", "policies")}}


def main() -> int:
    """Starts everything, measures, keeps the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--harness", type=Path, default=REPOSITORY.parent / "shared" / "bench")
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--name", default="gateway", help="kept as benchmarks/results/NAME.json; empty: only shown")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, upstream(args.harness):
        config = Path(scratch) / "gateway.yaml"
        config.write_text(json.dumps(CONFIG))
        environment = {"ASSAY_GATEWAY_CONFIG": str(config)}
        with running_stack(Path(scratch) / "stack", environment=environment, gateway=True) as stack:
            rows = measure(stack, args.calls)
    print(json.dumps(rows, indent=1))
    if args.name:
        command = ["python -m benchmarks.gateway.steady", *sys.argv[1:]]
        print(f"kept in {keep(args.name, command, rows)}")
    return os.EX_OK


if __name__ == "__main__":
    raise SystemExit(main())
