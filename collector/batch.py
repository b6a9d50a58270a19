"""One batch of acknowledged entries, made into the rows of every table: pure but for time, which is an argument."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import orjson
import pyarrow as pa

from collector.decode import Decoded, decode
from collector.evaluation_events import SpanEvaluation, evaluations_of_annotations
from collector.json_body import Transcode, Transcoded, transcode
from collector.kinds import EntryKind, Signal
from collector.log_events import decode_logs, scores_of_span_events
from collector.mask import ColumnRedactor, masked
from collector.refused_spans import Refused
from collector.rejected import MAX_PAYLOAD, Rejection, folded, shared
from collector.repair import one_span_request, repaired_request
from collector.scan import REFUSAL_TEXT, Col, Refusal, Scan, scan
from core.errors import AssayError, StorageFailed
from core.ids import TenantId
from core.records import Counts
from core.windows import day_of
from store import schema

POSITION_BITS: Final = 48
_SAID: Final = {refusal: (refusal.name.lower(), text) for refusal, text in REFUSAL_TEXT.items()}
CHUNK_BYTES: Final = 6 << 20
_LOG: Final = logging.getLogger("assay.batch")
EVALUATION: Final = "gen_ai.evaluation.result"


def seq_of(journal: int, position: int) -> int:
    """The `seq` column of an entry's rows."""
    return journal << POSITION_BITS | position


@dataclass(frozen=True, kw_only=True)
class Item:
    """One entry to store: its seq, kind, tenant, arrival (µs) and bytes."""

    seq: int
    kind: EntryKind
    tenant: TenantId
    received_at_us: int
    body: bytes
    scan: Scan | None = None  # of the body (of `transcoded` where that is set), when the door kept it
    transcoded: Transcoded | None = None


@dataclass(kw_only=True)
class Rows:
    """Rows by table, and what became of the items of each (tenant, signal)."""

    tables: dict[str, list[pa.Table]] = field(default_factory=dict)
    counts: dict[tuple[TenantId, str], Counts] = field(default_factory=dict)

    def add(self, table: str, rows: pa.Table) -> None:
        """Adds rows of a table, if there are any."""
        if rows.num_rows:
            self.tables.setdefault(table, []).append(rows)

    def add_all(self, other: Rows) -> None:
        """Adds everything of another."""
        for name, tables in other.tables.items():
            self.tables.setdefault(name, []).extend(tables)
        for key, counts in other.counts.items():
            self.counts[key] = self.counts.get(key, Counts()) + counts

    def count(self, tenant: TenantId, signal: Signal, counts: Counts) -> None:
        """Adds to what became of a tenant's items."""
        key = (tenant, str(signal))
        self.counts[key] = self.counts.get(key, Counts()) + counts

    def table(self, name: str) -> pa.Table:
        """All rows of one table."""
        return (
            pa.concat_tables(self.tables.get(name, [])) if self.tables.get(name) else schema.TABLES[name].empty_table()
        )


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """What making rows needs from outside: a tenant's redactor and the seal of its quarantine."""

    redactor: Callable[[TenantId], ColumnRedactor]
    seal: Callable[[TenantId, bytes], bytes]
    spread: Callable[[Callable[[list[Item]], Rows], Iterable[list[Item]]], Iterable[Rows]] = map  # chunks to threads
    transcode: Transcode = transcode


def rows_of(items: Sequence[Item], workshop: Workshop) -> Rows:
    """The rows of a batch before deduplication. `counts` leaves `stored` of spans to the caller, and takes log records
    for stored that may turn out to be duplicates."""
    rows = Rows()
    for tenant in dict.fromkeys(item.tenant for item in items):
        own = [item for item in items if item.tenant == tenant]
        spans = [i for i in own if i.kind in (EntryKind.SPANS_PROTOBUF, EntryKind.SPANS_JSON)]
        logs = [i for i in own if i.kind in (EntryKind.LOGS_PROTOBUF, EntryKind.LOGS_JSON)]
        redactor = workshop.redactor(tenant)
        if spans:
            _add_spans(rows, tenant, spans, redactor, workshop)
        for item in logs:
            rows.add_all(_log_rows(item, redactor, workshop))
    return rows


def _add_spans(rows: Rows, tenant: TenantId, items: Sequence[Item], redactor: ColumnRedactor, shop: Workshop) -> None:
    ready = []
    for item in items:
        if item.kind is EntryKind.SPANS_JSON:
            found = item.transcoded or shop.transcode(item.body, Signal.SPANS)
            n = found.n_rejected
            rows.add("quarantine", _quarantine(tenant, item, Signal.SPANS, found.rejected, shop))
            rows.count(tenant, Signal.SPANS, Counts(received=n, quarantined=n))
            item = replace(item, body=found.protobuf)
        ready.append(item)
    at_us = items[-1].received_at_us
    for part in shop.spread(lambda chunk: _chunk_safely(tenant, chunk, at_us, redactor, shop), _chunks(ready)):
        rows.add_all(part)


