"""A crash between any two commits of a batch: the next life completes it, exactly once, and the ledger balances."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from collector.batch import Rows
from collector.committer import ORDER
from collector.kinds import EntryKind
from core.errors import StorageFailed
from core.records import Counts
from store.control.control import Control
from store.derive import DERIVED
from store.lake import Lake
from tests.collector.inside import Inside
from tests.collector.otlp import json_span, json_traces, key_values, log_record, logs, span, traces
from tests.first_start import begun


class CrashingLake(Lake):
    """A lake whose process dies before its n-th commit."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.left = 1_000_000

    def append(self, table: str, rows: pa.Table, *, txn: tuple[str, int] | None = None) -> int:
        """Stores, or dies."""
        if self.left == 0:
            raise Died(table)
        self.left -= 1
        return super().append(table, rows, txn=txn)


class Died(BaseException):
    """Stands for SIGKILL: no `except Exception` sees it."""


CALL = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 7}


def requests() -> list[tuple[bytes, EntryKind]]:
    """Requests that give every table rows: spans (one with an evaluation), a bad one, logs of both kinds, JSON."""
    trace = secrets.token_bytes(16)

    def one(attributes: dict[str, Any], **fields: Any) -> Span:
        return span(attributes, **({"trace_id": trace, "span_id": secrets.token_bytes(8)} | fields))

    result = {"gen_ai.evaluation.name": "tone", "gen_ai.evaluation.score.value": 0.5}
    event = Span.Event(name="gen_ai.evaluation.result", time_unix_nano=1, attributes=key_values(result))
    first = traces(one({"session.id": "s"}), one(CALL, events=[event]), one({}, span_id=b"bad"))
    second = json_traces(json_span(traceId=trace.hex(), spanId=secrets.token_hex(8)), json_span(traceId="bad"))
    third = logs(
        log_record("gen_ai.evaluation.result", result), log_record("gen_ai.choice", {"x": "y"}), log_record("z")
    )
    return [
        (first.SerializeToString(), EntryKind.SPANS_PROTOBUF),
        (second, EntryKind.SPANS_JSON),
        (third, EntryKind.LOGS_PROTOBUF),
        (third, EntryKind.LOGS_PROTOBUF),
        (first.SerializeToString(), EntryKind.SPANS_PROTOBUF),
    ]


SPANS = Counts(received=8, stored=3, duplicate=2, quarantined=3)
LOG_RECORDS = Counts(received=6, stored=2, duplicate=2, rejected=2)


def check(life: Inside) -> None:
    """Everything of `requests` is there, once."""
    assert life.stored("spans").height == 3
    assert life.stored("spans")["span_id"].n_unique() == 3
    assert life.stored("quarantine").height >= 2
    assert life.stored("scores").height == 2, "one of a span event, one of a log record"
    assert life.stored("events").height == 1
    assert life.stored("turns")["n_spans"].sum() == 3
    assert life.stored("turns")["input_tokens"].sum() == 7
    assert life.stored("sessions")["n_spans"].sum() == 1
    assert life.stored("rollups").filter(level="LLM")["n"].sum() == 1
    spans = life.counts("spans")
    assert (spans.received, spans.stored, spans.quarantined) == (8, 3, 3)
    assert spans == SPANS
    assert life.counts("log_records") == LOG_RECORDS


def first_life(data: Path, lake: CrashingLake | None = None) -> tuple[Inside, Rows, int]:
    """Everything acknowledged, nothing stored."""
    life = Inside(data, lake)
    life.recover()
    items = [life.keep(body, kind) for body, kind in requests()]
    rows = life.committer.prepared(items)
    return life, rows, len(items)


def test_acknowledged_and_never_committed(tmp_path: Path) -> None:
    first_life(tmp_path)[0].release()
    life = Inside(tmp_path)
    assert life.recover() == 5
    check(life)
    life.release()


@pytest.mark.parametrize("n_commits", range(len(ORDER) + 1))
def test_a_crash_between_any_two_commits(tmp_path: Path, n_commits: int) -> None:
    lake = CrashingLake(begun(tmp_path) / "lake")
    life, rows, last = first_life(tmp_path, lake)
    lake.left = n_commits
    if n_commits < len(ORDER):
        with pytest.raises(Died):
            life.committer.commit(rows, last)
    else:
        life.committer.commit(rows, last)
    life.release()
    for _ in range(2):
        again = Inside(tmp_path)
        assert again.recover() == last
        check(again)
        again.release()


