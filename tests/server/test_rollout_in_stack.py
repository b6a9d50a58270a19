"""A rollout in a running Assay: server, gateway and collector in processes, the server killed in the middle."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from itertools import count
from pathlib import Path

import httpx

from tests.loopback import listening
from tests.stack import Stack, running_stack
from tests.waiting import wait_until

GATEWAY = "sessions:\n  shop: {baseline: v1, releases: {}}\n"
POLICY = ("--canary", "50", "--bake", "0", "--min-units", "0", "--mature", "1")
ALONE = ("--without", "resolution", "--without", "safety", "--without", "p95_latency", "--without", "cost")


@contextmanager
def release(name: str, status: int) -> Iterator[str]:
    """A release that answers every turn with this status; its address."""

    class Turns(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps({"release": name, "reply": "hello"}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Silent."""

    with listening(Turns) as url:
        yield url


def test_a_release_that_fails_is_off_the_road_although_the_server_was_killed(tmp_path: Path) -> None:
    with (
        release("v1", 200) as v1,
        release("v2", 500) as v2,
        running_stack(tmp_path, gateway=True) as stack,
        stack.client() as api,
    ):
        (stack.data_dir / "gateway.yaml").write_text(GATEWAY)
        for name, url in (("v1", v1), ("v2", v2)):
            body = {"app": "shop", "name": name, "endpoint": url}
            assert api.post("/api/v1/releases", json=body).status_code == 201
        assert api.put("/api/v1/plans/shop", json={"baseline": "v1"}).status_code == 200
        wait_until(lambda: turn(stack, "first") == "v1", 60, "the gateway's file to be read")

        begun = stack.cli("deploy", "shop", "v2", *POLICY, *ALONE, "--detach")
        assert begun.returncode == 0, begun.stderr
        number = count()
        seen: dict[str, str] = {}

        def met(name: str) -> bool:
            session = f"s{next(number)}"
            seen[session] = turn(stack, session)
            return seen[session] == name

        wait_until(lambda: met("v2"), 60, "the first step to be in force")
        by_hand = api.put("/api/v1/plans/shop", json={"baseline": "v1"})
        assert (by_hand.status_code, by_hand.json()["code"]) == (409, "conflict")
        wait_until((stack.data_dir / "run" / "state.json").exists, 60, "everything to be ready")
        os.kill(json.loads((stack.data_dir / "run" / "state.json").read_text())["pids"]["server"], signal.SIGKILL)

        def rolled_back() -> bool:
            met("v1")
            try:
                return bool(api.get("/api/v1/rollouts/shop").json()["status"] == "rolled_back")
            except httpx.HTTPError:
                return False  # it is being started again

        wait_until(rolled_back, 120, "the rollback")
        unlucky = next(session for session, name in seen.items() if name == "v2")
        wait_until(lambda: turn(stack, unlucky) == "v1", 30, "a session that began at the candidate to leave it")
        assert {turn(stack, f"later-{n}") for n in range(8)} == {"v1"}

        told = api.get("/api/v1/rollouts/shop").json()
        kinds = [one["kind"] for one in told["timeline"]]
        assert [kind for kind in kinds if kind != "hold"] == ["deploy", "step", "roll_back"], told["timeline"]
        assert told["reasons"][0].startswith("error_rate: e-value for harm ")
        verified = stack.cli("rollouts", "verify", "shop")
        assert (verified.returncode, "all comes out the same" in verified.stderr) == (0, True), verified.stdout
        again = stack.cli("deploy", "shop", "v2", *POLICY, *ALONE, "--detach")
        assert (again.returncode, "was rolled back" in again.stderr) == (1, True), again.stderr


def turn(stack: Stack, session: str) -> str:
    """Which release a turn of this session reached; empty where the door itself answered."""
    url = f"{stack.gateway}/apps/shop/v1/sessions/{session}/turns"
    answer = httpx.post(url, headers=stack.headers, json={"text": "hello"}, timeout=30)
    return str(answer.headers.get("x-assay-release", ""))
