"""The HTTP door against the checklist of OTLP requirements (O-01 to O-30, O-57), on one real collector process."""

from __future__ import annotations

import gzip
import http.client
import json
import random
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from core.ids import tenant_id
from core.records import Counts, Role
from tests.collector.alone import Collector
from tests.collector.doors import (
    JSON,
    PROTOBUF,
    Wire,
    body_of,
    counts,
    fresh,
    ids_of,
    json_body_of,
    partial_of,
    refused,
    request_bytes,
    violation,
)
from tests.collector.otlp import json_span, json_traces, key_values, log_record, logs, span, traces
from tests.waiting import wait_until

LIMIT = 1 << 20
CANARY = "jane.canary@example.org"


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """One collector for the module; every test has a tenant of its own."""
    with Collector(tmp_path_factory.mktemp("http-door"), max_body_bytes=str(LIMIT)) as running:
        yield running
        assert running.stop() == 0


@pytest.fixture
def tenant(request: pytest.FixtureRequest) -> str:
    """A tenant nobody else uses."""
    return f"t{secrets.token_hex(6)}"


@pytest.fixture
def key(collector: Collector, tenant: str) -> str:
    """Its key."""
    return collector.key_of(tenant)


def stored(collector: Collector, tenant: str, table: str = "spans") -> pl.DataFrame:
    """What the tenant has once everything is stored."""
    collector.drained()
    return collector.stored(table, tenant)


def metrics_body(n: int = 3) -> bytes:
    """A metrics request of `n` points."""
    points = [NumberDataPoint(time_unix_nano=1, as_int=i) for i in range(n)]
    metric = Metric(name="gen_ai.client.token.usage", gauge=Gauge(data_points=points))
    request = ExportMetricsServiceRequest(
        resource_metrics=[ResourceMetrics(scope_metrics=[ScopeMetrics(metrics=[metric])])]
    )
    return request.SerializeToString()


def as_json(body: bytes) -> bytes:
    """A protobuf request as OTLP/JSON, by hand: only what the tests' spans use."""
    spans = []
    for group in ExportTraceServiceRequest.FromString(body).resource_spans:
        for each in (s for scope in group.scope_spans for s in scope.spans):
            attributes = [{"key": a.key, "value": {"stringValue": a.value.string_value}} for a in each.attributes]
            spans.append(
                json_span(
                    traceId=each.trace_id.hex(),
                    spanId=each.span_id.hex(),
                    name=each.name,
                    kind=int(each.kind),
                    startTimeUnixNano=str(each.start_time_unix_nano),
                    endTimeUnixNano=str(each.end_time_unix_nano),
                    attributes=attributes,
                )
            )
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    return json_traces(*spans, resource=resource)


# -- transport, paths, negotiation -------------------------------------------------------------------------------------


def test_o01_plain_and_gzip_protobuf_and_json_store_the_same_rows(collector: Collector) -> None:
    body = body_of(5, {"gen_ai.operation.name": "chat", "text": "héllo"})
    found = []
    for send, content_type, encoding in (
        (body, PROTOBUF, ""),
        (gzip.compress(body), PROTOBUF, "gzip"),
        (as_json(body), JSON, ""),
        (gzip.compress(as_json(body)), JSON, "GZIP"),
    ):
        tenant = f"t{secrets.token_hex(6)}"
        headers = {"content_type": content_type} | ({"content_encoding": encoding} if encoding else {})
        assert collector.post(send, key=collector.key_of(tenant), **headers)[0] == 200
        rows = stored(collector, tenant).drop("tenant", "seq", "ingested_at", "content_hash").sort("span_id")
        found.append(rows.to_dicts())
    assert len(found[0]) == 5
    assert all(rows == found[0] for rows in found[1:])


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/logs", "/v1/metrics"])
@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
def test_o02_o03_every_path_takes_both_encodings(collector: Collector, key: str, path: str, content_type: str) -> None:
    body = b"{}" if content_type == JSON else b""
    status, answer, headers = collector.post(body, path, key=key, content_type=content_type)
    assert status == 200
    assert answer == body
    assert headers["content-type"] == content_type


def test_o02_profiles_are_not_here(collector: Collector, key: str) -> None:
    answer = collector.post(b"", "/v1development/profiles", key=key)
    assert answer[0] == 404
    assert "/v1/traces" in refused(answer).message


