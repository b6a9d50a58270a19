"""A client that never saw our answer sends again: the same score or event is stored once.

Two scores are the same when their `score_id` is, which is made of what the evaluation says. Two events are the same
when all that was sent is: ids, name, time, messages, attributes, body and resource. As for spans (collector.dedup),
fingerprints say "certainly new" or "perhaps seen", and what is perhaps seen is looked up in the lake.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from collector.fingerprints import FULL, Fingerprints
from collector.row_hash import row_hashes
from core.errors import Corrupt
from store import schema
from store.delta_log import LakeFile
from store.grouping import groups_of, is_among, is_first
from store.lake import Lake

REMEMBERED: Final = 2 * FULL  # newest rows of a table whose fingerprints a new process reads back from the lake
_LOG: Final = logging.getLogger("assay.collector")


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What two rows of a table share when they are one: `quick` columns, cheap to read, and `whole`, all of them.

    `timed`: and the time that the sender gave. Rows that come say whether `at_ns` is that or, for want of it, the time
    of arrival; rows of the lake do not, so what comes without a time is the same as any that arrived at a microsecond.
    """

    table: str
    quick: tuple[str, ...]
    whole: tuple[str, ...]
    timed: bool = False


_EVENT: Final = ("trace_id", "span_id", "response_id", "name")
IDENTITIES: Final = (
    Identity(table="scores", quick=("score_id",), whole=("score_id",)),
    Identity(
        table="events", quick=_EVENT, whole=(*_EVENT, "input", "output", "attributes", "body", "resource"), timed=True
    ),
)


class RowDedup:
    """Finds rows of one table that the lake holds already. Not thread-safe: one committer owns it."""

    def __init__(self, lake: Lake, identity: Identity, *, remember_rows: int = REMEMBERED) -> None:
        self._lake = lake
        self._identity = identity
        self._filter = Fingerprints()
        self._load(remember_rows)

    def repeated(self, rows: pa.Table) -> npt.NDArray[np.bool_]:
        """True for every row that is in the lake or stands earlier in `rows`.

        A row of the lake with the same `seq` is this very row, committed before a crash: it repeats nothing.
        """
        whole = self._identity.whole
        at_ns = rows.column("at_ns")
        arrived_ns = pc.multiply(rows.column("ingested_at").cast(pa.int64()), 1000)
        said_ns = pc.if_else(pc.not_equal(at_ns, arrived_ns), at_ns, pa.scalar(None, pa.int64()))
        rows = rows.select(["tenant", "date", "seq", *whole]).append_column("said_ns", said_ns)
        perhaps = self._filter.add(self._hashes(rows))
        if not perhaps.any():
            return perhaps
        first = is_first(groups_of(rows, ["tenant", *whole, *self._time]))
        known = ~first
        at = np.flatnonzero(perhaps & first)
        suspects = rows.take(at)
        place = groups_of(suspects, ["tenant", "date"])
        for one in np.flatnonzero(is_first(place)):
            own = np.flatnonzero(place == place[one])
            known[at[own]] = self._found(suspects.take(own))
        return known

    def _places(self, suspects: pa.Table) -> list[LakeFile]:
        """The files that can hold them, newest first. What came without a time may have come the day before."""
        tenant, day = (suspects.column(name)[0].as_py() for name in ("tenant", "date"))
        days = {day}
        if suspects.column("said_ns").null_count:
            days.add((date.fromisoformat(day) - timedelta(days=1)).isoformat())
        files = self._lake.snapshot(self._identity.table).files
        return sorted((f for f in files if f.tenant == tenant and f.date in days), key=lambda f: -f.max_seq)

    def _found(self, suspects: pa.Table) -> npt.NDArray[np.bool_]:
        """Which of them, all of one tenant and day, the lake holds as other rows."""
        found = np.zeros(suspects.num_rows, bool)
        left = np.arange(suspects.num_rows)
        quick, whole = self._identity.quick, self._identity.whole
        for file in self._places(suspects) if len(left) else ():
            wanted = suspects.take(left)
            if quick != whole and not self._held(wanted, self._read(file, quick), quick).any():
                continue
            stored = self._read(file, whole)
            held = self._held(wanted, stored, whole)
            found[left[held & ~self._held(wanted, stored, (*whole, "seq"))]] = True
            left = left[~held]
        return found

    def _held(self, suspects: pa.Table, stored: pa.Table, names: tuple[str, ...]) -> npt.NDArray[np.bool_]:
        """Which suspects are among these rows of the lake, by these columns and the time."""
        if not self._identity.timed:
            return is_among(suspects, stored, names)
        said = np.array(pc.is_valid(suspects.column("said_ns")))
        with_time = is_among(suspects, stored, (*names, "said_ns"))
        return np.where(said, with_time, is_among(suspects, stored.filter(_whole_us(stored)), names))

    def _load(self, remember_rows: int) -> None:
        """Reads the newest rows' fingerprints back from the lake, oldest of them first."""
        chosen, n = [], 0
        for file in sorted(self._lake.snapshot(self._identity.table).files, key=lambda f: -f.max_seq):
            if n >= remember_rows:
                break
            chosen.append(file)
            n += file.n_rows
        for file in reversed(chosen):
            stored = self._read(file, ("tenant", *self._identity.quick))
            self._filter.add(self._hashes(stored))
            if self._identity.timed:
                unsaid = stored.filter(_whole_us(stored))
                place = unsaid.schema.get_field_index("said_ns")
                self._filter.add(self._hashes(unsaid.set_column(place, "said_ns", pa.nulls(len(unsaid), pa.int64()))))

    def _hashes(self, rows: pa.Table) -> npt.NDArray[np.int64]:
        """One 64-bit hash per row, of tenant, quick columns and time."""
        return row_hashes(rows, ["tenant", *self._identity.quick, *self._time])

    @property
    def _time(self) -> tuple[str, ...]:
        return ("said_ns",) if self._identity.timed else ()

    def _read(self, file: LakeFile, columns: tuple[str, ...]) -> pa.Table:
        """These columns of a file, `seq`, and the time as `said_ns`; no rows where it is damaged: what it holds is
        stored again rather than lost."""
        names = ["seq", "at_ns", *columns]
        try:
            rows = self._lake.read(file, names)
        except Corrupt as error:
            _LOG.error("duplicates of a damaged file are not recognised: %s", error)
            rows = schema.TABLES[self._identity.table].empty_table()
        return rows.select(names).rename_columns(["seq", "said_ns", *columns])


def _whole_us(rows: pa.Table) -> pa.Array:
    """Whether a time can be that of an arrival, which is known in microseconds."""
    return pa.array(rows.column("said_ns").to_numpy() % 1000 == 0)
