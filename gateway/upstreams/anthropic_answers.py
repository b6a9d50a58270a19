"""Anthropic's messages, whole and streamed, as OpenAI's chat completions; and its errors."""

from __future__ import annotations

from typing import Any, Final

import orjson

from gateway.errors import CallFailed, UpstreamFailed
from gateway.records import Usage
from gateway.upstreams.failures import error_for, garbage, object_in, text_in
from gateway.upstreams.sse import EventSplitter, EventTooLong

_FINISH: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_STATUSES: Final = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}
Chunk = dict[str, Any]


def error_of(status: int, body: bytes) -> CallFailed:
    """An error answer."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        said = None
    return _error(status, said)


def answer_of(body: bytes, created_s: int) -> dict[str, Any]:
    """A whole message. Raises CallFailed."""
    message = object_in(body)
    if message.get("type") == "error":
        raise _error(_status_of(message), message)
    blocks = message.get("content")
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise garbage("it has no content")
    said = {"role": "assistant", "content": _text(blocks), **_calls(blocks)}
    reason = text_in(message.get("stop_reason"))
    details = message.get("stop_details")
    if reason == "refusal" and isinstance(details, dict) and text_in(details.get("explanation")):
        said["refusal"] = details["explanation"]
    choice = {"index": 0, "message": said, "logprobs": None, "finish_reason": _FINISH.get(reason, "stop")}
    usage = message.get("usage")
    return {
        "id": text_in(message.get("id")),
        "object": "chat.completion",
        "created": created_s,
        "model": text_in(message.get("model")),
        "choices": [choice],
        **({"usage": usage_in_openais_words(usage)} if isinstance(usage, dict) else {}),
    }


def usage_in_openais_words(given: dict[str, Any]) -> dict[str, Any]:
    """Anthropic counts what it reads from its cache and writes to it apart from the input; OpenAI as parts of it."""
    read, written = _count(given.get("cache_read_input_tokens")), _count(given.get("cache_creation_input_tokens"))
    n_input, n_output = _count(given.get("input_tokens")) + read + written, _count(given.get("output_tokens"))
    return {
        "prompt_tokens": n_input,
        "completion_tokens": n_output,
        "total_tokens": n_input + n_output,
        "prompt_tokens_details": {"cached_tokens": read, "cache_creation_tokens": written},
    }


class AnthropicEvents:
    """Reads a streamed message, up to `message_stop`. Thinking is counted and not passed on."""

    def __init__(self, created_s: int) -> None:
        self.finished = False
        self.failure: CallFailed | None = None
        self.usage: Usage | None = None
        self.n_characters = 0
        self._splitter = EventSplitter()
        self._head: Chunk = {"id": "", "object": "chat.completion.chunk", "created": created_s, "model": ""}
        self._counts: dict[str, Any] = {}
        self._has_begun = self._has_stopped = False
        self._calls: dict[int, int] = {}  # index of the block -> index of the tool call
        self._silent: dict[int, Any] = {}  # blocks of tool calls without any argument so far, with their input

    def feed(self, piece: bytes) -> list[Chunk]:
        """The chunks that are complete with this piece."""
        try:
            return self._chunks(self._splitter.feed(piece))
        except EventTooLong as long:
            self.failure = self.failure or garbage(str(long))
            return []

    def end(self) -> list[Chunk]:
        """What was held back. A message that said why it stopped is whole without `message_stop`."""
        chunks = self._chunks(self._splitter.end())
        if self._has_stopped and not self.finished and self.failure is None:
            chunks.append(self._last())
        return chunks

    def _chunks(self, events: list[tuple[bytes, bytes]]) -> list[Chunk]:
        chunks: list[Chunk] = []
        for _, data in events:
            if self.finished or self.failure is not None:
                break
            try:
                event = object_in(data, "an event of the stream")
            except UpstreamFailed as failed:
                self.failure = failed
                break
            chunks += self._read(event)
        return chunks

    def _read(self, event: dict[str, Any]) -> list[Chunk]:
        match event.get("type"):
            case "message_start":
                self._start(_object(event.get("message")))
            case "content_block_start":
                return self._block(_count(event.get("index")), _object(event.get("content_block")))
            case "content_block_delta":
                return self._delta(_count(event.get("index")), _object(event.get("delta")))
            case "content_block_stop":
                return self._close(_count(event.get("index")))
            case "message_delta":
                self._count(_object(event.get("usage")), is_all=True)
                reason = text_in(_object(event.get("delta")).get("stop_reason"))
                self._has_stopped = self._has_stopped or bool(reason)
                return [self._chunk({}, _FINISH.get(reason, "stop"))] if reason else []
            case "message_stop":
                return [self._last()]
            case "error":
                self.failure = _error(_status_of(event), event)
        return []  # pings, and kinds of events that came later than this

    def _last(self) -> Chunk:
        self.finished = True
        return {**self._head, "choices": [], "usage": usage_in_openais_words(self._counts)}

    def _start(self, message: dict[str, Any]) -> None:
        self._head["id"], self._head["model"] = text_in(message.get("id")), text_in(message.get("model"))
        self._count(_object(message.get("usage")), is_all=False)

    def _count(self, usage: dict[str, Any], *, is_all: bool) -> None:
        """Counts add up over the stream; the output is known with the last of them."""
        self._counts |= {name: value for name, value in usage.items() if value is not None}
        told = usage_in_openais_words(self._counts)
        self.usage = Usage(
            input_tokens=told["prompt_tokens"],
            output_tokens=told["completion_tokens"],
            cached_tokens=told["prompt_tokens_details"]["cached_tokens"],
            reported=is_all or (self.usage is not None and self.usage.reported),
        )

    def _block(self, index: int, block: dict[str, Any]) -> list[Chunk]:
        if block.get("type") == "text":
            return self._said(text_in(block.get("text")))
        if block.get("type") != "tool_use":
            return []
        place = self._calls[index] = len(self._calls)
        self._silent[index] = block.get("input") or {}
        name = text_in(block.get("name"))
        self.n_characters += len(name)
        function = {"name": name, "arguments": ""}
        call = {"index": place, "id": text_in(block.get("id")), "type": "function", "function": function}
        return [self._chunk({"tool_calls": [call]})]

    def _delta(self, index: int, delta: dict[str, Any]) -> list[Chunk]:
        match delta.get("type"):
            case "text_delta":
                return self._said(text_in(delta.get("text")))
            case "input_json_delta":
                return self._argued(index, text_in(delta.get("partial_json")))
            case "thinking_delta":
                self.n_characters += len(text_in(delta.get("thinking")))
        return []

    def _said(self, text: str) -> list[Chunk]:
        self.n_characters += len(text)
        return [self._chunk({"content": text})] if text else []

    def _argued(self, index: int, text: str) -> list[Chunk]:
        if not text or index not in self._calls:
            return []
        self._silent.pop(index, None)
        self.n_characters += len(text)
        return [self._chunk({"tool_calls": [{"index": self._calls[index], "function": {"arguments": text}}]})]

    def _close(self, index: int) -> list[Chunk]:
        """A call without arguments still has an object of them."""
        if index not in self._silent:
            return []
        return self._argued(index, orjson.dumps(self._silent[index]).decode())

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> Chunk:
        if not self._has_begun:
            self._has_begun = True
            delta = {"role": "assistant", **delta}
        return {**self._head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}


def _error(status: int, said: object) -> CallFailed:
    inner = said.get("error") if isinstance(said, dict) else None
    if not isinstance(inner, dict):
        return error_for(status, text_in(inner))
    return error_for(status, text_in(inner.get("message")), kind=text_in(inner.get("type")))


def _status_of(said: dict[str, Any]) -> int:
    """The status that an error would have had if it had come before the answer began."""
    return _STATUSES.get(text_in(_object(said.get("error")).get("type")), 500)


def _text(blocks: list[dict[str, Any]]) -> str | None:
    texts = [text_in(block.get("text")) for block in blocks if block.get("type") == "text"]
    return "".join(texts) if texts else None


def _calls(blocks: list[dict[str, Any]]) -> dict[str, Any]:
    calls = [
        {
            "id": text_in(block.get("id")),
            "type": "function",
            "function": {
                "name": text_in(block.get("name")),
                "arguments": orjson.dumps(block.get("input") or {}).decode(),
            },
        }
        for block in blocks
        if block.get("type") == "tool_use"
    ]
    return {"tool_calls": calls} if calls else {}


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: object) -> int:
    return value if isinstance(value, int) and 0 <= value < 1 << 53 else 0
