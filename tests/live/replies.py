"""The providers' wire formats: one reply as OpenAI chat, OpenAI responses and Anthropic messages write it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

CREATED = 1_760_000_000


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Tokens of one call. `input_tokens` includes the cached ones, `output_tokens` the reasoning ones."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What the model says: a text, or one call of a tool."""

    model: str
    usage: Usage
    text: str | None = None
    tool: str | None = None
    arguments: str = "{}"

    @property
    def call_id(self) -> str:
        """The id under which the tool's result comes back."""
        return f"call_{self.tool}"


def _event(body: dict[str, Any], name: str | None = None) -> str:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(body)}\n\n"


def _halves(text: str) -> tuple[str, str]:
    middle = len(text) // 2
    return text[:middle], text[middle:]


# OpenAI chat completions


def _chat_usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def _tool_call(reply: Reply, arguments: str) -> dict[str, Any]:
    return {"id": reply.call_id, "type": "function", "function": {"name": reply.tool, "arguments": arguments}}


def chat_reply(reply: Reply) -> dict[str, Any]:
    """A `chat.completion` object."""
    message: dict[str, Any] = {"role": "assistant", "content": reply.text, "refusal": None}
    if reply.tool:
        message["tool_calls"] = [_tool_call(reply, reply.arguments)]
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if reply.tool else "stop", "logprobs": None}
    return {
        "id": "chatcmpl-live",
        "object": "chat.completion",
        "created": CREATED,
        "model": reply.model,
        "choices": [choice],
        "usage": _chat_usage(reply.usage),
    }


