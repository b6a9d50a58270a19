"""`assay simulate` against a running Assay: what arrived there is what the world recorded."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent_runtime.simulation.truth import Truth, truths
from agent_runtime.simulation.world import World
from tests.stack import Stack, running_stack
from tests.waiting import wait_until

N = 24
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+")


def _session(client: httpx.Client, session_id: str) -> dict[str, Any]:
    answer = client.get(f"/api/v1/sessions/{session_id}", params={"limit": 100})
    assert answer.status_code in (httpx.codes.OK, httpx.codes.NOT_FOUND), answer.text
    return dict(answer.json()) if answer.status_code == httpx.codes.OK else {}


def _scores(client: httpx.Client, session_id: str) -> dict[str, Any]:
    items = client.get("/api/v1/scores", params={"session_id": session_id, "since": "30d"}).json()["items"]
    return {each["evaluator"]: each for each in items}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(Path(tmp_path_factory.mktemp("simulate"))) as running:
        yield running


def _simulate(stack: Stack, words: str) -> dict[str, Any]:
    ended = stack.cli("simulate", *words.split(), "--outcome-delay", "0", "--json", timeout_s=300)
    assert ended.returncode == 0, ended.stderr
    return dict(json.loads(ended.stdout))


def test_traces_scores_and_release_are_those_of_the_world(stack: Stack) -> None:
    found = _simulate(stack, f"--sessions {N} --release v2 --baseline v1 --fault drop_confirmation:0.9 --seed 3")
    assert (found["sessions"], found["outcomes_posted"], found["broken"]) == (N, N, 0)
    world = World.open(stack.data_dir / "agent" / "world.db")
    with stack.client() as client:
        for row in truths(world):
            _check(client, world, row.session_id)
            _check_scores(client, row)
        registered = {r["name"]: r for r in client.get("/api/v1/releases", params={"since": "1d"}).json()["items"]}
        assert {name for name, each in registered.items() if each["registered"]} == {"v1", "v2"}
    world.close()


def test_sessions_as_traces_arrive_with_their_truth(stack: Stack) -> None:
    found = _simulate(stack, "--sessions 16 --release v3 --fault stale_policy:0.9 --fidelity trace --weeks 2 --seed 4")
    assert (found["sessions"], found["outcomes_posted"]) == (16, 16)
    world = World.open(stack.data_dir / "agent" / "world.db")
    with stack.client() as client:
        for row in truths(world, "v3"):
            wait_until(partial(_session, client, row.session_id), 60, f"session {row.session_id}")
            _check_scores(client, row)
        released = client.get("/api/v1/releases/larkspur-support/v3", params={"since": "30d"}).json()["traffic"]
        (sums,) = found["releases"]
        assert released["n_turns"] == sums["turns"]
    world.close()


def _check_scores(client: httpx.Client, row: Truth) -> None:
    scores = _scores(client, row.session_id)
    assert scores["task_success"]["value"] == float(row.passed or 0)
    assert scores["task_success"]["evaluator_kind"] == "outcome"
    assert scores["fault"]["label"] == (row.fault or "none")
    assert row.passed is not row.expected_fail


def _said(messages: str) -> str:
    """The text of the one message of a turn."""
    (message,) = json.loads(messages)
    return str(message["parts"][0]["content"])


def _check(client: httpx.Client, world: World, session_id: str) -> None:
    """The transcript, tokens and cost of a session, as ingested and as recorded."""
    turns = world.rows("SELECT * FROM turns WHERE session_id = ? ORDER BY number", session_id)
    wait_until(lambda: len(_session(client, session_id).get("turns", ())) == len(turns), 60, f"turns of {session_id}")
    stored = _session(client, session_id)
    by_trace = {each["trace_id"]: each for each in stored["turns"]}
    for turn in turns:
        ingested = by_trace[turn["trace_id"]]
        assert _said(ingested["output"]) == _EMAIL.sub("[EMAIL]", turn["reply"])  # redacted at the door
        assert turn["user"] in ("", _said(ingested["input"])) or _EMAIL.search(turn["user"])
        assert (ingested["input_tokens"] or 0) == turn["input_tokens"]  # a blocked message reaches no model
        assert (ingested["output_tokens"] or 0) == turn["output_tokens"]
        assert Decimal(ingested["cost_usd_exact"] or 0) == Decimal(turn["cost_usd"] or 0)
