"""The alignment of two trajectories: properties over random ones, and what a reader is shown of them."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators.alignment import (
    GAP,
    MOST_STEPS,
    Difference,
    Match,
    Row,
    Step,
    StepKind,
    align,
    steps_of,
)
from evaluators.records import Message, ModelCall, ToolCall, Trajectory
from tests.thorough import often

_TOOLS = st.builds(
    lambda name, arguments, result: Step(kind=StepKind.TOOL, name=name, arguments=arguments, result=result),
    st.sampled_from(["get_order", "refund_order", "search"]),
    st.dictionaries(st.sampled_from(["order_id", "amount", "query"]), st.integers(0, 3), max_size=3),
    st.sampled_from([None, "ok", {"n": 1}]),
)
_MESSAGES = st.builds(
    lambda kind, text: Step(kind=kind, text=text),
    st.sampled_from([StepKind.USER, StepKind.ASSISTANT]),
    st.sampled_from(["yes", "no", "please refund order 7", "please refund order 8"]),
)
_MODELS = st.builds(lambda name: Step(kind=StepKind.MODEL, name=name), st.sampled_from(["small", "large"]))
_STEPS = st.lists(st.one_of(_TOOLS, _MESSAGES, _MODELS), max_size=14)
_QUICK = settings(max_examples=often(150, 37), deadline=None)
_TURNED = {
    Match.EQUAL: Match.EQUAL,
    Match.CHANGED: Match.CHANGED,
    Match.ONLY_A: Match.ONLY_B,
    Match.ONLY_B: Match.ONLY_A,
}


@_QUICK
@given(_STEPS)
def test_the_same_steps_are_equal_row_by_row(steps: list[Step]) -> None:
    found = align(steps, list(steps))
    assert [row.match for row in found.rows] == [Match.EQUAL] * len(steps)
    assert (found.first_difference, found.first_divergence, found.cost) == (None, None, 0.0)


@_QUICK
@given(_STEPS, _STEPS)
def test_exchanged_sides_give_the_same_rows_exchanged(a: list[Step], b: list[Step]) -> None:
    def turned(row: Row) -> tuple[object, ...]:
        return (_TURNED[row.match], row.b, row.a, tuple((each.path, each.b, each.a) for each in row.differences))

    def plain(row: Row) -> tuple[object, ...]:
        return (row.match, row.a, row.b, tuple((each.path, each.a, each.b) for each in row.differences))

    there, back = align(a, b), align(b, a)
    assert there.cost == back.cost
    paired = [plain(row) for row in there.rows if row.a and row.b]
    assert sorted(map(repr, paired)) == sorted(repr(turned(row)) for row in back.rows if row.a and row.b)
    assert there.count(Match.ONLY_A) == back.count(Match.ONLY_B)


@_QUICK
@given(_STEPS, _STEPS)
def test_every_step_of_both_sides_is_shown_once_and_in_order(a: list[Step], b: list[Step]) -> None:
    found = align(a, b)
    assert [row.a for row in found.rows if row.a] == a
    assert [row.b for row in found.rows if row.b] == b
    for row in found.rows:
        if row.a and row.b:
            assert row.a.kind is row.b.kind
            assert row.a.kind is not StepKind.TOOL or row.a.name == row.b.name
            assert (row.match is Match.EQUAL) == (not row.differences)


@_QUICK
@given(_STEPS, st.one_of(_TOOLS, _MESSAGES, _MODELS), st.data())
def test_one_step_more_is_the_one_row_that_differs(steps: list[Step], more: Step, data: st.DataObject) -> None:
    where = data.draw(st.integers(0, len(steps)))
    longer = [*steps[:where], more, *steps[where:]]
    found = align(steps, longer)
    others = [row for row in found.rows if row.match is not Match.EQUAL]
    assert [row.match for row in others] == [Match.ONLY_B]
    assert others[0].b == more
    assert found.cost == GAP


@_QUICK
@given(_STEPS, _STEPS)
def test_no_alignment_is_cheaper(a: list[Step], b: list[Step]) -> None:
    """Against the plain recursion over the same costs."""
    from evaluators.alignment import _costs, _key

    a, b = a[:7], b[:7]
    if not a or not b:
        return
    costs = _costs(a, b, [_key(step) for step in a], [_key(step) for step in b])
    best = [[0.0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i in range(len(a) + 1):
        for j in range(len(b) + 1):
            ways = [best[i - 1][j] + GAP] if i else []
            ways += [best[i][j - 1] + GAP] if j else []
            ways += [best[i - 1][j - 1] + float(costs[i - 1, j - 1])] if i and j else []
            best[i][j] = min(ways, default=0.0)
    assert abs(align(a, b).cost - best[-1][-1]) < 1e-9


def test_arguments_are_compared_one_by_one() -> None:
    before = Step(kind=StepKind.TOOL, name="refund", arguments={"order": {"id": 7, "items": [1]}, "usd": "45.00"})
    after = Step(kind=StepKind.TOOL, name="refund", arguments={"order": {"id": 8, "items": [1]}, "why": "dented"})
    (row,) = align([before], [after]).rows
    assert row.match is Match.CHANGED
    assert row.differences == (
        Difference(path="arguments.order.id", a=7, b=8),
        Difference(path="arguments.usd", a="45.00", b=None),
        Difference(path="arguments.why", a=None, b="dented"),
    )


def test_of_several_calls_of_one_tool_the_likest_are_paired() -> None:
    def look(order: str, by: str) -> Step:
        return Step(kind=StepKind.TOOL, name="get_order", arguments={"order_id": order, "by": by})

    a = [look("LK-1", "x")]
    b = [look("LK-9", "y"), look("LK-1", "y"), look("LK-8", "z")]
    found = align(a, b)
    assert [row.match for row in found.rows] == [Match.ONLY_B, Match.CHANGED, Match.ONLY_B]
    assert [each.path for each in found.rows[1].differences] == ["arguments.by"]


def test_the_divergence_is_where_something_else_is_done_not_said() -> None:
    def told(answer: str, amount: str) -> list[Step]:
        return [
            Step(kind=StepKind.USER, text="refund please"),
            Step(kind=StepKind.MODEL, name=answer),
            Step(kind=StepKind.ASSISTANT, text=answer),
            Step(kind=StepKind.TOOL, name="refund", arguments={"usd": amount}),
        ]

    other = align(told("Sure.", "45.00"), told("Of course.", "54.00"))
    assert (other.first_difference, other.first_divergence) == (1, 3)
    alike = align(told("Sure.", "45.00"), told("Of course.", "45.00"))
    assert (alike.first_difference, alike.first_divergence) == (1, 1)


def test_steps_stand_in_order_of_time_or_else_of_their_turn() -> None:
    def trajectory(timed: bool) -> Trajectory:
        def at(ns: int) -> int | None:
            return ns if timed else None

        return Trajectory(
            messages=(
                Message(role="user", text="hello", turn=0, at_ns=at(1)),
                Message(role="assistant", text="hi", turn=0, at_ns=at(9)),
            ),
            tool_calls=(ToolCall(name="search", turn=0, start_ns=at(4), end_ns=at(5)),),
            model_calls=(
                ModelCall(model="m", turn=0, start_ns=at(2)),
                ModelCall(model="m", turn=0, start_ns=at(7)),
            ),
        )

    timed = [step.kind.value for step in steps_of(trajectory(True))]
    assert timed == ["user", "model", "tool", "model", "assistant"]
    assert [step.kind.value for step in steps_of(trajectory(False))] == ["user", "model", "model", "tool", "assistant"]


def test_a_long_trajectory_is_aligned_up_to_the_limit_and_the_rest_counted() -> None:
    chance = Random(7)
    a = [Step(kind=StepKind.TOOL, name=f"t{chance.randrange(5)}", arguments={"n": n}) for n in range(MOST_STEPS + 30)]
    b = [step for step in a if chance.random() > 0.02]
    found = align(a, b[:500])
    assert found.left_off == (30, 0)
    assert [row.b for row in found.rows if row.b] == b[:500]
    assert found.count(Match.EQUAL) == 500
