"""The gRPC door against the checklist of OTLP requirements, on one real collector process."""

from __future__ import annotations

import gzip
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

from core.records import Counts, Role
from tests.collector.alone import Collector
from tests.collector.doors import body_of, counts, fresh, ids_of, partial_of
from tests.collector.otlp import log_record, logs, traces

LIMIT = 1 << 20
SERVICE = "opentelemetry.proto.collector.{}.v1.{}Service/Export"
TRACES, LOGS, METRICS = (
    "/" + SERVICE.format(*names) for names in (("trace", "Trace"), ("logs", "Logs"), ("metrics", "Metrics"))
)
PROFILES = "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export"
Metadata = tuple[tuple[str, str | bytes], ...]


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """One collector for the module; every test has a tenant of its own."""
    with Collector(tmp_path_factory.mktemp("grpc-door"), max_body_bytes=str(LIMIT)) as running:
        yield running
        assert running.stop() == 0


@pytest.fixture(scope="module")
def channel(collector: Collector) -> Iterator[grpc.Channel]:
    """A channel to it."""
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{collector.base}", options) as made:
        yield made


@pytest.fixture
def tenant() -> str:
    """A tenant nobody else uses."""
    return f"t{secrets.token_hex(6)}"


@pytest.fixture
def key(collector: Collector, tenant: str) -> str:
    """Its key."""
    return collector.key_of(tenant)


def export(channel: grpc.Channel, body: bytes, key: str | None, method: str = TRACES, **options: Any) -> bytes:
    """One call on raw bytes."""
    metadata: Metadata = (("authorization", f"Bearer {key}"),) if key is not None else ()
    answer: bytes = channel.unary_unary(method)(body, metadata=metadata, timeout=20, **options)
    return answer


def refused(channel: grpc.Channel, body: bytes, key: str | None, method: str = TRACES, **options: Any) -> grpc.RpcError:
    """The error of a call that must fail."""
    with pytest.raises(grpc.RpcError) as caught:
        export(channel, body, key, method, **options)
    return caught.value


def trailers(error: grpc.RpcError) -> dict[str, bytes]:
    """The binary trailers of a refusal."""
    return {name: value for name, value in error.trailing_metadata() if isinstance(value, bytes)}


def status_of(error: grpc.RpcError) -> Status:
    """grpc-status-details-bin as google.rpc.Status."""
    return Status.FromString(trailers(error)["grpc-status-details-bin"])


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_o01_plain_and_gzip(
    collector: Collector, channel: grpc.Channel, tenant: str, key: str, compression: grpc.Compression
) -> None:
    body = body_of(20, {"text": "abc" * 100})
    assert export(channel, body, key, compression=compression) == b""
    collector.drained()
    assert set(collector.stored(tenant=tenant)["span_id"]) == ids_of(body)


def test_o01_both_doors_store_the_same_rows(collector: Collector, channel: grpc.Channel, tenant: str, key: str) -> None:
    body = body_of(3, {"gen_ai.operation.name": "chat"})
    other = f"{tenant}-http"
    export(channel, body, key)
    assert collector.post(body, key=collector.key_of(other))[0] == 200
    collector.drained()
    rows = [
        collector.stored(tenant=each).drop("tenant", "seq", "ingested_at").sort("span_id").to_dicts()
        for each in (tenant, other)
    ]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 3


def test_o02_all_three_services_answer(channel: grpc.Channel, key: str) -> None:
    assert [export(channel, b"", key, method) for method in (TRACES, LOGS, METRICS)] == [b"", b"", b""]


def test_o10_too_large_is_resource_exhausted_without_retry_info(
    collector: Collector, channel: grpc.Channel, tenant: str, key: str
) -> None:
    for body, compression in (
        (body_of(1, {"text": "x" * (LIMIT + 1)}), grpc.Compression.NoCompression),
        (body_of(1, {"text": "x" * (64 << 20)}), grpc.Compression.Gzip),
    ):
        error = refused(channel, body, key, compression=compression)
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "google.rpc.retryinfo-bin" not in trailers(error)
        assert "grpc-status-details-bin" not in trailers(error)
    assert export(channel, body_of(1, {"text": "x" * (LIMIT - 500)}), key) == b""
    assert counts(collector, tenant) == Counts(received=1, stored=1)


def test_o13_calls_at_once_do_not_mix(collector: Collector, channel: grpc.Channel) -> None:
    tenants = [f"t{secrets.token_hex(6)}" for _ in range(3)]
    keys = [collector.key_of(tenant) for tenant in tenants]
    bodies = [body_of(3) for _ in range(150)]
    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(lambda i: export(channel, bodies[i], keys[i % 3]), range(150)))
    assert set(answers) == {b""}
    collector.drained()
    for number, tenant in enumerate(tenants):
        rows = collector.stored(tenant=tenant)
        assert rows.height == 150
        assert set(rows["span_id"]) == set().union(*map(ids_of, bodies[number::3]))


def test_o15_o17_partial_success(collector: Collector, channel: grpc.Channel, tenant: str, key: str) -> None:
    assert partial_of(export(channel, body_of(), key)) is None
    bad = fresh(3, span_id=b"short")
    found = partial_of(export(channel, traces(*fresh(10), *bad).SerializeToString(), key))
    assert found is not None
    assert found.rejected_spans == 3
    assert "span_id must be 8 bytes" in found.error_message
    assert counts(collector, tenant) == Counts(received=14, stored=11, quarantined=3)


