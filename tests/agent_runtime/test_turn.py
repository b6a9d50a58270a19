"""A turn from message to answer, and what a broken tool or model makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from agent_runtime.errors import BackendUnavailable, InvalidInput
from agent_runtime.guardrails.grounded import I_DO_NOT_KNOW
from agent_runtime.memory.stored import StoredMemory
from agent_runtime.memory.tables import SCHEMA as MEMORY
from agent_runtime.records import AgentName, Decision, Parameters, Release, Strategy, TurnResult, TurnStatus
from agent_runtime.seams import Check, Stage, Verdict
from tests.agent_runtime.scripted import Stand, calls, last_user, results, routes, says, scripted, stand, thinking


def run(made: Stand, *texts: str) -> list[TurnResult]:
    """The turns of one session."""

    async def go() -> list[TurnResult]:
        try:
            return [await made.say(text, f"m{n}") for n, text in enumerate(texts)]
        finally:
            await made.runtime.close()

    return asyncio.run(go())


def test_a_turn_looks_up_and_answers(tmp_path: Path) -> None:
    made = stand(
        tmp_path,
        scripted(
            [
                calls(
                    "get_order",
                    thought="Thought: look first (confidence 0.83; alternatives: find_orders, escalate)",
                    order_id="LK-12345",
                ),
                says("It was delivered."),
            ]
        ),
    )
    (result,) = run(made, "where is LK-12345?")
    assert (result.status, result.reply) == (TurnStatus.ANSWERED, "It was delivered.")
    assert (result.agent, result.strategy, result.index) == (AgentName.ORDER, Strategy.REACT, 0)
    assert [outcome.tool for outcome in result.tools] == ["get_order"]
    assert result.n_steps == 3  # the supervisor's and two of the specialist
    assert made.memory.kept == {"u1": ["where is LK-12345?"]}


def test_earlier_turns_are_told_to_the_model_and_survive_a_restart(tmp_path: Path) -> None:
    seen: list[int] = []

    def brain(who: str, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        seen.append(len(messages))
        return says(f"You said {last_user(messages)}")

    first = run(stand(tmp_path, thinking(brain)), "one", "two")
    assert [r.index for r in first] == [0, 1]
    made = stand(tmp_path, thinking(brain))

    async def again() -> TurnResult:
        try:
            return await made.say("three", "m9")  # type: ignore[no-any-return]
        finally:
            await made.runtime.close()

    assert asyncio.run(again()).reply == "You said three"
    assert seen == [1, 3, 5]


def test_the_same_message_id_is_one_turn(tmp_path: Path) -> None:
    made = stand(tmp_path, scripted([says("first"), says("second")]))

    async def go() -> list[TurnResult]:
        try:
            return [await made.say("hello", "m1"), await made.say("hello", "m1")]
        finally:
            await made.runtime.close()

    one, two = asyncio.run(go())
    assert one == two


@pytest.mark.parametrize("text", ["", "  \n", "x" * 20_001])
def test_an_empty_or_endless_message_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidInput):
        run(stand(tmp_path, scripted([])), text)


def test_a_session_belongs_to_one_user(tmp_path: Path) -> None:
    made = stand(tmp_path, scripted([says("hi")]))

    async def go() -> None:
        try:
            await made.say("hello", "m1", user="ann")
            with pytest.raises(InvalidInput, match="another user"):
                await made.say("hello", "m2", user="bob")
        finally:
            await made.runtime.close()

    asyncio.run(go())


# --- tools that misbehave -------------------------------------------------------------------------------------------


def answered(tmp_path: Path, *replies: ModelResponse, **shop: Any) -> tuple[Stand, list[tuple[str, Any]]]:
    """Runs one turn whose last model request tells what the tools answered."""
    told: list[tuple[str, Any]] = []
    left = iter(replies)

    def brain(who: str, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        told[:] = results(messages)
        return next(left, says("done"))

    made = stand(tmp_path, thinking(brain))
    for name, value in shop.items():
        setattr(made.shop, name, value)
    run(made, "please")
    return made, told


async def hang(tool: str) -> None:
    await asyncio.Event().wait()


def test_a_read_that_hangs_is_tried_again_and_then_told(tmp_path: Path) -> None:
    made, told = answered(tmp_path, calls("get_order", order_id="LK-12345"), before=hang)
    assert told == [("get_order", {"error": "no answer in time", "effect": "none"})]
    assert made.shop.n_calls("get_order") == 3


def test_a_write_that_hangs_is_repeated_with_its_key_only(tmp_path: Path) -> None:
    made, told = answered(
        tmp_path,
        calls("create_return", order_id="LK-12345", item_ids=["i1"]),
        calls("create_return", order_id="LK-12345", item_ids=["i1"]),
        after=lambda tool, result: hang(tool),
    )
    assert told[0] == ("create_return", {"error": "no answer in time", "effect": "unknown"})
    assert len(made.shop.effects("create_return")) == 1
    assert len({key for (key,) in made.shop.rows("SELECT key FROM calls")}) == 1


def test_a_shop_that_is_down_is_tried_again(tmp_path: Path) -> None:
    downs = iter([True, True, False])

    def down(tool: str) -> None:
        if next(downs):
            raise BackendUnavailable("down")

    _, told = answered(tmp_path, calls("get_order", order_id="LK-12345"), before=down)
    assert told[0][1]["status"] == "delivered"


@pytest.mark.parametrize("garbage", ["<html>", ["a"], {"x": float("nan")}, {"x": object()}, None, {"x": "\ud83d"}])
def test_garbage_is_said_to_be_garbage(tmp_path: Path, garbage: Any) -> None:
    _, told = answered(tmp_path, calls("get_order", order_id="LK-12345"), after=lambda tool, result: garbage)
    assert told == [("get_order", {"error": "the tool's answer could not be read"})]


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_client_of_the_shop_that_breaks_leaves_the_effect_unknown(tmp_path: Path, where: str) -> None:
    def reset(tool: str, result: Any = None) -> None:
        raise ConnectionResetError("reset by peer")

    write = calls("create_return", order_id="LK-12345", item_ids=["i1"])
    made, told = answered(tmp_path, write, write, calls("get_order", order_id="LK-12345"), **{where: reset})
    assert told[0] == ("create_return", {"error": "the tool failed", "effect": "unknown"})
    assert told[2] == ("get_order", {"error": "the tool failed"})
    assert len(made.shop.effects("create_return")) == (where == "after")
    assert len({key for tool, key in made.shop.rows("SELECT tool, key FROM calls") if tool == "create_return"}) == 1


def test_a_long_answer_of_a_write_is_cut_and_can_still_be_undone(tmp_path: Path) -> None:
    looks = calls("get_order", order_id="LK-12345")
    made, told = answered(
        tmp_path,
        *(calls("create_return", order_id="LK-12345", item_ids=["i1"]), looks, looks, looks),
        after=lambda tool, result: {**result, "padding": "z" * 50_000},
    )
    assert "bytes" in told[0][1]["cut"]
    assert made.shop.effects("cancel_return") == [{"return_id": "RT-1"}]


def test_a_write_whose_effect_is_unknown_is_undone_too(tmp_path: Path) -> None:
    lost = iter([True] * 3)

    async def lose(tool: str, result: dict[str, Any]) -> dict[str, Any]:
        if tool == "create_return" and next(lost, False):
            await asyncio.Event().wait()
        return result

    looks = calls("get_order", order_id="LK-12345")
    write = calls("create_return", order_id="LK-12345", item_ids=["i1"])
    made, told = answered(tmp_path, write, looks, looks, looks, after=lose)
    assert told[0][1]["effect"] == "unknown"
    assert len(made.shop.effects("create_return")) == 1
    assert made.shop.effects("cancel_return") == [{"return_id": "RT-1"}]


def test_a_long_answer_is_cut_and_said_to_be(tmp_path: Path) -> None:
    _, told = answered(
        tmp_path, calls("get_order", order_id="LK-12345"), after=lambda tool, result: {"x": "é" * 25_000}
    )
    result = told[0][1]
    assert "50009 bytes" in result["cut"]
    assert len(result["text"].encode()) <= 16_384


@pytest.mark.parametrize(
    ("tool", "args", "refusal"),
    [
        ("get_order", {"order_id": "12345"}, "invalid arguments"),
        ("get_order", {}, "invalid arguments"),
        ("get_order", {"order_id": "LK-12345", "user_id": "u2"}, "invalid arguments"),
        ("apply_discount", {"order_id": "LK-12345", "percent": "10", "reason": "x"}, "invalid arguments"),
        ("apply_discount", {"order_id": "LK-12345", "percent": 16, "reason": "x"}, "above the cap"),
        ("refund_order", {"order_id": "LK-12345", "item_ids": ["i"], "amount_usd": "200.01", "reason": "x"},
         "above the cap"),
        ("refund_order", {"order_id": "LK-12345", "item_ids": ["i"], "amount_usd": "-5", "reason": "x"},
         "invalid arguments"),
        ("cancel_order", {"order_id": "LK-12345", "reason": "x"}, "not confirmed"),
        ("change_address", {"order_id": "LK-12345", "address": "x"}, "the order has shipped"),
    ],
)  # fmt: skip
def test_what_is_not_allowed_is_refused_whatever_the_model_says(
    tmp_path: Path, tool: str, args: dict[str, Any], refusal: str
) -> None:
    made, told = answered(tmp_path, calls(tool, **args))
    assert told[0][1]["refused"] == refusal
    assert not made.shop.effects(tool)


def test_an_agent_has_its_own_tools_only(tmp_path: Path) -> None:
    made = stand(tmp_path, scripted([calls("refund_order", amount_usd="1"), says("sorry")], routes("account")))
    (result,) = run(made, "refund me")
    assert result.reply == "sorry"
    assert result.tools == ()
    assert made.shop.n_calls("refund_order") == 0


# --- models that misbehave ------------------------------------------------------------------------------------------


def test_an_unknown_tool_is_answered_and_the_turn_goes_on(tmp_path: Path) -> None:
    (result,) = run(stand(tmp_path, scripted([calls("launch_rocket"), says("fine")])), "hi")
    assert (result.status, result.reply) == (TurnStatus.ANSWERED, "fine")


@pytest.mark.parametrize(
    "reply", [ModelResponse(parts=[]), ModelResponse(parts=[TextPart("")]), calls("launch_rocket")]
)
def test_a_model_that_never_makes_sense_fails_the_turn_in_plain_words(tmp_path: Path, reply: ModelResponse) -> None:
    made = stand(tmp_path, thinking(lambda who, messages, info: reply))
    (result,) = run(made, "hi")
    assert result.status is TurnStatus.FAILED
    assert "try again" in result.reply
    span = made.span("invoke_agent support")
    assert (span.attributes or {})["error.type"] == "UnexpectedModelBehavior"


def test_a_supervisor_that_answers_nonsense_fails_the_turn(tmp_path: Path) -> None:
    made = stand(tmp_path, scripted([], route=calls("route", agent="nobody")))
    (result,) = run(made, "hi")
    assert result.status is TurnStatus.FAILED


# --- guardrails and grounding ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Word:
    """Blocks or rewrites a word."""

    word: str
    stage: Stage
    decision: Decision
    name: str = "word"

    def check(self, asked: Check) -> Verdict:
        if self.word not in asked.text:
            return Verdict()
        return Verdict(decision=self.decision, reason="word", text=asked.text.replace(self.word, "***"))


@pytest.mark.parametrize(
    ("stage", "decision", "status", "reply"),
    [
        (Stage.INPUT, Decision.BLOCK, TurnStatus.REFUSED, "my *** word"),
        (Stage.INPUT, Decision.REWRITE, TurnStatus.ANSWERED, "You said my *** word"),
        (Stage.OUTPUT, Decision.BLOCK, TurnStatus.REFUSED, "You said my *** word"),
        (Stage.OUTPUT, Decision.REWRITE, TurnStatus.ANSWERED, "You said my *** word"),
        (Stage.OUTPUT, Decision.FLAG, TurnStatus.ANSWERED, "You said my secret word"),
    ],
)
def test_guardrails_block_and_rewrite(
    tmp_path: Path, stage: Stage, decision: Decision, status: TurnStatus, reply: str
) -> None:
    guard = Word("secret", stage, decision)
    made = stand(tmp_path, thinking(lambda w, m, i: says(f"You said {last_user(m)}")), guardrails=[guard])
    (result,) = run(made, "my secret word")
    assert (result.status, result.reply) == (status, reply)
    span = made.span(f"guardrail {stage}.word")
    assert (span.attributes or {})["assay.guardrail.decision"] == decision.value


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        ("Returns are free within 30 days. [returns-2]", "Returns are free within 30 days. [returns-2]"),
        ("We give everybody a pony", I_DO_NOT_KNOW),
        ("Which product is it?", "Which product is it?"),
        ("You get 900 days. Anything else I can do?", I_DO_NOT_KNOW),
    ],
)
def test_an_answer_that_no_document_supports_is_not_given(tmp_path: Path, answer: str, reply: str) -> None:
    replies: Sequence[ModelResponse] = [calls("search_policy", query="returns free"), says(answer)]
    (result,) = run(stand(tmp_path, scripted(replies, routes("technical", "policy"))), "may I?")
    assert result.reply == reply
    assert result.citations == (("returns-2",) if "[" in answer else ())


@pytest.mark.parametrize(
    ("agent", "answer", "given"),
    [
        ("technical", "You can return everything within 900 days.", False),
        ("technical", "I am sorry to hear that. Which product is it?", True),
        ("order", "I have refunded $45.00 within 2 days.", True),  # stands on the order's own tools
    ],
)
def test_a_policy_is_not_stated_without_a_search(tmp_path: Path, agent: str, answer: str, given: bool) -> None:
    made = stand(tmp_path, scripted([says(answer)], routes(agent, "policy")))
    (result,) = run(made, "may I?")
    assert result.reply == (answer if given else I_DO_NOT_KNOW)
    checks = [s for s in made.spans.get_finished_spans() if s.name == "guardrail output.grounding"]
    assert [(s.attributes or {})["assay.guardrail.decision"] for s in checks] == ([] if given else ["rewrite"])


def test_a_policy_that_was_cited_before_may_be_told_again(tmp_path: Path) -> None:
    cited = "Returns are free within 30 days. [returns-2]"
    replies = [calls("search_policy", query="returns free"), says(cited), says(f"As I said: {cited}")]
    made = stand(tmp_path, scripted(replies, routes("technical", "policy")))
    assert [result.reply for result in run(made, "may I?", "really?")] == [cited, f"As I said: {cited}"]
    assert made.span("guardrail output.grounding").attributes is not None


# --- contexts -------------------------------------------------------------------------------------------------------


def test_another_agents_tool_results_are_not_told(tmp_path: Path) -> None:
    seen: list[tuple[str, list[Any], list[str]]] = []
    agents = iter(["order", "technical", "order"])

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        who = (info.instructions or "").splitlines()[0].removeprefix("Agent: ")
        if who == "supervisor":
            return routes(next(agents))
        said = [str(part.content) for m in messages for part in m.parts if isinstance(part, UserPromptPart | TextPart)]
        seen.append((who, [tool for tool, _ in results(messages)], said))
        if who == "order" and len(results(messages)) == 0:
            return calls("get_order", order_id="LK-12345")
        return says(f"{who} says")

    run(stand(tmp_path, FunctionModel(answer, model_name="sim-1")), "one", "two", "three")
    assert [(who, tools) for who, tools, _ in seen] == [
        ("order", []),
        ("order", ["get_order"]),
        ("technical", []),
        ("order", ["get_order"]),
    ]
    assert seen[2][2] == ["one", "order says", "two"]
    assert seen[3][2] == ["one", "order says", "two", "technical says", "three"]


def test_the_supervisor_is_told_only_what_fits_and_the_summary_is_paid_by_its_turn(tmp_path: Path) -> None:
    asked: list[tuple[str, int]] = []

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        who = (info.instructions or "").splitlines()[0].removeprefix("Agent: ")
        asked.append((who, len(messages)))
        return routes() if who == "supervisor" else says(f"{who}: {'y' * 400}")

    made = stand(tmp_path, FunctionModel(answer, model_name="sim-1"), schemas=(MEMORY,))
    memory = StoredMemory(made.state, summarise=made.runtime.summarise)
    object.__setattr__(made.runtime._turns, "memory", memory)
    small = Release(name="small", parameters=Parameters(context_tokens=600))

    async def go() -> list[TurnResult]:
        try:
            return [await made.say(f"{n} {'x' * 400}", f"m{n}", small) for n in range(6)]
        finally:
            await made.runtime.close()

    steps = [result.n_steps for result in asyncio.run(go())]
    assert max(n for who, n in asked if who == "supervisor") <= 5
    assert steps.count(3) == sum(who == "summariser" for who, _ in asked) > 0
    assert {who for who, _ in asked} == {"supervisor", "order", "summariser"}
