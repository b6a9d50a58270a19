"""What no row can be made of, for a reason nobody foresaw, is set aside alone: its siblings are stored."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pyarrow as pa
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span, Status

from collector.batch import Item, Workshop, rows_of
from collector.kinds import EntryKind, Signal
from collector.mask import ColumnRedactor
from collector.redact import Redactor
from collector.rejected import MAX_PAYLOAD, MOST_ALONE
from core.errors import StorageFailed
from core.records import Counts, PiiPolicy
from tests.collector.doors import body_of, fresh, json_body_of
from tests.collector.inside import TENANT, Inside, InsideDoor
from tests.collector.otlp import json_span, json_traces, key_values, log_record, logs, span, traces
from tests.collector.test_doors_pressure import post
from tests.waiting import wait_until

POISON = "a text that our own code trips over"


class Brittle:
    """A redactor with a fault of ours: it breaks on one text."""

    def __init__(self, fault: Exception) -> None:
        self._fault = fault

    def column(
        self, values: pa.Array | pa.ChunkedArray, *, identifier: bool = False
    ) -> tuple[pa.Array | pa.ChunkedArray, int]:
        """The column as it is."""
        if POISON in str(values.to_pylist()):
            raise self._fault
        return values, 0

    @property
    def sparing_ips(self) -> Brittle:
        """The same."""
        return self


def brittle(fault: Exception) -> Workshop:
    """A workshop with that redactor."""
    redactor: ColumnRedactor = Brittle(fault)
    return Workshop(redactor=lambda _: redactor, seal=lambda _, raw: raw)


def item(seq: int, body: bytes, kind: EntryKind = EntryKind.SPANS_PROTOBUF) -> Item:
    """One acknowledged request."""
    return Item(seq=seq, kind=kind, tenant=TENANT, received_at_us=1_790_000_000_000_000, body=body)


def test_one_span_is_set_aside_and_its_siblings_are_stored() -> None:
    good = fresh(6)
    bad = fresh(1, name=POISON)
    items = [
        item(1, traces(*good[:2]).SerializeToString()),
        item(2, traces(good[2], *bad, good[3]).SerializeToString()),
        item(3, json_body_of(1), EntryKind.SPANS_JSON),
        item(4, traces(*good[4:]).SerializeToString()),
    ]
    rows = rows_of(items, brittle(ValueError("unforeseen")))
    spans, quarantine = rows.table("spans"), rows.table("quarantine").to_pylist()
    assert {each.span_id.hex() for each in good} < set(spans.column("span_id").to_pylist())
    assert sorted(spans.column("seq").to_pylist()) == [1, 1, 2, 2, 3, 4, 4]
    assert [(row["seq"], row["reason"]) for row in quarantine] == [(2, "not_understood")]
    assert bad[0].SerializeToString() in quarantine[0]["payload"]
    assert rows.counts[TENANT, str(Signal.SPANS)] == Counts(received=8, quarantined=1)


def test_a_log_request_is_set_aside() -> None:
    items = [
        item(n, logs(log_record("gen_ai.choice", {"x": text})), EntryKind.LOGS_PROTOBUF)
        for n, text in enumerate(("good", POISON, "fine"), 1)
    ]
    rows = rows_of(items, brittle(KeyError("unforeseen")))
    assert rows.table("events").column("seq").to_pylist() == [1, 3]
    assert rows.table("quarantine").column("seq").to_pylist() == [2]
    assert rows.counts[TENANT, str(Signal.LOG_RECORDS)] == Counts(received=3, stored=2, quarantined=1)


def test_a_failing_store_is_nobodys_fault() -> None:
    with pytest.raises(StorageFailed):
        rows_of([item(1, traces(*fresh(2, name=POISON)).SerializeToString())], brittle(StorageFailed("busy")))


def test_an_entry_that_cannot_be_read_back_does_not_hold_up_the_rest(tmp_path: Path) -> None:
    life = Inside(tmp_path, memory_bytes=0, linger_s=0.05)
    life.recover()
    with InsideDoor(life) as door:
        assert post(door, body_of())[0] == 200
        [segment] = (tmp_path / "journal").glob("*.seg")
        raw = bytearray(segment.read_bytes())
        raw[-1] ^= 1
        segment.write_bytes(raw)
        assert post(door, body_of())[0] == 200
        life.committer.start()
        wait_until(lambda: life.committer.backlog["committed"] == 2, 60, "the sound entry to be stored")
    assert life.committer.stop(10)
    assert life.stored().height == 1
    life.release()


def test_o20_many_rejected_spans_of_one_request_share_quarantine_rows_and_lose_no_byte() -> None:
    n = MOST_ALONE + 5_000
    bad = [span(trace_id=b"", name=f"n{i}", status=Status(message="x" * 400)) for i in range(n)]
    found = rows_of([item(1, traces(*fresh(1), *bad).SerializeToString())], brittle(ValueError("never")))
    rows = found.table("quarantine").to_pylist()
    assert MOST_ALONE < len(rows) < MOST_ALONE + 10
    assert found.counts[TENANT, str(Signal.SPANS)] == Counts(received=n + 1, quarantined=n)
    kept = [Span.FromString(row["payload"]).name for row in rows[:MOST_ALONE]]
    for row in rows[MOST_ALONE:]:
        assert len(row["payload"]) <= MAX_PAYLOAD
        kept += [each.name for each in ScopeSpans.FromString(row["payload"]).spans]
    assert kept == [f"n{i}" for i in range(n)]


def test_o20_many_rejected_json_spans_share_rows_as_json_lines() -> None:
    n = MOST_ALONE + 50
    body = json_traces(*[json_span(spanId="zz", name=f"n{i}") for i in range(n)])
    found = rows_of([item(1, body, EntryKind.SPANS_JSON)], brittle(ValueError("never")))
    rows = found.table("quarantine").to_pylist()
    assert len(rows) == MOST_ALONE + 1
    assert [json.loads(line)["name"] for line in rows[-1]["payload"].splitlines()] == [
        f"n{MOST_ALONE + i}" for i in range(50)
    ]
    assert "50 more items" in rows[-1]["detail"]


def test_no_secret_that_its_key_names_is_in_any_column_of_any_table() -> None:
    named = {
        "db.password": "S3cr3t!pass99",
        "http.request.header.x-api-key": ["a8F3kL9mQ2xT7vB1"],
        "user.phone_number": 4155552671,
        "password": b"Tr0ub4dor&3",
    }
    canaries = (
        "S3cr3t!pass99",
        "a8F3kL9mQ2xT7vB1",
        "4155552671",
        "Tr0ub4dor&3",
        base64.b64encode(b"Tr0ub4dor&3").decode(),
    )
    one = span(named)
    for holder in (one.events.add(name="e"), one.links.add(trace_id=bytes(range(16)), span_id=bytes(range(8)))):
        holder.attributes.extend(key_values({k: v for k, v in named.items() if not isinstance(v, bytes)}))
    body = traces(one, resource={"service.name": "shop", "db.password": "S3cr3t!pass99"}).SerializeToString()
    redactor: ColumnRedactor = Redactor(PiiPolicy(), b"key")
    rows = rows_of([item(1, body)], Workshop(redactor=lambda _: redactor, seal=lambda _, raw: raw))
    [row] = rows.table("spans").to_pylist()
    assert [dict(row["attributes"])[key] for key in named] == ["[SECRET]", '["[SECRET]"]', "[PHONE]", "W1NFQ1JFVF0="]
    for tables in rows.tables.values():
        assert not [canary for canary in canaries if canary in str([table.to_pylist() for table in tables])]
