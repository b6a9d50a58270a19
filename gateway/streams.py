"""Streamed answers: what passes is put together for the span and the cache, and whole answers become streams."""

from __future__ import annotations

from collections.abc import Iterable
from time import perf_counter_ns
from typing import Any, Final

import orjson

from gateway.chain import StreamFilter
from gateway.errors import CallFailed

DONE: Final = b"data: [DONE]\n\n"
MOST_KEPT: Final = 1 << 20  # characters of a streamed answer that are put together; the rest is counted only


def event(chunk: object) -> bytes:
    """One server-sent event."""
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


def error_event(error: CallFailed) -> bytes:
    """What ends a stream that broke off: OpenAI's clients raise it."""
    return event(error.body())


class Assembly:
    """Puts the chunks of one streamed answer together. Text above MOST_KEPT characters is left out and `cut` is set."""

    def __init__(self) -> None:
        self.id = ""
        self.model = ""
        self.created = 0
        self.usage: dict[str, Any] | None = None
        self.cut = False
        self._n_characters = 0
        self._choices: dict[int, _Choice] = {}

    def add(self, chunk: dict[str, Any]) -> None:
        """Takes in one chunk."""
        if not self.id:
            self.id, self.model = str(chunk.get("id") or ""), str(chunk.get("model") or "")
            self.created = chunk.get("created") or 0
        usage = chunk.get("usage")
        if isinstance(usage, dict):
            self.usage = usage
        for given in chunk.get("choices") or ():
            index = given.get("index") or 0
            choice = self._choices.get(index)
            if choice is None:
                choice = self._choices[index] = _Choice()
            choice.finish_reason = given.get("finish_reason") or choice.finish_reason
            delta = given.get("delta")
            if delta:
                self._n_characters += choice.add(delta, self._n_characters < MOST_KEPT)
                self.cut = self._n_characters >= MOST_KEPT

    @property
    def n_characters(self) -> int:
        """Of everything that was streamed: for an estimate of the tokens where nobody counted them."""
        return self._n_characters

    @property
    def finish_reasons(self) -> list[str]:
        """Of the choices that ended."""
        return [str(choice.finish_reason) for _, choice in sorted(self._choices.items()) if choice.finish_reason]

    @property
    def whole(self) -> bool:
        """Whether every choice ended."""
        return bool(self._choices) and all(choice.finish_reason for choice in self._choices.values())

    def messages(self) -> list[dict[str, Any]]:
        """The message of every choice."""
        return [choice.message() for _, choice in sorted(self._choices.items())]

    def body(self) -> dict[str, Any]:
        """The answer as if it had not been streamed."""
        choices = [
            {"index": index, "message": choice.message(), "finish_reason": choice.finish_reason}
            for index, choice in sorted(self._choices.items())
        ]
        found = {"id": self.id, "object": "chat.completion", "created": self.created, "model": self.model}
        return {**found, "choices": choices, **({"usage": self.usage} if self.usage else {})}


class _Choice:
    def __init__(self) -> None:
        self.finish_reason: str | None = None
        self._texts: dict[str, list[str]] = {}
        self._calls: dict[int, dict[str, Any]] = {}

    def add(self, delta: dict[str, Any], keep: bool) -> int:
        """Takes in a delta and returns its characters."""
        n_characters = 0
        for name in ("content", "refusal", "reasoning_content", "reasoning"):
            text = delta.get(name)
            if isinstance(text, str) and text:
                n_characters += len(text)
                if keep:
                    self._texts.setdefault(name, []).append(text)
        for given in delta.get("tool_calls") or ():
            n_characters += self._add_call(given, keep)
        return n_characters

    def _add_call(self, given: dict[str, Any], keep: bool) -> int:
        function = given.get("function") or {}
        index = given.get("index") or 0
        call = self._calls.get(index)
        if call is None:
            call = self._calls[index] = {"id": "", "name": "", "arguments": []}
        call["id"] = given.get("id") or call["id"]
        call["name"] = function.get("name") or call["name"]
        arguments = function.get("arguments") or ""
        if keep and arguments:
            call["arguments"].append(arguments)
        return len(arguments)

    def message(self) -> dict[str, Any]:
        """The message."""
        found: dict[str, Any] = {"role": "assistant", "content": None}
        for name, texts in self._texts.items():
            found[name] = "".join(texts)
        if self._calls:
            found["tool_calls"] = [
                {
                    "id": call["id"],
                    "type": "function",
                    "function": {"name": call["name"], "arguments": "".join(call["arguments"])},
                }
                for _, call in sorted(self._calls.items())
            ]
        return found


def chunks_of(body: dict[str, Any]) -> list[dict[str, Any]]:
    """A whole chat answer as the chunks of a stream."""
    head = {"id": body.get("id"), "object": "chat.completion.chunk", "created": body.get("created") or 0}
    head["model"] = body.get("model")
    chunks = []
    for choice in body.get("choices") or ():
        index, message = choice.get("index") or 0, choice.get("message") or {}
        delta = {name: value for name, value in message.items() if value is not None and name != "tool_calls"}
        calls = [{"index": n, **call} for n, call in enumerate(message.get("tool_calls") or ())]
        if calls:
            delta["tool_calls"] = calls
        chunks.append({**head, "choices": [{"index": index, "delta": delta, "finish_reason": None}]})
        reason = choice.get("finish_reason") or "stop"
        chunks.append({**head, "choices": [{"index": index, "delta": {}, "finish_reason": reason}]})
    if body.get("usage"):
        chunks.append({**head, "choices": [], "usage": body["usage"]})
    return chunks


class Filters:
    """The policies' filters one after the other, and the rule that usage goes only to those who asked for it. What
    each policy takes of the stream is added to `policy_ms`."""

    def __init__(
        self, filters: Iterable[tuple[str, StreamFilter]], wants_usage: bool, policy_ms: dict[str, float]
    ) -> None:
        self._filters = tuple(filters)
        self._wants_usage = wants_usage
        self._policy_ms = policy_ms

    def feed(self, chunks: list[dict[str, Any]]) -> bytes:
        """The events that the caller gets for these chunks. Raises Refused."""
        for name, each in self._filters:
            began = perf_counter_ns()
            chunks = [passed for chunk in chunks for passed in each.feed(chunk)]
            self._spent(name, began)
        return self._events(chunks)

    def end(self) -> bytes:
        """The events of what was held back."""
        left: list[dict[str, Any]] = []
        for name, each in self._filters:
            began = perf_counter_ns()
            left = [passed for chunk in left for passed in each.feed(chunk)] + each.end()
            self._spent(name, began)
        return self._events(left)

    def _spent(self, name: str, began_ns: int) -> None:
        self._policy_ms[name] = self._policy_ms.get(name, 0.0) + (perf_counter_ns() - began_ns) / 1e6

    def _events(self, chunks: list[dict[str, Any]]) -> bytes:
        if not self._wants_usage:
            chunks = [chunk for chunk in map(_without_usage, chunks) if chunk is not None]
        return b"".join(map(event, chunks))


def _without_usage(chunk: dict[str, Any]) -> dict[str, Any] | None:
    if "usage" not in chunk:
        return chunk
    if not chunk.get("choices"):
        return None
    return {name: value for name, value in chunk.items() if name != "usage"}
