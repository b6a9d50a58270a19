"""Chat messages of the dialects as messages of the GenAI conventions: `{"role", "parts": [...], "finish_reason"?}`.

Input is untrusted text. Only known leaf names are read; a JSON text (tool arguments) is embedded as it is where it
is valid JSON of bounded depth, and as a string otherwise, so nothing is lost and nothing is evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from collector.dialects import MAX_INDEX, MAX_INDICES

Fields = dict[str, str]

_MAX_DEPTH: Final = 64
_NESTED: Final = re.compile(r"(?:message\.)?(contents|tool_calls)\.(0|[1-9][0-9]{0,3})\.(.+)\Z", re.DOTALL)
_TEXT_TYPES: Final = frozenset({"text", "input_text", "output_text"})


def encode(value: object) -> str:
    """Compact JSON text. `value` may hold `orjson.Fragment`s."""
    return orjson.dumps(value).decode()


def embedded(text: str) -> object:
    """`text` as a JSON fragment when it is a JSON object or array at most 64 levels deep, else the string itself."""
    if text[:1] not in ("{", "["):
        return text
    if parsed(text) is None:
        return text
    return orjson.Fragment(text)


def number(text: str) -> object:
    """`text` as a number when it is a finite JSON number, else the string itself."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    return value if isinstance(value, int | float) and not isinstance(value, bool) else text