def chat_chunks(reply: Reply, *, with_usage: bool) -> Iterator[str]:
    """The same reply as server-sent `chat.completion.chunk` events, ending with `[DONE]`."""
    head = {"id": "chatcmpl-live", "object": "chat.completion.chunk", "created": CREATED, "model": reply.model}

    def chunk(delta: dict[str, Any], finish: str | None = None) -> str:
        return _event({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    yield chunk({"role": "assistant", "content": None if reply.tool else ""})
    if reply.tool:
        for position, part in enumerate(_halves(reply.arguments)):
            call = _tool_call(reply, part) if position == 0 else {"function": {"arguments": part}}
            yield chunk({"tool_calls": [{"index": 0, **call}]})
    else:
        for part in _halves(reply.text or ""):
            yield chunk({"content": part})
    yield chunk({}, "tool_calls" if reply.tool else "stop")
    if with_usage:
        yield _event({**head, "choices": [], "usage": _chat_usage(reply.usage)})
    yield "data: [DONE]\n\n"


def embedding_reply(request: dict[str, Any], usage: Usage) -> dict[str, Any]:
    """A list of tiny vectors, one per input, as floats or base64 as the client asked."""
    inputs = request["input"] if isinstance(request["input"], list) else [request["input"]]
    vector: Any = [0.25, -0.5, 1.0]
    if request.get("encoding_format") == "base64":
        vector = "AACAPgAAAL8AAIA/"
    rows = [{"object": "embedding", "index": position, "embedding": vector} for position in range(len(inputs))]
    tokens = {"prompt_tokens": usage.input_tokens, "total_tokens": usage.input_tokens}
    return {"object": "list", "data": rows, "model": request["model"], "usage": tokens}


# OpenAI responses


def _output(reply: Reply) -> dict[str, Any]:
    if reply.tool:
        called = {"name": reply.tool, "arguments": reply.arguments, "call_id": reply.call_id}
        return {"type": "function_call", "id": "fc_live", "status": "completed", **called}
    part: dict[str, Any] = {"type": "output_text", "text": reply.text, "annotations": []}
    return {"type": "message", "id": "msg_live", "status": "completed", "role": "assistant", "content": [part]}


def responses_reply(reply: Reply, *, status: str = "completed") -> dict[str, Any]:
    """A `response` object; one that is still in progress has neither output nor usage."""
    done = status == "completed"
    usage = {
        "input_tokens": reply.usage.input_tokens,
        "input_tokens_details": {"cached_tokens": reply.usage.cached_tokens},
        "output_tokens": reply.usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": reply.usage.reasoning_tokens},
        "total_tokens": reply.usage.input_tokens + reply.usage.output_tokens,
    }
    return {
        "id": "resp_live",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "model": reply.model,
        "output": [_output(reply)] if done else [],
        "usage": usage if done else None,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
    }


def responses_events(reply: Reply) -> Iterator[str]:
    """The same response as server-sent events."""
    made = _output(reply)
    steps: list[tuple[str, dict[str, Any]]] = [
        ("response.created", {"response": responses_reply(reply, status="in_progress")})
    ]
    if reply.tool:
        steps.append(("response.output_item.added", {"output_index": 0, "item": {**made, "arguments": ""}}))
        where = {"output_index": 0, "item_id": "fc_live"}
        halves = _halves(reply.arguments)
        steps += [("response.function_call_arguments.delta", {**where, "delta": half}) for half in halves]
        steps.append(("response.function_call_arguments.done", {**where, "arguments": reply.arguments}))
    else:
        steps.append(("response.output_item.added", {"output_index": 0, "item": {**made, "content": []}}))
        where = {"output_index": 0, "item_id": "msg_live", "content_index": 0}
        empty = {"type": "output_text", "text": "", "annotations": []}
        steps.append(("response.content_part.added", {**where, "part": empty}))
        halves = _halves(reply.text or "")
        steps += [("response.output_text.delta", {**where, "delta": half, "logprobs": []}) for half in halves]
        steps.append(("response.output_text.done", {**where, "text": reply.text, "logprobs": []}))
        steps.append(("response.content_part.done", {**where, "part": made["content"][0]}))
    steps.append(("response.output_item.done", {"output_index": 0, "item": made}))
    steps.append(("response.completed", {"response": responses_reply(reply)}))
    for number, (name, body) in enumerate(steps):
        yield _event({"type": name, "sequence_number": number, **body}, name)


# Anthropic messages: `input_tokens` on this wire leaves the cached ones out


def _anthropic_usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_tokens - usage.cached_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "cache_creation_input_tokens": 0,
        "output_tokens": usage.output_tokens,
    }


def anthropic_reply(reply: Reply) -> dict[str, Any]:
    """A `message` object."""
    block: dict[str, Any] = {"type": "text", "text": reply.text}
    if reply.tool:
        block = {"type": "tool_use", "id": reply.call_id, "name": reply.tool, "input": json.loads(reply.arguments)}
    return {
        "id": "msg_live",
        "type": "message",
        "role": "assistant",
        "model": reply.model,
        "content": [block],
        "stop_reason": "tool_use" if reply.tool else "end_turn",
        "stop_sequence": None,
        "usage": _anthropic_usage(reply.usage),
    }


def anthropic_events(reply: Reply) -> Iterator[str]:
    """The same message as server-sent events."""
    whole = anthropic_reply(reply)
    start = {**whole, "content": [], "stop_reason": None, "usage": {**whole["usage"], "output_tokens": 1}}
    yield _event({"type": "message_start", "message": start}, "message_start")
    block = whole["content"][0]
    empty = {**block, "input": {}} if reply.tool else {**block, "text": ""}
    yield _event({"type": "content_block_start", "index": 0, "content_block": empty}, "content_block_start")
    for part in _halves(reply.arguments if reply.tool else reply.text or ""):
        delta = (
            {"type": "input_json_delta", "partial_json": part} if reply.tool else {"type": "text_delta", "text": part}
        )
        yield _event({"type": "content_block_delta", "index": 0, "delta": delta}, "content_block_delta")
    yield _event({"type": "content_block_stop", "index": 0}, "content_block_stop")
    stop = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    usage = {"output_tokens": reply.usage.output_tokens}
    yield _event({"type": "message_delta", "delta": stop, "usage": usage}, "message_delta")
    yield _event({"type": "message_stop"}, "message_stop")
