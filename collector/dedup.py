"""A client that never saw our answer sends again: the same span is stored once.

Two spans are the same when tenant, ids and wire bytes are the same (`content_hash`). A filter of 32-bit fingerprints
says "certainly new" or "perhaps seen"; what is perhaps seen is looked up in the lake, so nothing new is ever dropped.
The same ids with other bytes are another version of the span: both are kept, and readers mark them `id_reused`.
"""

from __future__ import annotations

import logging
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from collector.fingerprints import FULL, GENERATIONS, Fingerprints
from core.errors import Corrupt
from store import schema
from store.delta_log import LakeFile
from store.grouping import groups_of, is_among, is_first
from store.lake import Lake

_IDS: Final = ("trace_id", "span_id", "content_hash")
_LOG: Final = logging.getLogger("assay.collector")


class Dedup:
    """Drops spans that the lake holds already. Not thread-safe: one committer owns it."""

    def __init__(self, lake: Lake, *, remember_rows: int = FULL * (GENERATIONS - 2)) -> None:
        self._lake = lake
        self._filter = Fingerprints()
        self._load(remember_rows)

    def fresh(self, rows: pa.Table) -> tuple[pa.Table, dict[str, int]]:
        """The rows not stored before, and the number of duplicates by tenant."""
        hashes = _hashes(rows)
        perhaps = self._filter.add(hashes)
        if not perhaps.any():
            return rows, {}
        known = self._confirm(rows, perhaps)
        if not known.any():
            return rows, {}
        tenants = rows.column("tenant").filter(pa.array(known)).to_pylist()
        counts = {tenant: tenants.count(tenant) for tenant in set(tenants)}
        return rows.filter(pa.array(~known)), counts

    def _confirm(self, rows: pa.Table, perhaps: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Which of the suspects are in the lake, or stand earlier in the batch."""
        keys = ["tenant", "date", *_IDS]
        first = is_first(groups_of(rows, keys))
        known = ~first
        at = np.flatnonzero(perhaps & first)
        suspects = rows.select(keys).take(at)
        place = groups_of(suspects, ["tenant", "date"])
        files = self._lake.snapshot("spans").files
        for one in np.flatnonzero(is_first(place)):
            tenant, date = (suspects.column(name)[one].as_py() for name in ("tenant", "date"))
            places = sorted((f for f in files if f.tenant == tenant and f.date == date), key=lambda f: -f.max_seq)
            own = np.flatnonzero(place == place[one])
            known[at[own]] = self._found(suspects.take(own), places)
        return known

    def _found(self, suspects: pa.Table, files: list[LakeFile]) -> npt.NDArray[np.bool_]:
        """Which of them one of the files holds."""
        found = np.zeros(suspects.num_rows, bool)
        for file in files:
            left = np.flatnonzero(~found)
            if not len(left):
                break
            wanted = suspects.take(left)
            hashes = self._read(file, ["content_hash"]).column("content_hash").combine_chunks()
            if pc.any(pc.is_in(wanted.column("content_hash"), value_set=hashes)).as_py():
                found[left] = is_among(wanted, self._read(file, [*_IDS]), _IDS)
        return found

    def _load(self, remember_rows: int) -> None:
        """Reads the newest rows' hashes back from the lake, oldest of them first."""
        newest = sorted(self._lake.snapshot("spans").files, key=lambda f: -f.max_seq)
        chosen, n = [], 0
        for file in newest:
            if n >= remember_rows:
                break
            chosen.append(file)
            n += file.n_rows
        for file in reversed(chosen):
            rows = self._read(file, ["tenant", "content_hash"])
            if rows.num_rows:
                self._filter.add(_hashes(rows))

    def _read(self, file: LakeFile, columns: list[str]) -> pa.Table:
        """Columns of a file; no rows where it is damaged: ingest goes on, and a span of it that is sent again is
        stored again rather than lost."""
        try:
            return self._lake.read(file, columns)
        except Corrupt as error:
            _LOG.error("duplicates of a damaged file are not recognised: %s", error)
            return schema.SPANS.empty_table().select(columns)


def _hashes(rows: pa.Table) -> npt.NDArray[np.int64]:
    """One 64-bit hash per row, of tenant and content."""
    hashes = rows.column("content_hash").to_numpy()
    tenants = rows.column("tenant").unique().to_pylist()
    salt = {tenant: int.from_bytes(tenant.encode()[-7:].rjust(7, b"\0"), "little") for tenant in tenants}
    if len(tenants) == 1:
        mixed = hashes ^ np.int64(salt[tenants[0]])
    else:
        mixed = hashes ^ np.array([salt[t] for t in rows.column("tenant").to_pylist()], np.int64)
    return np.ascontiguousarray(mixed)
