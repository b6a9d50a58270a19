"""Answers (O-08 to O-30) that need every status, every error, or a door that dies at the wrong moment."""

from __future__ import annotations

import gzip
import json
import secrets
from collections.abc import Iterator
from itertools import permutations
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector.answers import Refusal, refusal_of
from collector.batch import POSITION_BITS
from collector.http_door import LINGER_S
from collector.seal import MasterKey, unsealed
from collector.settings import CollectorSettings
from core import errors
from core.records import Counts, Role
from tests.collector.alone import Collector
from tests.collector.doors import (
    JSON,
    PROTOBUF,
    Wire,
    body_of,
    counts,
    fresh,
    json_body_of,
    partial_of,
    refused,
    request_bytes,
    violation,
)
from tests.collector.inside import Inside, InsideDoor
from tests.collector.otlp import START_NS, json_span, json_traces, log_record, logs, span, traces
from tests.collector.test_doors_grpc import LOGS, METRICS, TRACES, export
from tests.collector.test_doors_http import metrics_body
from tests.store.old_answers import answers

HOUR_NS = 3600 * 10**9
RETRYABLE_HTTP = {429, 502, 503, 504}
RETRYABLE_GRPC = {1, 4, 10, 11, 14, 15}  # CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS
EMPTY = {
    "no bytes": (b"", PROTOBUF),
    "a resource": (b"\x0a\x00", PROTOBUF),
    "a scope": (b"\x0a\x02\x12\x00", PROTOBUF),
    "unknown fields only": (b"\xf8\xf0\x04\x01", PROTOBUF),
    "{}": (b"{}", JSON),
    "no resources": (b'{"resourceSpans":[]}', JSON),
    "no scopes": (b'{"resourceSpans":[{"resource":{},"scopeSpans":[]}]}', JSON),
    "no spans": (b'{"resourceSpans":[{"scopeSpans":[{"scope":{},"spans":[]}]}]}', JSON),
}


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """One collector for the module; every test has a tenant of its own."""
    with Collector(tmp_path_factory.mktemp("answers"), max_body_bytes=str(1 << 20)) as running:
        yield running
        assert running.stop() == 0


@pytest.fixture(scope="module")
def channel(collector: Collector) -> Iterator[grpc.Channel]:
    """A channel to it."""
    with grpc.insecure_channel(f"127.0.0.1:{collector.base}") as made:
        yield made


@pytest.fixture
def tenant() -> str:
    """A tenant nobody else uses."""
    return f"t{secrets.token_hex(6)}"


@pytest.fixture
def key(collector: Collector, tenant: str) -> str:
    """Its key."""
    return collector.key_of(tenant)


def test_o01_gzip_over_grpc_and_plain_http_store_the_same_rows(
    collector: Collector, channel: grpc.Channel, tenant: str, key: str
) -> None:
    body, other = body_of(5, {"gen_ai.operation.name": "chat", "text": "abc" * 500}), f"{tenant}-http"
    export(channel, body, key, compression=grpc.Compression.Gzip)
    assert collector.post(body, key=collector.key_of(other))[0] == 200
    collector.drained()
    mine, theirs = (
        collector.stored(tenant=each).drop("tenant", "seq", "ingested_at").sort("span_id").to_dicts()
        for each in (tenant, other)
    )
    assert mine == theirs
    assert len(mine) == 5


def test_o02_the_default_ports_are_those_of_the_specification(tmp_path: Any) -> None:
    settings = CollectorSettings(data_dir=tmp_path, lake_root=str(tmp_path))
    assert (settings.grpc_port, settings.http_port) == (4317, 4318)


def test_o10_o14_the_default_limit_and_times_are_those_recommended(tmp_path: Any) -> None:
    settings = CollectorSettings(data_dir=tmp_path, lake_root=str(tmp_path))
    assert settings.max_body_bytes == 64 << 20
    assert (settings.header_timeout_s, settings.body_timeout_s, settings.idle_timeout_s) == (30, 60, 120)


def item_of(signal: str, content_type: str) -> bytes:
    """A request with one thing in it that is told apart from an empty request by its answer or its ledger."""
    if content_type == JSON:
        return {
            "traces": json_body_of(),
            "logs": b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"eventName":"app.start"}]}]}]}',
            "metrics": b'{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"gauge":{"dataPoints":[{"asInt":1}]}}]}]}]}',
        }[signal]
    return {"traces": body_of(), "logs": logs(log_record("app.start")), "metrics": metrics_body(1)}[signal]


