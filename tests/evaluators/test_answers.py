"""Answers, JSON and schemas: cases worked by hand."""

from __future__ import annotations

from typing import Any

import pytest

from core.records import TargetKind
from evaluators.catalogue import find
from evaluators.records import Expected, Message, Reason, Score, Scored, Target, ToolCall, Trajectory, Unscored
from evaluators.rules.schema import TOOL_SCHEMAS


def scored(name: str, answer: str | None, expected: Expected | None = None, *calls: ToolCall) -> Scored:
    messages = () if answer is None else (Message(role="user", text="?"), Message(role="assistant", text=answer))
    trajectory = Trajectory(messages=messages, tool_calls=calls)
    return find(name).evaluate(Target(kind=TargetKind.TURN, trajectory=trajectory, expected=expected))


def value(name: str, answer: str, expected: Expected | None = None, *calls: ToolCall) -> float:
    found = scored(name, answer, expected, *calls)
    assert isinstance(found, Score), found
    return found.value


@pytest.mark.parametrize(
    ("answer", "right", "fits"),
    [
        ("Paris", ("Paris",), 1),
        ("  paris. ", ("Paris",), 1),
        ("**Paris**", ("paris",), 1),
        ("It is Paris", ("Paris",), 0),
        ("$1,234.50", ("1234.5",), 1),
        ("1234.5", ("1,234.50 %",), 1),
        ("1234.51", ("1,234.50",), 0),
        ("ＰＡＲＩＳ", ("paris",), 1),
        ("Lyon", ("Paris", "lyon"), 1),
        ("", ("Paris",), 0),
    ],
)
def test_answer_match(answer: str, right: tuple[str, ...], fits: float) -> None:
    assert value("answer_match", answer, Expected(answers=right)) == fits
    assert value("answer_match", answer, Expected(answer=right[0], answers=right[1:])) == fits


@pytest.mark.parametrize(
    ("said", "pieces", "share"),
    [
        ("Your refund of $1,628.00 is on its way", ("1628",), 1),
        ("Your refund of 11628 is on its way", ("1628",), 0),
        ("The total is 327.", ("327", "23553"), 0.5),
        ("The order W123 is shipped", ("w123",), 1),
        ("The order W1234 is shipped", ("w123",), 0),
        ("we cancelled it", ("cancel",), 0),
        ("order  W1\nshipped", ("order w1 shipped",), 1),
        ("退款已完成", ("退款",), 1),
    ],
)
def test_answer_contains(said: str, pieces: tuple[str, ...], share: float) -> None:
    assert value("answer_contains", said, Expected(contains=pieces)) == share


def test_what_was_not_said_is_named() -> None:
    found = scored("answer_contains", "nothing", Expected(contains=("327", "yes")))
    assert isinstance(found, Score)
    assert found.explanation == "not said: 327, yes"
    assert found.passed is False


@pytest.mark.parametrize(
    ("answer", "right", "chosen", "fits"),
    [
        ("That makes 42 dollars", "42", None, 1),
        ("between 40 and 42", "42.0", None, 1),
        ("41.9", "42", None, 0),
        ("41.9", "42", "number:1%", 1),
        ("3 items for $12.50", "3 items, 12.5 dollars", None, 1),
        ("3 items", "3 items, 12.5 dollars", None, 0),
        ("no idea", "42", None, 0),
    ],
)
def test_answer_number(answer: str, right: str, chosen: str | None, fits: float) -> None:
    expected = Expected(answer=right, comparators={"answer": chosen} if chosen else {})
    assert value("answer_number", answer, expected) == fits


def test_an_expected_answer_without_a_number_is_not_compared_by_number() -> None:
    found = scored("answer_number", "42", Expected(answer="many"))
    assert isinstance(found, Unscored)
    assert found.reason is Reason.NOT_EXPECTED


def test_answer_f1_is_over_words() -> None:
    assert value("answer_f1", "the cat sat", Expected(answer="the cat sat")) == 1
    assert value("answer_f1", "the cat", Expected(answer="The cat sat!")) == pytest.approx(2 * 2 / 5)
    assert value("answer_f1", "dog", Expected(answers=("cat", "a dog"))) == pytest.approx(2 / 3)
    assert value("answer_f1", "dog", Expected(answer="cat")) == 0


@pytest.mark.parametrize(
    "name", ["answer_match", "answer_f1", "answer_contains", "answer_number", "json_valid", "schema_valid"]
)
def test_who_never_spoke_is_not_scored(name: str) -> None:
    expected = Expected(answer="4", contains=("4",), json_schema={"type": "object"})
    found = scored(name, None, expected)
    assert isinstance(found, Unscored)
    assert found.reason is Reason.NOT_RECORDED


@pytest.mark.parametrize(("recorded", "score"), [(1.0, 1.0), (0.2, 1.0), (0.0, 0.0), (-1.0, 0.0)])
def test_the_outcome_is_above_zero_or_not(recorded: float, score: float) -> None:
    target = Target(kind=TargetKind.SESSION, trajectory=Trajectory(outcome=recorded))
    found = find("outcome").evaluate(target)
    assert isinstance(found, Score)
    assert (found.value, found.passed) == (score, score == 1.0)


