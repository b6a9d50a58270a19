"""Typed reading of a request's JSON: each function gives the value or refuses the request naming the parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from agent_runtime.simulation.provider.asked import RequestRefused


def parse_body(body: bytes) -> dict[str, Any]:
    """Parses a body that has to be one JSON object."""
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as failure:
        raise RequestRefused(f"the body is not JSON: {failure}") from None
    return as_object(given, "body")


def as_object(given: object, param: str) -> dict[str, Any]:
    """Gives `given` if it is an object."""
    if not isinstance(given, dict):
        raise RequestRefused(f"'{param}' has to be an object", param=param)
    return given


def as_list(given: object, param: str) -> list[Any]:
    """Gives `given` if it is a list; null is the empty list."""
    if given is None:
        return []
    if not isinstance(given, list):
        raise RequestRefused(f"'{param}' has to be a list", param=param)
    return given


def text_of(given: Mapping[str, Any], name: str, param: str, default: str | None = None) -> str:
    """Gives the string `name`; absent or null is `default`, and refused without one."""
    value = given.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise RequestRefused(f"'{param}' has to be a string", param=param)
    return value


def count_of(given: Mapping[str, Any], name: str) -> int | None:
    """Gives the positive whole number `name`, None when absent or null."""
    value = given.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise RequestRefused(f"'{name}' has to be a whole number of at least 1", param=name)
    return value


def flag_of(given: Mapping[str, Any], name: str) -> bool:
    """Gives the boolean `name`, False when absent or null."""
    value = given.get(name)
    if value is not None and not isinstance(value, bool):
        raise RequestRefused(f"'{name}' has to be true or false", param=name)
    return value is True


def check_numbers(given: Mapping[str, Any], allowed: Mapping[str, tuple[float, float]]) -> None:
    """Refuses sampling options outside what the provider allows; they change nothing here."""
    for name, (low, high) in allowed.items():
        value = given.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise RequestRefused(f"'{name}' has to be a number from {low:g} to {high:g}", param=name)


def arguments_of(given: object) -> dict[str, Any]:
    """Gives a call's arguments, a JSON text or an object; what is neither becomes the empty object."""
    if isinstance(given, dict):
        return given
    if not isinstance(given, str):
        return {}
    try:
        parsed = orjson.loads(given or "{}")
    except orjson.JSONDecodeError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def joined_text(content: object, param: str) -> str:
    """Gives a message's text: a string, or the text parts of a list of parts; other parts are named in brackets."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    texts = []
    for index, part in enumerate(as_list(content, param)):
        if isinstance(part, str):
            texts.append(part)
            continue
        kind = as_object(part, f"{param}[{index}]").get("type")
        spoken = part.get("text", part.get("refusal"))
        texts.append(spoken if isinstance(spoken, str) else f"[{kind}]")
    return "\n".join(texts)
