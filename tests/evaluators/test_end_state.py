"""End states, post-conditions and the language they are written in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InvalidInput, TooLarge
from core.records import TargetKind
from evaluators.catalogue import find
from evaluators.records import Expected, Message, Reason, Score, Scored, Target, ToolCall, Trajectory, Unscored
from evaluators.rules import conditions
from evaluators.rules.condition_text import ROOTS as ROOT_NAMES
from evaluators.rules.condition_text import parse, roots_of
from evaluators.rules.end_state import differences
from tests.thorough import often

STATE = {
    "orders": {
        "W1": {"status": "cancelled", "items": [{"id": "a", "price": 10}, {"id": "b", "price": 30.5}]},
        "W2": {"status": "pending", "items": [], "note": None},
    },
    "balance": -3,
    "tags": ["vip", "new"],
    "open": True,
}
CALLS = (
    ToolCall(name="get_order", arguments={"order_id": "W1"}, result={"status": "pending"}),
    ToolCall(name="refund_order", arguments={"order_id": "W1", "amount": 40.5}, error="timeout"),
    ToolCall(name="refund_order", arguments={"order_id": "W1", "amount": 40.5}, result={"ok": True}),
)
ROOTS: dict[str, Any] = {
    "state": STATE,
    "calls": conditions.Calls(CALLS),
    "answer": "Your order W1 is Cancelled.",
    "said": "Hello.\n\nYour order W1 is Cancelled.",
}


@pytest.mark.parametrize(
    ("text", "true"),
    [
        ('state.orders["W1"].status == "cancelled"', True),
        ("state.orders.W1.status == 'pending'", False),
        ("state.orders.W1.status != 'pending'", True),
        ("state.balance >= 0", False),
        ("state.balance == -3 and state.open", True),
        ("state.balance", False),  # a number is no condition
        ("not state.open or state.balance < 0", True),
        ("not (state.open or state.balance < 0)", False),
        ("true or false and false", True),  # and binds tighter
        ("state.orders.W9.status == null", True),
        ("exists(state.orders.W9)", False),
        ("exists(state.orders.W2.note)", False),  # null is as absent
        ("exists(state.orders.W2.status)", True),
        ("count(state.orders) == 2", True),
        ("count(state.orders[*]) == 2", True),
        ("count(state.orders[*].items[*]) == 2", True),
        ('count(state.orders[*][? @.status == "pending"]) == 0', True),  # orders have no member with a status
        ('count(state.orders[? @.status == "pending"]) == 1', True),
        ("count(state.orders[*].items[? @.price > 20]) == 1", True),
        ("count(state.orders[? exists(@.items[? @.price > 20])]) == 1", True),
        ("state.orders.W1.items[0].id == 'a' and state.orders.W1.items[-1].id == 'b'", True),
        ("exists(state.orders.W1.items[7])", False),
        ("'b' in state.orders[*].items[*].id", True),
        ("state.tags contains 'vip'", True),
        ("'W1' in state.orders", True),
        ("answer contains 'cancelled'", True),
        ("said contains 'hello' and not answer contains 'hello'", True),
        ("count(calls) == 3", True),
        ("count(calls[*]) == 3", True),
        ("count(calls.refund_order) == 2", True),
        ("count(calls.delete_account) == 0", True),
        ("count(calls.refund_order[? @.error == null]) <= 1", True),
        ("calls.refund_order[0].arguments.amount == 40.5", True),
        ("calls[*].name contains 'get_order'", True),
        ("calls.get_order[0].result.status == 'pending'", True),
        ("state.open == 1", False),
        ("state.open > 0", False),
        ("state.tags[0] < 'zzz'", True),
        ("state.balance < 'a'", False),
        ('"say \\"hi\\"" == \'say "hi"\'', True),
        ("1e3 == 1000 and -2 < -1", True),
    ],
)
def test_conditions(text: str, true: bool) -> None:
    assert conditions.holds(parse(text), ROOTS) is true


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "character 1"),
        ("state.a ==", "character 11: expected a value"),
        ("state.a = 1", "character 9"),
        ("state.a == 1 2", "character 14: expected the end"),
        ("os.system('x')", "expected a value or a path from state"),
        ("__import__('os')", "expected a value or a path"),
        ("count(1)", "expected a value or a path"),
        ("(state.a", "expected ')'"),
        ("state[", "expected an index"),
        ("state[1.5]", "expected an index"),
        ("state.", "expected a name after the dot"),
        ("'open", "cannot be read at character 1"),
        ("state.a == 1; drop", "cannot be read"),
        ("(" * 200 + "true" + ")" * 200, "nested too deep"),
        ("not " * 200 + "true", "nested too deep"),
        ("true " + "or true " * 1000, "at most 2000 characters"),
    ],
)
def test_what_is_no_condition_says_where(text: str, said: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        parse(text)
    assert said in str(raised.value)
    assert raised.value.field == "post_conditions"


def test_a_condition_looks_at_a_bounded_number_of_members() -> None:
    looks_often = parse("exists(state.a[? count(state.a[*]) == 1])")
    compares_often = parse("count(state.a[? @ in state.a]) == 0")
    for condition, members in ((looks_often, [[at] for at in range(2000)]), (compares_often, [[0] * 99] * 2500)):
        with pytest.raises(TooLarge):
            conditions.holds(condition, {"state": {"a": members}, "calls": {}, "answer": "", "said": ""})


@settings(max_examples=often(300, 75), deadline=None)
@given(st.text(alphabet="state.calls[]()?@*'\"=<>! andornotcountexists019\\", max_size=40))
def test_any_text_is_a_condition_or_invalid(text: str) -> None:
    try:
        found = parse(text)
    except InvalidInput:
        return
    assert isinstance(conditions.holds(found, ROOTS), bool)
    assert roots_of(found) <= {*ROOT_NAMES, "@"}


def _scored(name: str, expected: Expected, *, state: dict[str, Any] | None = STATE, said: str | None = "ok") -> Scored:
    messages = () if said is None else (Message(role="assistant", text=said),)
    trajectory = Trajectory(messages=messages, tool_calls=CALLS, end_state=state)
    return find(name).evaluate(Target(kind=TargetKind.EXAMPLE, trajectory=trajectory, expected=expected))


def test_conditions_that_do_not_hold_are_named() -> None:
    found = _scored("post_conditions", Expected(post_conditions=("state.open", "state.balance >= 0")))
    assert isinstance(found, Score)
    assert (found.value, found.passed) == (0.0, False)
    assert found.explanation == "does not hold: state.balance >= 0"
    assert found.parts == {"broken": ["state.balance >= 0"], "n_held": 1, "n_conditions": 2}
    held = _scored("post_conditions", Expected(post_conditions=("state.open",)))
    assert isinstance(held, Score)
    assert held.value == 1.0


def test_conditions_on_what_is_not_there_are_unscored_not_broken() -> None:
    on_state = Expected(post_conditions=("not exists(state.x)",))
    on_calls = Expected(post_conditions=("count(calls) == 3",))
    on_answer = Expected(post_conditions=("answer contains 'x'",))
    found = _scored("post_conditions", on_state, state=None)
    assert isinstance(found, Unscored)
    assert found.reason is Reason.NOT_RECORDED
    assert isinstance(_scored("post_conditions", on_calls, state=None, said=None), Score)
    assert isinstance(_scored("post_conditions", on_answer, said=None), Unscored)
    wrong = _scored("post_conditions", Expected(post_conditions=("state.a ==",)))
    assert isinstance(wrong, Unscored)
    assert "character" in wrong.detail


def test_a_state_is_compared_at_each_key_that_is_expected() -> None:
    expected = {"balance": 5, "tags": ["vip"], "orders": {"W1": STATE["orders"]["W1"], "W2": {"status": "pending"}}}  # type: ignore[index]
    assert list(differences(expected, STATE)) == [
        {"path": "balance", "kind": "changed", "expected": 5, "found": -3},
        {"path": "orders.W2.items", "kind": "extra", "expected": None, "found": "[]"},
        {"path": "tags[1]", "kind": "extra", "expected": None, "found": "new"},
    ]
    assert list(differences({"gone": {"a": 1}}, STATE)) == [
        {"path": "gone", "kind": "missing", "expected": "{'a': 1}", "found": None}
    ]
    assert not list(differences({}, STATE))
    assert not list(differences({"balance": -3.0, "gone": None}, STATE))


def test_the_end_state_passes_or_shows_its_differences() -> None:
    right = _scored("end_state", Expected(end_state={"open": True}))
    assert isinstance(right, Score)
    assert (right.value, right.passed, right.parts["diff"]) == (1.0, True, [])
    wrong = _scored("end_state", Expected(end_state={"open": False, "balance": 0}))
    assert isinstance(wrong, Score)
    assert wrong.explanation == "differs at balance, open"
    assert wrong.parts["n_differences"] == 2
    unknown = _scored("end_state", Expected(end_state={"open": True}), state=None)
    assert isinstance(unknown, Unscored)
    assert unknown.reason is Reason.NOT_RECORDED
    assert isinstance(_scored("end_state", Expected()), Unscored)
