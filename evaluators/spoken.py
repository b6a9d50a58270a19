"""Messages in whichever of the usual shapes instrumentations write them, as role, text, tool calls and results. Pure.

Text from traces is untrusted: whatever it holds, these functions answer something and raise nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

_ROLES: Final = {
    "human": "user",
    "ai": "assistant",
    "model": "assistant",
    "agent": "assistant",
    "bot": "assistant",
    "developer": "system",
    "function": "tool",
    "observation": "tool",
}
_TEXT_TYPES: Final = frozenset({"text", "input_text", "output_text"})
_CALL_TYPES: Final = frozenset({"tool_call", "tool_use", "function_call"})
_RESULT_TYPES: Final = frozenset({"tool_call_response", "tool_result", "function_call_output"})
# Where a text stands in an object that is no message, as chains and retrieval pipelines write them.
_TEXT_KEYS: Final = (
    *("input", "question", "query", "prompt", "text", "content", "message", "user_input"),
    *("answer", "output", "response", "result", "final_output", "generation"),
)
_SIDE_KEYS: Final = frozenset({"input_str", "tags", "metadata", "kwargs"})  # beside "inputs" in OpenLLMetry's entities


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """A tool call that a model asked for; `arguments` is a JSON value or text."""

    name: str
    arguments: Any = None
    call_id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """One message. `results` are what tools answered, by call id (None where it is not said)."""

    role: str
    text: str = ""
    calls: tuple[Call, ...] = ()
    results: tuple[tuple[str | None, Any], ...] = ()


def parsed(text: object) -> Any:
    """The value of a JSON text that begins as an object or a list does; None for anything else."""
    if not isinstance(text, str) or text.lstrip()[:1] not in ("[", "{"):
        return None
    try:
        return json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        return None


def value_of(text: str | None) -> Any:
    """What a tool was given or gave: the JSON value where it is one, else the text."""
    found = parsed(text)
    return text if found is None else found


def json_text(value: Any) -> str:
    """A JSON text of the value, its keys sorted: equal values have equal texts."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def arguments_of(text: str | None) -> dict[str, Any]:
    """A tool call's arguments by name; what is no object stands under `input`. OpenLLMetry's wrapping is taken off."""
    if text is None or not text.strip():
        return {}
    found = value_of(text)
    if not isinstance(found, dict):
        return {"input": found}
    inner = found.get("inputs")
    if isinstance(inner, dict) and not set(found) - {"inputs"} - _SIDE_KEYS:
        return inner
    return found


def messages_of(text: str | None) -> list[Said]:
    """The text as messages; one without role or calls is not a message, and then there are none."""
    return _messages(parsed(text))


def user_texts(text: str | None) -> list[str]:
    """What a user says in the input of a turn: the last messages of role user that follow each other.

    Empty when the input goes on from a tool's answer, or holds messages of others only.
    """
    messages = messages_of(text)
    if not messages:
        plain = plain_text(text)
        return [plain] if plain else []
    if messages[-1].role == "tool" or messages[-1].results:
        return []
    places = [i for i, one in enumerate(messages) if one.role == "user" and one.text]
    if not places:
        return []
    first = places[-1]
    while first > 0 and messages[first - 1].role == "user" and messages[first - 1].text:
        first -= 1
    return [one.text for one in messages[first : places[-1] + 1]]


def answer_text(text: str | None) -> str | None:
    """What an agent says in an output: the texts of its last messages; None when it only asks for tools or nothing."""
    messages = messages_of(text)
    if not messages:
        return plain_text(text)
    asked = [i for i, one in enumerate(messages) if one.role == "user"]
    said = [one for one in messages[asked[-1] + 1 if asked else 0 :] if one.role not in ("user", "system", "tool")]
    return next((one.text for one in reversed(said) if one.text), None)


def plain_text(text: str | None) -> str | None:
    """The text of an input or output that is no list of messages; None for an empty one."""
    if text is None or not text.strip():
        return None
    value = parsed(text)
    if isinstance(value, dict):
        for wrapper in ("inputs", "outputs"):
            value = value[wrapper] if isinstance(value.get(wrapper), dict) else value
        found = next((value[key] for key in _TEXT_KEYS if isinstance(value.get(key), str)), None)
        return found or text
    return None if isinstance(value, list) and not value else text


def documents_of(text: str | None) -> Iterator[tuple[str, str, float | None]]:
    """Id, text and score of each document in the JSON of a retrieval; one without an id is named by its rank."""
    found = parsed(text)
    for rank, one in enumerate(found if isinstance(found, list) else []):
        if not isinstance(one, Mapping):
            yield str(rank), str(one), None
            continue
        inner = one.get("document")
        fields = inner if isinstance(inner, Mapping) else one
        document_id = _first(fields, ("id", "document_id", "doc_id"), rank)
        said = _first(fields, ("content", "text", "page_content"), "")
        score = fields.get("score", one.get("score"))
        number = score if isinstance(score, int | float) and not isinstance(score, bool) else None
        yield str(document_id), said if isinstance(said, str) else json_text(said), number