def test_spans_without_a_session_leave_no_table_behind(tmp_path: Path) -> None:
    life = Inside(tmp_path)
    life.recover()
    body = traces(span(CALL, trace_id=secrets.token_bytes(16), span_id=secrets.token_bytes(8))).SerializeToString()
    life.committer.commit(life.committer.prepared([life.keep(body)]), 1)
    reached = {table: life.lake.txn_version(table, life.committer.app_id) for table in DERIVED}
    assert reached == {"turns": 1, "sessions": 1, "rollups": 1}, "a start would read all these spans again"
    life.release()


def test_a_gap_in_a_derived_table_is_closed_at_the_next_start(tmp_path: Path) -> None:
    life = first_life(tmp_path)[0]
    log = tmp_path / "lake" / "rollups" / "_delta_log" / f"{0:020}.json"
    sound = log.read_bytes()
    life.release()
    log.write_bytes(b"{")
    damaged = Inside(tmp_path)
    damaged.recover()
    assert damaged.stored("turns")["n_spans"].sum() == 3, "the other tables do not wait for the damaged one"
    damaged.release()
    log.write_bytes(sound)
    again = Inside(tmp_path)
    again.recover()
    check(again)
    again.release()


def test_a_crash_between_the_lake_and_the_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    life, rows, last = first_life(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Control, "settle", _dies)
        with pytest.raises(Died):
            life.committer.commit(rows, last)
    life.release()
    again = Inside(tmp_path)
    again.recover()
    check(again)
    again.release()


def _dies(*_: object) -> None:
    raise Died


@pytest.mark.parametrize("n_commits", range(len(ORDER) + 1))
def test_a_crash_during_recovery(tmp_path: Path, n_commits: int) -> None:
    first_life(tmp_path)[0].release()
    lake = CrashingLake(begun(tmp_path) / "lake")
    lake.left = n_commits
    second = Inside(tmp_path, lake)
    if n_commits < len(ORDER):
        with pytest.raises(Died):
            second.recover()
    else:
        second.recover()
    second.release()
    third = Inside(tmp_path)
    third.recover()
    check(third)
    third.release()


def test_more_arrives_after_the_crash_in_the_same_batch(tmp_path: Path) -> None:
    """The tables before `spans` have the first batch already; the second recovery batch overlaps it."""
    lake = CrashingLake(begun(tmp_path) / "lake")
    life, rows, last = first_life(tmp_path, lake)
    lake.left = 3
    with pytest.raises(Died):
        life.committer.commit(rows, last)
    life.keep(logs(log_record("gen_ai.choice", {"later": "yes"})), EntryKind.LOGS_PROTOBUF)
    life.release()
    again = Inside(tmp_path)
    assert again.recover() == 6
    assert again.stored("events").height == 2
    assert again.stored("scores").height == 2
    assert again.counts("spans") == SPANS
    assert again.counts("log_records") == LOG_RECORDS + Counts(received=1, stored=1)
    again.release()


def test_a_damaged_segment_loses_only_its_own(tmp_path: Path) -> None:
    life = first_life(tmp_path)[0]
    life.release()
    [segment] = (tmp_path / "journal").glob("*.seg")
    raw = bytearray(segment.read_bytes())
    raw[40] ^= 1
    segment.write_bytes(raw)
    again = Inside(tmp_path)
    assert again.recover() == 5
    assert again.stored("spans").height == 3, "the last request repeats the first one's spans"
    assert again.counts("spans").received == 5
    assert segment.exists()
    again.release()


# -- the committer's own faults ----------------------------------------------------------------------------------------


class RelentingLake(Lake):
    """A lake whose disk refuses some commits before it relents."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.refuses: dict[str, int] = {}
        self.after = False

    def append(self, table: str, rows: pa.Table, *, txn: tuple[str, int] | None = None) -> int:
        """Stores, or refuses: before anything was written, or (`after`) when only the answer was lost."""
        if self.refuses.get(table, 0):
            self.refuses[table] -= 1
            if self.after:
                super().append(table, rows, txn=txn)
            raise StorageFailed(f"{table}: no space left on device")
        return super().append(table, rows, txn=txn)


@pytest.mark.parametrize("table", ORDER)
@pytest.mark.parametrize("after", [False, True])
def test_a_disk_that_refuses_and_relents_loses_and_doubles_nothing(tmp_path: Path, table: str, after: bool) -> None:
    lake = RelentingLake(begun(tmp_path) / "lake")
    life = Inside(tmp_path, lake)
    life.recover()
    items = [life.keep(body, kind) for body, kind in requests()]
    lake.refuses, lake.after = {table: 1 if after else 2}, after
    rows = life.committer.prepared(items)
    for _ in range(3):
        try:
            life.committer.commit(rows, len(items))
            break
        except StorageFailed:
            continue
    check(life)
    life.release()
