"""OTLP protobuf files -> requests: one message, or many after length prefixes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from server.importers import genai
from server.importers.delivery import PROTOBUF, Shipment, Signal
from server.importers.reading import BadLine

Request = ExportTraceServiceRequest | ExportLogsServiceRequest | ExportMetricsServiceRequest

SPLIT_FROM: Final = 32 * 1024 * 1024  # bytes, as in otlp.py; only traces are split
_TYPES: Final[dict[Signal, type[Request]]] = {
    Signal.TRACES: ExportTraceServiceRequest,
    Signal.LOGS: ExportLogsServiceRequest,
    Signal.METRICS: ExportMetricsServiceRequest,
}


def shipments(path: Path, content: bytes, *, app: str | None, signal: Signal | None) -> Iterator[Shipment | BadLine]:
    """The requests in `content`; a piece that is none is given as a BadLine whose line is its number in the file."""
    for number, piece in enumerate(_pieces(content), start=1):
        found = _parsed(piece, signal)
        if found is None:
            what = f"protobuf {signal}" if signal else "JSON, OTLP protobuf, or protobuf after length prefixes"
            yield BadLine(path, 0, f"message {number} is not {what}: {len(piece)} bytes that do not decode")
            return
        kind, request = found
        yield from _shipped(path, number, kind, request, piece, app)


def _pieces(content: bytes) -> list[bytes]:
    """The messages: by 4-byte big-endian lengths if they fit exactly, else by varint lengths, else all as one.

    A plain request starts with byte 0x0a, which as a 4-byte length would mean over 160 MiB: no confusion there. As a
    varint it would mean a first message of ten bytes, so each such message must also decode as a request.
    """
    framed = _framed(content)
    if framed is not None:
        return framed
    if _parsed(content, None) is not None:
        return [content]
    delimited = _delimited(content)
    return delimited if delimited is not None else [content]


def _framed(content: bytes) -> list[bytes] | None:
    pieces, at = [], 0
    while at < len(content):
        end = at + 4 + int.from_bytes(content[at : at + 4], "big")
        if at + 4 > len(content) or end > len(content):
            return None
        pieces.append(content[at + 4 : end])
        at = end
    return pieces


def _delimited(content: bytes) -> list[bytes] | None:
    pieces, at = [], 0
    while at < len(content):
        length, shift = 0, 0
        while True:
            if at >= len(content) or shift > 28:
                return None
            byte = content[at]
            length |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                break
        if at + length > len(content):
            return None
        pieces.append(content[at : at + length])
        at += length
    return pieces if all(_parsed(piece, None) is not None for piece in pieces) else None


def _parsed(piece: bytes, signal: Signal | None) -> tuple[Signal, Request] | None:
    """The request and what it carries. The three request types share field numbers, so content decides."""
    for kind in [signal] if signal else list(Signal):
        try:
            request = _TYPES[kind].FromString(piece)
        except DecodeError:
            continue
        if signal or _plausible(request):
            return kind, request
    return None


def _plausible(request: Request) -> bool:
    match request:
        case ExportTraceServiceRequest():
            return any(len(span.trace_id) == 16 and len(span.span_id) == 8 for span in _spans(request))
        case ExportLogsServiceRequest():
            groups = [scope for resource in request.resource_logs for scope in resource.scope_logs]
            return any(one.HasField("body") or one.event_name for scope in groups for one in scope.log_records)
        case _:
            series = [scope for resource in request.resource_metrics for scope in resource.scope_metrics]
            return any(one.name and one.WhichOneof("data") for scope in series for one in scope.metrics)


def _shipped(
    path: Path, number: int, kind: Signal, request: Request, piece: bytes, app: str | None
) -> Iterator[Shipment]:
    if app is not None:
        for one in _resources(request):
            kept = [attribute for attribute in one.attributes if attribute.key != "assay.app"]
            del one.attributes[:]
            one.attributes.extend([*kept, *genai.attributes({"assay.app": app})])
        piece = request.SerializeToString()
    origin = f"{path} (message {number})"
    if isinstance(request, ExportTraceServiceRequest) and len(piece) > SPLIT_FROM:
        for part in _parts(request):
            yield _shipment(kind, part, part.SerializeToString(), origin)
        return
    yield _shipment(kind, request, piece, origin)


def _shipment(kind: Signal, request: Request, body: bytes, origin: str) -> Shipment:
    starts: list[int] = []
    match request:
        case ExportTraceServiceRequest():
            spans = _spans(request)
            n_records = len(spans)
            starts = [span.start_time_unix_nano for span in spans if span.start_time_unix_nano]
        case ExportLogsServiceRequest():
            n_records = sum(len(scope.log_records) for one in request.resource_logs for scope in one.scope_logs)
        case _:
            n_records = sum(len(scope.metrics) for one in request.resource_metrics for scope in one.scope_metrics)
    return Shipment(
        signal=kind,
        content_type=PROTOBUF,
        body=body,
        n_records=n_records,
        origin=origin,
        first_ns=min(starts, default=None),
        last_ns=max(starts, default=None),
    )


def _parts(request: ExportTraceServiceRequest) -> Iterator[ExportTraceServiceRequest]:
    """The same spans in requests of one scope and at most genai.SPANS_PER_REQUEST spans each."""
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for at in range(0, len(scope.spans), genai.SPANS_PER_REQUEST):
                spans = scope.spans[at : at + genai.SPANS_PER_REQUEST]
                part = ScopeSpans(scope=scope.scope, spans=spans, schema_url=scope.schema_url)
                group = ResourceSpans(resource=resource.resource, scope_spans=[part], schema_url=resource.schema_url)
                yield ExportTraceServiceRequest(resource_spans=[group])


def _spans(request: ExportTraceServiceRequest) -> list[Span]:
    return [span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]


def _resources(request: Request) -> list[Resource]:
    match request:
        case ExportTraceServiceRequest():
            return [one.resource for one in request.resource_spans]
        case ExportLogsServiceRequest():
            return [one.resource for one in request.resource_logs]
        case _:
            return [one.resource for one in request.resource_metrics]