@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
def test_o04_errors_come_in_the_encoding_of_the_request(collector: Collector, key: str, content_type: str) -> None:
    answers = {
        200: collector.post(b"{}" if content_type == JSON else b"", key=key, content_type=content_type),
        400: collector.post(b"\xff" * 64, key=key, content_type=content_type),
        401: collector.post(b"", key="nobody", content_type=content_type),
        404: collector.post(b"", "/nowhere", key=key, content_type=content_type),
        413: collector.post(bytes(LIMIT + 1), key=key, content_type=content_type),
    }
    for expected, answer in answers.items():
        assert answer[0] == expected
        assert answer[2]["content-type"] == content_type
        if expected != 200:
            refused(answer)


@pytest.mark.parametrize(
    ("spelling", "is_json"),
    [
        ("application/x-protobuf", False),
        ("Application/X-Protobuf", False),
        ("APPLICATION/X-PROTOBUF", False),
        (" application/x-protobuf ", False),
        ("application/x-protobuf; charset=utf-8", False),
        ("application/x-protobuf;proto=x", False),
        ("application/json", True),
        ("application/json; charset=utf-8", True),
        ("application/json;charset=UTF-8", True),
        ("Application/JSON", True),
        ("application/json ;q=1", True),
        ("\tapplication/json", True),
    ],
)
def test_o05_spellings_of_content_type(collector: Collector, key: str, spelling: str, is_json: bool) -> None:
    body = json_body_of() if is_json else body_of()
    status, answer, headers = collector.post(body, key=key, content_type=spelling)
    assert (status, answer) == (200, b"{}" if is_json else b"")
    assert headers["content-type"] == (JSON if is_json else PROTOBUF)


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/protobuf", ""]
)
def test_o06_other_media_types_are_415(collector: Collector, key: str, content_type: str) -> None:
    answer = collector.post(body_of(), key=key, content_type=content_type)
    assert answer[0] == 415
    assert PROTOBUF in refused(answer).message


def test_o06_no_media_type_is_415(collector: Collector, key: str) -> None:
    answer = collector.request("POST", "/v1/traces", body_of(), {"authorization": f"Bearer {key}"})
    assert answer[0] == 415
    assert refused(answer).message


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
def test_o06_other_methods_are_405(collector: Collector, key: str, method: str, content_type: str) -> None:
    headers = {"authorization": f"Bearer {key}", "content-type": content_type}
    answer = collector.request(method, "/v1/traces", None, headers)
    assert answer[0] == 405
    assert answer[2]["allow"] == "POST"
    assert answer[2]["content-type"] == content_type
    refused(answer)


def test_o06_head_is_405_without_a_body(collector: Collector) -> None:
    status, body, headers = collector.request("HEAD", "/v1/traces", None, {})
    assert (status, body, headers["allow"]) == (405, b"", "POST")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/traces/",
        "//v1/traces",
        "/v1/%74races",
        "/v1/traces%2f",
        "/V1/traces",
        "/v1/./traces",
        "/",
        "/v1",
        "/v1/trace",
    ],
)
def test_o07_there_are_no_redirects(collector: Collector, key: str, path: str) -> None:
    for answer in (collector.post(body_of(), path, key=key), collector.post(b"{}", path, key=key, content_type=JSON)):
        assert answer[0] == 404
        refused(answer)


def test_o07_a_query_does_not_hide_the_path(collector: Collector, tenant: str, key: str) -> None:
    assert collector.post(body_of(), "/v1/traces?x=1", key=key)[0] == 200
    assert refused(collector.post(body_of(), "/v1/traces?api_key=" + key, key="none")).code == 16


@pytest.mark.parametrize("encoding", ["br", "zstd", "deflate", "gzip, gzip", "gzip,identity", "x"])
def test_o09_unknown_encodings_are_415(collector: Collector, key: str, encoding: str) -> None:
    answer = collector.post(gzip.compress(body_of()), key=key, content_encoding=encoding)
    assert answer[0] == 415
    assert "gzip" in refused(answer).message


@pytest.mark.parametrize("encoding", ["identity", "none", "", " "])
def test_o09_no_encoding_by_any_name(collector: Collector, key: str, encoding: str) -> None:
    assert collector.post(body_of(), key=key, content_encoding=encoding)[0] == 200


