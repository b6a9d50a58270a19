"""The same score or event is stored once, however it is sent again; nothing new is taken for a duplicate."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from collector.kinds import EntryKind
from core.records import Counts
from store.control.control import Control
from store.lake import Lake
from tests.collector.alone import Collector
from tests.collector.inside import Inside
from tests.collector.otlp import START_NS, key_values, log_record, logs, span, traces
from tests.collector.test_recovery import Died, _dies

RESULT = "gen_ai.evaluation.result"
CHOICE = "gen_ai.choice"
DETAILS = "gen_ai.client.inference.operation.details"


def evaluation(name: str, value: float = 0.5, **fields: Any) -> Any:
    return log_record(RESULT, {"gen_ai.evaluation.name": name, "gen_ai.evaluation.score.value": value}, **fields)


def stored(life: Inside, *bodies: bytes, kind: EntryKind = EntryKind.LOGS_PROTOBUF) -> None:
    """One batch of these requests, committed."""
    items = [life.keep(body, kind) for body in bodies]
    life.committer.commit(life.committer.prepared(items), items[-1].seq & (1 << 48) - 1)


@pytest.fixture
def life(tmp_path: Path) -> Any:
    found = Inside(tmp_path)
    found.recover()
    yield found
    found.release()


def test_o57_a_client_that_sends_its_log_records_again_stores_them_once(tmp_path: Path) -> None:
    now = time.time_ns()
    body = logs(evaluation("q", time_unix_nano=now), log_record(DETAILS, {"gen_ai.a": "b"}, time_unix_nano=now))
    collector = Collector(tmp_path)
    with collector:
        for _ in range(3):
            assert collector.post(body, "/v1/logs")[0] == 200
        collector.drained()
        collector.kill()
        collector.start()
        assert collector.post(body, "/v1/logs")[0] == 200
        assert collector.post(logs(evaluation("q", time_unix_nano=now), evaluation("r")), "/v1/logs")[0] == 200
        collector.drained()
        collector.stop()
        counts = collector.ledger()["log_records"].counts
    assert collector.stored("scores")["evaluator"].sort().to_list() == ["q", "r"]
    assert collector.stored("events").height == 1
    assert counts == Counts(received=10, stored=3, duplicate=7)


def test_what_differs_in_anything_is_kept(life: Inside) -> None:
    at = START_NS
    events = [
        log_record(CHOICE, {"a": "1"}, body="x"),
        log_record(CHOICE, {"a": "1"}, body="y"),
        log_record(CHOICE, {"a": "2"}, body="x"),
        log_record(CHOICE, {"a": "1"}, body="x", time_unix_nano=at + 1),
        log_record(CHOICE, {"a": "1"}, body="x", span_id=b"8 bytes!"),
        log_record("gen_ai.user.message", {"a": "1"}, body="x"),
    ]
    scores = [
        evaluation("q"),
        evaluation("q", 0.75),
        evaluation("q", time_unix_nano=at + 1),
        evaluation("q", span_id=b"8 bytes!"),
    ]
    body = logs(*events, *scores)
    for _ in range(2):
        stored(life, body, body)
    stored(life, logs(events[0], resource={"service.name": "another"}))
    assert life.stored("events").height == len(events) + 1
    assert life.stored("scores").height == len(scores)
    assert life.counts("log_records") == Counts(received=41, stored=11, duplicate=30)


def test_the_resource_tells_two_evaluations_without_a_trace_apart(life: Inside) -> None:
    record = log_record(RESULT, {"gen_ai.evaluation.name": "q"}, trace_id=b"", span_id=b"")
    for session in ("s1", "s2"):
        body = logs(record, resource={"service.name": "shop", "session.id": session})
        stored(life, body)
        stored(life, body)
    assert life.stored("scores")["session_id"].sort().to_list() == ["s1", "s2"]
    assert life.counts("log_records") == Counts(received=4, stored=2, duplicate=2)


def test_what_has_no_time_of_its_own_is_the_same_when_it_comes_later(life: Inside) -> None:
    body = logs(evaluation("q", time_unix_nano=0), log_record(CHOICE, {"a": "b"}, time_unix_nano=0))
    stored(life, body)
    stored(life, body)
    assert life.counts("log_records") == Counts(received=4, stored=2, duplicate=2)


def test_an_evaluation_inside_a_span_is_stored_once_also_with_another_version_of_the_span(life: Inside) -> None:
    result = {"gen_ai.evaluation.name": "tone", "gen_ai.evaluation.score.value": 0.5}
    event = Span.Event(name=RESULT, time_unix_nano=START_NS, attributes=key_values(result))
    annotated = {"trace.annotations.0.annotation.name": "solved", "trace.annotations.0.annotation.label": "yes"}
    ids = {"trace_id": secrets.token_bytes(16), "span_id": secrets.token_bytes(8)}
    for attributes in ({}, {"a": "b"}, {"a": "b"}):
        body = traces(span(annotated | attributes, events=[event], **ids)).SerializeToString()
        stored(life, body, kind=EntryKind.SPANS_PROTOBUF)
    assert life.stored("spans").height == 2, "two versions"
    scores = life.stored("scores")
    assert scores["evaluator"].sort().to_list() == ["solved", "tone"]
    assert life.counts("spans") == Counts(received=3, stored=2, duplicate=1)
    assert life.counts("log_records") == Counts()


def test_duplicates_that_were_not_counted_before_a_crash_are_counted_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = logs(evaluation("q"), log_record(CHOICE, {"a": "b"}), log_record("z"))
    first = Inside(tmp_path)
    first.recover()
    stored(first, body)
    with monkeypatch.context() as patch:
        patch.setattr(Control, "settle", _dies)
        with pytest.raises(Died):
            stored(first, body, body)
    first.release()
    again = Inside(tmp_path)
    again.recover()
    assert again.counts("log_records") == Counts(received=9, stored=2, duplicate=4, rejected=3)
    assert (again.stored("scores").height, again.stored("events").height) == (1, 1)
    again.release()


def test_a_damaged_file_stops_nothing_and_its_rows_can_be_sent_again(life: Inside) -> None:
    body = logs(evaluation("q"))
    stored(life, body)
    (file,) = Lake(life.data / "lake").snapshot("scores").files
    content = bytearray(Path(file.path).read_bytes())
    content[50] ^= 1
    Path(file.path).write_bytes(content)
    stored(life, body)
    stored(life, body)
    assert life.counts("log_records") == Counts(received=3, stored=2, duplicate=1)
