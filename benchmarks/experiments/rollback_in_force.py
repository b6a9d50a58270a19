"""How soon the gateway obeys a rollback: in a running Assay, from the decision to the last turn that a candidate got.

    python -m benchmarks.experiments.rollback_in_force [--runs 20] [--dry]

Collector, server and gateway run in processes of their own. Four callers send turns all the time, half of them in
sessions that began before; a candidate that answers 500 gets half of the sessions, and is rolled back. The decision's
moment is that of its event in the control database; a turn's is when it was sent, on the same clock. As many rollouts
of a healthy candidate are aborted: from the moment the command is sent. In a third part the server is killed (SIGKILL)
at the first step, so that what is counted is another process's; then the time from the kill is told, too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from itertools import count
from pathlib import Path
from typing import Any, Final

import httpx

from tests.loopback import listening
from tests.stack import Stack, running_stack
from tests.waiting import wait_until

ROOT: Final = Path(__file__).parents[2]
RESULT: Final = ROOT / "benchmarks" / "results" / "experiment_rollback_in_force.json"
APP: Final = "shop"
CALLERS: Final = 4
PAUSE_S: Final = 0.05  # of a caller between two turns
AFTERWARDS_S: Final = 6.0  # that callers go on for: longer than what is promised
LOOK_S: Final = 0.2  # between two looks whether a rollout has ended
PROMISED_S: Final = 5.0
ONLY: Final = {"guardrails": ["error_rate"], "without": ["resolution", "safety", "p95_latency", "cost"]}


@contextmanager
def release(status: int) -> Iterator[str]:
    """A release that answers every turn with this status."""

    class Turns(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = b'{"reply": "hello"}'
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Silent."""

    with listening(Turns) as url:
        yield url


@dataclass(kw_only=True)
class Callers:
    """Threads that send turns, each second one in a session that began twenty turns ago. `last`: when the last turn was
    sent that each release got."""

    stack: Stack
    last: dict[str, float] = field(default_factory=dict)
    n_turns: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Callers:
        self._threads = [threading.Thread(target=self._call, args=(n,), daemon=True) for n in range(CALLERS)]
        for one in self._threads:
            one.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for one in self._threads:
            one.join(30)

    def _call(self, caller: int) -> None:
        with httpx.Client(headers=self.stack.headers, timeout=60) as client:
            for number in count():
                if self._stopping.wait(PAUSE_S):
                    return
                session = f"{caller}-{number if number % 2 else max(0, number - 19)}"
                at = time.time()
                url = f"{self.stack.gateway}/apps/{APP}/v1/sessions/{session}/turns"
                name = client.post(url, json={"text": "hello"}).headers.get("x-assay-release", "")
                with self._lock:
                    self.n_turns += 1
                    self.last[name] = max(at, self.last.get(name, 0.0))


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Rollouts of one running Assay."""

    stack: Stack
    api: httpx.Client
    callers: Callers

    def run(self, name: str, url: str, act: Callable[[], float] | None = None) -> tuple[float, float]:
        """Seconds until the last turn of this candidate, 0 where none came: from the decision, and from the moment that
        `act` says, which is done at the first step."""
        self.api.post("/api/v1/releases", json={"app": APP, "name": name, "endpoint": url}).raise_for_status()
        policy = {"weights": [0.5], "bake_s": 3600, "min_units": 0, "mature_s": 1, **ONLY}
        self.api.post("/api/v1/rollouts", json={"app": APP, "candidate": name, **policy}).raise_for_status()
        wait_until(lambda: name in self.callers.last, 120, f"the first step of {name}")
        acted = act() if act else None
        wait_until(self._has_ended, 180, f"the end of {name}")
        event = self._newest()["timeline"][-1]
        decided = datetime.fromisoformat(event["at"]).timestamp()
        wait_until(lambda: time.time() > decided + AFTERWARDS_S, 60, "callers to go on")
        last = self.callers.last[name]
        return max(0.0, last - decided), max(0.0, last - (acted or decided))

    def abort(self) -> float:
        """When the command was sent."""
        at = time.time()
        self.api.post(f"/api/v1/rollouts/{APP}/abort", json={}).raise_for_status()
        return at

    def kill(self) -> float:
        """When the server was killed."""
        pid = json.loads((self.stack.data_dir / "run" / "state.json").read_text())["pids"]["server"]
        at = time.time()
        os.kill(pid, signal.SIGKILL)
        return at

    def _has_ended(self) -> bool:
        time.sleep(LOOK_S)
        try:
            return self._newest()["ended_at"] is not None
        except httpx.HTTPError:
            return False  # the server is being started again

    def _newest(self) -> Any:
        return self.api.get(f"/api/v1/rollouts/{APP}").raise_for_status().json()


def measured(runs: int) -> dict[str, Any]:
    """All three parts."""
    with (
        tempfile.TemporaryDirectory() as folder,
        release(200) as good,
        release(500) as bad,
        running_stack(Path(folder), gateway=True) as stack,
        stack.client() as api,
    ):
        (stack.data_dir / "gateway.yaml").write_text(f"sessions:\n  {APP}: {{baseline: v1, releases: {{}}}}\n")
        api.post("/api/v1/releases", json={"app": APP, "name": "v1", "endpoint": good}).raise_for_status()
        api.put(f"/api/v1/plans/{APP}", json={"baseline": "v1"}).raise_for_status()
        with Callers(stack=stack) as callers:
            wait_until(lambda: "v1" in callers.last, 120, "the gateway's file to be read")
            one = Measured(stack=stack, api=api, callers=callers)
            back = [one.run(f"bad-{n}", bad)[0] for n in range(runs)]
            aborted = [one.run(f"good-{n}", good, one.abort)[1] for n in range(runs)]
            killed = [one.run(f"killed-{n}", bad, one.kill) for n in range(max(1, runs // 4))]
            turns = callers.n_turns
    return {
        "turns": turns,
        "rolled_back": told(back),
        "aborted": told(aborted),
        "rolled_back_after_the_server_was_killed": told([after for after, _ in killed]),
        "seconds_from_the_kill": told([since for _, since in killed]),
    }


def told(seconds: list[float]) -> dict[str, Any]:
    """How many, median and most."""
    return {
        "runs": len(seconds),
        "median_s": round(statistics.median(seconds), 2),
        "most_s": round(max(seconds), 2),
    }


def main() -> int:
    """Measures, prints and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20, help="rollbacks, and as many aborts")
    parser.add_argument("--dry", action="store_true", help="print only")
    asked = parser.parse_args()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, check=False)
    load = os.getloadavg()[0]
    result = {
        "what": "from the decision to roll back to the last turn that the candidate got, in a running Assay",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "load_before": round(load, 1),
        "commit": commit.stdout.decode().strip(),
        "date": datetime.now(UTC).date().isoformat(),
        "promised_s": PROMISED_S,
        **measured(asked.runs),
    }
    print(json.dumps(result, indent=1))
    if not asked.dry:
        RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