@pytest.mark.parametrize("compressed", [False, True])
def test_o10_the_limit_is_exact_and_counts_after_decompression(
    collector: Collector, tenant: str, key: str, compressed: bool
) -> None:
    for extra, expected in ((-1, 200), (0, 200), (1, 413)):
        [one] = fresh(1, {"text": ""})
        size = len(traces(one).SerializeToString())
        one.attributes[0].value.string_value = "x" * (LIMIT - size - 40)
        one.name = "y" * (len(one.name) + LIMIT - len(traces(one).SerializeToString()) + extra)
        body = traces(one).SerializeToString()
        assert len(body) == LIMIT + extra
        sent = gzip.compress(body, 1) if compressed else body
        headers = {"content_encoding": "gzip"} if compressed else {}
        answer = collector.post(sent, key=key, **headers)
        assert answer[0] == expected
        if expected == 413:
            assert str(LIMIT) in refused(answer).message
    assert stored(collector, tenant).height == 2


def test_o10_a_chunked_body_without_end_is_413(collector: Collector, key: str) -> None:
    with Wire(collector.base + 1) as wire:
        wire.send(request_bytes(b"", key, "transfer-encoding: chunked", length=False))
        for _ in range(20):
            wire.send(b"10000\r\n" + bytes(1 << 16) + b"\r\n")
        answer = wire.answer()
        assert answer[0] == 413
        refused(answer)
        assert wire.closed()


def test_o10_a_bomb_is_413_and_memory_stays_flat(collector: Collector, key: str) -> None:
    bomb = gzip.compress(bytes(512 << 20), 9)
    assert len(bomb) < LIMIT
    collector.post(body_of(), key=key)
    before = resident_bytes(collector.pid)
    for _ in range(4):
        assert collector.post(bomb, key=key, content_encoding="gzip")[0] == 413
    assert resident_bytes(collector.pid) - before < 32 << 20


def resident_bytes(pid: int) -> int:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def test_o11_answers_stay_small(collector: Collector, key: str) -> None:
    bad = [span(trace_id=bytes(16), span_id=secrets.token_bytes(8), name="") for _ in range(8_000)]
    status, body, _ = collector.post(traces(*bad, *fresh(1)).SerializeToString(), key=key)
    assert status == 200
    assert len(body) < 4_000
    found = partial_of(body)
    assert found is not None
    assert found.rejected_spans == 8_000


@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
def test_o12_broken_gzip_is_400(collector: Collector, tenant: str, key: str, content_type: str) -> None:
    body = body_of(3) if content_type == PROTOBUF else json_body_of(3)
    whole = gzip.compress(body)
    wrong_sum = whole[:-8] + bytes([whole[-8] ^ 1]) + whole[-7:]
    wrong_size = whole[:-1] + bytes([whole[-1] ^ 1])
    broken = [whole[:-1], whole[:-8], whole[: len(whole) // 2], whole[:12], whole[:3], wrong_sum, wrong_size]
    broken += [whole + b"trailing", body, gzip.compress(whole)]
    for sent in broken:
        answer = collector.post(sent, key=key, content_type=content_type, content_encoding="gzip")
        assert answer[0] == 400, sent[:40]
        assert violation(refused(answer)).field
    assert counts(collector, tenant) == Counts()


def test_o12_all_members_of_a_gzip_body_are_read(collector: Collector, tenant: str, key: str) -> None:
    one, other = body_of(2), body_of(3)
    assert collector.post(gzip.compress(one) + gzip.compress(other), key=key, content_encoding="gzip")[0] == 200
    assert set(stored(collector, tenant)["span_id"]) == ids_of(one) | ids_of(other)


def test_o12_gzip_without_its_header_is_named(collector: Collector, key: str) -> None:
    answer = collector.post(gzip.compress(body_of()), key=key)
    assert answer[0] == 400
    assert "Content-Encoding: gzip" in refused(answer).message


def test_o13_200_exports_at_once_do_not_mix(collector: Collector) -> None:
    tenants = [f"t{secrets.token_hex(6)}" for _ in range(4)]
    keys = [collector.key_of(tenant) for tenant in tenants]
    bodies = [body_of(4, {"text": secrets.token_hex(200)}) for _ in range(200)]
    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda i: collector.post(bodies[i], key=keys[i % 4]), range(200)))
    assert {answer[0] for answer in answers} == {200}
    for number, tenant in enumerate(tenants):
        expected = set().union(*(ids_of(body) for body in bodies[number::4]))
        rows = stored(collector, tenant)
        assert rows.height == len(expected)
        assert set(rows["span_id"]) == expected
        assert counts(collector, tenant) == Counts(received=200, stored=200)


