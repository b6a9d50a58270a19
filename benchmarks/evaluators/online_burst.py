"""A burst of sessions that end at once: how long online evaluation takes for it, in how much memory, and what the API's
answers take meanwhile.

    python -m benchmarks.evaluators.online_burst --sessions 10000

The sessions are turns of real conversations (benchmarks/evaluators/throughput.py). A server of its own process answers
GET /api/v1/me from one client, one request after another, before and during the burst.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
import psutil

from benchmarks.evaluators.throughput import ROOT, TENANT, commit, filled, machine
from core.ids import tenant_id
from core.records import Role
from server.settings import Settings
from server.wiring import Services, build_services
from store.control.online import ANY_APP

RESULT: Final = ROOT / "benchmarks" / "results" / "online_burst.json"
RULES: Final = ("loop_free", "tool_error_rate", "pii_leak", "tokens", "latency_ms", "number_support")
PORT: Final = 18_780
CALM_S: Final = 5.0


def main() -> None:
    """Measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        services = build_services(Settings(data=folder))
        services.control.ensure_tenant(tenant_id(TENANT))
        _, key = services.control.create_key(tenant_id(TENANT), Role.ADMIN, "bench")
        with server(folder) as running, httpx.Client(base_url=f"http://127.0.0.1:{PORT}", timeout=60) as client:
            client.headers["Authorization"] = f"Bearer {key}"
            found = measured(services, client, folder, args.sessions, psutil.Process(running.pid))
        services.control.close()
    found |= {"at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine(), "commit": commit()}
    args.out.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


def server(folder: Path) -> subprocess.Popen[bytes]:
    """`assay serve server`, which ends with the block."""
    words = [sys.executable, "-m", "server.cli.main", "serve", "server", "--data", str(folder)]
    environment = {**os.environ, "ASSAY_API_PORT": str(PORT), "ASSAY_ONLINE_INTERVAL_S": "5"}
    return Ending(words, cwd=ROOT, env=environment)


class Ending(subprocess.Popen[bytes]):
    """A process that is told to end when its block does."""

    def __exit__(self, *_: object) -> None:
        self.terminate()
        self.wait(30)


def measured(services: Services, client: httpx.Client, folder: Path, n: int, process: psutil.Process) -> dict[str, Any]:
    """Chooses rules, lets the sessions arrive, and asks until all are evaluated."""
    while not answers(client):
        time.sleep(0.2)
    body = {"evaluators": RULES, "idle_s": 1}
    client.put(f"/api/v1/evaluators/online/{ANY_APP}", json=body).raise_for_status()
    calm = timed(client, until=time.perf_counter() + CALM_S)
    filled(folder, n)
    began, most, busy, done = time.perf_counter(), {"server": 0, "child": 0}, [], 0
    while done < n:
        busy += timed(client, until=time.perf_counter() + 1.0)
        most["server"] = max(most["server"], process.memory_info().rss)
        most["child"] = max([most["child"], *(rss(one) for one in process.children())])
        mark = services.control.online_mark(tenant_id(TENANT))
        done = int(mark.told.get("n_sessions", 0)) if mark is not None else 0
    seconds = time.perf_counter() - began
    return {
        "sessions": n,
        "rules": len(RULES),
        "seconds": round(seconds, 1),
        "sessions_per_s": round(n / seconds, 1),
        "api_ms_calm": quantiles(calm),
        "api_ms_during": quantiles(busy),
        "most_mib": {name: round(size / 2**20) for name, size in most.items()},
    }


def answers(client: httpx.Client) -> bool:
    """Whether the server is there."""
    try:
        return client.get("/healthz").status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def timed(client: httpx.Client, *, until: float) -> list[float]:
    """Milliseconds of requests one after another."""
    took = []
    while time.perf_counter() < until:
        began = time.perf_counter()
        client.get("/api/v1/me").raise_for_status()
        took.append((time.perf_counter() - began) * 1000)
        time.sleep(0.02)
    return took


def rss(process: psutil.Process) -> int:
    """Its memory; 0 when it is gone."""
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def quantiles(ms: list[float]) -> dict[str, float]:
    """Half, 95% and all of them took no longer."""
    return {name: round(float(np.quantile(ms, q)), 1) for name, q in (("p50", 0.5), ("p95", 0.95), ("max", 1.0))}


if __name__ == "__main__":
    main()