def test_an_outcome_that_nobody_told_is_unscored() -> None:
    found = find("outcome").evaluate(Target(kind=TargetKind.SESSION, trajectory=Trajectory()))
    assert isinstance(found, Unscored)
    assert found.reason is Reason.NOT_RECORDED


# --- JSON and schemas -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "valid"),
    [
        ('{"a": 1}', 1),
        ('```json\n{"a": 1}\n```', 1),
        ("3", 1),
        ('{"a": NaN}', 0),
        ("{'a': 1}", 0),
        ('Here: {"a": 1}', 0),
        ("", 0),
        ("[" * 100_000, None),
    ],
)
def test_json_valid(answer: str, valid: float | None) -> None:
    found = scored("json_valid", answer)
    if valid is None:
        assert isinstance(found, Unscored)
        assert found.reason is Reason.TOO_LARGE
    else:
        assert isinstance(found, Score)
        assert found.value == valid


SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["order_id", "items"],
    "properties": {
        "order_id": {"type": "string", "pattern": "^W[0-9]+$"},
        "items": {"type": "array", "uniqueItems": True, "items": {"type": "integer", "minimum": 1}},
    },
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("answer", "violation"),
    [
        ('{"order_id": "W1", "items": [1, 2]}', None),
        ('{"order_id": "W1"}', "$: 'items' is a required property"),
        ('{"order_id": "X1", "items": []}', "$.order_id: 'X1' does not match '^W[0-9]+$'"),
        ('{"order_id": "W1", "items": [1, 1]}', "$.items: its members are not all different"),
        ('{"order_id": "W1", "items": [0]}', "$.items[0]: 0 is less than the minimum of 1"),
        ('{"order_id": "W1", "items": [], "x": 1}', "$: Additional properties are not allowed ('x' was unexpected)"),
        ("no", "no JSON: Expecting value: line 1 column 1 (char 0)"),
    ],
)
def test_schema_valid(answer: str, violation: str | None) -> None:
    found = scored("schema_valid", answer, Expected(json_schema=SCHEMA))
    assert isinstance(found, Score)
    assert found.value == float(violation is None)
    assert found.parts == ({} if violation is None else {"violations": [violation]})


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"$ref": "http://127.0.0.1:9/schema.json"},
        {"$ref": "file:///etc/passwd"},
        {"patternProperties": {"(a+)+$": {}}},
        {"properties": {"a": {"patternProperties": {}}}},
        {"pattern": "(?=a)"},
    ],
)
def test_a_schema_that_cannot_be_used_leaves_unscored_and_fetches_nothing(schema: dict[str, Any]) -> None:
    found = scored("schema_valid", '"aaaa"', Expected(json_schema=schema))
    assert isinstance(found, Unscored)
    assert found.reason is Reason.UNREADABLE


def _doubling() -> dict[str, Any]:
    """Twenty-five definitions, each of the next one twice: 33 million steps."""
    twice = {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(25)}
    return {"$ref": "#/$defs/a0", "$defs": {**twice, "a25": {"type": "object"}}}


def _nested(depth: int) -> dict[str, Any]:
    return {"not": _nested(depth - 1)} if depth else {"type": "object"}


@pytest.mark.parametrize(
    "schema", [_doubling(), {"$ref": "#"}, {"not": {"$ref": "#"}}, {"allOf": [{"$ref": "#"}] * 2}, _nested(300)]
)
def test_a_schema_without_end_is_too_large(schema: dict[str, Any]) -> None:
    found = scored("schema_valid", "{}", Expected(json_schema=schema))
    assert isinstance(found, Unscored)
    assert found.reason is Reason.TOO_LARGE


def test_a_pattern_takes_linear_time_and_members_are_compared_in_linear_time() -> None:
    assert value("schema_valid", f'"{"a" * 50_000}!"', Expected(json_schema={"pattern": "^(a+)+$"})) == 0
    objects = ",".join(f'{{"a":{at}}}' for at in range(40_000))
    assert value("schema_valid", f"[{objects}]", Expected(json_schema={"uniqueItems": True})) == 1


def test_arguments_of_tools_are_held_to_their_schemas() -> None:
    expected = Expected(json_schema={TOOL_SCHEMAS: {"refund": {"required": ["amount"]}}})
    right, wrong = ToolCall(name="refund", arguments={"amount": 1}), ToolCall(name="refund", span_id="s1")
    found = scored("tool_arguments_valid", "ok", expected, right, wrong, ToolCall(name="other"))
    assert isinstance(found, Score)
    assert (found.value, found.span_id) == (0.5, "s1")
    assert found.explanation == "refund: $: 'amount' is a required property"
    assert isinstance(scored("tool_arguments_valid", "ok", expected, ToolCall(name="other")), Unscored)
    assert isinstance(scored("schema_valid", "{}", expected), Unscored)