def test_o13_a_connection_is_kept(collector: Collector, tenant: str, key: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", collector.base + 1, timeout=20)
    connection.connect()
    socket = connection.sock
    for body in (body_of(), b"\xff\xff", body_of(), b""):
        headers = {"authorization": f"Bearer {key}", "content-type": PROTOBUF}
        connection.request("POST", "/v1/traces", body, headers)
        connection.getresponse().read()
        assert connection.sock is socket, "the connection was closed"
    connection.close()
    assert stored(collector, tenant).height == 2


@pytest.mark.parametrize("pieces", ["one segment", "two segments", "byte by byte at the seam"])
def test_o13_pipelined_requests_are_answered_in_order(collector: Collector, tenant: str, key: str, pieces: str) -> None:
    bodies = [body_of(2), body_of(3), b"\xff", body_of(1)]
    raw = b"".join(request_bytes(body, key) for body in bodies)
    seam = len(request_bytes(bodies[0], key))
    with Wire(collector.base + 1) as wire:
        match pieces:
            case "one segment":
                wire.send(raw)
            case "two segments":
                wire.send(raw[: seam + 40])
                wire.send(raw[seam + 40 :])
            case _:
                wire.send(raw[: seam - 20], *(raw[i : i + 1] for i in range(seam - 20, seam + 20)), raw[seam + 20 :])
        assert [wire.answer()[0] for _ in bodies] == [200, 200, 400, 200]
    assert stored(collector, tenant).height == 6


def test_o13_many_pipelined_requests(collector: Collector, tenant: str, key: str) -> None:
    bodies = [body_of(1) for _ in range(60)]
    with Wire(collector.base + 1) as wire:
        wire.send(b"".join(request_bytes(body, key) for body in bodies))
        assert [wire.answer()[0] for _ in bodies] == [200] * 60
    assert set(stored(collector, tenant)["span_id"]) == set().union(*map(ids_of, bodies))


def test_o13_garbage_behind_a_good_request_does_not_spoil_its_answer(
    collector: Collector, tenant: str, key: str
) -> None:
    with Wire(collector.base + 1) as wire:
        wire.send(request_bytes(body_of(), key) + b"\x00\x01garbage\r\n\r\n")
        assert wire.answer()[0] == 200
        assert wire.answer()[0] == 400
        assert wire.closed()
    assert stored(collector, tenant).height == 1


def test_o13_connection_close_is_honoured(collector: Collector, key: str) -> None:
    with Wire(collector.base + 1) as wire:
        wire.send(request_bytes(body_of(), key, "connection: close"))
        status, _, headers = wire.answer()
        assert (status, headers["connection"]) == (200, "close")
        assert wire.closed()


def test_o13_an_offer_to_upgrade_is_ignored(collector: Collector, key: str) -> None:
    with Wire(collector.base + 1) as wire:
        lines = ("connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAMAAABkAARAAAAAAAIAAAAA")
        wire.send(request_bytes(body_of(), key, *lines))
        assert wire.answer()[0] == 200


def test_o13_expect_100_continue(collector: Collector, tenant: str, key: str) -> None:
    body = body_of()
    with Wire(collector.base + 1) as wire:
        head = request_bytes(b"", key, "expect: 100-continue", f"content-length: {len(body)}", length=False)
        wire.send(head)
        assert wire._file.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert wire._file.readline() == b"\r\n"
        wire.send(body)
        assert wire.answer()[0] == 200
    with Wire(collector.base + 1) as wire:
        wire.send(request_bytes(b"", "wrong", "expect: 100-continue", "content-length: 99", length=False))
        assert wire.answer()[0] == 401
    assert stored(collector, tenant).height == 1


def test_o14_idle_connections_do_not_stop_ingestion(collector: Collector, key: str) -> None:
    wires = [Wire(collector.base + 1) for _ in range(300)]
    try:
        for wire in wires[::2]:
            wire.send(b"POST /v1/traces HTTP/1.1\r\nhost: ")
        assert collector.post(body_of(), key=key)[0] == 200
    finally:
        for wire in wires:
            wire.__exit__()


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["x: " + "a" * 40_000], 431),
        ([f"h{i}: 1" for i in range(200)], 431),
        (["transfer-encoding: chunked"], 400),
        (["content-length: 3"], 400),
        (["authorization: Bearer other"], 400),
        (["content-type: text/plain"], 400),
    ],
)
def test_o14_hostile_heads_are_refused_and_closed(
    collector: Collector, key: str, lines: list[str], expected: int
) -> None:
    with Wire(collector.base + 1) as wire:
        wire.send(request_bytes(body_of(), key, *lines))
        answer = wire.answer()
        assert answer[0] == expected
        refused(answer)
        assert wire.closed()