@pytest.mark.parametrize("signal", ["traces", "logs", "metrics"])
@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
def test_o03_each_path_reads_both_encodings(
    collector: Collector, tenant: str, key: str, signal: str, content_type: str
) -> None:
    status, answer, headers = collector.post(
        item_of(signal, content_type), f"/v1/{signal}", key=key, content_type=content_type
    )
    assert (status, headers["content-type"]) == (200, content_type)
    if signal == "traces":
        assert counts(collector, tenant) == Counts(received=1, stored=1)
    else:
        assert b"1" in answer, "one record or point is said to be not stored"


@pytest.mark.parametrize("accepts", ["gzip", "gzip, deflate, br", "*", "identity;q=0, gzip"])
@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
def test_o08_answers_are_never_compressed(collector: Collector, key: str, accepts: str, content_type: str) -> None:
    good = json_body_of() if content_type == JSON else body_of()
    for body, expected in ((good, 200), (b"\xff" * 40, 400)):
        status, answer, headers = collector.post(body, key=key, content_type=content_type, accept_encoding=accepts)
        assert status == expected
        assert "content-encoding" not in headers
        assert int(headers["content-length"]) == len(answer)
        if expected == 200:
            assert answer == (b"{}" if content_type == JSON else b"")


def test_o09_an_unknown_encoding_is_told_which_are_known(collector: Collector, key: str) -> None:
    answer = collector.post(body_of(), key=key, content_encoding="br")
    assert answer[2]["accept-encoding"] == "gzip, identity"
    assert "use gzip or none" in refused(answer).message


@pytest.mark.parametrize("method", [TRACES, LOGS, METRICS])
def test_o15_o16_empty_requests_over_grpc(channel: grpc.Channel, key: str, method: str) -> None:
    for body in (b"", b"\x0a\x00", b"\x0a\x02\x12\x00"):
        assert export(channel, body, key, method) == b""


@pytest.mark.parametrize("shape", EMPTY)
def test_o16_an_empty_request_leaves_nothing_in_the_journal(full_life: InsideDoor, shape: str) -> None:
    body, content_type = EMPTY[shape]
    with Wire(full_life.port) as wire:
        wire.send(request_bytes(body, full_life.key, content_type=content_type))
        status, answer, _ = wire.answer()
    assert (status, answer) == (200, b"{}" if content_type == JSON else b"")
    next_one = full_life.inside.keep(body_of())
    assert next_one.seq & (1 << POSITION_BITS) - 1 == 1, "something was written before it"


def test_o18_log_records_and_points_are_counted_too(channel: grpc.Channel, key: str) -> None:
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

    records = logs(*[log_record("app.start")] * 3, log_record("gen_ai.choice", body="x"))
    said = ExportLogsServiceResponse.FromString(export(channel, records, key, LOGS)).partial_success
    assert said.rejected_log_records == 3
    points = ExportMetricsServiceResponse.FromString(export(channel, metrics_body(5), key, METRICS)).partial_success
    assert points.rejected_data_points == 5


@pytest.mark.parametrize(
    ("flawed", "said"),
    [
        (span({f"k{i}": i for i in range(1_030)}), "more than 1024 attributes"),
        (span(parent_span_id=b"short"), "parent_span_id"),
    ],
)
def test_o19_what_was_mended_is_a_warning_with_nothing_rejected(
    collector: Collector, key: str, flawed: Any, said: str
) -> None:
    flawed.span_id = secrets.token_bytes(8)
    status, body, _ = collector.post(traces(flawed, *fresh(2)).SerializeToString(), key=key)
    found = partial_of(body)
    assert status == 200
    assert found is not None
    assert found.rejected_spans == 0
    assert found.error_message.startswith("1 of 3 spans carry ")
    assert said in found.error_message


def test_o20_the_quarantine_has_the_bytes_and_the_reason(collector: Collector, tenant: str, key: str) -> None:
    [bad] = fresh(1, {"text": "what was in it"}, trace_id=b"short")
    assert collector.post(traces(*fresh(1), bad).SerializeToString(), key=key)[0] == 200
    collector.drained()
    [row] = collector.stored("quarantine", tenant).to_dicts()
    own = MasterKey.open(collector.data / "secrets" / "master.key").derived(f"quarantine/{tenant}")
    assert unsealed(own, row["payload"]) == bad.SerializeToString()
    assert (row["reason"], row["signal"]) == ("invalid_trace_id", "spans")
    assert "16 bytes" in row["detail"]


