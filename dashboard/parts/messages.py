"""Messages of a model call, in whichever of the usual shapes they were sent, as roles and parts. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from dashboard.text import parsed

_LANGCHAIN_ROLES: Final = {"human": "user", "ai": "assistant"}


class PartKind(StrEnum):
    """What a part of a message is."""

    TEXT = "text"
    REASONING = "reasoning"
    TOOL_CALL = "tool_call"
    TOOL_RESULT = "tool_result"
    MEDIA = "media"  # an image, audio or file: described, never fetched
    OTHER = "other"


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part: `content` is text or a JSON value; `name` is a tool's, `call_id` ties a result to its call."""

    kind: PartKind
    content: object
    name: str | None = None
    call_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Message:
    """One message; an unknown role is kept as it was sent."""

    role: str
    parts: tuple[Part, ...]


def messages_of(value: object) -> list[Message]:
    """`value` (parsed JSON, or its text) as messages; empty when it does not look like messages."""
    if isinstance(value, str):
        value = parsed(value)
    if isinstance(value, Mapping):
        for wrapper in ("inputs", "outputs"):  # OpenLLMetry's spans of LangGraph
            value = value[wrapper] if isinstance(value.get(wrapper), Mapping) else value
        inner = value.get("messages")
        value = inner if isinstance(inner, list) else [value]
    if not isinstance(value, list):
        return []
    found = []
    for one in value:
        if not isinstance(one, Mapping):
            return []
        one = one["message"] if isinstance(one.get("message"), Mapping) else _plain(one)
        if "role" not in one and "content" not in one and "parts" not in one:
            return []
        parts = tuple(_parts(one))
        found.append(Message(role=str(one.get("role") or "unknown"), parts=parts))
    return found


def answer_of(messages: list[Message]) -> list[Message]:
    """The messages after the last one of the user; all of them when nothing follows it."""
    asked = [place for place, message in enumerate(messages) if message.role in ("user", "human")]
    return messages[asked[-1] + 1 :] or messages if asked else messages


def _plain(one: Mapping[str, Any]) -> Mapping[str, Any]:
    """LangChain's two spellings, `{"lc", "kwargs": {...}}` and `{"type", "data": {...}}`, as role and content."""
    inner = one.get("kwargs") if "lc" in one else one.get("data")
    if not isinstance(inner, Mapping) or "content" not in inner:
        return one
    said = str(inner.get("type") or one.get("type"))
    return {**inner, "role": inner.get("role") or _LANGCHAIN_ROLES.get(said, said)}


def _parts(message: Mapping[str, Any]) -> Iterator[Part]:
    role = str(message.get("role"))
    content = (
        message.get("parts") if message.get("parts") is not None else message.get("content", message.get("contents"))
    )
    for key in ("reasoning", "reasoning_content", "thinking"):
        if message.get(key):
            yield Part(kind=PartKind.REASONING, content=message[key])
    if role in ("tool", "function") and not _is_parts(content):
        name = message.get("name") or message.get("tool_name")
        yield Part(
            kind=PartKind.TOOL_RESULT, content=content, name=_text(name), call_id=_text(message.get("tool_call_id"))
        )
    elif isinstance(content, list):
        for one in content:
            yield _part(one)
    elif content not in (None, ""):
        yield Part(kind=PartKind.TEXT if isinstance(content, str) else PartKind.OTHER, content=content)
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else [calls] if calls else []:
        yield _call(call)
    if isinstance(message.get("function_call"), Mapping):
        yield _call(message["function_call"])


def _is_parts(content: object) -> bool:
    return isinstance(content, list) and any(isinstance(one, Mapping) and "type" in one for one in content)


def _part(one: object) -> Part:
    if isinstance(one, str):
        return Part(kind=PartKind.TEXT, content=one)
    if not isinstance(one, Mapping):
        return Part(kind=PartKind.OTHER, content=one)
    match str(one.get("type", "text")).replace("-", "_"):
        case "text" | "input_text" | "output_text":
            text = one.get("content", one.get("text"))
            return Part(kind=PartKind.TEXT if isinstance(text, str) else PartKind.OTHER, content=text)
        case "reasoning" | "thinking":
            said = one.get("content") or one.get("text") or one.get("thinking") or one.get("reasoning")
            return Part(kind=PartKind.REASONING, content=said)
        case "tool_call" | "tool_use" | "function_call":
            return _call(one)
        case "tool_call_response" | "tool_result" | "function_call_output":
            answer = next((one[key] for key in ("response", "result", "output", "content") if key in one), None)
            call_id = one.get("id") or one.get("tool_call_id") or one.get("tool_use_id") or one.get("toolCallId")
            name = one.get("name") or one.get("toolName")
            return Part(kind=PartKind.TOOL_RESULT, content=answer, name=_text(name), call_id=_text(call_id))
        case "image" | "image_url" | "input_image" | "audio" | "input_audio" | "file" | "blob" | "uri" | "video":
            return Part(kind=PartKind.MEDIA, content=dict(one))
        case _:
            return Part(kind=PartKind.OTHER, content=dict(one))


def _call(one: object) -> Part:
    if not isinstance(one, Mapping):
        return Part(kind=PartKind.OTHER, content=one)
    function = one["function"] if isinstance(one.get("function"), Mapping) else one
    arguments = next((function[key] for key in ("arguments", "input", "args") if key in function), None)
    if isinstance(arguments, str):
        spelled = parsed(arguments)
        arguments = arguments if spelled is None else spelled
    name = function.get("name") or one.get("toolName")
    call_id = one.get("id") or one.get("call_id") or one.get("toolCallId")
    return Part(kind=PartKind.TOOL_CALL, content=arguments, name=_text(name), call_id=_text(call_id))


def _text(value: object) -> str | None:
    return None if value is None else str(value)
