"""When there is no room, no disk or no key store: the doors refuse so that exporters wait and send again."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.proto.trace.v1.trace_pb2 import Status as SpanStatus

from collector import intake, journal
from core.errors import StorageFailed
from core.ids import KeyId, tenant_id
from core.records import Counts, Role
from store.control.records import KeyRecord
from tests.collector.alone import Collector
from tests.collector.doors import (
    JSON,
    Wire,
    body_of,
    counts,
    fresh,
    ids_of,
    json_body_of,
    refused,
    request_bytes,
    retry_delay_s,
)
from tests.collector.inside import Inside, InsideDoor
from tests.collector.otlp import log_record, logs, traces
from tests.waiting import wait_until

TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
LOGS = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
ROOM = 4_000
BIG = {"text": "x" * (ROOM + 1)}


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """A collector that nobody but these tests speaks to."""
    with Collector(tmp_path_factory.mktemp("pressure")) as running:
        yield running
        assert running.stop() == 0


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InsideDoor]:
    """Doors behind which 4,000 bytes may wait, and do: nothing is stored meanwhile."""
    inside = Inside(tmp_path_factory.mktemp("full"), backlog_bytes=ROOM)
    inside.recover()
    with InsideDoor(inside) as door:
        assert post(door, body_of(1, BIG))[0] == 200, "one request is always taken, whatever its size"
        yield door
    inside.release()


@pytest.fixture(scope="module")
def channel(full: InsideDoor) -> Iterator[grpc.Channel]:
    """A channel to them."""
    with grpc.insecure_channel(f"127.0.0.1:{full.inside.settings.grpc_port}") as made:
        yield made


@pytest.mark.parametrize("content_type", ["application/x-protobuf", JSON])
def test_o04_o26_http_answers_503_with_retry_after(full: InsideDoor, content_type: str) -> None:
    body = json_body_of() if content_type == JSON else body_of()
    answer = post(full, body, content_type)
    assert answer[0] == 503
    assert answer[2]["content-type"] == content_type
    assert 1 <= int(answer[2]["retry-after"]) <= 3
    status = refused(answer)
    assert status.code == 14
    assert retry_delay_s(status) == int(answer[2]["retry-after"])


def test_o26_grpc_answers_unavailable_with_retry_info_in_both_trailers(full: InsideDoor, channel: grpc.Channel) -> None:
    metadata = (("authorization", f"Bearer {full.key}"),)
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(TRACES)(body_of(1, BIG), metadata=metadata, timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    found = dict(caught.value.trailing_metadata())
    own = RetryInfo.FromString(found["google.rpc.retryinfo-bin"]).retry_delay.seconds
    assert 1 <= own <= 3
    assert retry_delay_s(Status.FromString(found["grpc-status-details-bin"])) == own


PRIORITY = {
    "error": fresh(1, BIG, status=SpanStatus(code=SpanStatus.STATUS_CODE_ERROR)),
    "guardrail": fresh(1, BIG, name="guardrail check"),
    "openinference guardrail": fresh(1, BIG | {"openinference.span.kind": "GUARDRAIL"}),
    "openinference evaluator": fresh(1, BIG | {"openinference.span.kind": "EVALUATOR"}),
    "langfuse guardrail": fresh(1, BIG | {"langfuse.observation.type": "guardrail"}),
    "bedrock guardrail": fresh(1, BIG | {"aws.bedrock.guardrail.id": "g1"}),
    "evaluation": fresh(1, BIG | {"gen_ai.evaluation.name": "tone"}),
    "evaluation event": fresh(1, BIG, events=[Span.Event(name="gen_ai.evaluation.result")]),
}


@pytest.mark.parametrize("kind", PRIORITY)
def test_o26_error_guardrail_and_evaluation_spans_are_never_shed(full: InsideDoor, kind: str) -> None:
    assert post(full, traces(*PRIORITY[kind]).SerializeToString())[0] == 200


def test_o26_no_tenant_alone_fills_the_backlog(tmp_path: Path) -> None:
    inside = Inside(tmp_path, backlog_bytes=100_000)
    inside.recover()
    inside.control.ensure_tenant(tenant_id("quiet"))
    other_key = inside.control.create_key(tenant_id("quiet"), Role.INGEST, "test")[1]
    with InsideDoor(inside) as door:
        answers = [post(door, body_of(1, {"text": "x" * 8_000}))[0] for _ in range(13)]
        assert answers == sorted(answers), "once refused, always refused: nothing is stored meanwhile"
        assert 80_000 < answers.count(200) * 8_000 < 90_000
        own_key, door.key = door.key, other_key
        assert post(door, body_of(1, {"text": "x" * 8_000}))[0] == 200
        door.key = own_key
        assert post(door, body_of())[0] == 503
    inside.release()


def test_o26_one_such_span_carries_its_siblings(full: InsideDoor) -> None:
    mixed = [*fresh(3, BIG), *PRIORITY["error"]]
    assert post(full, traces(*mixed).SerializeToString())[0] == 200


def test_o26_evaluation_results_in_logs_are_never_shed(full: InsideDoor, channel: grpc.Channel) -> None:
    attributes = {"gen_ai.evaluation.name": "tone", "gen_ai.evaluation.explanation": "x" * (ROOM + 1)}
    body = logs(log_record("gen_ai.evaluation.result", attributes | {"gen_ai.evaluation.score.value": 1.0}))
    answer = channel.unary_unary(LOGS)(body, metadata=(("authorization", f"Bearer {full.key}"),), timeout=20)
    assert answer == b"", "a full success"


def test_o57_a_retry_after_a_restart_is_stored_once(collector: Collector) -> None:
    key = collector.key_of("again")
    body, late = body_of(2), body_of(2)
    collector.drained()
    assert collector.post(body, key=key)[0] == 200
    collector.drained()
    assert collector.post(late, key=key)[0] == 200
    collector.kill()
    collector.start()
    for each in (body, late, body):
        assert collector.post(each, key=key)[0] == 200
    assert counts(collector, "again") == Counts(received=10, stored=4, duplicate=6)
    assert set(collector.stored(tenant="again")["span_id"]) == ids_of(body) | ids_of(late)


# -- in this process, where faults can be made -------------------------------------------------------------------------


def post(
    door: InsideDoor, body: bytes, content_type: str = "application/x-protobuf"
) -> tuple[int, bytes, dict[str, str]]:
    """One request over a connection of its own."""
    with Wire(door.port) as wire:
        wire.send(request_bytes(body, door.key, content_type=content_type))
        return wire.answer()


def test_o28_a_key_store_that_is_away_is_503_and_comes_back(tmp_path: Path) -> None:
    inside = Inside(tmp_path)
    inside.recover()
    away = True

    def find_key(key_id: KeyId) -> KeyRecord | None:
        if away:
            raise StorageFailed("the control database does not answer")
        return inside.control.find_key(key_id)

    with InsideDoor(inside, find_key) as door:
        answer = post(door, body_of())
        assert answer[0] == 503
        assert int(answer[2]["retry-after"]) <= 3
        assert refused(answer).code == 14
        with grpc.insecure_channel(f"127.0.0.1:{inside.settings.grpc_port}") as channel:
            call = channel.unary_unary(TRACES).future(body_of(), metadata=(("authorization", f"Bearer {door.key}"),))
            assert call.code() is grpc.StatusCode.UNAVAILABLE
            assert RetryInfo.FromString(dict(call.trailing_metadata())["google.rpc.retryinfo-bin"])
        away = False
        assert post(door, body_of())[0] == 200
    inside.release()
    again = Inside(tmp_path)
    again.recover()
    assert again.stored().height == 1
    again.release()


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_o24_a_failing_disk_is_503_never_an_acknowledgement_and_recovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    inside = Inside(tmp_path)
    inside.recover()
    with InsideDoor(inside) as door:
        with monkeypatch.context() as patch:
            patch.setattr(os, "writev", _fails_with(number))
            answer = post(door, body_of())
            assert answer[0] == 503
            assert "nothing was kept" in refused(answer).message
            assert answer[2]["retry-after"]
        assert post(door, body_of())[0] == 200
    assert len(inside.in_journal()) == 0, "replay reads what was there at the start"
    inside.release()
    again = Inside(tmp_path)
    assert again.recover() > 0
    assert again.stored().height == 1
    again.release()


def _fails_with(number: int) -> object:
    def fails(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    return fails


def test_o26_a_disk_that_is_nearly_full_is_503_also_for_priority(tmp_path: Path) -> None:
    inside = Inside(tmp_path, min_free_bytes=1 << 60)
    inside.recover()
    with InsideDoor(inside) as door:
        for spans in (fresh(1), PRIORITY["error"]):
            answer = post(door, traces(*spans).SerializeToString())
            assert answer[0] == 503
            assert "disk" in refused(answer).message
    inside.release()


@contextmanager
def stalled_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """fdatasync does not return until the event is set; it is at the end."""
    goes_on, real = threading.Event(), os.fdatasync

    def waits(descriptor: int) -> None:
        assert goes_on.wait(60)
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", waits)
        patch.setattr(intake, "DISK_PATIENCE_S", 0.2)
        try:
            yield goes_on
        finally:
            goes_on.set()


def test_o26_a_disk_that_does_not_answer_is_503_and_what_is_sent_again_is_stored_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = Inside(tmp_path)
    inside.recover()
    first, second = body_of(), body_of()
    with InsideDoor(inside) as door, grpc.insecure_channel(f"127.0.0.1:{inside.settings.grpc_port}") as channel:
        with stalled_disk(monkeypatch):
            for body in (first, second):  # one is being written, one waits
                answer = post(door, body)
                assert (answer[0], answer[2]["retry-after"]) == (503, "2")
                assert "the disk has not answered" in refused(answer).message
            call = channel.unary_unary(TRACES).future(second, metadata=(("authorization", f"Bearer {door.key}"),))
            assert call.code() is grpc.StatusCode.UNAVAILABLE
        for body in (first, second):
            assert post(door, body)[0] == 200
    inside.release()
    again = Inside(tmp_path)
    again.recover()
    assert set(again.stored()["span_id"]) == ids_of(first) | ids_of(second)
    assert again.stored().height == 2
    assert again.counts() == Counts(received=3, stored=2, duplicate=1)
    again.release()


def test_o26_what_waits_for_a_disk_that_does_not_answer_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MOST_WAITING", 10_000)
    inside = Inside(tmp_path)
    inside.recover()
    with InsideDoor(inside) as door:
        with stalled_disk(monkeypatch):
            for _ in range(4):
                assert post(door, body_of(1, {"text": "x" * 8_000}))[0] == 503
            answer = post(door, body_of())
            assert answer[0] == 503
            assert "wait for the disk" in refused(answer).message
        wait_until(lambda: post(door, body_of())[0] == 200, 60, "what waited to be written")
    inside.release()


def test_o24_an_unforeseen_fault_is_503_never_500(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = Inside(tmp_path)
    inside.recover()
    monkeypatch.setattr(inside.committer, "check_room", _fault)
    with InsideDoor(inside) as door:
        answer = post(door, body_of())
        assert answer[0] == 503
        assert "RuntimeError" in refused(answer).message
        assert "secret detail" not in refused(answer).message
    inside.release()


def _fault(*_: object, **__: object) -> None:
    raise RuntimeError("secret detail")


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[InsideDoor]:
    """Doors that wait a fifth of a second for anything."""
    inside = Inside(tmp_path, header_timeout_s=0.2, body_timeout_s=0.2, idle_timeout_s=0.2)
    inside.recover()
    with InsideDoor(inside) as door:
        yield door
    inside.release()


@pytest.mark.parametrize("content_type", ["application/x-protobuf", JSON])
def test_o14_a_slow_body_is_answered_408_and_closed(impatient: InsideDoor, content_type: str) -> None:
    whole = request_bytes(body_of(), impatient.key, content_type=content_type)
    with Wire(impatient.port) as wire:
        wire.send(whole[:-1])
        answer = wire.answer()
        assert answer[0] == 408
        assert answer[2]["content-type"] == content_type
        assert answer[2]["connection"] == "close"
        assert "retry-after" not in answer[2]
        assert "body did not arrive in time" in refused(answer).message
        assert wire.closed()


def test_o14_a_slow_head_is_answered_408_and_closed(impatient: InsideDoor) -> None:
    with Wire(impatient.port) as wire:
        wire.send(b"POST /v1/traces HTTP/1.1\r\nhost")
        answer = wire.answer()
        assert answer[0] == 408
        assert "head did not arrive in time" in refused(answer).message
        assert wire.closed()


def test_o14_a_slow_request_behind_a_good_one_spoils_nothing(impatient: InsideDoor) -> None:
    whole = request_bytes(body_of(), impatient.key)
    with Wire(impatient.port) as wire:
        wire.send(whole + whole[:-1])
        assert wire.answer()[0] == 200
        assert wire.answer()[0] == 408
        assert wire.closed()


def test_o14_idle_connections_are_closed_without_a_word(impatient: InsideDoor) -> None:
    with Wire(impatient.port) as wire:
        assert wire.closed()
    with Wire(impatient.port) as wire:
        wire.send(request_bytes(body_of(), impatient.key))
        assert wire.answer()[0] == 200
        assert wire.closed()


def test_o14_who_asks_and_never_reads_the_answers_is_dropped(impatient: InsideDoor) -> None:
    """Answers are not piled up in memory: reading stops, and the connection ends."""
    question = request_bytes(b"", impatient.key, path="/nowhere/" + "x" * 4_000)
    with Wire(impatient.port) as wire, pytest.raises((BrokenPipeError, ConnectionResetError)):
        wire.send(*[question] * 100_000)


def test_o29_who_hangs_up_after_sending_is_kept_all_the_same(tmp_path: Path) -> None:
    inside = Inside(tmp_path)
    inside.recover()
    with InsideDoor(inside) as door:
        with Wire(door.port) as wire:
            wire.send(request_bytes(body_of(), door.key))
        assert post(door, body_of())[0] == 200
    inside.release()
    again = Inside(tmp_path)
    again.recover()
    assert again.stored().height == 2
    again.release()
