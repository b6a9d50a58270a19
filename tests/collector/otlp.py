"""Builders of OTLP requests for the collector's tests."""

from __future__ import annotations

import base64
import json
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

TRACE_ID = "5b8efff798038103d269b633813fc60c"
SPAN_ID = "eee19b7ec3c1b174"
START_NS = 1_790_000_000_123_456_789


def any_value(value: Any) -> AnyValue:
    """An AnyValue of a Python value; None is the empty one."""
    match value:
        case None:
            return AnyValue()
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case bytes():
            return AnyValue(bytes_value=value)
        case list():
            return AnyValue(array_value=ArrayValue(values=[any_value(each) for each in value]))
        case dict():
            return AnyValue(kvlist_value=KeyValueList(values=key_values(value)))
        case _:
            return AnyValue(string_value=value)


def key_values(attributes: dict[str, Any]) -> list[KeyValue]:
    """KeyValues of a dict."""
    return [KeyValue(key=key, value=any_value(value)) for key, value in attributes.items()]


def span(attributes: dict[str, Any] | None = None, **fields: Any) -> Span:
    """A healthy span; `fields` override."""
    healthy: dict[str, Any] = {
        "trace_id": bytes.fromhex(TRACE_ID),
        "span_id": bytes.fromhex(SPAN_ID),
        "name": "a span",
        "start_time_unix_nano": START_NS,
        "end_time_unix_nano": START_NS + 1_000_000,
    }
    return Span(**(healthy | fields), attributes=key_values(attributes or {}))


def traces(*spans: Span, resource: dict[str, Any] | None = None, scope: str = "tests") -> ExportTraceServiceRequest:
    """A request with one resource and one scope."""
    group = ScopeSpans(scope=InstrumentationScope(name=scope), spans=spans)
    holder = Resource(attributes=key_values(resource or {"service.name": "shop"}))
    return ExportTraceServiceRequest(resource_spans=[ResourceSpans(resource=holder, scope_spans=[group])])


def log_record(name: str, attributes: dict[str, Any] | None = None, body: Any = None, **fields: Any) -> LogRecord:
    """A healthy event inside the span of the constants above; `fields` override."""
    healthy: dict[str, Any] = {
        "event_name": name,
        "trace_id": bytes.fromhex(TRACE_ID),
        "span_id": bytes.fromhex(SPAN_ID),
        "time_unix_nano": START_NS,
    }
    return LogRecord(**(healthy | fields), attributes=key_values(attributes or {}), body=any_value(body))


def logs(*records: LogRecord, resource: dict[str, Any] | None = None) -> bytes:
    """A request with one resource and one scope, serialised."""
    holder = Resource(attributes=key_values(resource or {"service.name": "shop"}))
    groups = [ResourceLogs(resource=holder, scope_logs=[ScopeLogs(log_records=records)])]
    return ExportLogsServiceRequest(resource_logs=groups).SerializeToString()


def json_span(**fields: Any) -> dict[str, Any]:
    """A healthy span in OTLP/JSON; `fields` override, None removes."""
    healthy: dict[str, Any] = {
        "traceId": TRACE_ID,
        "spanId": SPAN_ID,
        "name": "a span",
        "kind": 2,
        "startTimeUnixNano": str(START_NS),
        "endTimeUnixNano": str(START_NS + 1_000_000),
    }
    return {key: value for key, value in (healthy | fields).items() if value is not None}


def json_traces(*spans: Any, **group: Any) -> bytes:
    """An OTLP/JSON request with one resource and one scope."""
    scope = {"scope": {"name": "tests"}, "spans": list(spans)}
    body = {"resourceSpans": [{"resource": {}, "scopeSpans": [scope]} | group]}
    return json.dumps(body, ensure_ascii=False).encode()


def decoded(protobuf: bytes) -> list[Span]:
    """The spans of a serialised request."""
    request = ExportTraceServiceRequest.FromString(protobuf)
    return [each for group in request.resource_spans for scope in group.scope_spans for each in scope.spans]


def base64_id(text: str) -> str:
    """A hexadecimal id in base64, as protobuf's generic JSON writes it."""
    return base64.b64encode(bytes.fromhex(text)).decode()