def _first(fields: Mapping[str, Any], keys: Sequence[str], otherwise: Any) -> Any:
    return next((fields[key] for key in keys if fields.get(key) is not None), otherwise)


def _messages(value: Any) -> list[Said]:
    if isinstance(value, Mapping):
        for wrapper in ("inputs", "outputs", "state"):
            value = value[wrapper] if isinstance(value.get(wrapper), Mapping) else value
        inner = value.get("messages")
        value = inner if isinstance(inner, list) else [value]
    if not isinstance(value, list):
        return []
    if len(value) == 1 and isinstance(value[0], list):  # LangChain's list of batches
        value = value[0]
    found = []
    for one in value:
        message = _message(one)
        if message is None:
            return []
        found.append(message)
    return found


def _message(one: Any) -> Said | None:
    if not isinstance(one, Mapping):
        return None
    if isinstance(one.get("message"), Mapping):
        one = one["message"]
    one = _of_langchain(one)
    if "role" not in one and "parts" not in one:
        if "toolName" in one or one.get("type") in _CALL_TYPES:
            return Said(role="assistant", calls=(_call(one),))
        if "content" not in one or "type" not in one:
            return None
    role = str(one.get("role") or one.get("type") or "unknown").lower()
    role = _ROLES.get(role, role)
    content = next((one[key] for key in ("parts", "content", "contents") if one.get(key) is not None), None)
    call_id = _id(one.get("tool_call_id") or one.get("toolCallId") or one.get("id"))
    if role == "tool" and not _is_parts(content):
        return Said(role=role, results=((call_id, content),))
    texts, calls, results = _split(content)
    calls += [_call(call) for call in _listed(one.get("tool_calls")) if isinstance(call, Mapping)]
    if isinstance(one.get("function_call"), Mapping):
        calls.append(_call(one["function_call"]))
    if role == "user" and results and not texts:  # Anthropic's way
        role = "tool"
    return Said(role=role, text="\n\n".join(texts), calls=tuple(calls), results=tuple(results))


def _split(content: Any) -> tuple[list[str], list[Call], list[tuple[str | None, Any]]]:
    texts: list[str] = []
    calls: list[Call] = []
    results: list[tuple[str | None, Any]] = []
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, str):
            texts += [part] if part else []
            continue
        if not isinstance(part, Mapping):
            continue
        kind = str(part.get("type", "text")).replace("-", "_")
        if kind in _TEXT_TYPES:
            texts += [text for text in (part.get("content", part.get("text")),) if isinstance(text, str) and text]
        elif kind in _CALL_TYPES:
            calls.append(_call(part))
        elif kind in _RESULT_TYPES:
            answer = next((part[key] for key in ("response", "result", "output", "content") if key in part), None)
            names = ("id", "tool_call_id", "tool_use_id", "toolCallId")
            results.append((_id(next((part[key] for key in names if part.get(key)), None)), answer))
    return texts, calls, results


def _call(one: Mapping[str, Any]) -> Call:
    function = one["function"] if isinstance(one.get("function"), Mapping) else one
    arguments = next((function[key] for key in ("arguments", "input", "args") if key in function), None)
    spelled = parsed(arguments)
    name = function.get("name") or one.get("toolName") or "unknown"
    call_id = _id(one.get("id") or one.get("call_id") or one.get("toolCallId"))
    return Call(name=str(name), arguments=arguments if spelled is None else spelled, call_id=call_id)


def _of_langchain(one: Mapping[str, Any]) -> Mapping[str, Any]:
    """LangChain's two spellings, `{"lc", "kwargs": {...}}` and `{"type", "data": {...}}`, as role and content."""
    inner = one.get("kwargs") if "lc" in one else one.get("data")
    if not isinstance(inner, Mapping) or "content" not in inner:
        return one
    said = str(inner.get("type") or one.get("type") or _last(one.get("id"))).lower().removesuffix("message")
    return {**inner, "role": inner.get("role") or said}


def _last(value: Any) -> str:
    return str(value[-1]) if isinstance(value, Sequence) and not isinstance(value, str) and value else ""


def _listed(value: Any) -> Iterator[Any]:
    yield from value if isinstance(value, list) else [value] if value else []


def _is_parts(content: Any) -> bool:
    return isinstance(content, list) and any(isinstance(one, Mapping) and "type" in one for one in content)


def _id(value: Any) -> str | None:
    return None if value is None else str(value)
