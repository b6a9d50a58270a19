"""The limits as they are documented (O-10, O-11, O-14): real bodies of 64 MiB, half a million spans, a thousand idle
connections, on a collector with its defaults."""

from __future__ import annotations

import gzip
import secrets
import socket
from collections.abc import Iterator

import grpc
import pytest

from collector.intake import MOST_SPANS
from collector.json_fields import framed
from collector.log_events import MOST_RECORDS
from collector.metric_points import MOST_POINTS
from core.records import Counts
from tests.collector.alone import Collector
from tests.collector.doors import Wire, body_of, counts, fresh, partial_of, refused, request_bytes
from tests.collector.otlp import traces
from tests.collector.test_doors_grpc import TRACES
from tests.collector.test_doors_http import resident_bytes
from tests.waiting import wait_until

LIMIT = 64 << 20
RESPONSE_LIMIT = 4 << 20


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """A collector as it is by default; every test has a tenant of its own."""
    with Collector(tmp_path_factory.mktemp("limits")) as running:
        yield running
        assert running.stop() == 0


@pytest.fixture
def tenant() -> str:
    """A tenant nobody else uses."""
    return f"t{secrets.token_hex(6)}"


@pytest.fixture
def key(collector: Collector, tenant: str) -> str:
    """Its key."""
    return collector.key_of(tenant)


@pytest.fixture(scope="module")
def channel(collector: Collector) -> Iterator[grpc.Channel]:
    """A channel to it that sends messages of any size."""
    with grpc.insecure_channel(f"127.0.0.1:{collector.base}", [("grpc.max_send_message_length", -1)]) as made:
        yield made


def body_of_size(size: int) -> bytes:
    """A request of 64 spans of about a mebibyte, exactly `size` bytes long."""
    spans = fresh(64, {"text": ""})
    piece = size // 64 - 200
    for each in spans:
        each.attributes[0].value.string_value = "x" * piece
    missing = size - len(traces(*spans).SerializeToString())
    spans[-1].attributes[0].value.string_value = "x" * (piece + missing)
    body = traces(*spans).SerializeToString()
    assert len(body) == size
    return body


@pytest.mark.parametrize(("extra", "expected"), [(-1, 200), (0, 200), (1, 413)])
@pytest.mark.parametrize("compressed", [False, True])
def test_o10_64_mebibytes_over_http(
    collector: Collector, tenant: str, key: str, extra: int, expected: int, compressed: bool
) -> None:
    body = body_of_size(LIMIT + extra)
    headers = {"content_encoding": "gzip"} if compressed else {}
    answer = collector.post(gzip.compress(body, 1) if compressed else body, key=key, **headers)
    assert answer[0] == expected
    if expected == 413:
        status = refused(answer)
        assert status.code == 8
        assert str(LIMIT) in status.message
        assert not status.details, "no RetryInfo: it would be sent again"
        assert "retry-after" not in answer[2]
    accepted = 64 if expected == 200 else 0
    assert counts(collector, tenant) == Counts(received=accepted, stored=accepted)


@pytest.mark.parametrize(("extra", "fits"), [(-1, True), (0, True), (1, False)])
@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_o10_64_mebibytes_over_grpc(
    collector: Collector, channel: grpc.Channel, tenant: str, key: str, extra: int, fits: bool,
    compression: grpc.Compression,
) -> None:  # fmt: skip
    metadata = (("authorization", f"Bearer {key}"),)
    body = body_of_size(LIMIT + extra)
    call = channel.unary_unary(TRACES).future(body, metadata=metadata, timeout=60, compression=compression)
    assert call.code() is (grpc.StatusCode.OK if fits else grpc.StatusCode.RESOURCE_EXHAUSTED)
    assert "google.rpc.retryinfo-bin" not in dict(call.trailing_metadata())
    assert counts(collector, tenant) == Counts(received=64 * fits, stored=64 * fits)


def test_o10_a_bomb_of_512_mebibytes_is_refused_and_memory_stays_bounded(collector: Collector, key: str) -> None:
    bomb = gzip.compress(bytes(512 << 20), 9)
    before = resident_bytes(collector.pid)
    for _ in range(3):
        assert collector.post(bomb, key=key, content_encoding="gzip")[0] == 413
    assert resident_bytes(collector.pid) - before < 2 * LIMIT


