"""What an example expects, as JSON and back. Strict: a field that nobody knows is an error that names it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, Final

from core.errors import InvalidInput
from evaluators.records import Expected, ToolCall
from evaluators.rules.comparators import check
from evaluators.rules.condition_text import parse
from evaluators.rules.values import finite

Json = dict[str, Any]

FIELDS: Final = tuple(field.name for field in fields(Expected))
_CALL_FIELDS: Final = ("name", "arguments", "result", "error", "turn")


def expected_of(said: object, where: str = "expected") -> Expected:
    """An Expected from its JSON. Raises InvalidInput naming the field."""
    if said is None:
        return Expected()
    given = _object(said, where)
    _known(given, FIELDS, where)
    return Expected(
        **{name: _READ[name](value, f"{where}.{name}") for name, value in given.items() if value is not None}
    )


def expected_json(expected: Expected) -> Json:
    """The JSON of an Expected, without what it says nothing about."""
    told: Json = {}
    for name in FIELDS:
        value = getattr(expected, name)
        if value is None or (name in _EMPTY_SAYS_NOTHING and not value):
            continue
        if name == "tool_calls":
            value = [call_json(one) for one in value]
        elif isinstance(value, tuple):
            value = list(value)
        elif isinstance(value, Mapping):
            value = dict(value)
        told[name] = value
    return told


def call_of(said: object, where: str) -> ToolCall:
    """One expected call: {"name", "arguments"} and, where they matter, "result", "error", "turn"."""
    given = _object(said, where)
    _known(given, _CALL_FIELDS, where)
    if not given.get("name"):
        raise InvalidInput(f"{where}.name is missing", field=f"{where}.name")
    return ToolCall(
        name=_text(given["name"], f"{where}.name"),
        arguments=_object(given.get("arguments") or {}, f"{where}.arguments"),
        result=given.get("result"),
        error=None if given.get("error") is None else _text(given["error"], f"{where}.error"),
        turn=_count(given.get("turn", 0), f"{where}.turn"),
    )


def call_json(call: ToolCall) -> Json:
    """One expected call as JSON."""
    told: Json = {"name": call.name, "arguments": dict(call.arguments)}
    if call.result is not None:
        told["result"] = call.result
    if call.error is not None:
        told["error"] = call.error
    return told | ({"turn": call.turn} if call.turn else {})


def _known(given: Json, names: tuple[str, ...], where: str) -> None:
    for name in given:
        if name not in names:
            raise InvalidInput(
                f"{where} has no field {name[:60]!r}; it has {', '.join(names)}", field=f"{where}.{name[:60]}"
            )


def _object(value: object, where: str) -> Json:
    if not isinstance(value, dict):
        raise InvalidInput(f"{where} is a JSON object, not {_kind(value)}", field=where)
    return value


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise InvalidInput(f"{where} is a text, not {_kind(value)}", field=where)
    return value


def _count(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidInput(f"{where} is a number from 0 on, not {_kind(value)}", field=where)
    return value


def _truth(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput(f"{where} is true or false, not {_kind(value)}", field=where)
    return value


def _texts(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise InvalidInput(f"{where} is a list of texts, not {_kind(value)}", field=where)
    return tuple(_text(one, f"{where}[{n}]") for n, one in enumerate(value))


def _calls(value: object, where: str) -> tuple[ToolCall, ...]:
    if not isinstance(value, list):
        raise InvalidInput(f"{where} is a list of calls, not {_kind(value)}", field=where)
    return tuple(call_of(one, f"{where}[{n}]") for n, one in enumerate(value))


def _comparators(value: object, where: str) -> dict[str, str]:
    found = {name: _text(one, f"{where}.{name}") for name, one in _object(value, where).items()}
    check(found)
    return found


def _conditions(value: object, where: str) -> tuple[str, ...]:
    found = _texts(value, where)
    for one in found:
        parse(one)
    return found


def _grades(value: object, where: str) -> dict[str, float]:
    found = _object(value, where)
    for name, grade in found.items():
        if isinstance(grade, bool) or not isinstance(grade, int | float):
            raise InvalidInput(f"{where}.{name[:60]} is a number, not {_kind(grade)}", field=where)
        if isinstance(grade, int) and not finite(grade):
            raise InvalidInput(f"{where}.{name[:60]} is too large a number", field=where)
    return {name: float(grade) for name, grade in found.items()}


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


_READ: Final[dict[str, Callable[[object, str], Any]]] = {
    "answer": _text,
    "answers": _texts,
    "contains": _texts,
    "tool_calls": _calls,
    "comparators": _comparators,
    "write_tools": _texts,
    "end_state": _object,
    "post_conditions": _conditions,
    "relevant": _grades,
    "refusal": _truth,
    "json_schema": _object,
    "policy": _object,
    "source": _text,
}
_EMPTY_SAYS_NOTHING: Final = ("answers", "contains", "comparators", "post_conditions")
