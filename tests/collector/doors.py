"""What the tests of the doors say and expect: fresh spans, refusals read as google.rpc.Status, bytes on a socket."""

from __future__ import annotations

import json
import secrets
import socket
from typing import Any, Final

from google.protobuf import any_pb2
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from core.records import Counts
from tests.collector.alone import Collector
from tests.collector.otlp import json_span, json_traces, span, traces

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"


def fresh(n: int = 1, attributes: dict[str, Any] | None = None, **fields: Any) -> list[Span]:
    """Healthy spans of one trace with ids nobody has seen."""
    trace = secrets.token_bytes(16)
    return [span(attributes, **({"trace_id": trace, "span_id": secrets.token_bytes(8)} | fields)) for _ in range(n)]


def body_of(n: int = 1, attributes: dict[str, Any] | None = None, **fields: Any) -> bytes:
    """A protobuf request of fresh spans."""
    return traces(*fresh(n, attributes, **fields)).SerializeToString()


def json_body_of(n: int = 1, **fields: Any) -> bytes:
    """A JSON request of fresh spans."""
    ids = [{"traceId": secrets.token_hex(16), "spanId": secrets.token_hex(8)} for _ in range(n)]
    return json_traces(*[json_span(**(each | fields)) for each in ids])


def ids_of(body: bytes) -> set[str]:
    """The span ids of a protobuf request, as the lake writes them."""
    from tests.collector.otlp import decoded

    return {each.span_id.hex() for each in decoded(body)}


def partial_of(body: bytes) -> ExportTracePartialSuccess | None:
    """The partial success of a protobuf answer; None when it is not set."""
    answer = ExportTraceServiceResponse.FromString(body)
    return answer.partial_success if answer.HasField("partial_success") else None


def refused(answer: tuple[int, bytes, dict[str, str]]) -> Status:
    """The refusal of an answer as google.rpc.Status, in whichever encoding its content type says."""
    status, body, headers = answer
    assert status >= 400, f"{status}: {body!r}"
    assert "location" not in headers
    if headers["content-type"] == PROTOBUF:
        found = Status.FromString(body)
    else:
        assert headers["content-type"] == JSON
        said = json.loads(body)
        found = Status(code=said["code"], message=said["message"])
        for detail in said["details"]:
            kind = detail.pop("@type").rsplit(".", 1)[-1]
            found.details.append(_packed(kind, detail))
    assert found.message
    return found


def _packed(kind: str, detail: dict[str, Any]) -> any_pb2.Any:
    packed = any_pb2.Any()
    if kind == "BadRequest":
        violations = [BadRequest.FieldViolation(**violation) for violation in detail["fieldViolations"]]
        packed.Pack(BadRequest(field_violations=violations))
    else:
        retry = RetryInfo()
        retry.retry_delay.FromJsonString(detail["retryDelay"])
        packed.Pack(retry)
    return packed


def violation(status: Status) -> BadRequest.FieldViolation:
    """The first field violation of a refusal."""
    found = BadRequest()
    assert status.details[0].Unpack(found)
    return found.field_violations[0]


def retry_delay_s(status: Status) -> float | None:
    """The delay a refusal asks for; None without RetryInfo."""
    for detail in status.details:
        found = RetryInfo()
        if detail.Unpack(found):
            return float(found.retry_delay.ToTimedelta().total_seconds())
    return None


def counts(collector: Collector, tenant: str, signal: str = "spans") -> Counts:
    """The tenant's ledger line, once everything is stored; it must balance."""
    collector.drained()
    rows = collector.ledger(tenant)
    found = rows[signal].counts if signal in rows else Counts()
    assert found.balanced, found
    return found


class Wire:
    """A socket to the HTTP door, for requests that no HTTP library would send."""

    def __init__(self, port: int, timeout_s: float = 20) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout_s)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def send(self, *pieces: bytes) -> None:
        """Writes bytes as they are."""
        for piece in pieces:
            self._socket.sendall(piece)

    def answer(self) -> tuple[int, bytes, dict[str, str]]:
        """The next answer: (status, body, headers)."""
        line = self._file.readline()
        assert line.startswith(b"HTTP/1.1 "), f"not an answer: {line!r}"
        headers: dict[str, str] = {}
        while (header := self._file.readline()) not in (b"\r\n", b""):
            name, _, value = header.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        return int(line.split()[1]), self._file.read(int(headers["content-length"])), headers

    def closed(self) -> bool:
        """Whether the other side has closed, once it has (waits for it)."""
        try:
            return self._file.read(1) == b""
        except ConnectionResetError:
            return True


def request_bytes(
    body: bytes,
    key: str,
    *lines: str,
    path: str = "/v1/traces",
    length: bool = True,
    content_type: str = PROTOBUF,
) -> bytes:
    """One whole request as it goes over the wire; `lines` are further header lines."""
    head = [
        f"POST {path} HTTP/1.1",
        "host: assay",
        f"authorization: Bearer {key}",
        f"content-type: {content_type}",
        *lines,
    ]
    if length:
        head.append(f"content-length: {len(body)}")
    return ("\r\n".join(head) + "\r\n\r\n").encode("latin-1") + body
