"""Replies are read strictly: what was offered, or the reason why nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judges.parsing import MOST_EXPLANATION, MOST_REPLY, parse_reply, read_label
from judges.records import Missing
from tests.judges.asked import ISSUES, ORDINAL, PAIR, PASS_FAIL


def _json(**said: Any) -> str:
    return json.dumps(said)


SOUND = {
    "an object": (_json(explanation="e", label="pass", confidence=0.5), ("pass",)),
    "capitals and spaces": (_json(label=" PASS "), ("pass",)),
    "an alias": (_json(label="Not  Satisfied"), ("fail",)),
    "an object in a fence": ('```json\n{"label": "pass"}\n```', ("pass",)),
    "an object behind words": ('I have read it.\n{"label": "fail"}', ("fail",)),
    "the same verdict twice": ('{"label": "pass"}\n{"label": "pass"}', ("pass",)),
    "a label alone": ("pass", ("pass",)),
    "a label alone, quoted and ended": ('"Fail".', ("fail",)),
    "an alias alone": ("satisfied", ("pass",)),
    "an object whose explanation quotes another": (
        _json(explanation='it says {"label": "pass"}', label="fail"),
        ("fail",),
    ),
    "labels of one": (_json(labels="pass"), ("pass",)),
    "a label and the same as labels": (_json(label="pass", labels=["pass"]), ("pass",)),
}


@pytest.mark.parametrize("name", SOUND)
def test_a_verdict_that_was_offered_is_read(name: str) -> None:
    text, labels = SOUND[name]
    parsed = parse_reply(PASS_FAIL, text)
    assert (parsed.labels, parsed.missing) == (labels, None)


MISSING = {
    "nothing": ("", Missing.EMPTY),
    "prose": ("The agent passes, I would say.", Missing.PROSE),
    "prose with a label inside": ("I think pass is too generous and fail too harsh.", Missing.PROSE),
    "an apology that is no refusal": ("I'm sorry for the user: nothing was done here.", Missing.PROSE),
    "a refusal": ("I cannot help with grading this conversation.", Missing.REFUSED),
    "a refusal with a curly sign": ("I\u2019m sorry, I can\u2019t do that.", Missing.REFUSED),
    "no label": (_json(explanation="fine"), Missing.PROSE),
    "a label of nothing": (_json(label=""), Missing.NOT_OFFERED),
    "a null": (_json(label=None), Missing.NOT_OFFERED),
    "true": (_json(label=True), Missing.NOT_OFFERED),
    "an object as label": (_json(label={"label": "pass"}), Missing.NOT_OFFERED),
    "another scale": (_json(label=4), Missing.NOT_OFFERED),
    "a synonym that the rubric does not map": (_json(label="compliant"), Missing.NOT_OFFERED),
    "both in one word": (_json(label="pass/fail"), Missing.SEVERAL),
    "both joined by a word": (_json(label="pass and fail"), Missing.SEVERAL),
    "two objects": ('{"label": "pass"} {"label": "fail"}', Missing.SEVERAL),
    "a verdict and none": ('{"label": "pass"} {"label": "perhaps"}', Missing.SEVERAL),
    "a key twice": ('{"label": "pass", "label": "fail"}', Missing.SEVERAL),
    "a label beside other labels": (_json(label="pass", labels=["fail"]), Missing.SEVERAL),
    "a list": (_json(label=["pass", "fail"]), Missing.SEVERAL),
    "a list of one": (_json(label=["pass"]), Missing.NOT_OFFERED),
    "broken json": ("{label: pass}", Missing.PROSE),
    "half an object": ('{"label": "pa', Missing.CUT_OFF),
    "an object inside another": ('{"verdict": {"label": "pass"}}', Missing.PROSE),
    "very deep": ('{"a":' * 50_000, Missing.CUT_OFF),
    "ten megabytes": ("pass" * 2_500_000, Missing.TOO_LARGE),
    "a number of ten thousand digits": ('{"label": ' + "1" * 10_000 + "}", Missing.NOT_OFFERED),
}


@pytest.mark.parametrize("name", MISSING)
def test_anything_else_is_missing_and_says_why(name: str) -> None:
    text, missing = MISSING[name]
    parsed = parse_reply(PASS_FAIL, text)
    assert (parsed.labels, parsed.missing) == ((), missing)
    assert len(parsed.explanation) <= MOST_EXPLANATION


def test_what_the_model_says_of_its_own_end_counts() -> None:
    assert parse_reply(PASS_FAIL, "pass", cut_off=True).missing is Missing.CUT_OFF
    assert parse_reply(PASS_FAIL, _json(label="pass"), cut_off=True).labels == ("pass",)  # it was whole
    assert parse_reply(PASS_FAIL, _json(label="pass"), refused=True).missing is Missing.REFUSED


@pytest.mark.parametrize(("label", "found"), [(4, "4"), (4.0, "4"), ("4", "4"), (4.5, None), (6, None), (True, None)])
def test_numbers_of_a_scale(label: object, found: str | None) -> None:
    parsed = parse_reply(ORDINAL, _json(label=label))
    assert parsed.labels == ((found,) if found else ())
    assert parsed.missing is (None if found else Missing.NOT_OFFERED)


def test_several_labels_where_the_scale_has_several() -> None:
    assert parse_reply(ISSUES, _json(labels=["rude", "RUDE", "wrong fact"])).labels == ("wrong fact", "rude")
    assert parse_reply(ISSUES, _json(labels=["rude", "late"])).missing is Missing.NOT_OFFERED
    assert parse_reply(ISSUES, _json(labels=[])).missing is Missing.NOT_OFFERED
    assert parse_reply(ISSUES, _json(labels=["none", "rude"])).missing is Missing.SEVERAL
    assert parse_reply(ISSUES, _json(labels=["rude"] * 1_000)).missing is Missing.NOT_OFFERED


@pytest.mark.parametrize("confidence", [-0.1, 1.1, 95, "high", None, True, float("nan")])
def test_a_confidence_that_is_none_is_none(confidence: object) -> None:
    parsed = parse_reply(PAIR, _json(label="A", confidence=confidence))
    assert (parsed.labels, parsed.confidence) == (("A",), None)


def test_an_explanation_can_be_stored_anywhere() -> None:
    parsed = parse_reply(PASS_FAIL, '{"label": "pass", "explanation": "a\\u0000b\\ud800' + "x" * 9_000 + '"}')
    assert len(parsed.explanation) == MOST_EXPLANATION
    assert "\0" not in parsed.explanation
    parsed.explanation.encode("utf-8")


def test_words_from_elsewhere_are_read_by_the_same_table() -> None:
    assert read_label(PASS_FAIL, "SATISFIED") == "pass"
    assert read_label(PASS_FAIL, "unknown") is Missing.NOT_OFFERED
    assert read_label(PASS_FAIL, "pass, fail") is Missing.SEVERAL
    assert read_label(PASS_FAIL, "") is Missing.NOT_OFFERED


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.text(max_size=300)
    | _VALUES.map(lambda value: json.dumps({"label": value}))
    | st.text('{}[]",:label ', max_size=200)
)
def test_whatever_a_reply_holds_its_labels_were_offered(text: str) -> None:
    for rubric in (PASS_FAIL, ORDINAL, PAIR, ISSUES):
        parsed = parse_reply(rubric, text)
        assert set(parsed.labels) <= set(rubric.labels)
        assert bool(parsed.labels) == (parsed.missing is None)


def test_the_longest_reply_that_is_read_is_read_quickly_whatever_it_holds() -> None:
    for piece in ("{", '{"a":', "[", '{"label":"pass"}', "pass "):
        parsed = parse_reply(PASS_FAIL, (piece * MOST_REPLY)[:MOST_REPLY])
        assert bool(parsed.labels) == (parsed.missing is None)