def test_o11_half_a_million_bad_spans_get_a_small_answer(collector: Collector, tenant: str, key: str) -> None:
    good = framed(b"\x12", fresh(1)[0].SerializeToString())
    body = framed(b"\x0a", framed(b"\x12", b"\x12\x00" * (MOST_SPANS - 1) + good))
    status, answer, _ = collector.post(body, key=key)
    assert status == 200
    assert len(answer) < 4_000 < RESPONSE_LIMIT
    found = partial_of(answer)
    assert found is not None
    assert found.rejected_spans == MOST_SPANS - 1
    assert counts(collector, tenant) == Counts(received=MOST_SPANS, stored=1, quarantined=MOST_SPANS - 1)


@pytest.mark.parametrize(
    ("path", "most", "frames", "empty"),
    [
        ("/v1/traces", MOST_SPANS, [b"\x12", b"\x0a"], b"\x12\x00"),
        ("/v1/traces", MOST_SPANS, [], b"\x0a\x00"),
        ("/v1/logs", MOST_RECORDS, [b"\x12", b"\x0a"], b"\x12\x00"),
        ("/v1/metrics", MOST_POINTS, [b"\x2a", b"\x12", b"\x12", b"\x0a"], b"\x0a\x00"),
    ],
)
def test_o10_more_things_than_a_request_may_hold_are_too_large(
    collector: Collector, tenant: str, key: str, path: str, most: int, frames: list[bytes], empty: bytes
) -> None:
    body = empty * (most + 1)
    for head in frames:
        body = framed(head, body)
    answer = collector.post(body, path, key=key)
    assert answer[0] == 413
    assert f"more than {most}" in refused(answer).message
    assert counts(collector, tenant) == Counts()
    assert collector.post(body_of(), key=key)[0] == 200


def test_o14_a_thousand_idle_connections_do_not_stop_ingestion(collector: Collector, tenant: str, key: str) -> None:
    wires = [Wire(collector.base + 1) for _ in range(1_000)]
    try:
        for wire in wires[::2]:
            wire.send(b"POST /v1/traces HTTP/1.1\r\nhost: ")
        for _ in range(20):
            assert collector.post(body_of(), key=key)[0] == 200
        with Wire(collector.base + 1) as last:
            last.send(request_bytes(body_of(), key))
            assert last.answer()[0] == 200
    finally:
        for wire in wires:
            wire.__exit__()
    assert counts(collector, tenant) == Counts(received=21, stored=21)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """An HTTP/2 frame (RFC 9113, section 4.1)."""
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def literal(name: bytes, value: bytes) -> bytes:
    """A header field without indexing and without Huffman (RFC 7541, section 6.2.2); both shorter than 127 bytes."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def test_o14_streams_opened_and_reset_at_once_do_not_stop_ingestion(
    collector: Collector, channel: grpc.Channel, tenant: str, key: str
) -> None:
    """HTTP/2 rapid reset (CVE-2023-44487), 20,000 times."""
    named = {":method": "POST", ":scheme": "http", ":path": TRACES, ":authority": "x", "te": "trailers"}
    head = b"".join(literal(n.encode(), v.encode()) for n, v in (named | {"content-type": "application/grpc"}).items())
    with socket.create_connection(("127.0.0.1", collector.base), 20) as attacker:
        attacker.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b""))
        try:
            for first in range(1, 40_001, 200):
                streams = range(first, first + 200, 2)
                attacker.sendall(b"".join(frame(1, 4, s, head) + frame(3, 0, s, (8).to_bytes(4)) for s in streams))
        except OSError:
            pass  # the server may hang up
        metadata = (("authorization", f"Bearer {key}"),)
        channel.unary_unary(TRACES)(body_of(), metadata=metadata, timeout=20, wait_for_ready=True)
    assert collector.post(body_of(), key=key)[0] == 200
    wait_until(lambda: counts(collector, tenant) == Counts(received=2, stored=2), 20, "both to be stored")
