"""What the doors answer: export responses and google.rpc.Status, in the encoding of the request.

One table turns our errors into the codes of both transports. Retryable by the specification: HTTP 429, 502, 503, 504;
gRPC UNAVAILABLE (and RESOURCE_EXHAUSTED only with RetryInfo, which we never send for a body that is too large).
503 rather than 429, and never 500: older Python exporters drop what was answered otherwise.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsPartialSuccess, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from collector.kinds import Signal
from core.errors import (
    AssayError,
    Forbidden,
    InvalidInput,
    NotFound,
    Overloaded,
    StorageFailed,
    TooLarge,
    Unauthenticated,
)

MAX_MESSAGE: Final = 2_000

# gRPC status numbers (https://grpc.io/docs/guides/status-codes/)
INVALID_ARGUMENT: Final = 3
DEADLINE_EXCEEDED: Final = 4
NOT_FOUND: Final = 5
PERMISSION_DENIED: Final = 7
RESOURCE_EXHAUSTED: Final = 8
UNIMPLEMENTED: Final = 12
UNAVAILABLE: Final = 14
UNAUTHENTICATED: Final = 16


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """The request was kept. `n_rejected` items of it were not; `message` explains, or warns when none were."""

    signal: Signal
    n_rejected: int = 0
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """The request was not kept. `retry_after_s` is set when sending it again can help."""

    http: int
    grpc: int
    message: str
    field: str | None = None
    retry_after_s: int | None = None

    def status(self) -> Status:
        """As google.rpc.Status with its details."""
        status = Status(code=self.grpc, message=self.message[:MAX_MESSAGE])
        if self.retry_after_s is not None:
            status.details.add().Pack(retry_info(self.retry_after_s))
        elif self.grpc == INVALID_ARGUMENT:
            violation = BadRequest.FieldViolation(field=self.field or "body", description=self.message[:MAX_MESSAGE])
            status.details.add().Pack(BadRequest(field_violations=[violation]))
        return status


def retry_info(seconds: int) -> RetryInfo:
    """google.rpc.RetryInfo for a delay."""
    return RetryInfo(retry_delay=Duration(seconds=seconds))


def refusal_of(error: Exception) -> Refusal:
    """The one table from errors to answers. Anything unforeseen is a transient fault of ours: 503, never 500."""
    match error:
        case TooLarge():
            return Refusal(http=413, grpc=RESOURCE_EXHAUSTED, message=str(error), field=error.field)
        case InvalidInput():
            return Refusal(http=400, grpc=INVALID_ARGUMENT, message=str(error), field=error.field)
        case Unauthenticated():
            return Refusal(http=401, grpc=UNAUTHENTICATED, message=str(error))
        case Forbidden():
            return Refusal(http=403, grpc=PERMISSION_DENIED, message=str(error))
        case NotFound():
            return Refusal(http=404, grpc=UNIMPLEMENTED, message=str(error))
        case Overloaded():
            return Refusal(http=503, grpc=UNAVAILABLE, message=str(error), retry_after_s=error.retry_after_s)
        case StorageFailed():
            return Refusal(http=503, grpc=UNAVAILABLE, message=f"{error}; nothing was kept", retry_after_s=2)
        case AssayError():
            return Refusal(http=503, grpc=UNAVAILABLE, message=str(error), retry_after_s=2)
        case _:
            message = f"an unforeseen fault of the collector ({type(error).__name__}); nothing was kept, send again"
            return Refusal(http=503, grpc=UNAVAILABLE, message=message, retry_after_s=1 + random.randrange(2))  # noqa: S311


def response_of(accepted: Accepted) -> bytes:
    """The protobuf Export…ServiceResponse; partial_success stays unset when there is nothing to say."""
    message = accepted.message[:MAX_MESSAGE]
    n = accepted.n_rejected
    quiet = n == 0 and not message
    match accepted.signal:
        case Signal.SPANS:
            if quiet:
                return b""
            part = ExportTracePartialSuccess(rejected_spans=n, error_message=message)
            return ExportTraceServiceResponse(partial_success=part).SerializeToString()
        case Signal.LOG_RECORDS:
            if quiet:
                return b""
            logs = ExportLogsPartialSuccess(rejected_log_records=n, error_message=message)
            return ExportLogsServiceResponse(partial_success=logs).SerializeToString()
        case Signal.METRIC_POINTS:
            if quiet:
                return b""
            points = ExportMetricsPartialSuccess(rejected_data_points=n, error_message=message)
            return ExportMetricsServiceResponse(partial_success=points).SerializeToString()


_JSON_COUNT: Final = {
    Signal.SPANS: "rejectedSpans",
    Signal.LOG_RECORDS: "rejectedLogRecords",
    Signal.METRIC_POINTS: "rejectedDataPoints",
}


def response_json(accepted: Accepted) -> bytes:
    """The same as OTLP/JSON: 64-bit counts are decimal strings."""
    if accepted.n_rejected == 0 and not accepted.message:
        return b"{}"
    part: dict[str, str] = {"errorMessage": accepted.message[:MAX_MESSAGE]}
    if accepted.n_rejected:
        part[_JSON_COUNT[accepted.signal]] = str(accepted.n_rejected)
    return json.dumps({"partialSuccess": part}).encode()


def status_json(refusal: Refusal) -> bytes:
    """google.rpc.Status as JSON, details with their @type."""
    details: list[dict[str, object]] = []
    message = refusal.message[:MAX_MESSAGE]
    if refusal.retry_after_s is not None:
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{refusal.retry_after_s}s"})
    elif refusal.grpc == INVALID_ARGUMENT:
        violation = {"field": refusal.field or "body", "description": message}
        details.append({"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]})
    return json.dumps({"code": refusal.grpc, "message": message, "details": details}).encode()