def test_o14_a_long_target_is_refused(collector: Collector, key: str) -> None:
    with Wire(collector.base + 1) as wire:
        wire.send(request_bytes(body_of(), key, path="/v1/traces?" + "x" * 10_000))
        assert wire.answer()[0] == 414


@pytest.mark.parametrize("host", ["x?/healthz", "/v1/traces", "", "a\tb", "[::1]:99999"])
def test_o14_the_host_header_opens_nothing(collector: Collector, host: str) -> None:
    with Wire(collector.base + 1) as wire:
        wire.send(f"POST /v1/traces HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\n\r\n".encode())
        answer = wire.answer()
        assert answer[0] == 401
        assert refused(answer).code == 16


def test_o14_less_body_than_promised_is_no_request(collector: Collector, tenant: str, key: str) -> None:
    whole = request_bytes(body_of(), key)
    with Wire(collector.base + 1) as wire:
        wire.send(whole[:-10])
    assert collector.post(body_of(), key=key)[0] == 200
    assert stored(collector, tenant).height == 1


# -- success, partial success, empties ---------------------------------------------------------------------------------


def test_o15_full_success_leaves_partial_success_unset(collector: Collector, key: str) -> None:
    assert collector.post(body_of(3), key=key)[:2] == (200, b"")
    assert collector.post(json_body_of(3), key=key, content_type=JSON)[:2] == (200, b"{}")


def test_o16_empty_requests_succeed_and_leave_nothing(collector: Collector, tenant: str, key: str) -> None:
    resource, scope = ResourceSpans(), ResourceSpans(scope_spans=[ScopeSpans()])
    shapes = [
        (b"", PROTOBUF),
        (ExportTraceServiceRequest(resource_spans=[resource]).SerializeToString(), PROTOBUF),
        (ExportTraceServiceRequest(resource_spans=[scope]).SerializeToString(), PROTOBUF),
        (b"{}", JSON),
        (b'{"resourceSpans":[]}', JSON),
        (b'{"resourceSpans":[{"scopeSpans":[{"spans":[]}]}]}', JSON),
    ]
    for body, content_type in shapes:
        status, answer, _ = collector.post(body, key=key, content_type=content_type)
        assert (status, answer) == (200, b"{}" if content_type == JSON else b"")
    assert counts(collector, tenant) == Counts()
    assert stored(collector, tenant).is_empty()


def test_o17_o18_o20_what_is_rejected_is_counted_named_and_quarantined(
    collector: Collector, tenant: str, key: str
) -> None:
    good, bad = fresh(10), [*fresh(2, trace_id=b"short"), *fresh(1, span_id=bytes(8))]
    request = traces(*good[:4], bad[0])
    request.MergeFrom(traces(*good[4:], *bad[1:]))
    status, body, _ = collector.post(request.SerializeToString(), key=key)
    found = partial_of(body)
    assert status == 200
    assert found is not None
    assert found.rejected_spans == 3
    assert "2 x trace_id must be 16 bytes" in found.error_message
    assert "1 x span_id is all zero" in found.error_message
    assert set(stored(collector, tenant)["span_id"]) == {each.span_id.hex() for each in good}
    quarantine = stored(collector, tenant, "quarantine")
    assert sorted(quarantine["reason"]) == ["invalid_trace_id", "invalid_trace_id", "zero_span_id"]
    assert sorted(quarantine["payload_bytes"]) == sorted(each.ByteSize() for each in bad)
    assert counts(collector, tenant) == Counts(received=13, stored=10, quarantined=3)


def test_o17_in_json_counts_are_strings(collector: Collector, tenant: str, key: str) -> None:
    body = json_traces(json_span(traceId=secrets.token_hex(16)), json_span(traceId="zz"), json_span(spanId="00" * 8))
    status, answer, _ = collector.post(body, key=key, content_type=JSON)
    part = json.loads(answer)["partialSuccess"]
    assert status == 200
    assert part["rejectedSpans"] == "2"
    assert part["errorMessage"]
    assert counts(collector, tenant) == Counts(received=3, stored=1, quarantined=2)


def test_o19_a_warning_rejects_nothing(collector: Collector, key: str) -> None:
    body = json.dumps({"resourceSpans": [{"instrumentationLibrarySpans": [{"spans": [json_span()]}]}]}).encode()
    status, answer, _ = collector.post(body, key=key, content_type=JSON)
    part = json.loads(answer)["partialSuccess"]
    assert status == 200
    assert "rejectedSpans" not in part
    assert "instrumentationLibrarySpans" in part["errorMessage"]


