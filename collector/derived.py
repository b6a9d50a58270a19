"""Turns, sessions and rollups follow the spans: what several small batches stored is derived at once.

A commit costs the same for one row as for a thousand. Under load the derived tables therefore stay up to BEHIND_S or
BEHIND_ROWS behind `spans`; as soon as nothing waits to be stored they catch up. What a crash leaves underived is
completed from the lake's own rows (collector.recovery).
"""

from __future__ import annotations

import logging
import time
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from core.errors import Conflict, Corrupt
from store.derive import COLUMNS, DERIVED, PREVIEW_CHARS, derived
from store.lake import Lake

BEHIND_S: Final = 1.0
_LOG: Final = logging.getLogger("assay.committer")
BEHIND_ROWS: Final = 25_000
_ROOTS_ONLY: Final = ("input", "output")  # the derivations read these of roots alone


class Derivation:
    """What `spans` has and the derived tables do not, for one journal. Not thread-safe: one committer owns it."""

    def __init__(self, lake: Lake, app_id: str) -> None:
        self._lake = lake
        self._app_id = app_id
        self._waiting: list[pa.Table] = []
        self._rows = self._position = 0
        self._since = 0.0
        self._unreadable: set[str] = set()

    def add(self, spans: pa.Table, position: int) -> None:
        """Takes rows of schema.SPANS that were committed, all up to `position`. Adding them twice is safe."""
        if position <= self._position:
            return
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting.append(_light(spans))
        self._rows += spans.num_rows
        self._position = position

    @property
    def behind(self) -> bool:
        """Whether `spans` has rows that the derived tables lack."""
        return bool(self._waiting)

    @property
    def due(self) -> bool:
        """Whether the derived tables are as far behind as they may be."""
        return self._rows >= BEHIND_ROWS or (bool(self._waiting) and time.monotonic() - self._since >= BEHIND_S)

    def catch_up(self) -> None:
        """Brings every derived table to where `spans` is. Raises StorageFailed; asked again it goes on from there."""
        if not self._waiting:
            return
        spans = pa.concat_tables(self._waiting)
        for table in DERIVED:
            if table in self._unreadable:
                continue
            try:
                self._append(table, spans)
            except Corrupt as error:
                # Left where it is for this life, so that the next start sees the gap and closes it.
                self._unreadable.add(table)
                _LOG.error(
                    "%s stays as it is until its log is restored and the collector started again: %s", table, error
                )
        self._waiting = []
        self._rows = 0

    def leave(self, table: str, error: Corrupt) -> None:
        """Leaves a table where it is for the rest of this life, so that the next start sees the gap and closes it."""
        self._unreadable.add(table)
        _LOG.error("%s stays as it is until its log is restored and the collector started again: %s", table, error)

    def _append(self, table: str, spans: pa.Table) -> None:
        reached = self._lake.txn_version(table, self._app_id) or 0
        if reached >= self._position:
            return
        rows = derived(table, spans)  # none of spans without a session: the position moves on all the same
        try:
            self._lake.append(table, rows, txn=(self._app_id, self._position))
        except Conflict:
            if (self._lake.txn_version(table, self._app_id) or 0) < self._position:
                raise


def _light(spans: pa.Table) -> pa.Table:
    """The columns that the derivations read; of long texts what they keep of those of roots."""
    rows = spans.select(COLUMNS)
    root = pc.is_null(rows.column("parent_span_id"))
    for name in _ROOTS_ONLY:
        place = rows.schema.get_field_index(name)
        text = pc.if_else(root, rows.column(name), pa.scalar(None, pa.string()))
        short = pc.utf8_slice_codeunits(text, 0, PREVIEW_CHARS)
        rows = rows.set_column(place, rows.schema.field(place), short)
    return rows
