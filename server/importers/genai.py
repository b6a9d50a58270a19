"""Spans in the OpenTelemetry GenAI conventions, made from recorded conversations, and the requests that carry them.

Everything is deterministic: the same conversation gives the same ids and the same bytes, so that the collector
recognises a second import as the same spans sent again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import orjson
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

Value = str | bool | int | float | list[str] | None

SPANS_PER_REQUEST: Final = 512
BYTES_PER_REQUEST: Final = 8 * 1024 * 1024
PASS_FROM: Final = 1.0 - 1e-6

INTERNAL: Final = Span.SPAN_KIND_INTERNAL
CLIENT: Final = Span.SPAN_KIND_CLIENT


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a conversation ended, as a score on its session. Exactly one of `value` and `unscored` is set."""

    evaluator: str
    at_ns: int
    value: float | None
    unscored: str | None
    explanation: str
    metadata: Mapping[str, object]

    @property
    def label(self) -> str | None:
        """'pass' iff the value reaches 1 (within 1e-6), else 'fail'; None when unscored."""
        if self.value is None:
            return None
        return "pass" if self.value >= PASS_FROM else "fail"


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """One recorded session: its identity, its spans (a trace per turn) and its outcome.

    `start_ns` and `end_ns` are the first and last time of any span; equal when there are none.
    """

    session_id: str
    app: str
    release: str
    variant: str | None
    spans: tuple[Span, ...]
    outcome: Outcome
    start_ns: int
    end_ns: int
    time_is_synthetic: bool = False
    resource_attributes: Mapping[str, Value] = field(default_factory=dict)

    def resource(self) -> Resource:
        """The OTLP resource of all its spans."""
        named: dict[str, Value] = {
            "service.name": self.app,
            "service.version": self.release,
            "assay.variant": self.variant,
            **self.resource_attributes,
        }
        return Resource(attributes=attributes(named))


def identifier(n_bytes: int, *parts: str) -> bytes:
    """The first bytes of SHA-256 over the parts, joined by NUL: the same parts always give the same id."""
    return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).digest()[:n_bytes]


def attributes(values: Mapping[str, Value]) -> list[KeyValue]:
    """OTLP attributes in the mapping's order, without those that are None."""
    return [KeyValue(key=key, value=_any_value(value)) for key, value in values.items() if value is not None]


def span(
    *,
    trace_id: bytes,
    span_id: bytes,
    parent_id: bytes | None,
    name: str,
    kind: Span.SpanKind.ValueType,
    start_ns: int,
    end_ns: int,
    values: Mapping[str, Value],
    error: str | None = None,
) -> Span:
    """One OTLP span; `error` (a message, may be empty) sets status ERROR, None leaves it unset."""
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_span_id=parent_id or b"",
        name=name,
        kind=kind,
        start_time_unix_nano=start_ns,
        end_time_unix_nano=end_ns,
        attributes=attributes(values),
        status=None if error is None else Status(code=Status.STATUS_CODE_ERROR, message=error),
    )


def text_part(content: str) -> dict[str, object]:
    """A message part of plain text."""
    return {"type": "text", "content": content}


def message(role: str, parts: list[dict[str, object]], finish_reason: str | None = None) -> str:
    """One message of the GenAI message schema as JSON text; output messages carry a finish reason."""
    shaped: dict[str, object] = {"role": role, "parts": parts}
    if finish_reason is not None:
        shaped["finish_reason"] = {"tool_calls": "tool_call"}.get(finish_reason, finish_reason)
    return json_text(shaped)


def json_text(value: object) -> str:
    """Compact JSON. Strings with lone surrogates, which have no UTF-8 form, get U+FFFD in their place."""
    try:
        return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:
        return json.dumps(_encodable(value), ensure_ascii=False, separators=(",", ":"))


def parsed(text: str) -> object:
    """The value of a JSON text; the text itself where it is no JSON (models do write such arguments)."""
    try:
        return orjson.loads(text)
    except ValueError:
        return text


def messages(texts: Iterable[str]) -> str:
    """A JSON array of messages that are JSON texts already."""
    return f"[{','.join(texts)}]"


def requests(
    conversations: Iterable[Conversation], scope: str
) -> Iterator[tuple[bytes, int, tuple[Conversation, ...]]]:
    """OTLP requests of about SPANS_PER_REQUEST spans (and under BYTES_PER_REQUEST, one span excepted).

    Gives (protobuf bytes, number of spans, conversations whose last span is in this request or was before it).
    """
    request, n_spans, n_bytes = ExportTraceServiceRequest(), 0, 0
    finished: list[Conversation] = []
    for conversation in conversations:
        target: ScopeSpans | None = None
        for one in conversation.spans:
            size = one.ByteSize()
            if n_spans and (n_spans >= SPANS_PER_REQUEST or n_bytes + size > BYTES_PER_REQUEST):
                yield request.SerializeToString(), n_spans, tuple(finished)
                request, n_spans, n_bytes, target = ExportTraceServiceRequest(), 0, 0, None
                finished = []
            if target is None:
                target = _scope_spans(request, conversation, scope)
            target.spans.append(one)
            n_spans, n_bytes = n_spans + 1, n_bytes + size
        finished.append(conversation)
    if n_spans or finished:
        yield request.SerializeToString(), n_spans, tuple(finished)


def _scope_spans(request: ExportTraceServiceRequest, conversation: Conversation, scope: str) -> ScopeSpans:
    """Where the conversation's spans go: the request's last group if its resource is the same, else a new one."""
    resource = conversation.resource()
    groups = request.resource_spans
    if not groups or groups[-1].resource != resource:
        spans = ScopeSpans(scope=InstrumentationScope(name=scope))
        groups.append(ResourceSpans(resource=resource, scope_spans=[spans]))
    return groups[-1].scope_spans[0]


def _any_value(value: Value) -> AnyValue:
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case list():
            return AnyValue(array_value=ArrayValue(values=[_any_value(one) for one in value]))
        case str():
            return AnyValue(string_value=_utf8(value))
        case _:
            return AnyValue()


def _utf8(text: str) -> str:
    return text if text.isascii() else text.encode(errors="surrogatepass").decode(errors="replace")


def _encodable(value: object) -> object:
    match value:
        case str():
            return _utf8(value)
        case dict():
            return {_utf8(str(key)): _encodable(one) for key, one in value.items()}
        case list() | tuple():
            return [_encodable(one) for one in value]
        case _:
            return value