@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
def test_o21_when_every_span_is_unusable_the_answer_is_400_and_they_are_quarantined(
    collector: Collector, tenant: str, key: str, content_type: str
) -> None:
    if content_type == JSON:
        body = json_traces(json_span(traceId="00" * 16), json_span(spanId="xyz"))
    else:
        body = traces(*fresh(1, trace_id=bytes(16)), *fresh(1, span_id=b"seven77")).SerializeToString()
    answer = collector.post(body, key=key, content_type=content_type)
    assert answer[0] == 400
    assert "quarantine" in refused(answer).message
    assert counts(collector, tenant) == Counts(received=2, quarantined=2)
    assert stored(collector, tenant, "quarantine").height == 2


# -- failures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
def test_o22_o23_what_cannot_be_decoded_is_400_with_a_field(
    collector: Collector, tenant: str, key: str, content_type: str
) -> None:
    rng = random.Random(7)
    whole = body_of(3) if content_type == PROTOBUF else json_body_of(3)
    for body in (rng.randbytes(64), rng.randbytes(1 << 19), whole + b"\xff\xff\xff", whole[:-3], b"\xff\xfe\x00"):
        answer = collector.post(body, key=key, content_type=content_type)
        assert answer[0] == 400, body[:40]
        found = violation(refused(answer))
        assert found.field
        assert found.description
    assert counts(collector, tenant) == Counts()


def test_o23_a_request_cut_anywhere_never_crashes(collector: Collector, tenant: str, key: str) -> None:
    whole = traces(*fresh(3)).SerializeToString()
    connection = http.client.HTTPConnection("127.0.0.1", collector.base + 1, timeout=20)
    for cut in range(len(whole)):
        connection.request(
            "POST", "/v1/traces", whole[:cut], {"authorization": f"Bearer {key}", "content-type": PROTOBUF}
        )
        answer = connection.getresponse()
        answer.read()
        assert answer.status == (400 if cut else 200), cut
    connection.close()
    assert counts(collector, tenant) == Counts(), "a part of a request was kept"


@pytest.mark.parametrize(
    ("body", "content_type", "said"),
    [
        (b'{"resourceSpans":[]}', PROTOBUF, "looks like JSON"),
        (body_of(), JSON, "looks like protobuf"),
        (logs(log_record("gen_ai.choice")), PROTOBUF, "looks like OTLP logs; send it to /v1/logs"),
        (metrics_body(), PROTOBUF, "looks like OTLP metrics; send it to /v1/metrics"),
    ],
)
def test_o23_a_mistaken_body_is_named(
    collector: Collector, key: str, body: bytes, content_type: str, said: str
) -> None:
    answer = collector.post(body, key=key, content_type=content_type)
    assert answer[0] == 400
    assert said in refused(answer).message


@pytest.mark.parametrize("signal", ["Logs", "Metrics"])
def test_o23_other_signals_in_json_are_never_a_silent_success(collector: Collector, key: str, signal: str) -> None:
    body = json.dumps({f"resource{signal}": [{f"scope{signal}": [{}]}]}).encode()
    status, answer, _ = collector.post(body, key=key, content_type=JSON)
    said = json.loads(answer)
    message = said["message"] if status == 400 else said["partialSuccess"]["errorMessage"]
    assert f"/v1/{signal.lower()}" in message or f"resource{signal}" in message


def test_o28_who_is_not_known_is_401(collector: Collector, key: str) -> None:
    wrong = [key[:-1] + ("a" if key[-1] != "a" else "b"), "nobody", "", "x" * 10_000, "k\u00e9y", key + "x"]
    for each in wrong:
        headers = {
            "content-type": PROTOBUF,
            "authorization": f"Bearer {each}".encode("latin-1", "replace").decode("latin-1"),
        }
        answer = collector.request("POST", "/v1/traces", body_of(), headers)
        assert answer[0] == 401
        assert refused(answer).code == 16
        assert "retry-after" not in answer[2]
    answer = collector.request("POST", "/v1/traces", body_of(), {"content-type": PROTOBUF})
    assert answer[0] == 401
    assert key not in collector.log()


def test_o28_the_key_is_checked_before_anything_is_decoded(collector: Collector) -> None:
    for body, encoding in ((b"\xff" * 100, ""), (b"not gzip", "gzip")):
        assert collector.post(body, key="nobody", content_encoding=encoding)[0] == 401


def test_o28_a_viewer_may_not_write(collector: Collector, tenant: str) -> None:
    answer = collector.post(body_of(), key=collector.key_of(tenant, Role.VIEWER))
    assert answer[0] == 403
    assert refused(answer).code == 7


