"""After a crash: what the journal holds and the lake does not is stored, and the ledger is made to balance.

The lake's application transactions say how far each table came. Entries beyond `spans` are stored as if they had just
arrived; derived tables that stopped before `spans` are completed from the lake's own rows; entries that were stored
but not yet counted are counted from the lake.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from collector.batch import Item, Workshop, n_items, rows_of, seq_of
from collector.committer import Committer
from collector.derived import DERIVED, derived
from collector.journal import Entry, Journal
from collector.kinds import EntryKind, Signal
from core.errors import Corrupt
from core.ids import TenantId
from core.records import Counts
from store.control.control import Control
from store.lake import Lake

BATCH_BYTES: Final = 16 << 20
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

    Memory stays bounded: entries are stored in batches of 16 MiB as they are read.
    """
    done = lake.txn_version("spans", committer.app_id) or 0
    _complete_derived(lake, committer.app_id, journal.number, done)
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
            _store(batch, journal.number, committer)
            batch = []
            progress(last)
    _count(uncounted, journal.number, done, lake, control, workshop)
    if batch:
        _store(batch, journal.number, committer)
        progress(last)
    return last


def _item(number: int, entry: Entry) -> Item:
    return Item(
        seq=seq_of(number, entry.position),
        kind=EntryKind(entry.kind),
        tenant=TenantId(entry.tenant),
        received_at_us=entry.received_at_us,
        body=entry.body,
    )


def _store(batch: list[Item], number: int, committer: Committer) -> None:
    committer.commit(committer.prepared(batch), batch[-1].seq - seq_of(number, 0))


def _complete_derived(lake: Lake, app_id: str, number: int, done: int) -> None:
    for table in DERIVED:
        came = lake.txn_version(table, app_id) or 0
        if came >= done:
            continue
        rows = _rows_between(lake, "spans", seq_of(number, came), seq_of(number, done))
        if rows is not None:
            lake.append(table, derived(table, rows), txn=(app_id, done))


def _rows_between(lake: Lake, table: str, after: int, upto: int, columns: list[str] | None = None) -> pa.Table | None:
    """Rows with after < seq <= upto, None when there are none."""
    found = []
    for file in lake.snapshot(table).files:
        if file.max_seq <= after or file.min_seq > upto:
            continue
        rows = lake.read(file, columns)
        seq = rows.column("seq")
        rows = rows.filter(pc.and_(pc.greater(seq, after), pc.less_equal(seq, upto)))
        if rows.num_rows:
            found.append(rows)
    return pa.concat_tables(found, promote_options="permissive") if found else None


def _count(items: list[Item], number: int, done: int, lake: Lake, control: Control, workshop: Workshop) -> list[Item]:
    """Settles the ledger for entries that are stored and were not counted before the crash."""
    if not items:
        return []
    counts: dict[tuple[TenantId, str], Counts] = {}
    received: dict[TenantId, int] = {}
    for item in items:
        if item.kind in (EntryKind.LOGS_PROTOBUF, EntryKind.LOGS_JSON):
            for key, n in rows_of([item], workshop).counts.items():
                counts[key] = counts.get(key, Counts()) + n
        else:
            received[item.tenant] = received.get(item.tenant, 0) + n_items(item)
    stored = _by_tenant(_rows_between(lake, "spans", items[0].seq - 1, items[-1].seq, ["tenant", "seq"]))
    quarantine = _rows_between(lake, "quarantine", items[0].seq - 1, items[-1].seq, ["tenant", "seq", "signal"])
    if quarantine is not None:
        quarantine = quarantine.filter(pc.equal(quarantine.column("signal"), str(Signal.SPANS)))
    kept_away = _by_tenant(quarantine)
    for tenant, n_received in received.items():
        n_stored, n_quarantined = stored.get(tenant, 0), kept_away.get(tenant, 0)
        counts[tenant, str(Signal.SPANS)] = Counts(
            received=n_received,
            stored=n_stored,
            quarantined=n_quarantined,
            duplicate=n_received - n_stored - n_quarantined,
        )
    control.settle(number, items[-1].seq - seq_of(number, 0), counts)
    return []


def _by_tenant(rows: pa.Table | None) -> dict[str, int]:
    if rows is None:
        return {}
    found = rows.column("tenant").value_counts().to_pylist()
    return {pair["values"]: pair["counts"] for pair in found}
