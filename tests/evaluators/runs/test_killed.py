"""A server that is killed in the middle of a run, several times: nothing is paid twice, nothing is scored twice."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from tests.evaluators.runs.agents import Agent, Call, running
from tests.stack import Stack
from tests.waiting import wait_until

EXAMPLES = [{"example_id": f"e{n}", "input": {"turns": [f"one {n}", f"two {n}"]}} for n in range(8)]
TRIALS, TURNS = 4, 2
KILLED_AFTER = (3, 20, 40)  # paid calls


def kill_server(stack: Stack) -> None:
    """As the machine's out-of-memory killer would; the supervisor starts another."""
    before = server_pid(stack)
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: answers(stack, before), 120, "the next server")


def server_pid(stack: Stack) -> int:
    children = Path(f"/proc/{stack.pid}/task/{stack.pid}/children").read_text().split()
    for pid in children:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if words[3:5] == [b"serve", b"server"] or (b"serve" in words and b"server" in words):
            return int(pid)
    return 0


def answers(stack: Stack, before: int) -> bool:
    try:
        if server_pid(stack) in (0, before):
            return False
        with stack.client() as client:
            return client.get("/healthz").status_code == 200
    except (httpx.HTTPError, OSError):
        return False


def test_killed_in_the_middle_a_run_goes_on_and_pays_nothing_twice(stack: Stack) -> None:
    with running() as agent:
        run = begun(stack, agent)
        for index, n in enumerate(KILLED_AFTER):
            if index % 2 == 0:  # while calls are paid and wait for their answer; else whenever it comes
                agent.answer = holding(agent, n)
                wait_until(lambda: not agent.held.is_set(), 60, f"{n} calls")
            else:
                wait_until(partial(has_paid, agent, n), 60, f"{n} calls")
            kill_server(stack)
            agent.answer = nothing_special
            agent.held.set()
        with stack.client() as client:
            path = f"/api/v1/runs/{run['run_id']}"
            wait_until(lambda: client.get(path).json()["status"] == "done", 120, "the run to end")
            found = client.get(path).json()
            scores = client.get(f"{path}/scores", params={"limit": 1000}).json()["items"]
            asked: dict[str, Any] = {"since": "1h", "target": "example", "limit": 1000}
            lake = client.get("/api/v1/scores", params=asked).json()["items"]
            keys = client.get("/api/v1/keys").json()["items"]
    n_trials = len(EXAMPLES) * TRIALS
    assert (found["n_done"], found["n_failed"], found["n_scored"]) == (n_trials, 0, n_trials)
    assert len(agent.paid) == n_trials * TURNS
    assert set(agent.paid.values()) == {1}
    sent = Counter((call.session, call.message_id) for call in agent.requests)
    assert set(sent) == set(agent.paid), "what is sent again has the message id that it had"
    assert max(sent.values()) <= 1 + len(KILLED_AFTER)
    again = sum(n - 1 for n in sent.values())
    assert again <= 3 * len(KILLED_AFTER), f"{again} calls were sent again; 3 were under way at each kill"
    assert round(found["cost_usd"], 9) == round(n_trials * TURNS * 0.001, 9)
    assert len({one["score_id"] for one in scores}) == len(scores) == n_trials * len(found["evaluators"])
    stored = Counter(one["score_id"] for one in lake)
    assert set(stored.values()) == {1}
    assert set(stored) == {one["score_id"] for one in scores}
    assert not [one for one in keys if one["name"].startswith("evaluation") and not one["revoked_at"]]


def begun(stack: Stack, agent: Agent) -> dict[str, Any]:
    with stack.client() as client:
        made = {"app": "desk", "name": "v1", "endpoint": agent.url}
        assert client.post("/api/v1/releases", json=made).status_code == 201
        lines = "\n".join(map(json.dumps, EXAMPLES))
        answer = client.post(
            "/api/v1/datasets/golden/import", params={"create": True}, content=lines,
            headers={"content-type": "application/x-ndjson"},
        )  # fmt: skip
        assert answer.status_code == 200, answer.text
        wanted = {
            "dataset": "golden", "release": "v1", "trials": TRIALS, "concurrency": 3, "trace_wait_s": 0,
            "evaluators": ["outcome", "latency_ms"],
        }  # fmt: skip
        answer = client.post("/api/v1/runs", json=wanted)
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found


def has_paid(agent: Agent, n: int) -> bool:
    return sum(agent.paid.values()) >= n


def holding(agent: Agent, n: int) -> Callable[[Call], None]:
    """From the n-th paid call on, answers wait."""

    def answer(_: Call) -> None:
        if sum(agent.paid.values()) >= n:
            agent.held.clear()

    return answer


def nothing_special(_: Call) -> None:
    """The usual answer."""