def test_o28_other_roles_may_write(collector: Collector, tenant: str) -> None:
    for role in (Role.USER, Role.POWER_USER, Role.ADMIN):
        assert collector.post(body_of(), key=collector.key_of(tenant, role))[0] == 200


def test_o28_a_revoked_key_stops_working(collector: Collector, tenant: str, key: str) -> None:
    assert collector.post(body_of(), key=key)[0] == 200
    control = collector.control()
    control.revoke_key(tenant_id(tenant), control.list_keys(tenant_id(tenant))[0].key_id)
    control.close()
    wait_until(lambda: collector.post(body_of(), key=key)[0] == 401, 60, "the revoked key to be refused")


def test_o28_of_two_keys_the_first_defined_header_decides(collector: Collector, tenant: str, key: str) -> None:
    other = collector.key_of(f"{tenant}-other")
    body = body_of()
    answers = [
        collector.request("POST", "/v1/traces", body, {"content-type": PROTOBUF} | headers)[0]
        for headers in (
            {"x-api-key": key},
            {"authorization": f"bearer {key}", "x-api-key": other},
            {"authorization": f"BEARER   {key}  "},
            {"authorization": f"Bearer {other[:-1]}", "x-api-key": key},
        )
    ]
    assert answers == [200, 200, 200, 401]
    assert stored(collector, tenant).height == 1
    assert stored(collector, f"{tenant}-other").is_empty()


# -- delivery ----------------------------------------------------------------------------------------------------------


def test_o57_a_retry_is_stored_once(collector: Collector, tenant: str, key: str) -> None:
    body = body_of(5)
    for _ in range(3):
        assert collector.post(body, key=key)[:2] == (200, b"")
    collector.drained()
    assert collector.post(gzip.compress(body), key=key, content_encoding="gzip")[0] == 200
    assert stored(collector, tenant).height == 5
    assert counts(collector, tenant) == Counts(received=20, stored=5, duplicate=15)


def test_o57_overlapping_requests(collector: Collector, tenant: str, key: str) -> None:
    spans = fresh(6)
    assert collector.post(traces(*spans[:4]).SerializeToString(), key=key)[0] == 200
    assert collector.post(traces(*spans[2:], spans[5]).SerializeToString(), key=key)[0] == 200
    rows = stored(collector, tenant)
    assert sorted(rows["span_id"]) == sorted(each.span_id.hex() for each in spans)
    assert counts(collector, tenant) == Counts(received=9, stored=6, duplicate=3)


def test_o42_same_ids_with_other_content_are_both_kept(collector: Collector, tenant: str, key: str) -> None:
    ids = {"trace_id": secrets.token_bytes(16), "span_id": secrets.token_bytes(8)}
    for text in ("one", "two"):
        assert collector.post(traces(span({"text": text}, **ids)).SerializeToString(), key=key)[0] == 200
    assert collector.post(traces(span({"text": "two"}, **ids)).SerializeToString(), key=key)[0] == 200
    rows = stored(collector, tenant)
    assert sorted(dict(pairs)["text"] for pairs in map(_pairs, rows["attributes"].to_list())) == ["one", "two"]
    assert rows["content_hash"].n_unique() == 2
    assert counts(collector, tenant) == Counts(received=3, stored=2, duplicate=1)


def _pairs(entries: object) -> list[tuple[str, str]]:
    if isinstance(entries, dict):
        return list(entries.items())
    assert isinstance(entries, list)
    return [(each["key"], each["value"]) for each in entries]


def test_o57_the_same_span_of_two_tenants_is_no_duplicate(collector: Collector, tenant: str, key: str) -> None:
    body = body_of(2)
    other = f"{tenant}-other"
    assert collector.post(body, key=key)[0] == collector.post(body, key=collector.key_of(other))[0] == 200
    assert stored(collector, tenant).height == stored(collector, other).height == 2


def test_the_keys_tenant_is_the_only_tenant(collector: Collector, tenant: str, key: str) -> None:
    claims = {"tenant.id": "victim", "tenant": "victim", "service.namespace": "victim", "langfuse.trace.public": "true"}
    request = traces(*fresh(1, claims), resource=claims | {"service.name": "shop"})
    status = collector.post(request.SerializeToString(), key=key, x_scope_orgid="victim", x_tenant="victim")[0]
    assert status == 200
    rows = stored(collector, tenant)
    assert rows["tenant"].to_list() == [tenant]
    assert not list(collector.data.glob("lake/*/tenant=victim"))


