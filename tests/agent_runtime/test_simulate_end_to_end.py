"""`assay simulate` against a running Assay: what arrived there is what the world recorded."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent_runtime.records import Release
from agent_runtime.settings import Settings
from agent_runtime.simulation.fast import FastRun
from agent_runtime.simulation.full import open_stage
from agent_runtime.simulation.plans import Cast, cast
from agent_runtime.simulation.seed import open_world
from agent_runtime.simulation.templates import Template
from agent_runtime.simulation.traffic import Traffic
from agent_runtime.simulation.truth import Truth, truths
from agent_runtime.simulation.world import World, order_number
from tests.stack import REPOSITORY, Stack
from tests.thorough import often
from tests.waiting import wait_until

N = often(24, 12)
_OWN = re.compile(r"\b(LK|RT|TK)-\d{7,9}\b")
_ORDER = re.compile(r"\bLK-(\d{7})\b")
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+")


def _session(client: httpx.Client, session_id: str) -> dict[str, Any]:
    answer = client.get(f"/api/v1/sessions/{session_id}", params={"limit": 100})
    assert answer.status_code in (httpx.codes.OK, httpx.codes.NOT_FOUND), answer.text
    return dict(answer.json()) if answer.status_code == httpx.codes.OK else {}


def _scores(client: httpx.Client, session_id: str) -> dict[str, Any]:
    items = client.get("/api/v1/scores", params={"session_id": session_id, "since": "30d"}).json()["items"]
    return {each["evaluator"]: each for each in items}


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
        others = {"r7"}  # of test_announce, by the same stack
        assert {name for name, each in registered.items() if each["registered"]} - others == {"v1", "v2"}
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


def test_a_trace_says_costs_and_ends_as_the_session_that_it_copies(stack: Stack, tmp_path: Path) -> None:
    """Through the collector and back from the API: each session's words but for its own ids, tokens, cost, outcome."""

    async def made() -> list[tuple[Cast, Template]]:
        settings = Settings().model_copy(update={"data": tmp_path / "agent", "otlp_endpoint": ""})
        world = open_world(tmp_path / "truth.db")
        release = Release(name="v4", faults={"drop_confirmation": 0.5})
        traffic = Traffic(releases=(release,), sessions=12, seed=5, personas=1, outcome_delay=timedelta(hours=2))
        async with (
            open_stage(settings, tmp_path / "recorded.db", 5, None) as stage,
            httpx.AsyncClient(
                base_url=stack.otlp_http, headers={**stack.headers, "content-type": "application/x-protobuf"}
            ) as collector,
            httpx.AsyncClient(base_url=stack.url, headers=stack.headers, timeout=30) as assay,
        ):
            end = datetime.now(UTC) - timedelta(hours=3)
            run = FastRun(stage=stage, world=world, traffic=traffic, weeks=1, end=end, collector=collector, assay=assay)
            await run.play()
            world.close()
            assert (run.n_posted, run.n_lost) == (12, 0)
            chosen = [cast(traffic.plans()["v4"], session) for session, _ in traffic.numbered()]
            return [(each, run.template(release, each)) for each in chosen]

    with stack.client() as client:
        for chosen, template in asyncio.run(made()):
            _check_copy(client, chosen, template)


def _check_copy(client: httpx.Client, chosen: Cast, template: Template) -> None:
    session, played = chosen.session_id, template.played
    wait_until(lambda: len(_session(client, session).get("turns", ())) == len(played.results), 60, session)
    stored = _session(client, session)
    turns = sorted(stored["turns"], key=lambda each: each["start_ns"])
    for turn, exchange, result in zip(turns, played.transcript, played.results, strict=True):
        assert _alike(_said(turn["output"])) == _alike(exchange.reply)
        assert exchange.user == "" or _alike(_said(turn["input"])) == _alike(exchange.user)
        assert (turn["input_tokens"] or 0, turn["output_tokens"] or 0) == (result.input_tokens, result.output_tokens)
        assert Decimal(turn["cost_usd_exact"] or 0) == (result.cost_usd or 0)
    named = set(_ORDER.findall(json.dumps(turns)))
    assert named <= {order_number(session, each.ref) for each in chosen.scenario.orders}
    scores = _scores(client, session)
    assert scores["task_success"]["value"] == float(played.outcome.passed)
    assert scores["fault"]["label"] == ("+".join(chosen.faults) or "none")
    ended_ns = turns[0]["start_ns"] + template.seconds * 1e9
    late_s = datetime.fromisoformat(scores["task_success"]["at"]).timestamp() - ended_ns / 1e9
    assert late_s == pytest.approx(7200, abs=1), "the delay lies in the outcome's own time"


def _alike(text: str) -> str:
    """The text without what is a session's own: addresses (redacted at the door), orders, returns, tickets."""
    return _OWN.sub("[ID]", _EMAIL.sub("[EMAIL]", text))


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


def test_a_run_that_is_interrupted_goes_on_and_nothing_is_told_twice(stack: Stack) -> None:
    """Ctrl-C in the middle, then the same command again: each session has its turns and its outcome once."""
    words = ["simulate", "--sessions=24", "--release=v5", "--seed=6", "--at-once=3", "--outcome-delay=0", "--json"]
    world_file = stack.data_dir / "agent" / "world.db"
    command = [sys.executable, "-m", "server.cli.main", *words, f"--url={stack.url}", f"--key={stack.key}"]
    command.append(f"--data={stack.data_dir}")
    world = World.open(world_file)
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as running:
        wait_until(lambda: truths(world, "v5"), 120, "the first session")
        running.send_signal(signal.SIGINT)
        first = json.loads(running.communicate(timeout=120)[0])
    assert running.returncode == 130
    second = stack.cli(*words, timeout_s=300)
    found = json.loads(second.stdout)
    assert (second.returncode, first["sessions"] + found["sessions"]) == (0, 24)
    assert found["played_before"] == first["sessions"] < 24
    assert "are not played again" in second.stderr
    with stack.client() as client:
        for row in truths(world, "v5"):
            _check(client, world, row.session_id)
            scores = client.get("/api/v1/scores", params={"session_id": row.session_id, "since": "1d"}).json()["items"]
            assert sorted(each["evaluator"] for each in scores) == ["fault", "task_success"]
    world.close()
