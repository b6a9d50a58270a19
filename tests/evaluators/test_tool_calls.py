"""Tool calls against gold: cases worked by hand, and real trajectories of tau-bench."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.evaluators.recorded import TAU_BENCH, tau_bench
from core.errors import InvalidInput
from core.records import TargetKind
from evaluators.catalogue import find
from evaluators.records import Expected, Reason, Score, Scored, Target, ToolCall, Trajectory, Unscored
from evaluators.rules.comparators import COMPARATORS, arguments_equal, check, comparator
from evaluators.rules.matching import MOST_PAIRS, in_order, longest_common, matched
from evaluators.rules.tool_use import find_loop, recovered, redundant
from evaluators.rules.writes import writes
from tests.thorough import often


def call(name: str, *, error: str | None = None, **arguments: Any) -> ToolCall:
    return ToolCall(name=name, arguments=arguments, error=error)


def scored(
    name: str, made: list[ToolCall], gold: list[ToolCall] | None, comparators: Mapping[str, str] | None = None
) -> Scored:
    expected = Expected(tool_calls=None if gold is None else tuple(gold), comparators=comparators or {})
    target = Target(kind=TargetKind.EXAMPLE, trajectory=Trajectory(tool_calls=tuple(made)), expected=expected)
    return find(name).evaluate(target)


def value(name: str, made: list[ToolCall], gold: list[ToolCall] | None, comparators: Any = None) -> float:
    found = scored(name, made, gold, comparators)
    assert isinstance(found, Score), found
    return found.value


A, B, C, D = (
    call("get_user", user="u1"),
    call("get_order", order="W1"),
    call("refund_order", order="W1", amount=5),
    call("x"),
)
ALL = ("tool_calls_exact", "tool_calls_in_order", "tool_calls_any_order", "tool_precision", "tool_recall", "tool_f1")


@pytest.mark.parametrize(
    ("made", "gold", "values"),
    [
        ([A, B, C], [A, B, C], (1, 1, 1, 1, 1, 1)),
        ([A, B, C, D], [A, B, C], (0, 1, 1, 3 / 4, 1, 6 / 7)),
        ([B, A, C], [A, B, C], (0, 0, 1, 1, 1, 1)),
        ([A], [A, B], (0, 0, 0, 1, 1 / 2, 2 / 3)),
        ([A, A], [A], (0, 1, 1, 1 / 2, 1, 2 / 3)),
        ([A], [A, A], (0, 0, 0, 1, 1 / 2, 2 / 3)),
        ([], [A], (0, 0, 0, 0, 0, 0)),
        ([], [], (1, 1, 1, 1, 1, 1)),
        ([A], [], (0, 1, 1, 0, 1, 0)),
    ],
)
def test_calls_against_gold(made: list[ToolCall], gold: list[ToolCall], values: tuple[float, ...]) -> None:
    assert tuple(value(name, made, gold) for name in ALL) == pytest.approx(values, abs=1e-15)


@pytest.mark.parametrize("name", [*ALL, "tool_names_f1", "tool_order", "argument_match", "write_set", "write_f1"])
def test_without_gold_calls_there_is_no_score(name: str) -> None:
    found = scored(name, [A], None)
    assert isinstance(found, Unscored)
    assert found.reason is Reason.NOT_EXPECTED


def test_the_first_difference_is_told() -> None:
    found = scored("tool_calls_exact", [A, call("get_order", order="W2")], [A, B])
    assert isinstance(found, Score)
    assert found.explanation == "call 2: expected get_order, found get_order with other arguments"
    assert found.parts == {"first_difference": 1}


def test_names_and_order_alone() -> None:
    assert value("tool_names_f1", [call("get_order", order="other"), D], [B]) == pytest.approx(2 / 3)
    assert value("tool_order", [C, A, B], [A, B, C]) == pytest.approx(2 / 3)
    assert value("single_tool_use", [D, B], [call("get_order")]) == 1.0
    assert value("single_tool_use", [D], [call("get_order")]) == 0.0
    assert isinstance(scored("single_tool_use", [D], [A, B]), Unscored)


def test_arguments_are_matched_one_by_one_in_the_best_pairing() -> None:
    gold = [call("pay", user="a", amount=1), call("pay", user="b", amount=2)]
    made = [call("pay", user="b", amount=3), call("pay", user="a", amount=1)]
    assert value("argument_match", made, gold) == pytest.approx(3 / 4)  # 2 of 2 and 1 of 2
    assert value("argument_match", made[:1], gold) == pytest.approx(1 / 4)
    assert value("argument_match", [call("pay", user="a", amount=1, note="x")], gold[:1]) == pytest.approx(2 / 3)
    assert isinstance(scored("argument_match", made, []), Unscored)


@pytest.mark.parametrize(
    ("chosen", "gold", "found", "equal"),
    [
        ("exact", 1, 1.0, True),
        ("exact", 1, True, False),
        ("exact", "1", 1, False),
        ("exact", {"a": [1], "b": None}, {"b": None, "a": [1.0]}, True),
        ("exact", None, None, True),
        ("ignore_case", " Red  Shoes. ", "red shoes", True),
        ("ignore_case", "red", "blue", False),
        ("ignore_case", 3, 3, True),
        ("number", 5, "$5.00", True),
        ("number", "1,200", 1200.0, True),
        ("number", 5, "five", False),
        ("number:0.5", 10, 10.5, True),
        ("number:0.5", 10, 10.51, False),
        ("number:1%", 200, 202, True),
        ("number:1%", 200, 202.1, False),
        ("number", 0.1 + 0.2, 0.30000000000000004, True),
        ("date", "2024-05-20", "2024-05-20T14:00:00Z", True),
        ("date", "2024-05-20", "May 20, 2024", True),
        ("date", "2024-05-20T12:00:00Z", "2024-05-20T14:00:00+02:00", True),
        ("date", "2024-05-20T12:00:00Z", "2024-05-20T14:00:00Z", False),
        ("date", "2024-05-20", "2024-05-21", False),
        ("date", "2024-05-20", "soon", False),
        ("unordered", [1, 2, 2], [2, 1, 2], True),
        ("unordered", [1, 2, 2], [2, 1, 1], False),
        ("set", [1, 2, 2], [2, 1], True),
        ("set", [1, 2], [1], False),
        ("subset", [1], [1, 2], True),
        ("subset", {"a": 1}, {"a": 1, "b": 2}, True),
        ("subset", {"a": 1}, {"a": 2}, False),
        ("subset", [3], [1, 2], False),
        ("any", 1, "whatever", True),
        ("regex", "W[0-9]+", "W123", True),
        ("regex", "W[0-9]+", "W123x", False),
    ],
)
def test_comparators(chosen: str, gold: Any, found: Any, equal: bool) -> None:
    assert comparator(chosen)(gold, found) is equal
    by_tool = arguments_equal(call("t", x=gold), call("t", x=found), {"t.x": chosen})
    assert by_tool is equal
    assert arguments_equal(call("t", x=gold), call("t", x=found), {"x": chosen}) is equal
    assert arguments_equal(call("t", x=gold), call("t", x=found), {"other.x": "any"}) is comparator("exact")(
        gold, found
    )


def test_what_gold_does_not_name_is_a_difference_and_null_is_as_absent() -> None:
    assert not arguments_equal(call("t"), call("t", x=1), {})
    assert not arguments_equal(call("t", x=1), call("t"), {})
    assert arguments_equal(call("t", x=None), call("t"), {})
    assert arguments_equal(call("t"), call("t", x=1), {"t.x": "any"})
    assert arguments_equal(call("t", x=1), call("t"), {"x": "any"})


@pytest.mark.parametrize("wrong", ["nearly", "exact:2", "number:much", "number:-1", "", "number:%"])
def test_an_unknown_comparator_is_told_and_leaves_unscored(wrong: str) -> None:
    with pytest.raises(InvalidInput):
        check({"x": wrong})
    if wrong:
        found = scored("tool_f1", [call("t", x=1)], [call("t", x=1)], {"t.x": wrong})
        assert isinstance(found, Unscored)
        assert found.reason is Reason.UNREADABLE


def test_all_comparators_are_in_the_docs() -> None:
    from pathlib import Path

    page = (Path(__file__).resolve().parents[2] / "docs" / "evaluators.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in COMPARATORS)


_SMALL = st.lists(st.builds(call, st.sampled_from("ab"), n=st.integers(0, 4)), max_size=5)


@settings(max_examples=often(80, 20), deadline=None)
@given(gold=_SMALL, made=_SMALL)
def test_the_pairing_is_the_largest_there_is(gold: list[ToolCall], made: list[ToolCall]) -> None:
    """With a comparator that is no equivalence a greedy pairing would miss some: all are tried here."""
    near = {"n": "number:1"}
    padded = made + [call("nothing")] * max(0, len(gold) - len(made))
    best = max(
        sum(arguments_equal(one, other, near) for one, other in zip(gold, order, strict=True))
        for order in permutations(padded, len(gold))
    )
    assert matched(gold, made, near).n_matched == best
    assert longest_common(gold, made, near) <= best
    assert in_order(gold, made, near) == (longest_common(gold, made, near) == len(gold))


def test_too_many_pairs_are_not_compared() -> None:
    many = [call("t", x=str(at)) for at in range(int(MOST_PAIRS**0.5) + 1)]
    found = scored("tool_f1", many, many, {"t.x": "ignore_case"})
    assert isinstance(found, Unscored)
    assert found.reason is Reason.TOO_LARGE
    assert value("tool_f1", many, many) == 1.0  # equal arguments are only counted


# --- writes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("cancel_reservation", True),
        ("updateOrder", True),
        ("orders.create", True),
        ("mcp__shop__refund_order", True),
        ("send-mail", True),
        ("get_order", False),
        ("search_direct_flight", False),
        ("transfer_to_human_agents", False),
        ("transfer_money", True),
        ("list_updates", False),
        ("", False),
        ("calculate", False),
    ],
)
def test_which_tools_are_taken_to_write(name: str, write: bool) -> None:
    assert writes(name) is write


def test_writes_are_compared_as_a_multiset_without_failed_ones() -> None:
    failed = call("refund_order", error="no", order="W1", amount=7)
    assert value("write_set", [A, failed, C], [A, B, C]) == 1.0
    assert value("write_set", [C, C], [C]) == 0.0
    assert value("write_set", [A], [A]) == 1.0
    assert value("write_f1", [C, C], [C]) == pytest.approx(2 / 3)
    found = scored("write_set", [A, call("cancel_order", order="W1")], [B, C])
    assert isinstance(found, Score)
    assert found.explanation == "expected refund_order; made cancel_order; 0 of 1 as expected"
    assert found.parts["made"] == ["cancel_order"]


def test_declared_write_tools_are_the_ones_that_count() -> None:
    expected = Expected(tool_calls=(call("x", n=1),), write_tools=("x",))
    made = Trajectory(tool_calls=(C, call("x", n=1)))
    found = find("write_set").evaluate(Target(kind=TargetKind.EXAMPLE, trajectory=made, expected=expected))
    assert isinstance(found, Score)
    assert found.value == 1.0


# --- use without gold -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "loop"),
    [
        ("abcabd", None),
        ("aab", None),
        ("xaaab", (1, 1, 3)),
        ("abababc", (0, 2, 3)),
        ("xabcdabcdabcd", (1, 4, 3)),
        ("abcdeabcdeabcde", None),  # a block of five is longer than what is looked for
        ("aaaaaa", (0, 1, 6)),
        ("", None),
    ],
)
def test_loops(keys: str, loop: tuple[int, int, int] | None) -> None:
    assert find_loop(keys) == loop


def test_a_call_is_redundant_when_it_succeeded_before_and_nothing_was_written_since() -> None:
    assert redundant([A, B, A]) == [2]
    assert redundant([B, C, B]) == []
    assert redundant([call("get_order", error="timeout", order="W1"), B]) == []
    assert redundant([C, C]) == [1]


def test_recovery_looks_at_the_last_call_of_a_tool_that_failed() -> None:
    failed = call("get_order", error="timeout", order="W1")
    assert recovered([failed, B]) == (1, 1)
    assert recovered([B, failed]) == (0, 1)
    assert recovered([failed, B, call("x", error="no")]) == (1, 2)
    assert value("tool_error_rate", [failed, B], None) == 0.5
    assert isinstance(scored("recovery_rate", [B], None), Unscored)
    assert isinstance(scored("tool_error_rate", [], None), Unscored)


# --- real trajectories ----------------------------------------------------------------------------------------------


@pytest.mark.skipif(not TAU_BENCH.exists(), reason="the data folder beside the repository is not here")
def test_a_real_trajectory_worked_by_hand() -> None:
    """Task 0 of tau-bench: one booking is expected. Trial 0 booked otherwise, and looked up before it."""
    first = tau_bench()[0]
    target = first.target
    assert target.expected is not None
    assert [one.name for one in target.expected.tool_calls or ()] == ["book_reservation"]
    made = target.trajectory.tool_calls
    n_books = sum(one.name == "book_reservation" and one.error is None for one in made)
    found = find("tool_recall").evaluate(target)
    assert isinstance(found, Score)
    assert found.parts == {"n_matched": 0, "n_made": len(made), "n_gold": 1}
    write_set = find("write_set").evaluate(target)
    assert isinstance(write_set, Score)
    assert write_set.value == 0.0
    assert write_set.parts["n_made"] == n_books
    assert not first.passed
