"""Anthropic's messages: a request's JSON to `Asked`, a `Drafted` answer to JSON or server-sent events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from agent_runtime.simulation.provider.asked import (
    Asked,
    Call,
    Choice,
    Message,
    Offered,
    RequestRefused,
    Role,
    unpaired,
)
from agent_runtime.simulation.provider.drafted import Drafted, Stop
from agent_runtime.simulation.provider.fields import (
    arguments_of,
    as_list,
    as_object,
    check_numbers,
    count_of,
    flag_of,
    joined_text,
    parse_body,
    text_of,
)
from agent_runtime.simulation.provider.tokens import pieces

_STOP: Final = {Stop.END: "end_turn", Stop.CALLS: "tool_use", Stop.LENGTH: "max_tokens"}
_CHOICE: Final = {"auto": Choice.AUTO, "any": Choice.REQUIRED, "tool": Choice.REQUIRED, "none": Choice.NONE}
_KINDS: Final = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def read_request(body: bytes, session_id: str, release: str, *, counting: bool = False) -> Asked:
    """Reads a POST /v1/messages body (`counting`: of /count_tokens, without max_tokens). Raises RequestRefused."""
    given = parse_body(body)
    most = count_of(given, "max_tokens")
    if most is None and not counting:
        raise RequestRefused("max_tokens: Field required", param="max_tokens")
    listed = as_list(given.get("messages"), "messages")
    if not listed:
        raise RequestRefused("messages: at least one message is required", param="messages")
    tools = tuple(_tool(tool, index) for index, tool in enumerate(as_list(given.get("tools"), "tools")))
    choice, must_call = _choice(given.get("tool_choice"), tools)
    schema = _output_schema(given)
    check_numbers(given, {"temperature": (0.0, 1.0), "top_p": (0.0, 1.0)})
    return Asked(
        model=text_of(given, "model", "model"),
        instructions=joined_text(given.get("system"), "system"),
        messages=_messages(listed),
        tools=tools,
        choice=choice,
        must_call=must_call,
        output_schema=schema,
        wants_json=schema is not None,
        max_tokens=most,
        stream=flag_of(given, "stream"),
        stream_usage=True,
        session_id=session_id,
        release=release,
    )


def _messages(given: list[Any]) -> tuple[Message, ...]:
    messages: list[Message] = []
    tools: dict[str, str] = {}
    for index, one in enumerate(given):
        where = f"messages.{index}"
        message = as_object(one, where)
        match message.get("role"):
            case "user":
                messages += _spoken_by_user(message.get("content"), where, tools)
            case "assistant":
                messages.append(_spoken_by_model(message.get("content"), where, tools))
            case role:
                raise RequestRefused(f"{where}.role: unknown role {role!r:.40}", param=f"{where}.role")
    _check_results(messages)
    return tuple(messages)


def _check_results(messages: list[Message]) -> None:
    unanswered, unasked = unpaired(messages)
    if unanswered:
        ids = ", ".join(sorted(unanswered))
        raise RequestRefused(f"messages: `tool_use` ids without `tool_result` blocks immediately after: {ids:.200}")
    if unasked:
        raise RequestRefused(f"messages: unexpected `tool_use_id` in a `tool_result` block: {unasked.pop():.100}")


def _spoken_by_user(content: object, where: str, tools: Mapping[str, str]) -> list[Message]:
    """A user message: first the tool results in it, then what is left as text."""
    if not isinstance(content, list):
        return [Message(role=Role.USER, text=joined_text(content, f"{where}.content"))]
    results, rest = [], []
    for index, part in enumerate(content):
        block = as_object(part, f"{where}.content.{index}")
        if block.get("type") != "tool_result":
            rest.append(block)
            continue
        called = text_of(block, "tool_use_id", f"{where}.content.{index}.tool_use_id")
        text = joined_text(block.get("content"), f"{where}.content.{index}.content")
        results.append(Message(role=Role.TOOL, text=text, call_id=called, tool=tools.get(called, "")))
    if rest:
        results.append(Message(role=Role.USER, text=joined_text(rest, f"{where}.content")))
    return results


def _spoken_by_model(content: object, where: str, tools: dict[str, str]) -> Message:
    if not isinstance(content, list):
        return Message(role=Role.ASSISTANT, text=joined_text(content, f"{where}.content"))
    calls, rest = [], []
    for index, part in enumerate(content):
        block = as_object(part, f"{where}.content.{index}")
        if block.get("type") != "tool_use":
            rest.append(block)
            continue
        called = text_of(block, "id", f"{where}.content.{index}.id")
        name = text_of(block, "name", f"{where}.content.{index}.name")
        tools[called] = name
        calls.append(Call(call_id=called, tool=name, args=arguments_of(block.get("input"))))
    spoken = [block for block in rest if block.get("type") == "text"]
    return Message(role=Role.ASSISTANT, text=joined_text(spoken, f"{where}.content"), calls=tuple(calls))


def _tool(given: object, index: int) -> Offered:
    tool = as_object(given, f"tools.{index}")
    schema = as_object(tool.get("input_schema") or {}, f"tools.{index}.input_schema")
    return Offered(name=text_of(tool, "name", f"tools.{index}.name"), schema=schema)


def _choice(given: object, tools: tuple[Offered, ...]) -> tuple[Choice, str | None]:
    if given is None:
        return Choice.AUTO, None
    named = as_object(given, "tool_choice")
    kind = named.get("type")
    if not isinstance(kind, str) or kind not in _CHOICE:
        raise RequestRefused(f"tool_choice.type: unknown type {kind!r:.40}", param="tool_choice")
    if _CHOICE[kind] is Choice.REQUIRED and not tools:
        raise RequestRefused("tool_choice: only allowed when tools are given", param="tool_choice")
    if kind != "tool":
        return _CHOICE[kind], None
    name = text_of(named, "name", "tool_choice.name")
    if name not in {tool.name for tool in tools}:
        raise RequestRefused(f"tool_choice.name: {name!r:.60} is not in tools", param="tool_choice")
    return Choice.REQUIRED, name


def _output_schema(given: Mapping[str, Any]) -> Offered | None:
    config = as_object(given.get("output_config") or {}, "output_config")
    wanted = given.get("output_format") or config.get("format")
    if wanted is None:
        return None
    schema = as_object(as_object(wanted, "output_format").get("schema") or {}, "output_format.schema")
    return Offered(name="output", schema=schema)


def answer(drafted: Drafted) -> bytes:
    """Renders the whole message as JSON."""
    content: list[dict[str, Any]] = [{"type": "text", "text": drafted.content}] if drafted.content else []
    content += [{"type": "tool_use", "id": c.call_id, "name": c.tool, "input": dict(c.args)} for c in drafted.calls]
    whole = {**_head(drafted), "content": content, "stop_reason": _STOP[drafted.stop]}
    return orjson.dumps({**whole, "usage": _usage(drafted, drafted.output_tokens)}, default=str)


def events(drafted: Drafted) -> Iterator[tuple[bytes, int]]:
    """Renders the message as server-sent events, each with the output tokens it carries."""
    start = {**_head(drafted), "content": [], "stop_reason": None, "usage": _usage(drafted, 1)}
    yield _event("message_start", {"message": start}), 0
    yield _event("ping", {}), 0
    index = 0
    if drafted.content:
        spoken = [{"type": "text_delta", "text": piece} for piece in pieces(drafted.content)]
        yield from _block(index, {"type": "text", "text": ""}, spoken)
        index += 1
    for call in drafted.calls:
        arguments = orjson.dumps(dict(call.args), default=str).decode()
        opened = {"type": "tool_use", "id": call.call_id, "name": call.tool, "input": {}}
        yield from _block(index, opened, [{"type": "input_json_delta", "partial_json": p} for p in pieces(arguments)])
        index += 1
    delta = {"stop_reason": _STOP[drafted.stop], "stop_sequence": None}
    yield _event("message_delta", {"delta": delta, "usage": {"output_tokens": drafted.output_tokens}}), 0
    yield _event("message_stop", {}), 0


def _block(index: int, opened: Mapping[str, Any], deltas: list[dict[str, str]]) -> Iterator[tuple[bytes, int]]:
    yield _event("content_block_start", {"index": index, "content_block": opened}), 0
    for delta in deltas:
        yield _event("content_block_delta", {"index": index, "delta": delta}), 6
    yield _event("content_block_stop", {"index": index}), 0


def _event(kind: str, fields: Mapping[str, Any]) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps({"type": kind, **fields}) + b"\n\n"


def _head(drafted: Drafted) -> dict[str, Any]:
    named = {"id": f"msg_sim_{drafted.digest}", "type": "message", "role": "assistant"}
    return {**named, "model": drafted.model, "stop_sequence": None}


def _usage(drafted: Drafted, output_tokens: int) -> dict[str, Any]:
    cached = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    return {"input_tokens": drafted.input_tokens, "output_tokens": output_tokens, **cached, "service_tier": "standard"}


def token_count(asked: Asked) -> bytes:
    """Renders POST /v1/messages/count_tokens."""
    return orjson.dumps({"input_tokens": asked.input_tokens()})


def refusal(failure: RequestRefused, request_id: str) -> bytes:
    """Renders an error as Anthropic does."""
    kind = _KINDS.get(failure.status, "invalid_request_error" if failure.status < 500 else "api_error")
    error = {"type": kind, "message": str(failure)}
    return orjson.dumps({"type": "error", "error": error, "request_id": request_id})
