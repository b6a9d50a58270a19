"""OpenAI's chat completions: a request's JSON to `Asked`, a `Drafted` answer to JSON or server-sent events."""

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

_FINISH: Final = {Stop.END: "stop", Stop.CALLS: "tool_calls", Stop.LENGTH: "length"}
_SAMPLING: Final = {
    "temperature": (0.0, 2.0),
    "top_p": (0.0, 1.0),
    "presence_penalty": (-2.0, 2.0),
    "frequency_penalty": (-2.0, 2.0),
}
DONE: Final = b"data: [DONE]\n\n"


def read_request(body: bytes, session_id: str, release: str) -> Asked:
    """Reads a POST /v1/chat/completions body. Raises RequestRefused."""
    given = parse_body(body)
    if given.get("n") not in (None, 1):
        raise RequestRefused("only n=1 is simulated", param="n")
    instructions, messages = _messages(as_list(given.get("messages"), "messages"))
    if not messages and not instructions:
        raise RequestRefused("'messages' has to hold at least one message", param="messages")
    tools = tuple(_tool(tool, index) for index, tool in enumerate(as_list(given.get("tools"), "tools")))
    choice, must_call = _choice(given.get("tool_choice"), tools)
    wants_json, schema = _response_format(given.get("response_format"))
    options = as_object(given.get("stream_options") or {}, "stream_options")
    check_numbers(given, _SAMPLING)
    return Asked(
        model=text_of(given, "model", "model"),
        instructions=instructions,
        messages=messages,
        tools=tools,
        choice=choice,
        must_call=must_call,
        output_schema=schema,
        wants_json=wants_json,
        max_tokens=count_of(given, "max_completion_tokens") or count_of(given, "max_tokens"),
        stream=flag_of(given, "stream"),
        stream_usage=flag_of(options, "include_usage"),
        session_id=session_id,
        release=release,
    )


def _messages(given: list[Any]) -> tuple[str, tuple[Message, ...]]:
    instructions: list[str] = []
    messages: list[Message] = []
    tools: dict[str, str] = {}
    for index, one in enumerate(given):
        where = f"messages[{index}]"
        message = as_object(one, where)
        text = joined_text(message.get("content"), f"{where}.content")
        match message.get("role"):
            case "system" | "developer":
                instructions.append(text)
            case "user":
                messages.append(Message(role=Role.USER, text=text))
            case "assistant":
                calls = _calls(message, where)
                tools.update({call.call_id: call.tool for call in calls})
                messages.append(Message(role=Role.ASSISTANT, text=text, calls=calls))
            case "tool":
                call_id = text_of(message, "tool_call_id", f"{where}.tool_call_id")
                messages.append(Message(role=Role.TOOL, text=text, call_id=call_id, tool=tools.get(call_id, "")))
            case role:
                raise RequestRefused(f"unknown role {role!r:.40}", param=f"{where}.role")
    _check_results(messages)
    return "\n\n".join(instructions), tuple(messages)


def _check_results(messages: list[Message]) -> None:
    unanswered, unasked = unpaired(messages)
    if unanswered:
        ids = ", ".join(sorted(unanswered))
        said = (
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'"
        )
        raise RequestRefused(f"{said}. Without a response: {ids:.200}", param="messages")
    if unasked:
        said = "Messages with role 'tool' must be a response to a preceding message with 'tool_calls'"
        raise RequestRefused(f"{said}: {unasked.pop():.100}", param="messages")


def _calls(message: Mapping[str, Any], where: str) -> tuple[Call, ...]:
    calls = []
    for index, one in enumerate(as_list(message.get("tool_calls"), f"{where}.tool_calls")):
        place = f"{where}.tool_calls[{index}]"
        call = as_object(one, place)
        function = as_object(call.get("function"), f"{place}.function")
        name = text_of(function, "name", f"{place}.function.name")
        called = text_of(call, "id", f"{place}.id")
        calls.append(Call(call_id=called, tool=name, args=arguments_of(function.get("arguments"))))
    return tuple(calls)


def _tool(given: object, index: int) -> Offered:
    where = f"tools[{index}]"
    tool = as_object(given, where)
    if tool.get("type") != "function":
        raise RequestRefused("only tools of type 'function' are simulated", param=f"{where}.type")
    function = as_object(tool.get("function"), f"{where}.function")
    schema = as_object(function.get("parameters") or {}, f"{where}.function.parameters")
    return Offered(name=text_of(function, "name", f"{where}.function.name"), schema=schema)


