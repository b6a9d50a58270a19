"""A turn's limits: each is met, told in plain words, and named on the span; what was half done is undone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models.function import AgentInfo

from agent_runtime.records import Limits, Parameters, Release, TurnResult, TurnStatus
from agent_runtime.settings import Settings
from tests.agent_runtime.scripted import Brain, Stand, calls, results, says, stand, thinking


def once(made: Stand, limits: Limits) -> TurnResult:
    async def go() -> TurnResult:
        try:
            return await made.say("hi", "m1", Release(name="r", parameters=Parameters(limits=limits)))  # type: ignore[no-any-return]
        finally:
            await made.runtime.close()

    return asyncio.run(go())


def looks(who: str, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Never stops looking at another order."""
    return calls("get_order", order_id=f"LK-{10_000 + len(messages)}")


def repeats(who: str, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Never stops looking at the same order."""
    return calls("get_order", order_id="LK-12345")


@pytest.mark.parametrize(
    ("limits", "brain", "error", "why"),
    [
        (Limits(steps=4), looks, "limit_steps", "limit: the turn took 4 steps, the most allowed"),
        (Limits(tokens=300), looks, "limit_tokens", "limit: the turn used "),
        (Limits(dollars=Decimal("0.001")), looks, "limit_dollars", "limit: the turn cost "),
        (Limits(), repeats, "limit_repeated_calls", "limit: get_order was called 2 times with the same arguments"),
    ],
)
def test_a_limit_ends_the_turn(tmp_path: Path, limits: Limits, brain: Brain, error: str, why: str) -> None:
    settings = Settings(data=tmp_path, input_usd_per_mtok=Decimal(3), output_usd_per_mtok=Decimal(15))
    made = stand(tmp_path, thinking(brain), settings=settings)
    result = once(made, limits)
    assert result.status is TurnStatus.LIMIT
    assert "so I stopped" in result.reply
    root = made.span("invoke_agent support")
    assert (root.attributes or {})["error.type"] == error
    assert str(root.status.description).startswith(why), "the cause, not the answer once more"
    assert result.n_steps <= limits.steps
    assert result.cost_usd


def test_seconds_end_a_turn_whose_tool_hangs(tmp_path: Path) -> None:
    async def hang(tool: str) -> None:
        await asyncio.Event().wait()

    made = stand(tmp_path, thinking(repeats), settings=Settings(data=tmp_path, tool_timeout_s=1000))
    made.shop.before = hang
    result = once(made, Limits(seconds=0.3))
    assert result.status is TurnStatus.LIMIT
    root = made.span("invoke_agent support")
    assert (root.attributes or {})["error.type"] == "limit_seconds"
    assert root.status.description == "limit: the turn took longer than 0.3 s"


def test_two_calls_alike_are_allowed(tmp_path: Path) -> None:
    def twice(who: str, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return says("done") if len(results(messages)) == 2 else repeats(who, messages, info)

    assert once(stand(tmp_path, thinking(twice)), Limits()).status is TurnStatus.ANSWERED


def test_a_chain_that_breaks_half_way_is_undone(tmp_path: Path) -> None:
    def half(who: str, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        if not results(messages):
            return calls("create_return", order_id="LK-12345", item_ids=["i1"])
        return repeats(who, messages, info)

    made = stand(tmp_path, thinking(half))
    result = once(made, Limits())
    assert result.status is TurnStatus.LIMIT
    assert result.reply.endswith("What I had begun is undone.")
    assert made.shop.effects("cancel_return") == [{"return_id": "RT-1"}]


def test_a_turn_after_a_limit_works(tmp_path: Path) -> None:
    reply: list[Callable[[], ModelResponse]] = [lambda: calls("get_order", order_id="LK-12345")]
    made = stand(tmp_path, thinking(lambda w, m, i: reply[0]()))

    async def go() -> TurnResult:
        try:
            first = await made.say("hi", "m1")
            assert first.status is TurnStatus.LIMIT
            reply[0] = lambda: says("better")
            return await made.say("again", "m2")  # type: ignore[no-any-return]
        finally:
            await made.runtime.close()

    assert asyncio.run(go()).reply == "better"
