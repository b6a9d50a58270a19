"""Sends OTLP requests through the collector's HTTP door, like any well-behaved exporter, and says what became of them.

Retryable answers (429, 502, 503, 504, a broken connection) are repeated after the time the door asks for; a request
is sent again byte for byte, and the collector stores a repeated span once.
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Final

import httpx
import orjson
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from core.errors import AssayError, Forbidden, InvalidInput, TooLarge, Unauthenticated

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"
RETRYABLE: Final = frozenset({429, 502, 503, 504})
PATIENCE_S: Final = 120.0  # without a single accepted request, before giving up
FIRST_PATIENCE_S: Final = 10.0  # while nothing has ever answered at the address
_LONGEST_WAIT_S: Final = 30.0
_MESSAGE_CHARS: Final = 500


class Signal(StrEnum):
    """What an OTLP request carries; the value is the end of its path."""

    TRACES = "traces"
    LOGS = "logs"
    METRICS = "metrics"


class Unreachable(AssayError):
    """The door did not answer, or kept answering that it cannot take more, for PATIENCE_S seconds."""

    code = "unreachable"


@dataclass(frozen=True, kw_only=True)
class Shipment:
    """One OTLP request: uncompressed bytes, how many spans (records, metrics) it holds, and where it comes from."""

    signal: Signal
    content_type: str
    body: bytes
    n_records: int
    origin: str
    first_ns: int | None = None  # earliest and latest start of its spans, where known
    last_ns: int | None = None


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What the door said of one request. `message` is its partial-success text, empty when there was none."""

    accepted: int
    rejected: int
    message: str


class OtlpDoor:
    """One connection to `base_url` (as in OTEL_EXPORTER_OTLP_ENDPOINT) with one API key."""

    def __init__(
        self,
        base_url: str,
        key: str | None,
        *,
        transport: httpx.BaseTransport | None = None,
        wait: Callable[[float], None] = time.sleep,
        patience_s: float = PATIENCE_S,
    ) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(base_url=base_url, headers=headers, timeout=60, transport=transport)
        self._base_url, self._wait, self._patience_s = base_url, wait, patience_s
        self._met = False  # whether anything ever answered

    def close(self) -> None:
        """Closes the connection."""
        self._client.close()

    def send(self, shipment: Shipment) -> Receipt:
        """Sends one request and returns the door's receipt.

        Raises Unauthenticated, Forbidden, TooLarge, InvalidInput (with the door's words and the shipment's origin)
        when repeating cannot help, and Unreachable when the door would not take it within the patience.
        """
        packed = gzip.compress(shipment.body, compresslevel=3, mtime=0)
        headers = {"Content-Type": shipment.content_type, "Content-Encoding": "gzip"}
        waited_s, attempt = 0.0, 0
        while True:
            attempt += 1
            try:
                answer = self._client.post(f"/v1/{shipment.signal}", content=packed, headers=headers)
                self._met = True
                if answer.status_code not in RETRYABLE:
                    return _receipt(answer, shipment)
                trouble = f"{answer.status_code}: {_words(answer)}"
                pause_s = _retry_after_s(answer) or _backoff_s(attempt)
            except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
                raise InvalidInput(f"{self._base_url!r} is not an address of a collector: {error}", "url") from None
            except httpx.TransportError as error:
                trouble, pause_s = str(error) or type(error).__name__, _backoff_s(attempt)
            if waited_s + pause_s > (self._patience_s if self._met else min(FIRST_PATIENCE_S, self._patience_s)):
                raise Unreachable(
                    f"the collector at {self._base_url} did not take the spans for {waited_s:.0f} s ({trouble}); "
                    "is `assay up` running, and is this its OTLP port? What was sent is kept: run the import again"
                )
            self._wait(pause_s)
            waited_s += pause_s


def _receipt(answer: httpx.Response, shipment: Shipment) -> Receipt:
    match answer.status_code:
        case 200:
            rejected, message = _partial_success(answer, shipment)
            return Receipt(accepted=shipment.n_records - rejected, rejected=rejected, message=message[:_MESSAGE_CHARS])
        case 401:
            raise Unauthenticated(f"the collector refused the key: {_words(answer)}")
        case 403:
            raise Forbidden(f"the key may not send traces: {_words(answer)}")
        case 413:
            raise TooLarge(f"{shipment.origin}: too large for the collector: {_words(answer)}")
        case 404:
            raise InvalidInput(f"{answer.url} is not an OTLP door (404); check --otlp-url or --port-base", "url")
        case status:
            raise InvalidInput(f"{shipment.origin}: the collector answered {status}: {_words(answer)}")


def _partial_success(answer: httpx.Response, shipment: Shipment) -> tuple[int, str]:
    """(rejected, message) of a 200; an answer that is no OTLP response is an error, never a success."""
    try:
        if shipment.content_type == JSON:
            partial = orjson.loads(answer.content or b"{}").get("partialSuccess") or {}
            names = ("rejectedSpans", "rejectedLogRecords", "rejectedDataPoints")
            return sum(int(partial.get(name) or 0) for name in names), str(partial.get("errorMessage") or "")
        match shipment.signal:
            case Signal.TRACES:
                traces = ExportTraceServiceResponse.FromString(answer.content).partial_success
                return traces.rejected_spans, traces.error_message
            case Signal.LOGS:
                logs = ExportLogsServiceResponse.FromString(answer.content).partial_success
                return logs.rejected_log_records, logs.error_message
            case Signal.METRICS:
                metrics = ExportMetricsServiceResponse.FromString(answer.content).partial_success
                return metrics.rejected_data_points, metrics.error_message
    except (DecodeError, ValueError, AttributeError, TypeError):
        raise InvalidInput(f"{answer.url} answered 200 with something that is not OTLP; is this a collector?") from None


def _words(answer: httpx.Response) -> str:
    """The door's message: from a google.rpc.Status in either encoding, else the start of the body."""
    try:
        if answer.headers.get("content-type", "").startswith(JSON):
            said = orjson.loads(answer.content)
            return str(said.get("message") or said.get("detail") or said)[:_MESSAGE_CHARS]
        return Status.FromString(answer.content).message[:_MESSAGE_CHARS] or answer.reason_phrase
    except (DecodeError, ValueError, AttributeError):
        return answer.text[:_MESSAGE_CHARS] or answer.reason_phrase


def _retry_after_s(answer: httpx.Response) -> float | None:
    """The Retry-After header in seconds (number or HTTP date), bounded; None when absent or unreadable."""
    text = answer.headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        seconds = float(text) if text.isdigit() else parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, TypeError):
        return None
    return max(0.1, min(seconds, _LONGEST_WAIT_S))


def _backoff_s(attempt: int) -> float:
    return float(min(0.25 * 2 ** min(attempt, 10), 8.0))