# -- logs and metrics --------------------------------------------------------------------------------------------------


def test_logs_that_are_not_kept_are_said_to_be_dropped(collector: Collector, tenant: str, key: str) -> None:
    evaluation = log_record(
        "gen_ai.evaluation.result", {"gen_ai.evaluation.name": "accuracy", "gen_ai.evaluation.score.value": 0.5}
    )
    status, body, _ = collector.post(logs(evaluation, log_record("app.start")), "/v1/logs", key=key)
    part = ExportLogsServiceResponse.FromString(body).partial_success
    assert (status, part.rejected_log_records) == (200, 1)
    assert part.error_message
    scores = stored(collector, tenant, "scores")
    assert scores.select("evaluator", "value").rows() == [("accuracy", 0.5)]
    assert counts(collector, tenant, "log_records") == Counts(received=2, stored=1, rejected=1)


def test_metric_points_are_counted_and_said_to_be_dropped(collector: Collector, tenant: str, key: str) -> None:
    status, body, _ = collector.post(metrics_body(3), "/v1/metrics", key=key)
    part = ExportMetricsServiceResponse.FromString(body).partial_success
    assert (status, part.rejected_data_points) == (200, 3)
    assert "keeps no metrics" in part.error_message
    expected = Counts(received=3, rejected=3)
    wait_until(lambda: collector.ledger(tenant).get("metric_points") is not None, 10, "the points to reach the ledger")
    assert counts(collector, tenant, "metric_points") == expected


# -- personal information ----------------------------------------------------------------------------------------------


def test_personal_information_never_reaches_the_disk_in_the_clear(collector: Collector, tenant: str, key: str) -> None:
    text = f"please write to {CANARY} soon"
    [one] = fresh(
        1,
        {
            "plain": text,
            text: "a key",
            "list": [text, {"deep": [text]}],
            "map": {"inner": text},
            "gen_ai.input.messages": json.dumps([{"role": "user", "parts": [{"type": "text", "content": text}]}]),
            "gen_ai.tool.call.arguments": json.dumps({"to": CANARY}),
            "session.id": CANARY,
            "user.id": CANARY,
            "gen_ai.agent.name": text,
            "error.type": text,
            "tag.tags": [text],
            "metadata": json.dumps({"mail": CANARY}),
        },
        name=text,
        status=Status(code=Status.STATUS_CODE_ERROR, message=text),
        trace_state=f"vendor={CANARY}",
        events=[Span.Event(name=text, attributes=key_values({"exception.message": text, text: 1}))],
        links=[Span.Link(trace_id=bytes(16), span_id=bytes(8), attributes=key_values({"why": text}))],
    )
    request = traces(one, resource={"service.name": text, "owner": text}, scope=text)
    records = logs(
        log_record("gen_ai.choice", {"note": text}, body={"message": text}),
        log_record(
            "gen_ai.evaluation.result",
            {
                "gen_ai.evaluation.name": "tone",
                "gen_ai.evaluation.score.label": text,
                "gen_ai.evaluation.explanation": text,
            },
        ),
        resource={"service.name": text},
    )
    assert collector.post(request.SerializeToString(), key=key)[0] == 200
    assert collector.post(records, "/v1/logs", key=key)[0] == 200
    assert not _files_with_canary(collector.data), "readable while it sits in the journal"
    bad = json_traces(json_span(traceId=CANARY), json_span(kind=CANARY), json_span(**{CANARY: text}))
    collector.post(bad, key=key, content_type=JSON)
    for table in ("spans", "events", "scores", "quarantine", "turns", "sessions", "rollups"):
        rows = stored(collector, tenant, table)
        assert not rows.is_empty(), table
        for column in rows.columns:
            assert CANARY not in str(rows[column].to_list()), f"{table}.{column}"
    assert not _files_with_canary(collector.data)


def _files_with_canary(folder: Path) -> list[Path]:
    needles = (CANARY.encode(), b"jane.canary")
    return [p for p in folder.rglob("*") if p.is_file() and any(needle in p.read_bytes() for needle in needles)]


def test_the_journal_is_empty_once_everything_is_stored(collector: Collector, key: str) -> None:
    assert collector.post(body_of(50), key=key)[0] == 200
    collector.drained()
    wait_until(
        lambda: (
            not list((collector.data / "journal").glob("*.seg"))
            and not list((collector.data / "journal").glob("*.key"))
        ),
        15,
        "the segments and their keys to be destroyed",
    )
