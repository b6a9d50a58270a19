"""The neighbour of `noisy`: one tenant that sends far over its quota, or what costs the collector most to refuse.

It knows no manners: it does not wait after a refusal, and it opens its connection again when that was closed.
"""

from __future__ import annotations

import gzip
import http.client
import itertools
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from tests.reliability.soak_load import Template

CONNECTIONS: Final = 4
NICENESS: Final = 19  # its own work is another machine's
PROTOBUF: Final = {"content-type": "application/x-protobuf"}
JSON: Final = {"content-type": "application/json"}
Body = tuple[bytes, Mapping[str, str]]


@dataclass(kw_only=True)
class Heard:
    """What the neighbour was answered: by HTTP status, with 0 for no answer; and refusals that named no delay."""

    statuses: Counter[int] = field(default_factory=Counter)
    without_hint: int = 0
    sent_bytes: int = 0


def healthy() -> Callable[[int], Body]:
    """Healthy requests of about 200 KB, each of other spans."""
    template = Template(256, seed=7)
    return lambda number: (template.body(number, time.time_ns()), PROTOBUF)


def poison(*, kept: bool = True) -> Callable[[int], Body]:
    """One after the other what is refused only after work, and (`kept`) what is taken and costs work later."""
    random_bytes = os.urandom(1 << 20)
    kinds: list[Body] = [
        (b"x", {**PROTOBUF, "content-length": str(70 << 20)}),
        (random_bytes, PROTOBUF),
        (random_bytes, {**PROTOBUF, "content-encoding": "gzip"}),
        (gzip.compress(bytes(66 << 20)), {**PROTOBUF, "content-encoding": "gzip"}),
        (b"[" * (1 << 20), JSON),
        (b'{"resourceSpans":' * 50_000, JSON),
        (_without_ids(400_000), PROTOBUF),
    ]
    if kept:
        kinds += [(_one_span(b"api_key=[" * ((4 << 20) // 9)), PROTOBUF), (_nested(20_000), PROTOBUF)]
    return lambda number: kinds[number % len(kinds)]


def _without_ids(n: int) -> bytes:
    return _request(ScopeSpans(spans=[Span()] * n))


def _request(scoped: ScopeSpans) -> bytes:
    return ExportTraceServiceRequest(resource_spans=[ResourceSpans(scope_spans=[scoped])]).SerializeToString()


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _one_span(text: bytes) -> bytes:
    attribute = KeyValue(key="input.value", value=AnyValue(string_value=text.decode()))
    now = time.time_ns()
    span = Span(trace_id=os.urandom(16), span_id=os.urandom(8), name="poison", attributes=[attribute])
    span.start_time_unix_nano, span.end_time_unix_nano = now, now + 1
    return _request(ScopeSpans(spans=[span]))


def _nested(depth: int) -> bytes:
    """A span whose attribute holds an array in an array in an array."""
    value = b""
    for _ in range(depth):
        value = _field(b"\x2a", _field(b"\x0a", value))
    attribute = b"\x0a\x01k" + _field(b"\x12", value)
    span = b"\x0a\x10" + os.urandom(16) + b"\x12\x08" + os.urandom(8) + _field(b"\x4a", attribute)
    return _field(b"\x0a", _field(b"\x12", _field(b"\x12", span)))


def _field(tag: bytes, content: bytes) -> bytes:
    return tag + _varint(len(content)) + content


def be_ready(kind: str) -> None:
    """Makes what `neighbour` is going to send, in its process, which gives way to all others from now on."""
    os.nice(NICENESS)
    _maker(kind)


@cache
def _maker(kind: str) -> Callable[[int], Body]:
    return poison(kept=kind == "poison") if kind in ("poison", "refused") else healthy()


def neighbour(port: int, key: str, kind: str, seconds: float, bytes_s: float | None) -> Heard:
    """Sends `kind` (over_quota, healthy, poison or refused) for so long, at the most so fast, after `be_ready`.

    A burner sends nothing: it only takes processor time.
    """
    if kind == "burner":
        return _burnt(seconds)
    make = _maker(kind)
    heard, lock, numbers = Heard(), threading.Lock(), itertools.count()
    began = time.monotonic()

    def send() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        pause = threading.Event()
        while (now := time.monotonic() - began) < seconds:
            if bytes_s and heard.sent_bytes > bytes_s * now:
                pause.wait(0.005)
                continue
            body, headers = make(next(numbers))
            status, hint = _posted(connection, body, {"authorization": f"Bearer {key}", **headers})
            with lock:
                heard.statuses[status] += 1
                heard.without_hint += status == http.HTTPStatus.SERVICE_UNAVAILABLE and hint is None
                heard.sent_bytes += len(body)
        connection.close()

    threads = [threading.Thread(target=send) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return heard


def _burnt(seconds: float) -> Heard:
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        sum(range(10_000))
    return Heard()


def _posted(connection: http.client.HTTPConnection, body: bytes, headers: Mapping[str, str]) -> tuple[int, str | None]:
    try:
        connection.request("POST", "/v1/traces", body, dict(headers))
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        connection.close()
        return 0, None
    return answer.status, answer.headers.get("retry-after")