# -- every status ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
def test_o22_every_error_body_is_a_status_in_the_encoding_of_the_request(
    collector: Collector, tenant: str, key: str, content_type: str
) -> None:
    viewer = collector.key_of(tenant, Role.VIEWER)

    def raw(sent: bytes) -> tuple[int, bytes, dict[str, str]]:
        with Wire(collector.base + 1) as wire:
            wire.send(sent)
            return wire.answer()

    post, also = collector.post, {"content_type": content_type}
    answers = {
        400: post(b"\xff" * 64, key=key, **also),
        401: post(b"", key="nobody", **also),
        403: post(b"", key=viewer, **also),
        404: post(b"", "/nowhere", key=key, **also),
        405: collector.request("PUT", "/v1/traces", b"", {"content-type": content_type}),
        413: post(bytes((1 << 20) + 1), key=key, **also),
        414: raw(request_bytes(b"", key, path="/" + "x" * 9_000, content_type=content_type)),
        415: post(b"", key=key, content_encoding="br", **also),
        431: raw(request_bytes(b"", key, *[f"h{i}: 1" for i in range(200)], content_type=content_type)),
    }
    for expected, answer in answers.items():
        assert answer[0] == expected
        status = refused(answer)
        assert status.code > 0, expected
        assert len(status.message) > 10
        if expected not in (414,):  # the request line is refused before any header is read
            assert answer[2]["content-type"] == content_type, expected
    for malformed in (b"NOT HTTP\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"POST /v1/traces HTTP/1.1\r\n: x\r\n\r\n"):
        answer = raw(malformed)
        assert answer[0] == 400
        refused(answer)


def every_error() -> list[Exception]:
    """One of each error of ours, and some that nobody foresaw."""
    found: list[Exception] = [OSError(5, "I/O error"), RuntimeError("unforeseen"), MemoryError(), RecursionError()]
    found += [UnicodeEncodeError("utf-8", "\ud83d", 0, 1, "x"), KeyError("k"), OverflowError(), ValueError("v")]
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.AssayError):
            found.append(kind("said"))
    return found


@pytest.mark.parametrize("error", every_error(), ids=lambda error: type(error).__name__)
def test_o24_o25_o27_the_table_of_errors(error: Exception) -> None:
    """Retryable on one transport is retryable on the other, and only that carries a delay, of 1 to 3 seconds."""
    for _ in range(20):
        refusal: Refusal = refusal_of(error)
        assert refusal.http not in (408, 500, 501), "exporters drop what is answered so"
        again = refusal.retry_after_s is not None
        assert again == (refusal.http in RETRYABLE_HTTP) == (refusal.grpc in RETRYABLE_GRPC)
        if refusal.retry_after_s is not None:
            assert 1 <= refusal.retry_after_s <= 3
        assert (len(refusal.status().details) == 1) == (again or refusal.grpc == 3)


@pytest.mark.parametrize(
    ("error", "http", "code"),
    [
        (errors.InvalidInput("x"), 400, grpc.StatusCode.INVALID_ARGUMENT),
        (errors.Undecodable("x"), 400, grpc.StatusCode.INVALID_ARGUMENT),
        (errors.TooLarge("x"), 413, grpc.StatusCode.RESOURCE_EXHAUSTED),
        (errors.Unauthenticated("x"), 401, grpc.StatusCode.UNAUTHENTICATED),
        (errors.Forbidden("x"), 403, grpc.StatusCode.PERMISSION_DENIED),
        (errors.NotFound("x"), 404, grpc.StatusCode.UNIMPLEMENTED),
        (errors.Overloaded("x"), 503, grpc.StatusCode.UNAVAILABLE),
        (errors.StorageFailed("x"), 503, grpc.StatusCode.UNAVAILABLE),
        (RuntimeError("x"), 503, grpc.StatusCode.UNAVAILABLE),
    ],
)
def test_o25_each_error_has_one_code_on_each_transport(error: Exception, http: int, code: grpc.StatusCode) -> None:
    refusal = refusal_of(error)
    assert (refusal.http, refusal.grpc) == (http, code.value[0])


def test_o27_the_delay_is_not_the_same_for_everybody() -> None:
    assert len({refusal_of(RuntimeError("x")).retry_after_s for _ in range(100)}) > 1


# -- a door that dies at the wrong moment ------------------------------------------------------------------------------


@pytest.fixture
def full_life(tmp_path: Any) -> Iterator[InsideDoor]:
    """Doors of parts in this process."""
    inside = Inside(tmp_path)
    inside.recover()
    with InsideDoor(inside) as door:
        yield door
    inside.release()


def test_o29_a_death_between_fsync_and_answer_and_a_retry_store_once(tmp_path: Any) -> None:
    body = body_of(3)
    life = Inside(tmp_path)
    life.recover()
    life.keep(body)  # durable; no answer was ever sent
    life.release()
    again = Inside(tmp_path)
    again.recover()
    with InsideDoor(again) as door:
        again.committer.start()
        with Wire(door.port) as wire:
            wire.send(request_bytes(body, door.key))
            assert wire.answer()[0] == 200
        assert again.committer.stop(30)
    assert again.stored().height == 3
    assert again.counts() == Counts(received=6, stored=3, duplicate=3)
    again.release()


