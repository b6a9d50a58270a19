"""Keys, confirmation, and a write whose effect nobody knows."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models.function import AgentInfo

from agent_runtime.ledger import SCHEMA, Call, Ledger, key_of
from agent_runtime.records import Parameters, Release, TurnResult
from agent_runtime.seams import MessageText
from agent_runtime.state import StateFile
from agent_runtime.tools.confirm import is_confirmed, says_yes
from agent_runtime.tools.table import TOOLS
from tests.agent_runtime.scripted import calls, last_user, results, routes, says, stand, thinking


def call(call_id: str, turn_id: str = "t1", **args: Any) -> Call:
    return Call(
        turn_id=turn_id, tenant="d", session_id="s", user_id="u", call_id=call_id, tool="create_return", args=args
    )


def test_a_key_depends_on_what_is_done_and_not_on_how_it_is_spelt() -> None:
    assert key_of("t", "x", {"a": 1, "b": 2}, 0) == key_of("t", "x", {"b": 2, "a": 1}, 0)
    keys = {key_of("t", "x", {"a": 1}, 0), key_of("u", "x", {"a": 1}, 0), key_of("t", "y", {"a": 1}, 0),
            key_of("t", "x", {"a": 2}, 0), key_of("t", "x", {"a": 1}, 1)}  # fmt: skip
    assert len(keys) == 5


def test_the_rows_of_a_session(tmp_path: Path) -> None:
    state = StateFile(tmp_path, (SCHEMA,))
    ledger = Ledger(state)

    async def go() -> None:
        first = await ledger.begin(call("c1", a=1))
        assert first.key == key_of("t1", "create_return", {"a": 1}, 0)
        assert (await ledger.begin(call("c2", a=1))).key == first.key  # unknown: the same key
        assert (await ledger.begin(call("c3", "t2", a=1))).key == first.key  # in a later turn, too
        await ledger.finish(first.key, {"ok": True})
        assert (await ledger.begin(call("c1", a=1))).result == {"ok": True}  # the same call: replayed
        again = await ledger.begin(call("c4", a=1))  # meant once more
        assert (again.key, again.result) == (key_of("t1", "create_return", {"a": 1}, 1), None)
        assert [done.key for done in await ledger.undoable("t1")] == [again.key, first.key]
        await ledger.mark_undone(first.key)
        assert [done.result for done in await ledger.undoable("t1")] == [None]  # the one whose effect is unknown
        assert await ledger.undone("t1") == ["create_return"]

    asyncio.run(go())
    state.close()


@pytest.mark.parametrize(("idempotent", "n"), [(True, 1), (False, 3)])
def test_a_timeout_after_the_effect_is_one_effect_unless_a_release_drops_its_keys(
    tmp_path: Path, idempotent: bool, n: int
) -> None:
    made = stand(
        tmp_path,
        thinking(
            lambda who, m, i: says("ok") if results(m) else calls("create_return", order_id="LK-12345", item_ids=["i"])
        ),
    )

    async def hang(tool: str, result: dict[str, Any]) -> None:
        await asyncio.Event().wait()

    made.shop.after = hang

    async def go() -> None:
        await made.say("return it", "m1", Release(name="r", parameters=Parameters(idempotent_writes=idempotent)))
        await made.runtime.close()

    asyncio.run(go())
    assert len(made.shop.effects("create_return")) == n
    missed = [one for one in made.spans.get_finished_spans() if one.name.startswith("attempt ")]
    assert [(one.name, one.status.is_ok) for one in missed] == [
        (f"attempt {number} of create_return", False) for number in (1, 2, 3)
    ]


@pytest.mark.parametrize(
    "text",
    [
        "yes",
        "Yes, please.",
        "ok",
        "Sure, go ahead",
        "yep do it",
        "I confirm",
        "Great, thanks, yes",
        "si",
        "Yes please, when do I get the money?",
    ],
)
def test_a_yes(text: str) -> None:
    assert says_yes(text)


@pytest.mark.parametrize(
    "text",
    ["", "no", "yes but only the tent", "don't", "yesterday", "refund it", "is it okay?", "wait", "ok, not yet",
     "Okay, don\u2019t refund it", "ok so what does that cost?", "Right?", "yes, if it is free",
     "yes, as long as it's free", "ja, aber nicht jetzt", "oui mais pas maintenant", "sí, pero todavía no"],
)  # fmt: skip
def test_no_yes(text: str) -> None:
    assert not says_yes(text)


ARGS: dict[str, Any] = {"order_id": "LK-12345", "item_ids": ["i"], "amount_usd": "45.00", "reason": "x"}


@pytest.mark.parametrize(
    ("question", "confirmed"),
    [
        ("Shall I refund $45.00 for order LK-12345?", True),
        ("The refund is $45. Shall I refund that for order LK-12345? (yes/no)", True),
        ("Shall I refund $54.00 for order LK-12345?", False),
        ("Shall I refund $45.00 for order LK-99999?", False),
        ("Shall I cancel order LK-12345 for $45.00?", False),
        ("I refund $45.00 for order LK-12345.", False),
        ("Shall I refund order LK-12345?", False),
        ("Shall I refund $45.00 for order LK-123456?", False),
        ("It cost $54.00. I can refund $45.00. Shall I refund that for order LK-12345?", True),
        ("Your order came to $45.00. Shall I refund $30.00 for order LK-12345?", False),
        ("You have LK-12345 and LK-67890. Shall I refund $45.00 for LK-67890?", False),
        ("For order LK-12345 that is $45.00. Shall I refund it?", True),
    ],
)
def test_a_confirmation_is_of_that_very_action(question: str, confirmed: bool) -> None:
    transcript = [MessageText(role="user", text="refund"), MessageText(role="assistant", text=question)]
    assert is_confirmed(TOOLS["refund_order"], ARGS, transcript, "yes") is confirmed


def test_closing_something_else_does_not_close_the_account() -> None:
    for question, confirmed in [("Shall I close your account?", True), ("Shall I close this ticket?", False)]:
        transcript = [MessageText(role="assistant", text=question)]
        assert is_confirmed(TOOLS["close_account"], {"reason": "x"}, transcript, "yes") is confirmed


def test_one_yes_is_for_one_action_however_it_is_worded(tmp_path: Path) -> None:
    def brain(who: str, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        if last_user(messages) != "yes":
            return says("Shall I refund $45.00 for order LK-12345?")
        n = len(results(messages))
        amount = ("45.00", "45.0", "45")[n % 3]
        return calls("refund_order", **{**ARGS, "amount_usd": amount, "reason": f"r{n}"}) if n < 3 else says("done")

    made = stand(tmp_path, thinking(brain, routes("order", "refund")))

    async def go() -> TurnResult:
        try:
            await made.say("refund it", "m1")
            return await made.say("yes", "m2")  # type: ignore[no-any-return]
        finally:
            await made.runtime.close()

    refused = [outcome.result.get("refused", "") for outcome in asyncio.run(go()).tools]
    assert [bool(each) for each in refused] == [False, True, True]
    assert refused[1] == "done already: one yes is for one action"
    assert len(made.shop.effects("refund_order")) == 1


def test_every_tool_that_cannot_be_undone_has_a_question_and_every_undo_a_tool() -> None:
    for tool in TOOLS.values():
        assert bool(tool.asks) == (tool.risk == "irreversible"), tool.name
        assert tool.undo is None or tool.undo.tool in TOOLS
        assert "user_id" not in tool.schema["properties"]
        assert tool.schema["additionalProperties"] is False
