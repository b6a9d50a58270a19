"""Stores what was acknowledged: batches from the backlog become commits in the lake, exactly once.

Order of a batch: quarantine, events, scores, spans, then the ledger, then the journal is told; the derived turns,
sessions and rollups follow (collector.derived). Each table's commit carries the journal position as its application
transaction, so a batch that was interrupted is completed, not repeated. A disk that refuses is asked again until it
relents; nothing is dropped meanwhile, the backlog grows in the journal and the doors begin to refuse.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from collector.admission import be_nice, room_error
from collector.batch import Item, Rows, Workshop, rows_of, seq_of
from collector.dedup import Dedup
from collector.derived import Derivation
from collector.drain import Drain
from collector.intake import Acknowledged, Tally
from collector.journal import Journal
from collector.kinds import Signal
from collector.leaves import Leaves
from collector.log_dedup import IDENTITIES, Identity, RowDedup
from collector.settings import CollectorSettings
from collector.waiting import WaitingEntries
from core.errors import Conflict, Corrupt, Overloaded, StorageFailed
from core.ids import TenantId
from core.records import Counts
from store.control.control import Control
from store.derive import DERIVED
from store.lake import Lake

STORED: Final = ("quarantine", "events", "scores", "spans")
ORDER: Final = (*STORED, *DERIVED)
IDLE_ROLL_S: Final = 1.0
# A burst of at least so many bytes that has ended waits no longer for company; a trickle is gathered for `linger_s`.
BURST_BYTES: Final = 1 << 20
BURST_ENDS_S: Final = 0.02
IDLE_SHARE: Final = 3  # when nothing is being stored, a third of a batch is enough to begin
_LOG: Final = logging.getLogger("assay.committer")


@dataclass(frozen=True)
class _Made:
    """A batch and its rows, which a thread is making."""

    batch: list[Acknowledged]
    rows: Future[Rows]


class Committer:
    """Owns the way from journal to lake in one process. `put` and `check_room` may be called from any thread."""

    def __init__(
        self,
        *,
        settings: CollectorSettings,
        journal: Journal,
        lake: Lake,
        control: Control,
        workshop: Workshop,
        tally: Tally,
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._lake = lake
        self._control = control
        self._workshop = workshop
        self._tally = tally
        self.app_id = f"journal-{journal.number}"
        self._entries = WaitingEntries(journal.folder)
        self._changed = threading.Condition()
        self._in_memory = self._waiting = self._queued = 0
        self._waiting_of: Counter[TenantId] = Counter()
        self._stopping = False
        self._trouble: str | None = None
        self._oldest_at = self._last_put = 0.0
        self._committed = 0
        self._thread = threading.Thread(target=self._work, name="committer", daemon=True)
        self._dedup: Dedup | None = None
        self._row_dedups: dict[str, RowDedup] = {}
        self._leaves = Leaves()
        self._derivation = Derivation(lake, self.app_id)
        self._drain = Drain(journal)

    # -- the backlog -----------------------------------------------------------------------------------------------

    def put(self, entry: Acknowledged) -> None:
        """Takes an acknowledged entry over; its bytes stay in memory only as long as there is room."""
        with self._changed:
            if not self._entries:
                self._oldest_at = time.monotonic()
            is_whole = self._entries.append(entry, whole=self._in_memory + entry.size <= self._settings.memory_bytes)
            self._in_memory += entry.size if is_whole else 0
            self._last_put = time.monotonic()
            self._waiting += entry.size
            self._waiting_of[entry.tenant] += entry.size
            self._queued += entry.size
            self._changed.notify()

    def check_room(self, size: int, tenant: TenantId | None = None, *, priority: bool) -> None:
        """Raises Overloaded when the disk is nearly full, or the backlog is and the request may be shed.

        The last tenth of the backlog is for tenants of which less than a tenth waits: none shuts out the others.
        """
        free = os.statvfs(self._settings.data_dir)
        if free.f_bavail * free.f_frsize < self._settings.min_free_bytes + size:
            raise room_error("the disk is nearly full", 3)
        most = self._settings.backlog_bytes
        if tenant is not None and self._waiting_of[tenant] > most // 10:
            most -= most // 10
        if not priority and self._waiting and self._waiting + size > most:
            raise room_error(f"{self._waiting >> 20} MiB wait to be stored", 2)

    @property
    def refusal(self) -> str | None:
        """Why a request without priority would be refused now, None when it would be taken."""
        try:
            self.check_room(1, priority=False)
        except (Overloaded, OSError) as error:
            return str(error).partition(";")[0]
        return None

    @property
    def backlog(self) -> dict[str, object]:
        """For health: entries and bytes that wait, age of the oldest in seconds, and what is wrong, if anything."""
        with self._changed:
            age = time.monotonic() - self._oldest_at if self._entries else 0.0
            return {
                "entries": len(self._entries),
                "bytes": self._waiting,
                "oldest_s": round(age, 3),
                "trouble": self._trouble,
                "committed": self._committed,
            }

    # -- the thread ------------------------------------------------------------------------------------------------

    def recovered(self, position: int) -> None:
        """Everything up to here is in the lake."""
        self._committed = position

    def start(self) -> None:
        """Starts committing."""
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Commits what waits and stops; False when that took longer than `timeout_s` (the journal keeps the rest)."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _work(self) -> None:
        """Stores one batch while the next is already being decoded. Of a stored one nothing is kept while it waits."""
        be_nice()
        rolled = True
        ahead: _Made | None = None
        with ThreadPoolExecutor(1, thread_name_prefix="decode", initializer=be_nice) as decoder:
            while True:
                if ahead is None:
                    batch = self._next_batch(IDLE_ROLL_S)
                    if batch is None:
                        break
                    if not batch and not rolled:
                        self._journal.roll()
                        rolled = True
                    ahead = self._begun(batch, decoder)
                    del batch
                if ahead is not None:
                    ahead = self._stored(ahead, decoder)
                    rolled = False
                self._tidy()
        self._tidy()

    def _begun(self, batch: list[Acknowledged] | None, decoder: ThreadPoolExecutor) -> _Made | None:
        return _Made(batch, decoder.submit(self._made, batch)) if batch else None

    def _stored(self, now: _Made, decoder: ThreadPoolExecutor) -> _Made | None:
        """Stores a batch; the one after it, which is being decoded meanwhile, or None where nothing waits."""
        wait([now.rows])
        ahead = self._begun(self._next_batch(0), decoder)
        self._until_it_works(partial(self._store, now))
        if ahead is None or self._derivation.due:
            self._until_it_works(self._derivation.catch_up)
        return ahead

    def _next_batch(self, wait_s: float) -> list[Acknowledged] | None:
        """Entries to store; empty after `wait_s` without enough of them, None when stopped and drained."""
        with self._changed:
            if not self._entries and not self._stopping and wait_s:
                self._changed.wait(wait_s)
            if not self._entries:
                return None if self._stopping else []
            deadline = self._oldest_at + self._settings.linger_s
            enough = self._settings.batch_bytes // (IDLE_SHARE if wait_s else 1)
            while not self._stopping and self._queued < enough:
                left = deadline - time.monotonic()
                if self._queued >= BURST_BYTES:
                    left = min(left, self._last_put + BURST_ENDS_S - time.monotonic())
                if left <= 0:
                    break
                if not wait_s:
                    return []
                self._changed.wait(left)
            batch, size = self._entries.take(self._settings.batch_bytes)
            self._queued -= size
            self._oldest_at = time.monotonic()
        return batch

    def _until_it_works(self, work: Callable[[], None]) -> None:
        delay = 0.2
        while True:
            try:
                work()
                self._trouble = None
                return
            except Exception as error:
                self._trouble = f"{type(error).__name__}: {error}"
                _LOG.exception("a batch could not be stored yet; trying again in %.1f s", delay)
            threading.Event().wait(delay)
            delay = min(5.0, delay * 2)

    def _made(self, batch: list[Acknowledged]) -> Rows:
        items = []
        for entry in batch:
            try:
                items.append(self._item(entry))
            except Corrupt as error:  # it was read back from the journal; its siblings must not wait for ever
                _LOG.error("an acknowledged request is lost: %s", error)
                self._journal.note_damage(str(error))
        return rows_of(items, self._workshop)

    def _store(self, made: _Made) -> None:
        batch = made.batch
        failed = made.rows.exception()
        rows = self.checked(made.rows.result() if failed is None else self._made(batch))
        position = batch[-1].position
        self._until_it_works(lambda: self._commit_stored(rows, position))
        with self._changed:
            self._waiting -= sum(entry.size for entry in batch)
            for entry in batch:
                self._waiting_of[entry.tenant] -= entry.size
            self._waiting_of = +self._waiting_of  # the tenants of which something waits
            self._in_memory -= sum(entry.size for entry in batch if entry.body is not None)
            self._committed = position

    def _item(self, entry: Acknowledged) -> Item:
        body = entry.body
        if body is None:
            assert entry.place is not None
            body = self._journal.read(entry.place).body
        return Item(
            seq=seq_of(self._journal.number, entry.position),
            kind=entry.kind,
            tenant=entry.tenant,
            received_at_us=entry.received_at_us,
            body=body,
            scan=entry.scan,
            transcoded=entry.transcoded,
        )

    def prepared(self, items: list[Item]) -> Rows:
        """The rows of a batch, as `checked` leaves them."""
        return self.checked(rows_of(items, self._workshop))

    def checked(self, rows: Rows) -> Rows:
        """Rows without duplicates, leaves marked, counts complete. Once per batch: it remembers what it saw."""
        spans = rows.table("spans")
        repeated = {one.table: self._repeated(rows, one) for one in IDENTITIES if rows.tables.get(one.table)}
        if spans.num_rows and self._dedup is None:
            self._dedup = Dedup(self._lake)
        fresh, duplicates = self._dedup.fresh(spans) if self._dedup and spans.num_rows else (spans, {})
        # From here on nothing reads the lake: a batch that is tried again has not been changed by halves.
        for table, marks in repeated.items():
            _drop(rows, table, marks, spans)
        if not spans.num_rows:
            return rows
        for tenant in set(spans.column("tenant").unique().to_pylist()):
            n = duplicates.get(tenant, 0)
            own = spans.num_rows if len(rows.counts) == 1 else _count(spans, tenant)
            rows.count(TenantId(tenant), Signal.SPANS, Counts(stored=own - n, duplicate=n))
        if duplicates and rows.tables.get("scores"):
            rows.tables["scores"] = [_of_kept(scores, spans, fresh) for scores in rows.tables["scores"]]
        rows.tables["spans"] = [self._leaves.count(fresh)]
        return rows

    def _repeated(self, rows: Rows, identity: Identity) -> npt.NDArray[np.bool_]:
        if identity.table not in self._row_dedups:
            self._row_dedups[identity.table] = RowDedup(self._lake, identity)
        return self._row_dedups[identity.table].repeated(rows.table(identity.table))

    def commit(self, rows: Rows, position: int, *, more: bool = False) -> None:
        """One commit per table that this position has not reached yet, and the ledger. With `more` to come the derived
        tables may stay behind for a while."""
        self._commit_stored(rows, position)
        if not more or self._derivation.due:
            self._derivation.catch_up()

    def leave(self, table: str, error: Corrupt) -> None:
        """Leaves a derived table, whose log cannot be read, as it is until the next start."""
        self._derivation.leave(table, error)

    def catch_up(self) -> None:
        """Brings the derived tables to where `spans` is."""
        self._derivation.catch_up()

    def _commit_stored(self, rows: Rows, position: int) -> None:
        for table in STORED:
            reached = self._lake.txn_version(table, self.app_id) or 0
            if reached >= position:
                continue
            new = _after(rows.table(table), seq_of(self._journal.number, reached))
            if not new.num_rows and table != "spans":
                continue
            try:
                with self._lake.stamps.stamped(new) as stamped:
                    self._lake.append(table, stamped, txn=(self.app_id, position))
            except Conflict:
                if (self._lake.txn_version(table, self.app_id) or 0) < position:
                    raise
        self._derivation.add(rows.table("spans"), position)
        self._control.settle(self._journal.number, position, {**rows.counts})
        self._flush_tally()

    def _flush_tally(self) -> None:
        counts = self._tally.take()
        if counts:
            try:
                self._control.count(counts)
            except StorageFailed:
                for (tenant, signal), n in counts.items():
                    self._tally.add(tenant, Signal(signal), n)

    def _tidy(self) -> None:
        """Counts and segments that can wait: whatever fails here is tried again in the next round."""
        try:
            self._flush_tally()
            self._journal.committed(self._committed, keep_s=self._settings.journal_retention_s)
            self._drain.look(self._committed, behind=self._derivation.behind)
        except Exception:  # the thread must go on: it is the only way from journal to lake
            _LOG.exception("upkeep of the journal failed; it is tried again")


def _after(rows: pa.Table, seq: int) -> pa.Table:
    """Rows beyond `seq`: after a crash a batch can overlap one whose first tables were committed."""
    if not rows.num_rows or pc.min(rows.column("seq")).as_py() > seq:
        return rows
    return rows.filter(pc.greater(rows.column("seq"), seq))


def _count(spans: pa.Table, tenant: str) -> int:
    return int(pc.sum(pc.equal(spans.column("tenant"), tenant)).as_py() or 0)


def _drop(rows: Rows, table: str, repeated: npt.NDArray[np.bool_], spans: pa.Table) -> None:
    """Takes duplicates out of a table. Those that came as log records are counted; what came inside a span is no
    item of the ledger."""
    if not repeated.any():
        return
    found = rows.table(table)
    rows.tables[table] = [found.filter(pa.array(~repeated))]
    inside = np.isin(found.column("seq").to_numpy(), spans.column("seq").to_numpy())
    tenants = found.column("tenant").filter(pa.array(repeated & ~inside)).to_pylist()
    for tenant, n in Counter(tenants).items():
        rows.count(TenantId(tenant), Signal.LOG_RECORDS, Counts(stored=-n, duplicate=n))


def _of_kept(scores: pa.Table, spans: pa.Table, fresh: pa.Table) -> pa.Table:
    """Scores that came with spans which turned out to be duplicates are duplicates themselves."""
    kept = set(zip(fresh.column("seq").to_pylist(), fresh.column("span_id").to_pylist(), strict=True))
    came = set(zip(spans.column("seq").to_pylist(), spans.column("span_id").to_pylist(), strict=True))
    pairs = zip(scores.column("seq").to_pylist(), scores.column("span_id").to_pylist(), strict=True)
    return scores.filter(pa.array([pair not in came or pair in kept for pair in pairs], pa.bool_()))