def _chunks(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Items in runs of about CHUNK_BYTES, which bound what decoding needs at once."""
    chunk: list[Item] = []
    size = 0
    for item in items:
        if chunk and size + len(item.body) > CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(item)
        size += len(item.body)
    if chunk:
        yield chunk


def _chunk_safely(
    tenant: TenantId, items: Sequence[Item], at_us: int, redactor: ColumnRedactor, shop: Workshop
) -> Rows:
    """`_chunk_rows`, and where it fails against all expectation, by halves down to the one item, then the one span,
    that is to blame. Raises StorageFailed: that is no fault of the items and goes by."""
    try:
        return _chunk_rows(tenant, items, at_us, redactor, shop)
    except (StorageFailed, MemoryError):
        raise
    except Exception as error:  # whatever it is, it must not take a sibling along
        half = len(items) // 2
        parts = [items[:half], items[half:]] if half else [[single] for single in _single_spans(items[0])]
        if len(parts) < 2:
            return _set_aside(items[0], Signal.SPANS, error, shop)
    rows = Rows()
    for part in parts:
        rows.add_all(_chunk_safely(tenant, part, at_us, redactor, shop))
    return rows


def _single_spans(item: Item) -> list[Item]:
    """An item with a protobuf body as one item per span."""
    found = scan(item.body)
    singles = []
    for row in found.spans:
        (a, b), (c, d) = found.resources[row[Col.RESOURCE]], found.scopes[row[Col.SCOPE]]
        body = one_span_request(item.body[a:b], item.body[c:d], item.body[row[Col.START] : row[Col.END]])
        singles.append(replace(item, body=body, scan=None))
    return singles


def _set_aside(item: Item, signal: Signal, error: Exception, shop: Workshop) -> Rows:
    """One item, whole, in the quarantine."""
    _LOG.error("rows could not be made of something; it is in the quarantine", exc_info=error)
    detail = f"Assay could make no row of it ({type(error).__name__}); this is a fault of Assay, please report it"
    rejection = Rejection(reason="not_understood", detail=detail, payload=item.body)
    rows = Rows()
    rows.add("quarantine", _quarantine(item.tenant, item, signal, [rejection], shop))
    rows.count(item.tenant, signal, Counts(received=1, quarantined=1))
    return rows


def _log_rows(item: Item, redactor: ColumnRedactor, shop: Workshop) -> Rows:
    rows = Rows()
    try:
        _add_logs(rows, item, redactor, shop)
    except (StorageFailed, MemoryError):
        raise
    except Exception as error:  # as above
        return _set_aside(item, Signal.LOG_RECORDS, error, shop)
    return rows


def _chunk_rows(tenant: TenantId, items: Sequence[Item], at_us: int, redactor: ColumnRedactor, shop: Workshop) -> Rows:
    rows = Rows()
    parts = [(item.seq, item.body) for item in items]
    scans = [item.scan for item in items if item.scan is not None]
    kept = scans if len(scans) == len(items) else None
    decoded = decode_safely(parts, tenant=tenant, ingested_at_us=at_us, scans=kept)
    rejected: dict[int, list[Rejection]] = {}
    for refused in decoded.refused:
        reason, detail = _SAID[refused.refusal]
        alone = Rejection(reason=reason, detail=detail, payload=refused.payload)
        rejection = shared(reason, refused.payload, refused.n_spans) if refused.is_shared else alone
        rejected.setdefault(refused.seq, []).append(rejection)
    for item in items:
        rows.add("quarantine", _quarantine(tenant, item, Signal.SPANS, rejected.pop(item.seq, []), shop))
    clean, _ = masked(decoded.rows, redactor)
    rows.add("spans", clean)
    rows.add("scores", _evaluations(clean.filter(pa.array(decoded.has_evaluation)), tenant, at_us))
    n_refused = sum(refused.n_spans for refused in decoded.refused)
    rows.count(tenant, Signal.SPANS, Counts(received=clean.num_rows + n_refused, quarantined=n_refused))
    return rows


def decode_safely(
    parts: Sequence[tuple[int, bytes]], *, tenant: str, ingested_at_us: int, scans: Sequence[Scan] | None = None
) -> Decoded:
    """`decode`, and where it fails against all expectation, by halves down to the one span that is to blame."""
    try:
        return decode(parts, tenant=tenant, ingested_at_us=ingested_at_us, scans=scans)
    except Exception:  # whatever it is, it must not take a sibling along
        if len(parts) > 1:
            half = len(parts) // 2
            halves = [parts[:half], parts[half:]]
            return _joined([decode_safely(p, tenant=tenant, ingested_at_us=ingested_at_us) for p in halves])
    seq, body = parts[0]
    found = scan(body)
    if found.n_spans == 1:
        row = found.spans[0]
        payload = body[row[Col.START] : row[Col.END]]
        refused = [Refused(seq=seq, refusal=Refusal.MALFORMED_SPAN, payload=payload)]
        return Decoded(rows=schema.SPANS.empty_table(), refused=refused, has_evaluation=np.zeros(0, bool))
    singles = []
    for row in found.spans:
        (a, b), (c, d) = found.resources[row[Col.RESOURCE]], found.scopes[row[Col.SCOPE]]
        single = repaired_request(body[a:b], body[c:d], body[row[Col.START] : row[Col.END]])
        singles.append(decode_safely([(seq, single)], tenant=tenant, ingested_at_us=ingested_at_us))
    return _joined(singles)


def _joined(parts: Sequence[Decoded]) -> Decoded:
    return Decoded(
        rows=pa.concat_tables([part.rows for part in parts]),
        refused=[refused for part in parts for refused in part.refused],
        has_evaluation=np.concatenate([part.has_evaluation for part in parts]),
    )


def _add_logs(rows: Rows, item: Item, redactor: ColumnRedactor, shop: Workshop) -> None:
    body, rejected, n_rejected = item.body, list[Rejection](), 0
    if item.kind is EntryKind.LOGS_JSON:
        found = item.transcoded or shop.transcode(body, Signal.LOG_RECORDS)
        body, rejected, n_rejected = found.protobuf, found.rejected, found.n_rejected
    decoded = decode_logs(body, tenant=item.tenant, seq=item.seq, ingested_at_us=item.received_at_us)
    for name, table in (("scores", decoded.scores), ("events", decoded.events)):
        rows.add(name, masked(table, redactor)[0])
    quarantined = [*rejected, *decoded.quarantined]
    rows.add("quarantine", _quarantine(item.tenant, item, Signal.LOG_RECORDS, quarantined, shop))
    counts = Counts(
        received=decoded.n_records + n_rejected,
        stored=decoded.scores.num_rows + decoded.events.num_rows,
        quarantined=n_rejected + len(decoded.quarantined),
        rejected=decoded.n_rejected,
    )
    rows.count(item.tenant, Signal.LOG_RECORDS, counts)


def _quarantine(
    tenant: TenantId, item: Item, signal: Signal, rejected: Iterable[Rejection], shop: Workshop
) -> pa.Table:
    found = folded(list(rejected))
    if not found:
        return schema.QUARANTINE.empty_table()
    n = len(found)
    rows = pa.table(
        {
            "tenant": [str(tenant)] * n,
            "date": [day_of(item.received_at_us * 1000)] * n,
            "seq": [item.seq] * n,
            "ingested_at": pa.array([item.received_at_us] * n, schema.AT),
            "signal": [str(signal)] * n,
            "reason": [r.reason for r in found],
            "detail": [r.detail for r in found],
            "payload": [shop.seal(tenant, r.payload[:MAX_PAYLOAD]) for r in found],
            "payload_bytes": [len(r.payload) for r in found],
        },
        schema=schema.QUARANTINE,
    )
    return masked(rows, shop.redactor(tenant))[0]  # a detail may quote what was sent


def _evaluations(rows: pa.Table, tenant: TenantId, at_us: int) -> pa.Table:
    """Scores of the evaluation results that came as span events or as annotations among the attributes."""
    found: dict[int, list[SpanEvaluation]] = {}
    columns = ["seq", "trace_id", "span_id", "session_id", "app", "start_ns", "events", "attributes"]
    for row in rows.select(columns).to_pylist():
        results = found.setdefault(row["seq"], [])
        results.extend(
            (row["trace_id"], row["span_id"], row["session_id"], row["app"], event["time_ns"], event["attributes"])
            for event in orjson.loads(row["events"] or "[]")
            if event["name"] == EVALUATION
        )
        results.extend(evaluations_of_annotations(row))
    tables = [
        scores_of_span_events(events, tenant=tenant, seq=seq, ingested_at_us=at_us) for seq, events in found.items()
    ]
    return pa.concat_tables(tables) if tables else schema.SCORES.empty_table()


def n_items(item: Item) -> int:
    """How many items an entry holds, for the ledger; 0 when it can no longer be read."""
    try:
        match item.kind:
            case EntryKind.SPANS_PROTOBUF:
                return scan(item.body).n_spans
            case EntryKind.SPANS_JSON:
                return transcode(item.body, Signal.SPANS).n_items
            case EntryKind.LOGS_PROTOBUF | EntryKind.LOGS_JSON:
                return 0
    except AssayError:
        return 0
