"""Actions that a person has to approve: the turn waits, survives a restart, and goes on once."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models.function import AgentInfo

from agent_runtime.errors import InvalidInput, NotFound
from agent_runtime.records import Parameters, Release, Strategy, TurnResult, TurnStatus
from tests.agent_runtime.scripted import Stand, calls, last_user, results, routes, says, stand, thinking

REFUND: dict[str, Any] = {"order_id": "LK-12345", "item_ids": ["i1"], "amount_usd": "150.00", "reason": "broken"}


def brain(who: str, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Asks, refunds after a yes, and tells what came of it."""
    if who == "planner":
        return calls("make_plan", steps=[{"tool": "refund_order", "args": REFUND, "purpose": "give it back"}])
    if last_user(messages) != "yes":
        return says("Shall I refund $150.00 for order LK-12345?")
    done = [content for tool, content in results(messages) if tool == "refund_order"]
    if not done:
        return calls("refund_order", **REFUND)
    return says("refunded" if isinstance(done[-1], dict) and done[-1].get("ok") else f"not refunded: {done[-1]}")


def opened(folder: Path) -> Stand:
    return stand(folder, thinking(brain, routes("order", "refund")))


async def until_it_waits(made: Stand, release: Release | None = None) -> TurnResult:
    await made.say("refund LK-12345", "m1")
    return await made.say("yes", "m2", release)  # type: ignore[no-any-return]


PLANNED = Release(name="planned", parameters=Parameters(strategy=Strategy.PLAN))


@pytest.mark.parametrize("release", [None, PLANNED], ids=["react", "plan"])
@pytest.mark.parametrize(("approved", "reply", "n"), [(True, "refunded", 1), (False, "not refunded", 0)])
def test_a_person_decides(tmp_path: Path, approved: bool, reply: str, n: int, release: Release | None) -> None:
    made = opened(tmp_path)

    async def go() -> tuple[TurnResult, TurnResult]:
        try:
            waiting = await until_it_waits(made, release)
            assert not made.shop.effects("refund_order")
            return waiting, await made.runtime.approve(waiting.approvals[0].approval_id, approved, "kim")
        finally:
            await made.runtime.close()

    waiting, after = asyncio.run(go())
    assert waiting.status is TurnStatus.WAITING_APPROVAL
    assert waiting.approvals[0].tool == "refund_order"
    assert "above $120" in waiting.approvals[0].why
    assert after.status is TurnStatus.ANSWERED
    assert after.reply.startswith(reply)
    assert after.turn_id == waiting.turn_id
    assert len(made.shop.effects("refund_order")) == n


@pytest.mark.parametrize(("approved", "after"), [(True, "approval"), (False, "declined approval")])
def test_the_resumed_trace_does_not_say_the_users_message_again(tmp_path: Path, approved: bool, after: str) -> None:
    made = opened(tmp_path)

    async def go() -> None:
        try:
            waiting = await until_it_waits(made)
            await made.runtime.approve(waiting.approvals[0].approval_id, approved, "kim")
        finally:
            await made.runtime.close()

    asyncio.run(go())
    turns = [dict(s.attributes or {}) for s in made.spans.get_finished_spans() if s.name == "invoke_agent support"]
    said = [json.loads(str(turn["gen_ai.input.messages"])) for turn in turns]
    told = [(message["role"], message["parts"][0]["content"]) for (message,) in said]
    assert told == [("user", "refund LK-12345"), ("user", "yes"), ("system", f"Resumed after {after}")]
    assert [turn.get("assay.turn.resumed_after") for turn in turns] == [None, None, after.replace(" ", "_")]


def test_an_approval_survives_a_restart_and_counts_once(tmp_path: Path) -> None:
    made = opened(tmp_path)

    async def first() -> str:
        try:
            return (await until_it_waits(made)).approvals[0].approval_id
        finally:
            await made.runtime.close()

    approval = asyncio.run(first())
    made = opened(tmp_path)

    async def second() -> list[TurnResult]:
        try:
            assert await made.runtime.start() == 0
            return [
                await made.runtime.approve(approval, True, "kim"),
                await made.runtime.approve(approval, False, "lee"),
                await made.say("thanks", "m3"),
            ]
        finally:
            await made.runtime.close()

    once, twice, after = asyncio.run(second())
    assert once == twice
    assert once.reply == "refunded"
    assert after.index == 2
    assert len(made.shop.effects("refund_order")) == 1


