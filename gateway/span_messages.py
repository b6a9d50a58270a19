"""Messages as the GenAI conventions write them on a span, from those of OpenAI's shape: `{"role", "parts": [...]}`.

What comes in is the caller's and the model's: any shape is read, nothing is evaluated, and files are only named. The
text is bounded; where it is cut, the newest messages are those that stay.
Source: https://opentelemetry.io/docs/specs/semconv/gen-ai/ (gen-ai-input-messages.json, gen-ai-output-messages.json)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import orjson

MOST_BYTES: Final = 64 << 10  # of the messages of one attribute
_SHORT: Final = 200  # characters of names and ids


class _Budget:
    """How many characters may still be written. `cut`: something was left out."""

    __slots__ = ("cut", "left")

    def __init__(self, left: int) -> None:
        self.left = left
        self.cut = False

    def take(self, text: str) -> str:
        """As much of `text` as there is room for."""
        if len(text) > self.left:
            self.cut = True
            text = text[: max(0, self.left)]
        self.left -= len(text)
        return text


def input_messages(body: Mapping[str, Any]) -> tuple[str, bool]:
    """The messages of a request (of an embedding: its texts) as JSON, and whether something was left out."""
    messages = body.get("messages")
    if not isinstance(messages, list):
        given = body.get("input")
        texts = [given] if isinstance(given, str) else given if isinstance(given, list) else []
        messages = [{"role": "user", "content": text} for text in texts if isinstance(text, str)]
    return _written(messages, ())


def output_messages(messages: Sequence[Any], finish_reasons: Sequence[str]) -> tuple[str, bool]:
    """The messages of an answer as JSON, and whether something was left out."""
    return _written(messages, finish_reasons)


def text_message(role: str, text: str) -> str:
    """One message of text as JSON; empty for no text."""
    return orjson.dumps([{"role": role, "parts": [{"type": "text", "content": text}]}]).decode() if text else ""


def _written(messages: Sequence[Any], finish_reasons: Sequence[str]) -> tuple[str, bool]:
    room = MOST_BYTES
    while True:
        budget = _Budget(room)
        found: list[dict[str, Any]] = []
        for index in range(len(messages) - 1, -1, -1):
            if budget.left <= 0:
                budget.cut = True
                break
            if isinstance(messages[index], dict):
                found.append(_message(messages[index], budget))
                if index < len(finish_reasons) and finish_reasons[index]:
                    found[-1]["finish_reason"] = finish_reasons[index]
        found.reverse()
        encoded = orjson.dumps(found)
        if len(encoded) <= MOST_BYTES:
            return encoded.decode(), budget.cut
        room //= 2  # text that is longer in JSON than in characters; ends, since nothing is left of a room of 0


def _message(message: Mapping[str, Any], budget: _Budget) -> dict[str, Any]:
    role = str(message.get("role") or "user")[:_SHORT]
    content = message.get("content")
    budget.left -= 50
    parts: list[dict[str, Any]] = []
    for name in ("reasoning_content", "reasoning"):
        if isinstance(message.get(name), str) and message[name]:
            parts.append({"type": "reasoning", "content": budget.take(message[name])})
    if role == "tool":
        answer = content if isinstance(content, str) else _joined(content)
        told = {"id": str(message["tool_call_id"])[:_SHORT]} if message.get("tool_call_id") else {}
        parts.append({"type": "tool_call_response", **told, "response": budget.take(answer)})
    elif isinstance(content, str):
        parts.append({"type": "text", "content": budget.take(content)})
    elif isinstance(content, list):
        parts.extend(_each(content, budget, _part))
    if isinstance(message.get("refusal"), str) and message["refusal"]:
        parts.append({"type": "text", "content": budget.take(message["refusal"])})
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        parts.extend(_each(calls, budget, _tool_call))
    found: dict[str, Any] = {"role": role, "parts": parts}
    if isinstance(message.get("name"), str):
        found["name"] = message["name"][:_SHORT]
    return found


def _each(
    given: list[Any], budget: _Budget, part: Callable[[Mapping[str, Any], _Budget], dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    for each in given:
        if budget.left <= 0:
            budget.cut = True
            return
        if isinstance(each, dict):
            yield part(each, budget)


def _joined(content: object) -> str:
    if not isinstance(content, list):
        return ""
    return "\n".join(each["text"] for each in content if isinstance(each, dict) and isinstance(each.get("text"), str))


def _part(part: Mapping[str, Any], budget: _Budget) -> dict[str, Any]:
    kind = str(part.get("type") or "")[:_SHORT]
    budget.left -= 50
    if isinstance(part.get("text"), str):
        return {"type": "text", "content": budget.take(part["text"])}
    if kind != "image_url":
        return {"type": kind or "unknown"}  # sound, files: that it was there, not what it says
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    if not isinstance(url, str) or url.startswith("data:"):
        mime = url[5:60].partition(";")[0] if isinstance(url, str) else ""
        return {"type": "blob", "modality": "image", "mime_type": mime}
    return {"type": "uri", "modality": "image", "uri": budget.take(url)}


def _tool_call(call: Mapping[str, Any], budget: _Budget) -> dict[str, Any]:
    function = call.get("function")
    function = function if isinstance(function, dict) else {}
    budget.left -= 50
    found: dict[str, Any] = {"type": "tool_call", "name": str(function.get("name") or "")[:_SHORT]}
    if call.get("id"):
        found["id"] = str(call["id"])[:_SHORT]
    given = function.get("arguments")
    if isinstance(given, str) and given:
        found["arguments"] = _arguments(budget.take(given), given)
    return found


def _arguments(taken: str, given: str) -> object:
    """The arguments as the JSON that they are, else (cut, or not JSON) as a text."""
    if len(taken) == len(given):
        try:
            orjson.loads(given)
        except orjson.JSONDecodeError:
            return taken
        return orjson.Fragment(given)
    return taken
