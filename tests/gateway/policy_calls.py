"""Calls, answers and streams for the tests of single policies."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from core.ids import TenantId
from gateway.chain import StreamFilter
from gateway.records import Call, Caller, CallKind, Target, VirtualModel

MODEL = VirtualModel(name="support", kind=CallKind.CHAT, targets=(Target(upstream="one", model="m-1"),))
EMBED = VirtualModel(name="embed", kind=CallKind.EMBEDDINGS, targets=(Target(upstream="one", model="e-1"),))


class Clock:
    """A clock that a test turns, in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def call_of(
    body: dict[str, Any] | str,
    tenant: str = "acme",
    model: VirtualModel = MODEL,
    streamed: bool = False,
    **body_too: Any,
) -> Call:
    """A call of a body, or of one question."""
    made = {"messages": [{"role": "user", "content": body}]} if isinstance(body, str) else body
    return Call(
        id="call-1",
        kind=model.kind,
        caller=Caller(tenant=TenantId(tenant)),
        asked=model.name,
        model=model,
        body={"model": model.name, **made, **body_too},
        streamed=streamed,
        started_ns=0,
    )


def answer_of(text: str | None, finish: str = "stop", **message: Any) -> dict[str, Any]:
    """A whole chat answer."""
    said = {"role": "assistant", "content": text, **message}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m-1",
        "choices": [{"index": 0, "message": said, "finish_reason": finish}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }


def chunk(delta: dict[str, Any], finish: str | None = None, index: int = 0) -> dict[str, Any]:
    """One chunk of a streamed answer."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m-1",
        "choices": [{"index": index, "delta": delta, "finish_reason": finish}],
    }


def spoken(pieces: Iterable[str], finish: str | None = "stop") -> list[dict[str, Any]]:
    """The chunks of an answer that arrives in these pieces."""
    chunks = [chunk({"role": "assistant", "content": ""}), *(chunk({"content": piece}) for piece in pieces)]
    return [*chunks, chunk({}, finish)] if finish else chunks


def through(passed: StreamFilter | None, chunks: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """What comes out of a filter."""
    if passed is None:
        return list(chunks)
    return [out for each in chunks for out in passed.feed(each)] + passed.end()


def heard(chunks: Iterable[dict[str, Any]], field: str = "content", index: int = 0) -> str:
    """The text of one choice of a stream."""
    return "".join(
        choice["delta"].get(field) or "" for c in chunks for choice in c["choices"] if choice["index"] == index
    )
