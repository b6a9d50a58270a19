"""Rollups as compaction packs them: partial rows of one minute added into one, and beside the minutes their hours.

A chart of a month has no use for minutes, whose sketches are most of what there is to read. So a pack holds every cell
twice, and `level` tells which is which: "LLM" is a partial row as it was derived, "LLM/1m" a minute that a row of
"LLM/1h" counts as well. Plain rows and those of one of the two together count every span once.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.clock import NS_PER_S
from store.derive import added_rollups
from store.retention import UNDATED

NS_PER_HOUR: Final = 3600 * NS_PER_S
OF_MINUTES: Final = "/1m"
OF_HOURS: Final = "/1h"


def packed(rows: pa.Table) -> pa.Table:
    """Rows of store.schema.ROLLUPS of one partition, packed: hours first, each level in order of time.

    An hour at a time, so that memory follows the busiest one. Rows without a usable day come back in order of time.
    """
    rows = rows.sort_by("minute_ns")
    if rows.column("date")[0].as_py() == UNDATED:
        return rows
    hours = rows.column("minute_ns").to_numpy() // NS_PER_HOUR
    ends = [0, *np.flatnonzero(np.diff(hours)) + 1, rows.num_rows]
    found = pa.concat_tables([_of_hour(rows.slice(start, end - start)) for start, end in pairwise(ends)])
    del rows
    is_minute = pc.ends_with(found.column("level"), OF_MINUTES)
    order = [("is_minute", "ascending"), ("level", "ascending"), ("minute_ns", "ascending")]
    return found.append_column("is_minute", is_minute).sort_by(order).drop_columns("is_minute")


def _of_hour(rows: pa.Table) -> pa.Table:
    """The cells of one hour, as they are where a sum is too large for its column."""
    try:
        return pa.concat_tables([_added(rows, OF_HOURS, OF_MINUTES), _added(rows, OF_MINUTES, OF_HOURS)])
    except pa.ArrowInvalid:
        return rows


def _added(rows: pa.Table, kept: str, other: str) -> pa.Table:
    """The cells of `kept`: its own rows and the plain ones, added."""
    rows = rows.filter(pc.invert(pc.ends_with(rows.column("level"), other)))
    if not rows.num_rows:
        return rows
    level, minute = rows.column("level"), rows.column("minute_ns")
    plain = pc.binary_join_element_wise(level, kept, "")
    columns = {"level": pc.if_else(pc.ends_with(level, kept), level, plain)}
    if kept == OF_HOURS:
        columns["minute_ns"] = pc.subtract(minute, pa.array(minute.to_numpy() % NS_PER_HOUR))
    for name, column in columns.items():
        rows = rows.set_column(rows.schema.get_field_index(name), name, column)
    return added_rollups(rows)