def parsed(text: str) -> Any:
    """The JSON value of `text`, or None where it is not JSON or is nested deeper than 64 levels."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return value if _depth_within(value, _MAX_DEPTH) else None


def _depth_within(value: object, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
        ]
        if not level:
            return True
    return not any(isinstance(node, dict | list) for node in level)


def text_part(content: object) -> dict[str, object]:
    """A part of type text."""
    return {"type": "text", "content": content}


def tool_call_part(call_id: str | None, name: str | None, arguments: str | None) -> dict[str, object]:
    """A part of type tool_call; absent fields are left out, except the name."""
    part: dict[str, object] = {"type": "tool_call"}
    if call_id:
        part["id"] = call_id
    part["name"] = name or ""
    if arguments:
        part["arguments"] = embedded(arguments)
    return part


def message_of_fields(fields: Fields) -> dict[str, object]:
    """One message from the flat leaves of OpenInference (`message.role`, `message.tool_calls.0.tool_call.id`, ...)
    (`prompt.text`, `completion.text`) or of OpenLLMetry (`role`, `content`, `tool_calls.0.name`, ...)."""
    flat, contents, calls = _split(fields)
    role = flat.get("role") or ("assistant" if "completion.text" in flat else "user")
    call_id = flat.get("tool_call_id")
    parts: list[dict[str, object]] = []
    content = flat.get("content") or flat.get("prompt.text") or flat.get("completion.text")
    if role == "tool" and content is not None:
        parts.append({"type": "tool_call_response", **({"id": call_id} if call_id else {}), "response": content})
    elif content:
        parts.extend(_content_parts(content))
    parts.extend(_content_part(contents[index]) for index in sorted(contents))
    for index in sorted(calls):
        call = calls[index]
        name = call.get("tool_call.function.name") or call.get("function.name") or call.get("name")
        arguments = call.get("tool_call.function.arguments") or call.get("function.arguments") or call.get("arguments")
        parts.append(tool_call_part(call.get("tool_call.id") or call.get("id"), name, arguments))
    if flat.get("function_call_name"):
        arguments = flat.get("function_call_arguments_json")
        parts.append(tool_call_part(None, flat["function_call_name"], arguments))
    message: dict[str, object] = {"role": role}
    if flat.get("name"):
        message["name"] = flat["name"]
    message["parts"] = parts
    if flat.get("finish_reason"):
        message["finish_reason"] = flat["finish_reason"]
    return message


def _split(fields: Fields) -> tuple[Fields, dict[int, Fields], dict[int, Fields]]:
    flat: Fields = {}
    nested: dict[str, dict[int, Fields]] = {"contents": {}, "tool_calls": {}}
    for key, text in fields.items():
        found = _NESTED.match(key)
        if not found:
            flat[key.removeprefix("message.")] = text
            continue
        members, index = nested[found[1]], int(found[2])
        if index <= MAX_INDEX and (index in members or len(members) < MAX_INDICES):
            members.setdefault(index, {})[found[3]] = text
    return flat, nested["contents"], nested["tool_calls"]


def _content_part(fields: Fields) -> dict[str, object]:
    """One part from `message_content.type`, `.text` and `.image.image.url`."""
    leaf = {key.removeprefix("message_content."): text for key, text in fields.items()}
    url = leaf.get("image.image.url") or leaf.get("image.url") or leaf.get("audio.audio.url")
    if url:
        return {"type": "uri", "modality": "image" if "image.image.url" in leaf else "audio", "uri": url}
    if leaf.get("type", "text") in _TEXT_TYPES:
        return text_part(leaf.get("text", ""))
    return dict(leaf)


def _content_parts(content: str) -> list[dict[str, object]]:
    """Parts of a content that is plain text, or a JSON list of typed parts as OpenAI and Anthropic write them."""
    if content.startswith("[{"):
        value = parsed(content)
        if isinstance(value, list) and all(isinstance(each, dict) and "type" in each for each in value):
            return [_part_of(each) for each in value]
    return [text_part(content)]


def _part_of(value: object) -> dict[str, object]:
    if isinstance(value, Mapping):
        if value.get("type") in _TEXT_TYPES and "text" in value:
            return text_part(value["text"])
        return dict(value) if isinstance(value.get("type"), str) else {"type": "unknown", "content": dict(value)}
    return text_part(value if isinstance(value, str) else encode(value))


def messages_of_events(text: str) -> tuple[list[dict[str, object]], list[dict[str, object]]] | None:
    """Input and output messages of Logfire's `events` attribute: old GenAI events as one JSON list.

    A `gen_ai.choice` (or an entry with `message` and `finish_reason`) is output. Without one, the assistant messages
    at the end are the output. None where `text` is not such a list.
    """
    value = parsed(text)
    if not isinstance(value, list) or not value or not all(isinstance(each, dict) for each in value):
        return None
    if not all("role" in each or "message" in each or "content" in each for each in value):
        return None
    choices = [each for each in value if _is_choice(each)]
    rest = [each for each in value if not _is_choice(each)]
    end = len(rest)
    if not choices:
        while end and rest[end - 1].get("role") == "assistant":
            end -= 1
    return [message_of_event(each) for each in rest[:end]], [message_of_event(each) for each in (*rest[end:], *choices)]


def _is_choice(event: Mapping[str, Any]) -> bool:
    return event.get("event.name") == "gen_ai.choice" or "finish_reason" in event


def message_of_event(event: Mapping[str, Any]) -> dict[str, object]:
    """One message from the body of a gen_ai.{system,user,assistant,tool}.message or gen_ai.choice event."""
    inner = event.get("message")
    body: Mapping[str, Any] = inner if isinstance(inner, Mapping) else event
    default = str(event.get("event.name", "")).removeprefix("gen_ai.").removesuffix(".message")
    is_choice = _is_choice(event)
    role = body.get("role") or ("assistant" if is_choice or default == "choice" else default or "user")
    content = inner if isinstance(inner, str) else body.get("content")
    message: dict[str, object] = {"role": role, "parts": list(_event_parts(str(role), body, content))}
    if is_choice and event.get("finish_reason"):
        message["finish_reason"] = event["finish_reason"]
    return message


def _event_parts(role: str, body: Mapping[str, Any], content: object) -> Iterable[dict[str, object]]:
    if role == "tool":
        call_id = body.get("id")
        yield {"type": "tool_call_response", **({"id": call_id} if call_id else {}), "response": content}
    elif isinstance(content, list):
        yield from (_part_of(each) for each in content)
    elif content is not None:
        yield _part_of(content)
    calls = body.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        if isinstance(call, Mapping):
            function = call.get("function")
            source = function if isinstance(function, Mapping) else call
            arguments = source.get("arguments")
            as_text = arguments if isinstance(arguments, str) or arguments is None else encode(arguments)
            call_id, name = call.get("id"), source.get("name")
            yield tool_call_part(str(call_id) if call_id else None, str(name) if name else None, as_text)


def messages_of_prompt(text: str) -> list[dict[str, object]] | None:
    """Messages of the Vercel SDK's `ai.prompt` and `ai.prompt.messages`.

    Known are `{"system"?, "prompt"}` and `{"system"?, "messages"}`, where the prompt is a text or a list of messages,
    and the bare list. None where `text` is something else, or says nothing: then it stays as it was sent.
    """
    value = parsed(text)
    said = value if isinstance(value, Mapping) else {"messages": value}
    entries = said.get("messages") or said.get("prompt")
    if isinstance(entries, str):
        entries = [{"role": "user", "content": entries}]
    system = said.get("system")
    first = system if isinstance(system, list) else [{"role": "system", "content": system}] if system else []
    everything = [*first, *entries] if isinstance(entries, list) else first
    if not everything or not all(
        isinstance(each, Mapping) and isinstance(each.get("role"), str) for each in everything
    ):
        return None
    return [{"role": each["role"], "parts": _vercel_parts(each.get("content"))} for each in everything]


def _vercel_parts(content: object) -> list[dict[str, object]]:
    if content is None:
        return []
    return [_vercel_part(each) for each in (content if isinstance(content, list) else [content])]


def _vercel_part(value: object) -> dict[str, object]:
    """Tool calls and results in the conventions' spelling (`args` and `result` up to version 4); others as they are."""
    if not isinstance(value, Mapping):
        return _part_of(value)
    call_id = {"id": value["toolCallId"]} if isinstance(value.get("toolCallId"), str) else {}
    match value.get("type"):
        case "tool-call":
            given = value.get("input", value.get("args"))
            named = {"name": value.get("toolName") or ""}
            return {"type": "tool_call", **call_id, **named, **({"arguments": given} if given is not None else {})}
        case "tool-result":
            answer = value.get("output", value.get("result"))
            typed = isinstance(answer, Mapping) and {"type", "value"} == set(answer)
            return {"type": "tool_call_response", **call_id, "response": answer["value"] if typed else answer}
        case _:
            return _part_of(value)