def _choice(given: object, tools: tuple[Offered, ...]) -> tuple[Choice, str | None]:
    if given is None:
        return Choice.AUTO, None
    if isinstance(given, str) and given in set(Choice):
        if given == Choice.REQUIRED and not tools:
            raise RequestRefused("'tool_choice' is only allowed when 'tools' are given", param="tool_choice")
        return Choice(given), None
    named = as_object(given, "tool_choice")
    if named.get("type") == "allowed_tools":
        allowed = as_object(named.get("allowed_tools"), "tool_choice.allowed_tools")
        return Choice.REQUIRED if allowed.get("mode") == "required" else Choice.AUTO, None
    function = as_object(named.get("function"), "tool_choice.function")
    name = text_of(function, "name", "tool_choice.function.name")
    if name not in {tool.name for tool in tools}:
        raise RequestRefused(f"tool_choice names {name!r:.60}, which is not in 'tools'", param="tool_choice")
    return Choice.REQUIRED, name


def _response_format(given: object) -> tuple[bool, Offered | None]:
    if given is None:
        return False, None
    wanted = as_object(given, "response_format")
    match wanted.get("type"):
        case "text":
            return False, None
        case "json_object":
            return True, None
        case "json_schema":
            named = as_object(wanted.get("json_schema"), "response_format.json_schema")
            schema = as_object(named.get("schema") or {}, "response_format.json_schema.schema")
            return True, Offered(name=text_of(named, "name", "response_format.json_schema.name"), schema=schema)
        case kind:
            raise RequestRefused(f"unknown response_format type {kind!r:.40}", param="response_format.type")


def answer(drafted: Drafted) -> bytes:
    """Renders the whole completion as JSON."""
    message: dict[str, Any] = {"role": "assistant", "content": drafted.content or None, "refusal": None}
    if drafted.calls:
        message["tool_calls"] = [_call(call) for call in drafted.calls]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _FINISH[drafted.stop]}
    return orjson.dumps({**_head(drafted, "chat.completion"), "choices": [choice], "usage": _usage(drafted)})


def events(drafted: Drafted, with_usage: bool) -> Iterator[tuple[bytes, int]]:
    """Renders the completion as server-sent events, each with the output tokens it carries; [DONE] comes last."""
    head = _head(drafted, "chat.completion.chunk")

    def event(delta: Mapping[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return b"data: " + orjson.dumps({**head, "choices": [choice]}) + b"\n\n"

    yield event({"role": "assistant", "content": ""}), 0
    for piece in pieces(drafted.content):
        yield event({"content": piece}), (len(piece) + 3) // 4
    for index, call in enumerate(drafted.calls):
        full = _call(call)
        arguments = full["function"].pop("arguments")
        yield event({"tool_calls": [{"index": index, **full, "function": {"name": call.tool, "arguments": ""}}]}), 8
        for piece in pieces(arguments):
            yield event({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}), (len(piece) + 3) // 4
    yield event({}, _FINISH[drafted.stop]), 0
    if with_usage:
        yield b"data: " + orjson.dumps({**head, "choices": [], "usage": _usage(drafted)}) + b"\n\n", 0
    yield DONE, 0


def _head(drafted: Drafted, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-sim-{drafted.digest}",
        "object": kind,
        "created": drafted.created,
        "model": drafted.model,
        "system_fingerprint": f"sim-{drafted.model.removeprefix('sim-')}",
        "service_tier": "default",
    }


def _call(call: Call) -> dict[str, Any]:
    arguments = orjson.dumps(dict(call.args), default=str).decode()
    return {"id": call.call_id, "type": "function", "function": {"name": call.tool, "arguments": arguments}}


def _usage(drafted: Drafted) -> dict[str, Any]:
    return {
        "prompt_tokens": drafted.input_tokens,
        "completion_tokens": drafted.output_tokens,
        "total_tokens": drafted.input_tokens + drafted.output_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def refusal(failure: RequestRefused) -> bytes:
    """Renders an error as OpenAI does."""
    error = {"message": str(failure), "type": failure.kind, "param": failure.param, "code": failure.code}
    return orjson.dumps({"error": error})


def models(names: list[str]) -> bytes:
    """Renders GET /v1/models."""
    listed = [{"id": name, "object": "model", "created": 0, "owned_by": "assay-simulated"} for name in names]
    return orjson.dumps({"object": "list", "data": listed})
