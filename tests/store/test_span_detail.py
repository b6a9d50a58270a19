"""One span as it is read: the system instructions in every spelling."""

from __future__ import annotations

import json
from typing import Any

import pytest

from store.span_detail import SYSTEM_INSTRUCTIONS, detail_of

KIND = {"role": "system", "parts": [{"type": "text", "content": "Be kind."}]}


@pytest.mark.parametrize(
    ("sent", "letter"),
    [
        ("Be kind.", "s"),
        (json.dumps([{"type": "text", "content": "Be kind."}]), "s"),
        (json.dumps([{"type": "text", "content": "Be kind."}]), "a"),
        (json.dumps(["Be kind."]), "a"),
        (json.dumps([{"role": "system", "parts": [{"type": "text", "content": "Be kind."}]}]), "s"),
        (json.dumps({"parts": [{"type": "text", "content": "Be kind."}]}), "s"),
    ],
)
def test_system_instructions_are_messages_however_they_were_sent(sent: str, letter: str) -> None:
    found = detail_of({"attributes": {SYSTEM_INSTRUCTIONS: sent}, "attribute_types": letter, "input": "Hi"})
    assert found["system_messages"] == [KIND]
    assert found["input"] == "Hi"


@pytest.mark.parametrize(("sent", "text"), [("[not JSON", "[not JSON"), ("[1]", "1")])
def test_what_is_no_message_list_is_text(sent: str, text: str) -> None:
    found = detail_of({"attributes": {SYSTEM_INSTRUCTIONS: sent}, "attribute_types": "s"})
    assert found["system_messages"] == [{"role": "system", "parts": [{"type": "text", "content": text}]}]


def test_no_instructions_are_no_message() -> None:
    assert detail_of({"attributes": {SYSTEM_INSTRUCTIONS: "[]"}, "attribute_types": "s"})["system_messages"] is None


def test_the_older_span_event_says_it_too() -> None:
    said = {"name": "gen_ai.system.message", "time_ns": 1, "attributes": {"content": "Be kind."}}
    others: list[dict[str, Any]] = [{"name": "gen_ai.system.message"}, {"name": "x", "attributes": {"content": "no"}}]
    assert detail_of({"events": json.dumps([said, *others])})["system_messages"] == [KIND]
    assert detail_of({"events": json.dumps(others), "attributes": {SYSTEM_INSTRUCTIONS: ""}})["system_messages"] is None