def test_o21_when_every_span_is_unusable_it_is_an_invalid_argument(
    collector: Collector, channel: grpc.Channel, tenant: str, key: str
) -> None:
    error = refused(channel, traces(*fresh(2, trace_id=bytes(16))).SerializeToString(), key)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert counts(collector, tenant) == Counts(received=2, quarantined=2)


@pytest.mark.parametrize("method", [TRACES, LOGS, METRICS])
def test_o23_what_cannot_be_decoded_is_an_invalid_argument_with_a_field(
    channel: grpc.Channel, key: str, method: str
) -> None:
    for body in (b"\xff" * 64, body_of(2)[:-1], b"\x0a\xff\xff\xff\xff\x0f"):
        error = refused(channel, body, key, method)
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        status = status_of(error)
        assert status.code == 3
        assert status.message == error.details()
        found = BadRequest()
        assert status.details[0].Unpack(found)
        assert found.field_violations[0].field
        assert "google.rpc.retryinfo-bin" not in trailers(error)


def test_o23_gzip_bytes_in_a_plain_call_are_named(channel: grpc.Channel, key: str) -> None:
    error = refused(channel, gzip.compress(body_of()), key)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "the message is gzip inside" in error.details()


def test_o23_logs_sent_as_traces_are_named(channel: grpc.Channel, key: str) -> None:
    error = refused(channel, logs(log_record("gen_ai.choice")), key)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "logs" in error.details()


@pytest.mark.parametrize("key", [None, "", "nobody", "x" * 4_000, "ask_000000000000_" + "a" * 49])
def test_o28_who_is_not_known_is_unauthenticated(channel: grpc.Channel, key: str | None) -> None:
    error = refused(channel, b"\xff not even decoded", key)
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert status_of(error).code == 16


def test_o28_a_viewer_may_not_write(collector: Collector, channel: grpc.Channel, tenant: str) -> None:
    error = refused(channel, body_of(), collector.key_of(tenant, Role.VIEWER))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED


def test_o28_which_metadata_decides(channel: grpc.Channel, key: str) -> None:
    def call(*metadata: tuple[str, str | bytes]) -> grpc.StatusCode:
        try:
            channel.unary_unary(TRACES)(b"", metadata=metadata, timeout=20)
        except grpc.RpcError as error:
            code: grpc.StatusCode = error.code()
            return code
        return grpc.StatusCode.OK

    assert call(("x-api-key", key)) is grpc.StatusCode.OK
    assert call(("authorization", f"bearer {key}")) is grpc.StatusCode.OK
    assert call(("authorization", "Bearer no"), ("x-api-key", key)) is grpc.StatusCode.UNAUTHENTICATED
    for name, prefix in (("authorization", "Bearer "), ("x-api-key", "")):
        both = [(name, f"{prefix}no"), (name, prefix + key)]
        assert call(*both) is call(*both[::-1]) is grpc.StatusCode.UNAUTHENTICATED
        assert call(both[1], both[1]) is grpc.StatusCode.OK
    assert call(("authorization-bin", b"\x00\xff" + key.encode())) is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("method", [PROFILES, TRACES + "x", "/nothing/Export"])
def test_o30_what_is_not_served_is_unimplemented(channel: grpc.Channel, key: str, method: str) -> None:
    assert refused(channel, b"", key, method).code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_caller_that_gives_up_harms_nobody(
    collector: Collector, channel: grpc.Channel, tenant: str, key: str
) -> None:
    bodies = [body_of(2) for _ in range(60)]
    call = channel.unary_unary(TRACES)
    metadata = (("authorization", f"Bearer {key}"),)
    for number, body in enumerate(bodies):
        if number % 2:
            future = call.future(body, metadata=metadata, timeout=0.001 * (number % 5))
        else:
            future = call.future(body, metadata=metadata, timeout=20)
            future.cancel()
        assert future is not None
    for body in bodies:
        assert export(channel, body, key) == b""
    collector.drained()
    rows = collector.stored(tenant=tenant)
    assert sorted(rows["span_id"]) == sorted(set().union(*map(ids_of, bodies)))
    assert counts(collector, tenant).stored == 120


def test_o57_a_retry_through_the_other_door_is_stored_once(
    collector: Collector, channel: grpc.Channel, tenant: str, key: str
) -> None:
    body = body_of(4)
    assert export(channel, body, key) == b""
    assert collector.post(body, key=key)[0] == 200
    assert export(channel, body, key) == b""
    assert counts(collector, tenant) == Counts(received=12, stored=4, duplicate=8)


def test_logs_and_metrics_are_answered_honestly(
    collector: Collector, channel: grpc.Channel, tenant: str, key: str
) -> None:
    from tests.collector.test_doors_http import metrics_body

    found = ExportLogsServiceResponse.FromString(export(channel, logs(log_record("app.start")), key, LOGS))
    assert found.partial_success.rejected_log_records == 1
    points = ExportMetricsServiceResponse.FromString(export(channel, metrics_body(4), key, METRICS))
    assert points.partial_success.rejected_data_points == 4
    assert points.partial_success.error_message
