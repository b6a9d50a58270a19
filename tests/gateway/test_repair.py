"""Structured output: what is mended, what is left alone, and that a hostile text or schema costs little."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import RepairConfig
from gateway.policies.json_fitting import fits
from gateway.policies.json_mending import MOST_CHARACTERS, mended
from gateway.policies.repair import Repair
from gateway.records import Answer, Call
from tests.gateway.policy_calls import answer_of, call_of

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
CONTAINERS = st.lists(VALUES, max_size=4) | st.dictionaries(st.text(max_size=5), VALUES, max_size=4)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('```json\n{"a": 1}\n```', {"a": 1}),
        ('Sure! Here it is: {"a": 1} I hope it helps.', {"a": 1}),
        ('{"a": [1, 2,], "b": {"c": 3,},}', {"a": [1, 2], "b": {"c": 3}}),
        ("{'a': 'it\\'s', 'b': \"x\"}", {"a": "it's", "b": "x"}),
        ("{'a': 'it's here'}", {"a": "it's here"}),
        ("{'a': True, 'b': None, 'c': False, 'd': NaN}", {"a": True, "b": None, "c": False, "d": None}),
        ('{"a": 1, // one\n "b": /* two */ 2 # three\n}', {"a": 1, "b": 2}),
        ('{a: 1, b_2: "x"}', {"a": 1, "b_2": "x"}),
        ('{"a": "he said "hi" to me"}', {"a": 'he said "hi" to me'}),
        ('{"a": "two\nlines\tand\\d"}', {"a": "two\nlines\tand\\d"}),
        ("{“a”: “b”}", {"a": "b"}),
        ('{"a": "http://x//y # no comment"}', None),  # is JSON already: see the next test
        ('{"a": [1, 2, {"b": "cut o', {"a": [1, 2, {"b": "cut o"}]}),
        ('{"a": 1, "b": 12', {"a": 1}),  # perhaps 125
        ('{"a": 1, "b": tr', {"a": 1}),
        ('{"a": 1, "b":', {"a": 1}),
        ('{"a": 1, "b', {"a": 1}),
        ('{"a": 1,', {"a": 1}),
        ('{"a": "x\\', {"a": "x"}),
        ("[", []),
        ('{"a": {', {"a": {}}),
    ],
)
def test_what_is_nearly_json_is_mended(text: str, value: Any) -> None:
    made = mended(text)
    assert made is not None
    if value is not None:
        assert json.loads(made) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I cannot do that.",
        '{"a": 1}{"a": 1}',
        '{"a": 1 "b": 2}',
        '{"a" "b"}',
        '{"a": 1]',
        "{1: 2}",
        '{"a": hello}',
        '{"a": 1,, "b": 2}',
        "[1 2]",
        '["a": 1]',
        "{" * 5000,
    ],
)
def test_what_is_not_clear_is_left_alone(text: str) -> None:
    assert mended(text) is None


@given(CONTAINERS)
def test_json_stays_what_it_is(value: Any) -> None:
    made = mended(json.dumps(value))
    assert made is not None
    assert json.loads(made) == value


@given(CONTAINERS, st.data())
def test_a_cut_answer_is_closed_into_a_part_of_itself(value: Any, data: st.DataObject) -> None:
    text = json.dumps(value)
    made = mended(text[: data.draw(st.integers(1, len(text)))])
    assert made is not None
    assert _is_part(json.loads(made), value)


def _is_part(part: Any, whole: Any) -> bool:
    if isinstance(part, list):
        return isinstance(whole, list) and all(_is_part(p, w) for p, w in zip(part, whole, strict=False))
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(k in whole and _is_part(v, whole[k]) for k, v in part.items())
    if isinstance(part, str):
        return isinstance(whole, str) and (whole.startswith(part) or "\\" in json.dumps(whole))
    return bool(part == whole)


@given(st.text(alphabet="{}[]:,\"'\\/#*“” \nabT1-.", max_size=60))
def test_whatever_comes_out_is_json(text: str) -> None:
    made = mended(text)
    if made is not None:
        json.loads(made)


@pytest.mark.parametrize(
    "piece", ["[", '{"a":', '"', "'", '{"a": "x" ', "\\", "/*", "//", '["', "['a' ", "[1,", "[" + " " * 50 + '"']
)
def test_a_hostile_text_takes_linear_time(piece: str) -> None:
    mended(("{" + piece * MOST_CHARACTERS)[:MOST_CHARACTERS])
    mended("[" + '"' + (piece * MOST_CHARACTERS)[: MOST_CHARACTERS - 2])
    assert mended("[" + piece * MOST_CHARACTERS) is None


# --- schemas --------------------------------------------------------------------------------------------------------

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": ["integer", "null"]},
        "kind": {"enum": ["a", "b", 1]},
        "friends": {"type": "array", "items": {"$ref": "#"}},
        "pet": {"anyOf": [{"$ref": "#/$defs/pet"}, {"type": "null"}]},
    },
    "required": ["name"],
    "additionalProperties": False,
    "$defs": {"pet": {"type": "object", "required": ["legs"]}},
}


@pytest.mark.parametrize(
    ("value", "fitting"),
    [
        ({"name": "x"}, True),
        ({"name": "x", "age": 3, "kind": "a", "friends": [{"name": "y"}], "pet": {"legs": 4}}, True),
        ({"name": "x", "age": None, "pet": None}, True),
        ({"name": "x", "age": 3.0}, True),
        ({"name": "x", "age": 3.5}, False),
        ({"name": "x", "age": True}, False),
        ({"name": "x", "kind": True}, False),
        ({"name": 1}, False),
        ({}, False),
        ([], False),
        ({"name": "x", "more": 1}, False),
        ({"name": "x", "friends": [{}]}, False),
        ({"name": "x", "pet": {}}, False),
    ],
)
def test_a_value_fits_its_schema_or_not(value: Any, fitting: bool) -> None:
    assert fits(value, PERSON) is fitting


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$ref": "https://example.com/schema"},
        {"$ref": "#/nowhere"},
        {"type": "strange"},
        {"type": 5, "enum": 5, "required": 5, "properties": 5, "anyOf": 5},
        {"anyOf": [{"allOf": [{"$ref": "#"}] * 30}] * 30},
        True,
        None,
    ],
)
def test_a_strange_schema_is_bounded_work(schema: Any) -> None:
    assert fits({"a": [1, math.inf]}, schema)


# --- the policy -----------------------------------------------------------------------------------------------------

OBJECT = {"response_format": {"type": "json_object"}}
SCHEMA = {"response_format": {"type": "json_schema", "json_schema": {"name": "p", "schema": PERSON}}}


def _tool(strict: bool) -> dict[str, Any]:
    return {"tools": [{"type": "function", "function": {"name": "f", "strict": strict, "parameters": PERSON}}]}


def _run(asked: dict[str, Any], said: dict[str, Any], streamed: bool = False, enabled: bool = True) -> tuple[Call, Any]:
    policy, call = Repair(RepairConfig(enabled=enabled)), call_of("x", streamed=streamed, **asked)
    policy.before(call)
    if streamed:
        call.output = [choice["message"] for choice in said["choices"]]
    else:
        policy.after(call, Answer(body=said))
    call.status = 200
    policy.done(call)
    return call, said["choices"][0]["message"]


def test_an_answer_that_is_nearly_json_is_mended_and_flagged() -> None:
    call, message = _run(SCHEMA, answer_of("```json\n{'name': 'Ann',}\n```"))
    assert json.loads(message["content"]) == {"name": "Ann"}
    assert call.flags == ["repaired"]


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        (OBJECT, "I am sorry."),
        (OBJECT, "[1]"),
        (SCHEMA, '{"name": 5}'),
        (SCHEMA, "{'nom': 'Ann'}"),
    ],
)
def test_what_cannot_be_mended_passes_as_it_came(asked: dict[str, Any], text: str) -> None:
    call, message = _run(asked, answer_of(text))
    assert message["content"] == text
    assert call.flags == ["json_invalid"]


@pytest.mark.parametrize("text", ['{"name": "Ann"}', ' {"name":"Ann"}\n'])
def test_a_good_answer_is_not_touched(text: str) -> None:
    call, message = _run(SCHEMA, answer_of(text))
    assert message["content"] == text
    assert call.flags == []


def test_prose_stays_prose_where_nobody_asked_for_json() -> None:
    for asked, enabled in (({}, True), (OBJECT, False), ({"response_format": {"type": "text"}}, True)):
        call, message = _run(asked, answer_of("{'a': 1}"), enabled=enabled)
        assert message["content"] == "{'a': 1}"
        assert call.flags == []


def _called(*arguments: str) -> dict[str, Any]:
    calls = [
        {"id": str(n), "type": "function", "function": {"name": "f", "arguments": each}}
        for n, each in enumerate(arguments)
    ]
    return answer_of(None, "tool_calls", tool_calls=calls)


def test_arguments_of_strict_tools_are_mended() -> None:
    call, message = _run(_tool(True), _called("{'name': 'Ann'}"))
    assert json.loads(message["tool_calls"][0]["function"]["arguments"]) == {"name": "Ann"}
    assert call.flags == ["repaired"]


@pytest.mark.parametrize("arguments", ["{'name': 'Ann'}", '{"a":1}{"a":1}', "", "{"])
def test_arguments_of_other_tools_pass_and_are_flagged(arguments: str) -> None:
    call, message = _run(_tool(False), _called(arguments))
    assert message["tool_calls"][0]["function"]["arguments"] == arguments
    assert call.flags == ["json_invalid"]


def test_a_repeated_tool_call_passes_and_is_flagged() -> None:
    call, message = _run(_tool(False), _called('{"name": "x"}', '{"name": "x"}'))
    assert len(message["tool_calls"]) == 2
    assert call.flags == ["tool_call_repeated"]


def test_streams_are_flagged_when_they_are_over() -> None:
    for asked, said in ((OBJECT, answer_of("{'a': 1}")), (_tool(True), _called("{'name': 'x'}"))):
        before = json.dumps(said)
        call, _ = _run(asked, said, streamed=True)
        assert json.dumps(said) == before
        assert call.flags == ["json_invalid"]
