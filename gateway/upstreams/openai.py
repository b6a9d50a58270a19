"""OpenAI's wire, which most providers and local servers speak: chat completions and embeddings."""

from __future__ import annotations

from types import NoneType
from typing import Any, Final

import orjson

from gateway.errors import CallFailed, UpstreamFailed
from gateway.records import Call, CallKind, Target, Usage
from gateway.upstreams.failures import error_for, garbage, object_in, text_in
from gateway.upstreams.sse import EventSplitter, EventTooLong
from gateway.upstreams.wire import EventReader, Outgoing

_TEXT: Final = (str, NoneType)
_PARTS: Final = ("name", "arguments")
PATHS: Final = {CallKind.CHAT: "/chat/completions", CallKind.EMBEDDINGS: "/embeddings"}


class OpenAIWire:
    """Speaks to `BASE/chat/completions` and `BASE/embeddings` with a bearer key."""

    provider = "openai"

    def request(self, call: Call, target: Target, key: str) -> Outgoing:
        """The body as it is, with the target's model; a stream is always asked for its usage."""
        headers = {"content-type": "application/json"}
        if key:
            headers["authorization"] = f"Bearer {key}"
        return Outgoing(path=PATHS[call.kind], headers=headers, body=orjson.dumps(body_for(call, target)))

    def answer(self, call: Call, body: bytes) -> dict[str, Any]:
        """Checks as much as the policies rely on. Raises CallFailed."""
        answer = object_in(body)
        if answer.get("error"):
            raise self.error(502, body)
        if call.kind is CallKind.EMBEDDINGS:
            if not isinstance(answer.get("data"), list):
                raise garbage("it has no list of embeddings")
        elif not _has_messages(answer.get("choices")):
            raise garbage("it has no choices with messages")
        return answer

    def reader(self, call: Call) -> EventReader:
        """A reader of `chat.completion.chunk` events."""
        return OpenAIEvents()

    def error(self, status: int, body: bytes) -> CallFailed:
        """Reads `{"error": {"message", "type", "code", "param"}}` and its common variations."""
        return _error(status, _parsed(body))


def body_for(call: Call, target: Target) -> dict[str, Any]:
    """The call's body for one target."""
    body = {**call.body, "model": target.model}
    if call.streamed:
        options = body.get("stream_options")
        body["stream"] = True
        body["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
    return body


def usage_of(given: object) -> Usage | None:
    """OpenAI's usage object; None when it is none."""
    if not isinstance(given, dict) or "prompt_tokens" not in given:
        return None
    details = given.get("prompt_tokens_details")
    return Usage(
        input_tokens=_count(given.get("prompt_tokens")),
        output_tokens=_count(given.get("completion_tokens")),
        cached_tokens=_count(details.get("cached_tokens")) if isinstance(details, dict) else 0,
        reported=True,
    )


class OpenAIEvents:
    """Reads a streamed chat completion, up to `[DONE]`.

    A stream that ends in good order without `[DONE]` is whole when every choice that began has a finish reason.
    """

    def __init__(self) -> None:
        self.finished = False
        self.failure: CallFailed | None = None
        self.usage: Usage | None = None
        self.n_characters = 0
        self._splitter = EventSplitter()
        self._open: set[int] = set()
        self._n_closed = 0

    def feed(self, piece: bytes) -> list[dict[str, Any]]:
        """The chunks that are complete with this piece."""
        try:
            return self._chunks(self._splitter.feed(piece))
        except EventTooLong as long:
            self.failure = self.failure or garbage(str(long))
            return []

    def end(self) -> list[dict[str, Any]]:
        """What was held back; whether that was all."""
        chunks = self._chunks(self._splitter.end())
        self.finished = self.finished or (self.failure is None and self._n_closed > 0 and not self._open)
        return chunks

    def _chunks(self, events: list[tuple[bytes, bytes]]) -> list[dict[str, Any]]:
        chunks: list[dict[str, Any]] = []
        for _, event in events:
            if self.finished or self.failure is not None:
                break
            if event.strip() == b"[DONE]":
                self.finished = True
                break
            try:
                chunk = object_in(event, "an event of the stream")
            except UpstreamFailed as failed:
                self.failure = failed
                break
            if chunk.get("error"):
                self.failure = _error(502, chunk)
            elif isinstance(chunk.get("choices"), list):
                if self._noted(chunk):
                    chunks.append(chunk)
                else:
                    self.failure = garbage("a chunk of the stream has no proper choices")
        return chunks

    def _noted(self, chunk: dict[str, Any]) -> bool:
        """Keeps count; False: policies could not read this chunk."""
        reported = chunk.get("usage")
        if reported is not None:
            self.usage = usage_of(reported) or self.usage
        for choice in chunk["choices"]:
            if not isinstance(choice, dict) or not isinstance(choice.get("index"), int | None):
                return False
            delta = choice.get("delta")
            if delta is None:
                choice["delta"] = delta = {}
            if not _is_readable(delta, _TEXT):
                return False
            self.n_characters += _n_characters(delta)
            index = choice.get("index") or 0
            if choice.get("finish_reason"):
                self._open.discard(index)
                self._n_closed += 1
            else:
                self._open.add(index)
        return True


def _is_readable(said: object, content: tuple[type, ...]) -> bool:
    """Whether a message or a delta is made of what policies expect: texts, and calls of tools."""
    if not isinstance(said, dict) or not isinstance(said.get("content"), content):
        return False
    calls = said.get("tool_calls")
    if calls is None:
        return True
    return isinstance(calls, list) and all(map(_is_call, calls))


def _is_call(call: object) -> bool:
    if not isinstance(call, dict) or not isinstance(call.get("index"), int | None):
        return False
    function = call.get("function")
    if function is None:
        return True
    return isinstance(function, dict) and all(isinstance(function.get(part), str | None) for part in _PARTS)


def _n_characters(delta: dict[str, Any]) -> int:
    n_characters = len(delta.get("content") or "")
    for call in delta.get("tool_calls") or ():
        function = call.get("function") or {}
        n_characters += sum(len(function.get(part) or "") for part in _PARTS)
    return n_characters


def _error(status: int, said: object) -> CallFailed:
    inner = said.get("error", said) if isinstance(said, dict) else {}
    if isinstance(inner, str):
        return error_for(status, inner)
    if not isinstance(inner, dict):
        return error_for(status, "")
    message = text_in(inner.get("message")) or text_in(inner.get("detail"))
    code = text_in(inner.get("code"))
    return error_for(
        status, message, kind=text_in(inner.get("type")), code=code, param=text_in(inner.get("param")) or None
    )


def _parsed(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _has_messages(choices: object) -> bool:
    if not isinstance(choices, list) or not choices:
        return False
    return all(isinstance(each, dict) and _is_readable(each.get("message"), (*_TEXT, list)) for each in choices)


def _count(value: object) -> int:
    return value if isinstance(value, int) and 0 <= value < 1 << 53 else 0
