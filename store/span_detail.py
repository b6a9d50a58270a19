"""One span as a person reads it: every original attribute with its type, events, links, messages."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from core.clock import to_datetime

# Letters of attribute_types: see store/schema.py.
_INTEGER, _FLOAT, _BOOLEAN, _NESTED, _EMPTY = "i", "d", "b", frozenset("ak"), "n"
_LEGIBLE_INT_CHARS: Final = 24
SYSTEM_INSTRUCTIONS: Final = "gen_ai.system_instructions"
_SYSTEM_EVENT: Final = "gen_ai.system.message"  # how the conventions said it before 2025


def attributes_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """The originals by key, typed as they came: those of the map, and those that were moved into a column."""
    entries = _pairs(row.get("attributes"))
    types = row.get("attribute_types") or ""
    found = {key: _typed(value, types[i] if i < len(types) else "s") for i, (key, value) in enumerate(entries)}
    for line in (row.get("moved_attributes") or "").splitlines():
        key, _, column = line.rpartition("=")
        if column in row:
            found[key] = row[column]
    return found


def events_of(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The span's events, each with `at` (RFC 3339) beside `time_ns`. What is no list of objects is no event."""
    found = []
    for event in _list(row.get("events")):
        if not isinstance(event, dict):
            continue
        time_ns = event.get("time_ns")
        at = f"{to_datetime(time_ns):%Y-%m-%dT%H:%M:%S.%fZ}" if isinstance(time_ns, int) else None
        found.append({**event, "at": at})
    return found


def system_of(attributes: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The system instructions that were sent beside the input, as messages; empty when there are none.

    `gen_ai.system_instructions` is a list of parts by the conventions (as JSON text or nested); messages and plain text
    are taken as well. Without it, the span events `gen_ai.system.message`.
    """
    given = attributes.get(SYSTEM_INSTRUCTIONS)
    if given in (None, "", [], {}):
        told = [event.get("attributes") for event in events if event.get("name") == _SYSTEM_EVENT]
        return [_system([one["content"]]) for one in told if isinstance(one, dict) and one.get("content")]
    spelled = _parsed(given)
    spelled = given if spelled is None else spelled
    parts = spelled if isinstance(spelled, list) else [spelled]
    if all(isinstance(one, dict) and ("parts" in one or "role" in one) for one in parts):
        return [{**one, "role": one.get("role") or "system"} for one in parts]
    return [_system(parts)]


def detail_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a whole span has beyond a span row."""
    is_tool = row.get("kind") == "TOOL"
    attributes, events = attributes_of(row), events_of(row)
    return {
        "input": row.get("input"),
        "output": row.get("output"),
        "system_messages": system_of(attributes, events) or None,
        "input_messages": _messages(row.get("input")),
        "output_messages": _messages(row.get("output")),
        "documents": _parsed(row.get("documents")),
        "tool_call_id": row.get("tool_call_id"),
        "tool_arguments": row.get("input") if is_tool else None,
        "tool_result": row.get("output") if is_tool else None,
        "attributes": attributes,
        "resource": _object(row.get("resource")),
        "events": events,
        "links": [link for link in _list(row.get("links")) if isinstance(link, dict)],
        **{name: row.get(name) for name in ("scope_version", "flags", "trace_state", "seq")},
    }


def _system(parts: Sequence[Any]) -> dict[str, Any]:
    """A system message; parts that are no object are its text."""
    spelled = [part if isinstance(part, dict) else {"type": "text", "content": str(part)} for part in parts]
    return {"role": "system", "parts": spelled}


def _pairs(attributes: Any) -> list[tuple[str, str | None]]:
    """A map column's entries, as polars (a dict) or as Arrow (a list of pairs) gives them."""
    if isinstance(attributes, dict):
        return list(attributes.items())
    return [(key, value) for key, value in attributes or []]


def _typed(text: str | None, letter: str) -> Any:
    """The value that `text` stands for; the text itself where it is not what the letter says."""
    if text is None or letter == _EMPTY:
        return None
    try:
        if letter == _INTEGER and len(text) <= _LEGIBLE_INT_CHARS:
            return int(text)
        if letter == _FLOAT:
            value = float(text)
            return value if value - value == 0 else text  # NaN and infinities have no JSON; their name is kept
        if letter in _NESTED:
            return json.loads(text)
    except (ValueError, RecursionError):
        return text
    if letter == _BOOLEAN and text in ("true", "false"):
        return text == "true"
    return text


def _messages(text: Any) -> list[Any] | None:
    """The text as a list of chat messages, when it is one."""
    found = _parsed(text)
    if isinstance(found, list) and found and all(isinstance(one, dict) and "role" in one for one in found):
        return found
    return None


def _parsed(text: Any) -> Any:
    if not isinstance(text, str) or text[:1] not in ("[", "{"):
        return None
    try:
        return json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        return None


def _list(text: Any) -> list[Any]:
    found = _parsed(text)
    return found if isinstance(found, list) else []


def _object(text: Any) -> dict[str, Any]:
    found = _parsed(text)
    return found if isinstance(found, dict) else {}
