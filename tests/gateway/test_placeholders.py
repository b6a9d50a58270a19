"""Placeholders: numbers, collisions, the spellings that models make of them, and pieces of a stream."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.records import PiiEntity
from gateway.masking.placeholders import Placeholders, Restorer, written_names
from tests.thorough import often

EMAIL, KEY = "ann.lee@example.org", 'line 1\nline "2" \\ é'


def made() -> Placeholders:
    placeholders = Placeholders()
    assert placeholders.name(PiiEntity.EMAIL, EMAIL) == "EMAIL_1"
    assert placeholders.name(PiiEntity.SECRET, KEY) == "SECRET_1"
    return placeholders


def in_pieces(placeholders: Placeholders, pieces: list[str], *, in_json: bool = False) -> str:
    restorer = Restorer(placeholders, in_json=in_json)
    return "".join([*map(restorer.feed, pieces), restorer.end()])


RESTORED = [
    "<EMAIL_1>",
    "<email_1>",
    "<Email_1>",
    r"\<EMAIL\_1\>",
    r"<EMAIL\_1>",
    r"\\<EMAIL\\_1\\>",
    "&lt;EMAIL_1&gt;",
    r"\u003cEMAIL_1\u003e",
    "EMAIL_1",
    r"EMAIL\_1",
    "<EMAIL_1",
]
KEPT = [
    *("email_1", "MY_EMAIL_1", "EMAIL_1st", "EMAIL_12", "<EMAIL_2>", "<EMAIL_01>", "<PHONE_1>", "EMAIL", "<EMAIL_>"),
    *("EMAIL 1", "<EMAIL_12345678>", "xEMAIL_1", "a < b > c", "Email_1", "<E", "&lt", "\\u003", "\\"),
]


@pytest.mark.parametrize("spelling", RESTORED)
@pytest.mark.parametrize(
    ("before", "after"), [("", ""), ("to ", ", please"), ("**", "**"), ("\\n", "\\n"), ("(", ").")]
)
def test_the_spellings_of_models_are_restored(spelling: str, before: str, after: str) -> None:
    assert made().restored(before + spelling + after) == before + EMAIL + after


@pytest.mark.parametrize("text", KEPT)
def test_what_is_no_placeholder_of_the_call_stays(text: str) -> None:
    assert made().restored(f"a {text} b") == f"a {text} b"
    assert made().restored(text) == text


def test_in_json_the_value_is_escaped() -> None:
    arguments = made().restored('{"to": "<EMAIL_1>", "key": "<SECRET_1>"}', in_json=True)
    assert json.loads(arguments) == {"to": EMAIL, "key": KEY}


def test_numbers_follow_first_appearance_and_leave_out_what_the_caller_wrote() -> None:
    text = r"your <EMAIL_1>, email\_3 and phone_1"
    placeholders = Placeholders(frozenset(written_names(text)))
    assert [placeholders.name(PiiEntity.EMAIL, value) for value in "abca"] == [
        "EMAIL_2",
        "EMAIL_4",
        "EMAIL_5",
        "EMAIL_2",
    ]
    assert placeholders.name(PiiEntity.PHONE, "1") == "PHONE_2"
    assert placeholders.restored(text) == text
    assert placeholders.counts() == {"email": 3, "phone": 1}


TEXT = "".join(f"{spelling}, {kept} and\n" for spelling, kept in zip(RESTORED * 2, KEPT, strict=False)) + "<EMAIL_1"


def test_every_split_of_a_stream_is_restored_as_the_whole() -> None:
    whole = made().restored(TEXT)
    assert whole.count(EMAIL) > 15
    for at in range(len(TEXT) + 1):
        assert in_pieces(made(), [TEXT[:at], TEXT[at:]]) == whole
    for size in range(1, 9):
        assert in_pieces(made(), [TEXT[at : at + size] for at in range(0, len(TEXT), size)]) == whole


_ATOMS = st.one_of(
    st.sampled_from([*RESTORED, *KEPT, "<", ">", "\\", "_", "1", "EMA", "SECRET_1", " ", "&", "\\n", "\\u003"]),
    st.text(max_size=4),
)


@given(st.lists(st.lists(_ATOMS, max_size=4).map("".join), max_size=8), st.booleans())
@settings(max_examples=often(300, 150), deadline=None)
def test_any_text_in_any_pieces_is_restored_as_the_whole(pieces: list[str], in_json: bool) -> None:
    text = "".join(pieces)
    whole = made().restored(text, in_json=in_json)
    assert in_pieces(made(), pieces, in_json=in_json) == whole
    assert in_pieces(made(), list(text), in_json=in_json) == whole


def test_only_what_can_become_a_placeholder_is_held_back() -> None:
    restorer = Restorer(made())
    assert restorer.feed("a phone, a card") == "a phone, a card"
    assert restorer.feed(" <") == " "
    assert restorer.feed("b>") == "<b>"
    assert restorer.feed("I") == ""
    assert restorer.feed(" am") == "I am"
    assert restorer.feed(" <EMAIL_1") == " "
    assert restorer.feed(">!") == f"{EMAIL}!"
    assert restorer.feed("<EMAIL_" + "1" * 40) == "<EMAIL_" + "1" * 40
    assert restorer.end() == ""
