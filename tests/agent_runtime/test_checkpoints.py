"""A killed process, a broken checkpoint: what happened happens once, and everybody gets an answer."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models.function import AgentInfo

from agent_runtime.errors import CorruptState, InvalidInput
from agent_runtime.records import TurnResult, TurnStatus
from agent_runtime.runtime import SCHEMAS
from agent_runtime.settings import Settings
from agent_runtime.state import StateFile
from tests.agent_runtime import killed
from tests.agent_runtime.scripted import Stand, calls, results, says, stand, thinking
from tests.agent_runtime.test_sessions import looking

ROOT = Path(__file__).resolve().parents[2]


def kill(folder: Path) -> None:
    """Leaves in `folder` what the process that dies leaves."""
    shutil.copytree(_dead().name, folder, dirs_exist_ok=True)


@cache
def _dead() -> tempfile.TemporaryDirectory[str]:
    """Runs it, once for all tests."""
    folder = tempfile.TemporaryDirectory(prefix="dead-agent-")
    words = [sys.executable, "-m", "tests.agent_runtime.killed", folder.name]
    assert subprocess.run(words, cwd=ROOT, check=False, timeout=240).returncode == -signal.SIGKILL
    return folder


async def restarted(made: Stand, message_id: str, text: str) -> TurnResult:
    """Starts a runtime on what the dead one left, and asks for the answer as its caller would: by sending again."""
    assert await made.runtime.start() == 1
    try:
        return await made.say(text, message_id)  # type: ignore[no-any-return]
    finally:
        await made.runtime.close()


def test_a_process_killed_between_a_refund_and_its_answer_refunds_once_and_answers(tmp_path: Path) -> None:
    kill(tmp_path)
    made = stand(tmp_path, killed.model())
    assert len(made.shop.effects("refund_order")) == 1
    result = asyncio.run(restarted(made, "m2", "yes"))
    assert (result.status, result.reply) == (TurnStatus.ANSWERED, "Your $45.00 are on their way.")
    assert len(made.shop.effects("refund_order")) == 1
    assert made.shop.n_calls("refund_order") == 2  # asked again with the same key, as nobody knew
    assert made.shop.n_calls("get_order") == 1  # its result was in the checkpoint
    assert len({key for tool, key in made.shop.rows("SELECT tool, key FROM calls") if tool == "refund_order"}) == 1


def test_the_resumed_trace_links_to_the_one_that_died(tmp_path: Path) -> None:
    kill(tmp_path)
    made = stand(tmp_path, killed.model())
    asyncio.run(restarted(made, "m2", "yes"))
    span: ReadableSpan = made.span("invoke_agent support")
    assert (span.attributes or {})["assay.turn.resumed"] is True
    assert '"yes"' in str((span.attributes or {})["gen_ai.input.messages"]), "the trace that died told nothing"
    assert len(span.links) == 1


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE turns SET checkpoint = substr(checkpoint, 1, 100) WHERE state = 'running'",
        "UPDATE turns SET checkpoint = x'00ff' WHERE state = 'running'",
        "UPDATE turns SET checksum = NULL WHERE state = 'running'",
    ],
)
def test_a_corrupted_checkpoint_ends_its_turn_with_a_clear_answer_and_others_go_on(tmp_path: Path, damage: str) -> None:
    kill(tmp_path)
    with sqlite3.connect(tmp_path / "agent.db") as db:
        assert db.execute(damage).rowcount == 1
    made = stand(tmp_path, killed.model())

    async def go() -> tuple[TurnResult, TurnResult, TurnResult]:
        await made.runtime.start()
        try:
            other = made.say("hello", "m1", session="s2")
            lost = await made.say("yes", "m2")
            return lost, await other, await made.say("refund my order", "m3")
        finally:
            await made.runtime.close()

    lost, other, after = asyncio.run(go())
    assert lost.status is TurnStatus.FAILED
    assert "lost track" in lost.reply
    assert other.status is after.status is TurnStatus.ANSWERED
    broken = [s for s in made.spans.get_finished_spans() if (s.attributes or {}).get("error.type") == "CorruptState"]
    assert [s.status.is_ok for s in broken] == [False]
    assert len(made.shop.effects("refund_order")) == 1


@pytest.mark.parametrize("when", ["before the model", "before the tool", "after the tool"])
def test_a_turn_that_is_cut_off_anywhere_goes_on_from_there(tmp_path: Path, when: str) -> None:
    def brain(who: str, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        done = results(messages)
        if broken and when == ("after the tool" if done else "before the model"):
            raise KeyboardInterrupt
        return says("returned") if done else calls("create_return", order_id="LK-12345", item_ids=["i1"])

    def before(tool: str) -> None:
        if broken and when == "before the tool":
            raise KeyboardInterrupt

    broken = True
    made = stand(tmp_path, thinking(brain))
    made.shop.before = before
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(made.say("return it", "m1"))
    made.runtime._parts.state.close()
    broken = False
    made = stand(tmp_path, thinking(brain))
    assert asyncio.run(restarted(made, "m1", "return it")).reply == "returned"
    assert len(made.shop.effects("create_return")) == 1


@pytest.mark.parametrize(
    ("damage", "lost"),
    [
        ("UPDATE turns SET given = 'x' WHERE state = 'running'", True),
        ("UPDATE turns SET release = '{}' WHERE state = 'running'", True),
        ("UPDATE turns SET result = 'x' WHERE state = 'done'", False),
        ("UPDATE turns SET messages = x'00' WHERE state = 'done'", False),
    ],
)
def test_a_row_that_cannot_be_read_costs_its_own_turn_and_no_other(tmp_path: Path, damage: str, lost: bool) -> None:
    kill(tmp_path)
    with sqlite3.connect(tmp_path / "agent.db") as db:
        assert db.execute(damage).rowcount == 1
    made = stand(tmp_path, killed.model())

    async def go() -> list[TurnResult]:
        assert await made.runtime.start() == 1
        try:
            return [await made.say(text, number) for text, number in (("yes", "m2"), ("refund", "m1"), ("hi", "m3"))]
        finally:
            await made.runtime.close()

    open_one, done_one, after = asyncio.run(go())
    assert (open_one.status is TurnStatus.FAILED) is lost
    assert ("lost track" in open_one.reply) is lost
    assert ("no longer be read" in done_one.reply) is ("result" in damage)
    assert after.reply == killed.QUESTION
    assert len(made.shop.effects("refund_order")) == 1


def test_what_a_turn_had_begun_is_undone_when_its_checkpoint_is_lost(tmp_path: Path) -> None:
    def brain(who: str, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        if results(messages):
            raise KeyboardInterrupt
        return calls("create_return", order_id="LK-12345", item_ids=["i1"])

    made = stand(tmp_path, thinking(brain))
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(made.say("return it", "m1"))
    made.runtime._parts.state.close()
    with sqlite3.connect(tmp_path / "agent.db") as db:
        assert db.execute("UPDATE turns SET checkpoint = x'00'").rowcount == 1
    made = stand(tmp_path, thinking(brain))
    assert asyncio.run(restarted(made, "m1", "return it")).reply.endswith("What I had begun is undone.")
    assert made.shop.effects("cancel_return") == [{"return_id": "RT-1"}]


def test_a_turn_that_was_cut_off_is_finished_before_the_next_message(tmp_path: Path) -> None:
    made = stand(tmp_path, thinking(looking), settings=Settings(data=tmp_path, tool_timeout_s=1000))

    async def go() -> tuple[TurnResult, TurnResult]:
        inside = asyncio.Event()

        async def hang(tool: str) -> None:
            inside.set()
            await asyncio.Event().wait()

        made.shop.before = hang
        cut_off = asyncio.create_task(made.say("one", "m1"))
        await inside.wait()
        cut_off.cancel()
        await asyncio.gather(cut_off, return_exceptions=True)
        made.shop.before = lambda tool: None
        try:
            return await made.say("two", "m2"), await made.say("one", "m1")
        finally:
            await made.runtime.close()

    two, one = asyncio.run(go())
    assert [(one.index, one.reply), (two.index, two.reply)] == [(0, "one"), (1, "two")]
    answered = [s for s in made.spans.get_finished_spans() if s.name == "invoke_agent support"][-2:]
    assert [(s.attributes or {})["assay.turn.index"] for s in answered] == [0, 1]


def test_a_damaged_file_is_said_to_be_damaged(tmp_path: Path) -> None:
    made = stand(tmp_path, killed.model())

    async def fill() -> None:
        for number in range(20):
            await made.say(f"hello {'x' * 5_000}", f"m{number}", session=f"s{number}")
        await made.runtime.close()

    asyncio.run(fill())
    file = tmp_path / "agent.db"
    whole = file.read_bytes()
    file.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    again = stand(tmp_path, killed.model())

    async def go() -> None:
        with pytest.raises(CorruptState, match="damaged"):
            await again.say("hello", "m1", session="s1")
        again.runtime._parts.state.close()

    asyncio.run(go())


def test_a_folder_has_one_runtime(tmp_path: Path) -> None:
    first = StateFile(tmp_path, SCHEMAS)
    with pytest.raises(InvalidInput, match="in use"):
        StateFile(tmp_path, SCHEMAS)
    first.close()
    StateFile(tmp_path, SCHEMAS).close()


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "agent.db").write_bytes(b"no database at all, only words" * 100)
    with pytest.raises(CorruptState, match="move it away"):
        StateFile(tmp_path, SCHEMAS)


def test_a_job_that_fails_leaves_the_others_of_its_transaction_alone(tmp_path: Path) -> None:
    state = StateFile(tmp_path, ("CREATE TABLE IF NOT EXISTS t (x INTEGER PRIMARY KEY)",))

    def put(number: int) -> Callable[[sqlite3.Connection], int]:
        return lambda c: c.execute("INSERT INTO t VALUES (?)", (number,)).rowcount

    async def go() -> list[int | BaseException]:
        return await asyncio.gather(*(state.run(put(number)) for number in (1, 1, 2)), return_exceptions=True)

    answers = asyncio.run(go())
    state.close()
    assert isinstance(answers[1], sqlite3.IntegrityError)
    with sqlite3.connect(tmp_path / "agent.db") as db:
        assert db.execute("SELECT x FROM t").fetchall() == [(1,), (2,)]


def test_a_forgotten_user_is_gone_from_every_table(tmp_path: Path) -> None:
    made = stand(tmp_path, killed.model())

    async def go() -> dict[str, int]:
        try:
            for user in ("annabella", "bob"):
                await made.say("refund my order", "m1", session=user, user=user)
                await made.say("yes", "m2", session=user, user=user)
            return await made.runtime.forget("annabella")
        finally:
            await made.runtime.close()

    assert asyncio.run(go()) == {"memory": 2, "approvals": 0, "turns": 2, "ledger": 1}
    assert not any(b"annabella" in file.read_bytes() for file in tmp_path.glob("agent.db*"))
    with sqlite3.connect(tmp_path / "agent.db") as db:
        assert db.execute("SELECT DISTINCT user_id FROM turns").fetchall() == [("bob",)]
