"""The rows of a damaged file made anew from the journal, where its segments are still kept (journal_retention_s).

The entries of the file's positions are decoded again as they were when they arrived. What other files of the day hold
is left out, as it was then. The rows are given only if there are exactly as many as the file held: else the journal, or
the tenant's choices, are not what they were, and nothing is guessed.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from collector import segment
from collector.batch import POSITION_BITS, Item, Workshop, rows_of, seq_of
from collector.journal import entry_of, number_of
from collector.kinds import EntryKind
from collector.leaves import Leaves
from collector.log_dedup import IDENTITIES
from collector.seal import MasterKey, segment_key
from core.errors import Corrupt
from core.ids import TenantId
from store import schema
from store.delta_log import LakeFile
from store.lake import Lake

REBUILT: Final = ("spans", "events", "scores", "quarantine")
# By which two rows of a table are one.
_SAME: Final = {
    "spans": ("trace_id", "span_id", "content_hash"),
    **{one.table: (*one.whole, *(["at_ns"] if one.timed else [])) for one in IDENTITIES},
}
_LOG: Final = logging.getLogger("assay.recovery")


class JournalRows:
    """Reads a journal that a collector may be writing at the same time."""

    def __init__(self, folder: Path, master: MasterKey, workshop: Workshop) -> None:
        self._folder = folder
        self._master = master
        self._workshop = workshop

    def of(self, lake: Lake, table: str, file: LakeFile) -> pa.Table | None:
        """The rows that `file` of `table` held, None when the journal cannot tell all of them."""
        if table not in REBUILT or not file.min_seq:
            return None
        try:
            items = self._items(file)
            if not items:
                return None
            rows = _within(rows_of(items, self._workshop).table(table), file)
            if table in _SAME:
                rows = _not_elsewhere(lake, table, rows, file)
            if table == "spans":
                rows = Leaves().count(rows)
        except Corrupt as error:
            _LOG.warning("%s is not made anew from the journal: %s", file.relative, error)
            return None
        return rows.select(schema.TABLES[table].names) if rows.num_rows == file.n_rows else None

    def _items(self, file: LakeFile) -> list[Item]:
        """The tenant's entries of the file's positions. Raises Corrupt."""
        number = number_of(self._folder)
        found = []
        if {file.min_seq >> POSITION_BITS, file.max_seq >> POSITION_BITS} != {number}:
            return []
        for path in sorted(self._folder.glob("*.seg")):
            for sound in segment.read(path, segment_key(self._master, path.with_suffix(".key"))):
                if isinstance(sound, segment.Damage):
                    continue
                record, content = sound
                seq = seq_of(number, record.position)
                if file.min_seq <= seq <= file.max_seq:
                    entry = entry_of(record, content)
                    if entry.tenant == file.tenant:
                        found.append(
                            Item(
                                seq=seq,
                                kind=EntryKind(entry.kind),
                                tenant=TenantId(entry.tenant),
                                received_at_us=entry.received_at_us,
                                body=entry.body,
                            )
                        )
        return found


def _within(rows: pa.Table, file: LakeFile) -> pa.Table:
    return rows.filter(pc.equal(rows.column("date"), file.date))


def _not_elsewhere(lake: Lake, table: str, rows: pa.Table, file: LakeFile) -> pa.Table:
    """Rows that stand in no other file of the day, each once, the first of those that are the same. Raises Corrupt when
    one of these files is damaged too."""
    same = list(_SAME[table])
    frame = _frame(rows.select(["seq", *same]))
    frame = frame.with_row_index("row").sort("seq", maintain_order=True)
    frame = frame.unique(same, keep="first", maintain_order=True)
    for other in lake.snapshot(table).select(file.tenant):
        if other.date == file.date and other.relative != file.relative:
            stored = _frame(lake.read(other, same))
            frame = frame.join(stored, on=same, how="anti", nulls_equal=True)
    return rows.take(pa.array(frame["row"].sort()))


def _frame(rows: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(rows)
    assert isinstance(frame, pl.DataFrame)
    return frame
