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
import polars as pl
import pyarrow as pa

from collector.dedup import FULL, Fingerprints
from core.errors import Corrupt
from store import schema
from store.delta_log import LakeFile
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
        frame = frame_of(rows.select(list({"tenant", "date", "seq", "at_ns", "ingested_at", *whole})))
        arrived_ns = pl.col("ingested_at").dt.timestamp("us") * 1000
        frame = frame.with_columns(said_ns=pl.when(pl.col("at_ns") != arrived_ns).then("at_ns"))
        perhaps = self._filter.add(self._hashes(frame))
        if not perhaps.any():
            return np.zeros(len(frame), bool)
        first = frame.select(pl.struct("tenant", *whole, *self._time).is_first_distinct()).to_series().to_numpy()
        known = ~first
        suspects = frame.with_row_index("row").filter(pl.Series(perhaps & first))
        for (tenant, day), group in suspects.group_by("tenant", "date"):
            known[self._found(group, self._places(str(tenant), str(day), group))] = True
        return known

    def _places(self, tenant: str, day: str, suspects: pl.DataFrame) -> list[LakeFile]:
        """The files that can hold them, newest first. What came without a time may have come the day before."""
        days = {day}
        if suspects["said_ns"].null_count():
            days.add((date.fromisoformat(day) - timedelta(days=1)).isoformat())
        files = self._lake.snapshot(self._identity.table).files
        return sorted((f for f in files if f.tenant == tenant and f.date in days), key=lambda f: -f.max_seq)

    def _found(self, suspects: pl.DataFrame, files: list[LakeFile]) -> list[int]:
        found: list[int] = []
        quick, whole = list(self._identity.quick), list(self._identity.whole)
        for file in files:
            if suspects.is_empty():
                break
            if quick != whole and self._hits(suspects, file, quick).is_empty():
                continue
            hits = self._hits(suspects, file, whole)
            own = pl.col("stored_seq").eq_missing(pl.col("seq")).any()
            found += hits.group_by("row").agg(own=own).filter(~pl.col("own"))["row"].to_list()
            suspects = suspects.join(hits, on="row", how="anti")
        return found

    def _hits(self, suspects: pl.DataFrame, file: LakeFile, names: list[str]) -> pl.DataFrame:
        """`row` and `seq` of suspects that a file has, by these columns and the time, with the `stored_seq`."""
        stored = self._read(file, ["seq", "at_ns", *names]).select(*names, stored_seq="seq", stored_ns="at_ns")
        hits = suspects.select("row", "seq", "said_ns", *names).join(stored, on=names, nulls_equal=True)
        if self._identity.timed:
            hits = hits.filter(
                (pl.col("said_ns") == pl.col("stored_ns")) | (pl.col("said_ns").is_null() & _whole_us("stored_ns"))
            )
        return hits.select("row", "seq", "stored_seq")

    def _load(self, remember_rows: int) -> None:
        """Reads the newest rows' fingerprints back from the lake, oldest of them first."""
        chosen, n = [], 0
        for file in sorted(self._lake.snapshot(self._identity.table).files, key=lambda f: -f.max_seq):
            if n >= remember_rows:
                break
            chosen.append(file)
            n += file.n_rows
        for file in reversed(chosen):
            stored = self._read(file, ["tenant", "at_ns", *self._identity.quick]).with_columns(said_ns="at_ns")
            if not stored.is_empty():
                self._filter.add(self._hashes(stored))
            unsaid = stored.filter(_whole_us("at_ns")).with_columns(said_ns=pl.lit(None, pl.Int64))
            if self._identity.timed and not unsaid.is_empty():
                self._filter.add(self._hashes(unsaid))

    def _hashes(self, frame: pl.DataFrame) -> npt.NDArray[np.int64]:
        """One 64-bit hash per row, of tenant, quick columns and time."""
        hashes = frame.select("tenant", *self._identity.quick, *self._time).hash_rows()
        return np.array(hashes.to_numpy()).view(np.int64)  # a copy: the kernels are compiled for arrays of our own

    @property
    def _time(self) -> tuple[str, ...]:
        return ("said_ns",) if self._identity.timed else ()

    def _read(self, file: LakeFile, columns: list[str]) -> pl.DataFrame:
        """Columns of a file; no rows where it is damaged: what it holds is stored again rather than lost."""
        try:
            return frame_of(self._lake.read(file, columns))
        except Corrupt as error:
            _LOG.error("duplicates of a damaged file are not recognised: %s", error)
            return frame_of(schema.TABLES[self._identity.table].empty_table().select(columns))


def frame_of(rows: pa.Table) -> pl.DataFrame:
    """The rows as a frame."""
    frame = pl.from_arrow(rows)
    assert isinstance(frame, pl.DataFrame)
    return frame


def _whole_us(name: str) -> pl.Expr:
    """Whether a time can be that of an arrival, which is known in microseconds."""
    return pl.col(name) % 1000 == 0