def test_a_process_killed_after_the_decision_goes_on_at_start(tmp_path: Path) -> None:
    made = opened(tmp_path)

    async def first() -> None:
        waiting = await until_it_waits(made)
        await made.runtime._checkpoints.decide(waiting.approvals[0].approval_id, True, "kim")

    asyncio.run(first())
    made.runtime._parts.state.close()
    made = opened(tmp_path)

    async def second() -> TurnResult:
        try:
            assert await made.runtime.start() == 1
            return await made.say("yes", "m2")  # type: ignore[no-any-return]
        finally:
            await made.runtime.close()

    assert asyncio.run(second()).reply == "refunded"
    assert len(made.shop.effects("refund_order")) == 1


def test_what_is_said_meanwhile_is_told_to_wait(tmp_path: Path) -> None:
    made = opened(tmp_path)

    async def go() -> tuple[TurnResult, TurnResult]:
        try:
            waiting = await until_it_waits(made)
            assert (await made.say("refund LK-12345", "m1")).index == 0  # an earlier message again has its own answer
            return waiting, await made.say("and now?", "m3")
        finally:
            await made.runtime.close()

    waiting, meanwhile = asyncio.run(go())
    assert meanwhile == waiting


def test_an_approval_that_is_not_there_or_of_another_session(tmp_path: Path) -> None:
    made = opened(tmp_path)

    async def go() -> None:
        try:
            approval = (await until_it_waits(made)).approvals[0].approval_id
            with pytest.raises(NotFound):
                await made.runtime.approve("nope", True, "kim")
            with pytest.raises(NotFound):
                await made.runtime.approve(approval, True, "kim", session_id="other")
            with pytest.raises(InvalidInput):
                await made.runtime.approve(approval, True, " ")
        finally:
            await made.runtime.close()

    asyncio.run(go())
    assert not made.shop.effects("refund_order")


def test_the_cap_holds_where_nobody_is_asked(tmp_path: Path) -> None:
    """No confirmation, no approval: the tool still refuses."""
    loose = Parameters(require_confirmation=False, approval_above_usd=Parameters().refund_cap_usd * 10)

    def greedy(who: str, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        if results(messages):
            return says(str(results(messages)[-1][1]["refused"]))
        return calls("refund_order", **{**REFUND, "amount_usd": "200.01"})

    made = stand(tmp_path, thinking(greedy))

    async def go() -> TurnResult:
        try:
            return await made.say("refund", "m1", Release(name="loose", parameters=loose))  # type: ignore[no-any-return]
        finally:
            await made.runtime.close()

    assert asyncio.run(go()).reply == "above the cap"
    assert not made.shop.effects("refund_order")


def waited_for_long(made: Stand) -> None:
    with sqlite3.connect(made.state.path) as db:
        db.execute("UPDATE approvals SET at = '2020-01-01T00:00:00+00:00'")


@pytest.mark.parametrize("swept", [True, False], ids=["by the hour", "by the next message"])
def test_what_nobody_decides_is_declined_and_the_session_goes_on(tmp_path: Path, swept: bool) -> None:
    made = opened(tmp_path)

    async def go() -> tuple[int, TurnResult, TurnResult, TurnResult]:
        try:
            waiting = await until_it_waits(made)
            assert await made.runtime.lapse() == 0  # not yet
            waited_for_long(made)
            n = await made.runtime.lapse() if swept else 1
            after = await made.say("and now?", "m3")
            declined = await made.say("yes", "m2")
            late = await made.runtime.approve(waiting.approvals[0].approval_id, True, "kim")
            return n, after, declined, late
        finally:
            await made.runtime.close()

    n, after, declined, late = asyncio.run(go())
    assert (n, after.index, after.status) == (1, 2, TurnStatus.ANSWERED)
    assert declined.reply.startswith("not refunded")
    assert late == declined
    assert not made.shop.effects("refund_order")
