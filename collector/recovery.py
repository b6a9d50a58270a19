"""After a crash: what the journal holds and the lake does not is stored, and the ledger is made to balance.

The lake's application transactions say how far each table came. Entries beyond `spans` are stored as if they had just
arrived; derived tables that stopped before `spans` are completed from the lake's own rows; entries that were stored
but not yet counted are counted from the lake.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from collector.batch import Item, Workshop, n_items, rows_of, seq_of
from collector.committer import Committer
from collector.journal import Entry, Journal
from collector.kinds import EntryKind, Signal
from core.errors import Corrupt
from core.ids import TenantId
from core.records import Counts
from store import schema
from store.control.control import Control
from store.delta_log import LakeFile
from store.derive import COLUMNS, DERIVED, derived
from store.lake import Lake
from store.repair import note_underived

BATCH_BYTES: Final = 8 << 20
_LOG: Final = logging.getLogger("assay.recovery")


def recover(
    *,
    journal: Journal,
    lake: Lake,
    control: Control,
    committer: Committer,
    workshop: Workshop,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Stores everything acknowledged that the lake lacks; returns the last position. `progress` gets positions.

    Memory stays bounded: entries are stored in batches of 8 MiB as they are read.
    """
    done = lake.txn_version("spans", committer.app_id) or 0
    for table in DERIVED:
        try:
            _complete(table, lake, committer.app_id, journal.number, done)
        except Corrupt as error:  # the log of that table; the others go on
            committer.leave(table, error)
    settled = control.settled_upto(journal.number)
    uncounted: list[Item] = []
    batch: list[Item] = []
    last = done
    for entry in journal.replay():
        if isinstance(entry, Corrupt):
            _LOG.error("%s", entry)
            journal.note_damage(str(entry))
            continue
        last = max(last, entry.position)
        item = _item(journal.number, entry)
        if entry.position > done:
            batch.append(item)
        elif entry.position > settled:
            uncounted.append(item)
        if sum(len(i.body) for i in batch) > BATCH_BYTES:
            uncounted = _count(uncounted, journal.number, done, lake, control, workshop)
            _store(batch, journal.number, committer, more=True)
            batch = []
            progress(last)
    _count(uncounted, journal.number, done, lake, control, workshop)
    if batch:
        _store(batch, journal.number, committer)
        progress(last)
    committer.catch_up()
    return last


def _item(number: int, entry: Entry) -> Item:
    return Item(
        seq=seq_of(number, entry.position),
        kind=EntryKind(entry.kind),
        tenant=TenantId(entry.tenant),
        received_at_us=entry.received_at_us,
        body=entry.body,
    )


def _store(batch: list[Item], number: int, committer: Committer, *, more: bool = False) -> None:
    committer.commit(committer.prepared(batch), batch[-1].seq - seq_of(number, 0), more=more)


def _complete(table: str, lake: Lake, app_id: str, number: int, done: int) -> None:
    """Derives what `spans` has and a derived table lacks, file by file, so that memory does not grow with the gap."""
    came = lake.txn_version(table, app_id) or 0
    if came >= done:
        return
    parts = [schema.TABLES[table].empty_table()]
    for file in _files_between(lake, "spans", seq_of(number, came), seq_of(number, done)):
        try:
            rows = _rows(lake, file, seq_of(number, came), seq_of(number, done), COLUMNS)
        except Corrupt as error:
            _LOG.error("the %s of a damaged file are not made (assay doctor --repair will): %s", table, error)
            note_underived(lake, table, file, seq_of(number, done))
        else:
            parts.append(derived(table, rows))
    lake.append(table, pa.concat_tables(parts), txn=(app_id, done))


def _files_between(lake: Lake, table: str, after: int, upto: int) -> list[LakeFile]:
    return [file for file in lake.snapshot(table).files if file.max_seq > after and file.min_seq <= upto]


def _rows(lake: Lake, file: LakeFile, after: int, upto: int, columns: list[str] | None = None) -> pa.Table:
    """Rows of a file with after < seq <= upto. Raises Corrupt."""
    rows = lake.read(file, columns)
    seq = rows.column("seq")
    return rows.filter(pc.and_(pc.greater(seq, after), pc.less_equal(seq, upto)))


def _count(items: list[Item], number: int, done: int, lake: Lake, control: Control, workshop: Workshop) -> list[Item]:
    """Settles the ledger for entries that are stored and were not counted before the crash."""
    if not items:
        return []
    logs = [item for item in items if item.kind in (EntryKind.LOGS_PROTOBUF, EntryKind.LOGS_JSON)]
    counts = _of_logs(logs, lake, workshop)
    received: dict[TenantId, int] = {}
    for item in items:
        if item.kind not in (EntryKind.LOGS_PROTOBUF, EntryKind.LOGS_JSON):
            received[item.tenant] = received.get(item.tenant, 0) + n_items(item)
    after, upto = items[0].seq - 1, items[-1].seq
    stored = _stored(lake, "spans", after, upto)
    kept_away = _stored(lake, "quarantine", after, upto, pc.field("signal") == str(Signal.SPANS))
    for tenant, n_received in received.items():
        # What a damaged file held is only known roughly: no more than came in is counted.
        n_stored = min(stored.get(tenant, 0), n_received)
        n_quarantined = min(kept_away.get(tenant, 0), n_received - n_stored)
        counts[tenant, str(Signal.SPANS)] = Counts(
            received=n_received,
            stored=n_stored,
            quarantined=n_quarantined,
            duplicate=n_received - n_stored - n_quarantined,
        )
    control.settle(number, items[-1].seq - seq_of(number, 0), counts)
    return []


def _of_logs(items: list[Item], lake: Lake, workshop: Workshop) -> dict[tuple[TenantId, str], Counts]:
    """What became of log records: what their entries give again and the lake does not hold of them was a duplicate."""
    if not items:
        return {}
    counts: dict[tuple[TenantId, str], Counts] = {}
    for item in items:
        for key, n in rows_of([item], workshop).counts.items():
            counts[key] = counts.get(key, Counts()) + n
    theirs = pc.field("seq").isin([item.seq for item in items])
    parts = [_stored(lake, table, items[0].seq - 1, items[-1].seq, theirs) for table in ("scores", "events")]
    for key, n in counts.items():
        n_stored = min(sum(part.get(key[0], 0) for part in parts), n.stored)
        counts[key] = replace(n, stored=n_stored, duplicate=n.stored - n_stored)
    return counts


def _stored(lake: Lake, table: str, after: int, upto: int, only: pc.Expression | None = None) -> dict[str, int]:
    """The number of rows with after < seq <= upto by tenant. A damaged file counts as many as the table's log says."""
    counts: dict[str, int] = {}
    columns = ["seq", "signal"] if table == "quarantine" else ["seq"]
    for file in _files_between(lake, table, after, upto):
        try:
            rows = _rows(lake, file, after, upto, columns)
        except Corrupt as error:
            _LOG.error("the ledger counts all %d rows of a damaged file: %s", file.n_rows, error)
            n = file.n_rows
        else:
            n = rows.num_rows if only is None else rows.filter(only).num_rows
        counts[file.tenant] = counts.get(file.tenant, 0) + n
    return counts