# -- order -------------------------------------------------------------------------------------------------------------


def test_o46_spans_of_a_trace_in_any_order_and_request_are_the_same_trace(collector: Collector, tenant: str) -> None:
    """Also over midnight, and in the turn, the session, the rollups and every other answer that is made of them."""
    trace, ids = secrets.token_bytes(16), [secrets.token_bytes(8) for _ in range(4)]
    common = {"session.id": "s", "user.id": "u", "app.release": "v1"}
    model = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 7}
    spans = [
        span(
            {"n": n, **common, **(model if n in (1, 3) else {})}, trace_id=trace, span_id=ids[n],
            parent_span_id=b"" if n == 0 else ids[min(n - 1, 1)], start_time_unix_nano=START_NS + n * 9 * HOUR_NS,
            end_time_unix_nano=START_NS + (n * 9 + 1) * HOUR_NS,
        )
        for n in range(4)
    ]  # fmt: skip
    found, answered = [], []
    for number, order in enumerate(list(permutations(spans))[::5]):
        own = f"{tenant}-{number}"
        key = collector.key_of(own)
        for each in order:
            assert collector.post(traces(each).SerializeToString(), key=key)[0] == 200
        collector.drained()
        rows = collector.stored(tenant=own).drop("tenant", "seq", "ingested_at").sort("span_id")
        found.append(rows.to_dicts())
        answered.append(answers(collector.data, own, "s", trace.hex()))
    assert all(rows == found[0] for rows in found)
    assert len(found[0]) == 4
    assert len({row["date"] for row in found[0]}) == 2
    for name, first in answered[0].items():
        assert all(other[name] == first for other in answered), name
    assert (answered[0]["trace"][0]["n_spans"], answered[0]["session"][0]["input_tokens"]) == (
        4,
        7,
    )  # a wrapper counts not


# -- hostile JSON at the door ------------------------------------------------------------------------------------------

HOSTILE = {
    "100,000 arrays": b"[" * 100_000,
    "100,000 objects": b'{"resourceSpans":' * 20_000,
    "a bare NaN": b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"startTimeUnixNano":NaN}]}]}]}',
    "UTF-16": '{"resourceSpans":[]}'.encode("utf-16"),
    "a number of 5,000 digits": b'{"resourceSpans":' + b"9" * 5_000 + b"}",
    "a text": b'"hello"',
    "cut": b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"x',
    "snake case": b'{"resource_spans":[]}',
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("path", ["/v1/traces", "/v1/logs", "/v1/metrics"])
def test_o54_hostile_json_is_400_at_every_path(collector: Collector, key: str, name: str, path: str) -> None:
    body = HOSTILE[name].replace(b"resourceSpans", f"resource{path[4:].title()}".encode().replace(b"Traces", b"Spans"))
    answer = collector.post(body, path, key=key, content_type=JSON)
    if answer[0] == 200:  # the unknown field of another signal
        assert name in ("snake case", "a bare NaN")
    else:
        assert answer[0] == 400
        assert violation(refused(answer)).field


def test_o54_a_lone_surrogate_at_the_door_is_repaired_and_told(collector: Collector, tenant: str, key: str) -> None:
    body = json_traces(json_span(spanId=secrets.token_hex(8), name="a\\ud83d")).replace(b"\\\\ud83d", b"\\ud83d")
    status, answer, _ = collector.post(gzip.compress(body), key=key, content_type=JSON, content_encoding="gzip")
    assert status == 200
    assert "repaired" in json.loads(answer)["partialSuccess"]["errorMessage"]
    collector.drained()
    assert collector.stored(tenant=tenant)["name"].to_list() == ["a\ufffd"]
    assert counts(collector, tenant) == Counts(received=1, stored=1)


def test_o50_o55_every_span_wrong_is_400_and_says_what_was_meant(collector: Collector, key: str) -> None:
    snake = json_traces({"trace_id": "00" * 16, "span_id": "00" * 8, "name": "x"})
    answer = collector.post(snake, key=key, content_type=JSON)
    assert answer[0] == 400
    assert "did you mean traceId" in refused(answer).message
    mapped = json_traces(json_span(attributes={"a": "b"}))
    answer = collector.post(mapped, key=key, content_type=JSON)
    assert answer[0] == 400
    assert "KeyValue" in refused(answer).message


def test_a_refused_connection_lingers_for_a_bounded_time() -> None:
    assert LINGER_S <= 10


def test_o31_unknown_fields_at_the_top_are_no_reason_to_refuse(channel: grpc.Channel, key: str) -> None:
    assert export(channel, body_of() + b"\xf8\xf0\x04\x01", key) == b""
    assert not ExportTraceServiceRequest.FromString(b"\xf8\xf0\x04\x01").resource_spans
