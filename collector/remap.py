"""Runs today's mapping over history: rows keep their originals, so a fix of collector/dialects.py reaches old spans.

File by file, the columns that the mapping fills are made anew from the original attributes; where anything changed the
file is replaced in one commit. Then the derived rows of the day are made anew from its spans. Ingest goes on meanwhile:
only rows that were there at the start are touched, and a file that was packed meanwhile is taken up again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from collector.decode import ISSUES, decode
from collector.encode import request_of
from collector.leaves import Leaves
from core.errors import Conflict
from core.windows import Window
from store import schema
from store.delta_log import LakeFile
from store.derive import DERIVED
from store.lake import Lake
from store.repair import rebuild

REMAPPED: Final = (
    *(
        "kind",
        *schema.DIALECT_TEXT,
        *schema.DIALECT_TOKENS,
        "cost_reported_usd",
        "cost_usd",
        "usage_counted",
        "ttft_ms",
    ),
    *("attributes", "attribute_types", "moved_attributes", "issues"),
)
# What these say of a span was seen when it came and cannot be seen again.
LASTING: Final = ("utf8_repaired", "duplicate_key", "attributes_truncated", "clock_ahead", "parent_invalid")
ROWS_AT_ONCE: Final = 5_000


@dataclass(frozen=True, kw_only=True)
class Remapped:
    """What changed, or would: files and rows looked at, rows that differ, and the columns they differ in."""

    n_files: int
    n_rows: int
    n_changed: int
    columns: dict[str, int]


def remap(
    lake: Lake,
    tenant: str,
    *,
    window: Window | None = None,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Remapped:
    """Remaps a tenant's spans that start in `window` (all by default). `progress` gets (files done, files in all)."""
    files = lake.snapshot("spans").select(tenant, window)
    n_rows = n_changed = 0
    columns: dict[str, int] = {}
    dates: set[str] = set()
    for done, file in enumerate(files, 1):
        rows = lake.read(file, verify=True).select(schema.SPANS.names)
        new = remapped(rows)
        changes = differences(rows, new)
        n_rows += rows.num_rows
        if changes:
            n_changed += max(changes.values())
            columns = {name: columns.get(name, 0) + changes.get(name, 0) for name in {*columns, *changes}}
            dates.add(file.date)
            if not dry_run:
                _replace(lake, file, new)
        if progress:
            progress(done, len(files))
    for date in sorted(dates) if not dry_run else ():
        for table in DERIVED:
            rebuild(lake, table, tenant, date)
    return Remapped(n_files=len(files), n_rows=n_rows, n_changed=n_changed, columns=columns)


def remapped(rows: pa.Table) -> pa.Table:
    """The rows with the columns of REMAPPED made anew from their originals."""
    parts = []
    for start in range(0, rows.num_rows, ROWS_AT_ONCE):
        part = rows.slice(start, ROWS_AT_ONCE)
        at_us = int(pc.max(part.column("ingested_at").cast(pa.int64())).as_py())
        made = decode([(0, request_of(part.to_pylist()))], tenant="remap", ingested_at_us=at_us).rows
        parts.append(made)
    made = pa.concat_tables(parts) if parts else rows
    old = rows
    for name in REMAPPED:
        place = rows.schema.get_field_index(name)
        column = made.column(name)
        if name == "issues":
            column = _issues(old.column(name), column)
        if name == "cost_usd":
            column = _cost(old, made)
        rows = rows.set_column(place, rows.schema.field(place), column)
    leaves = Leaves()
    leaves.count(rows)
    return leaves.count(rows)


def differences(old: pa.Table, new: pa.Table) -> dict[str, int]:
    """Rows that differ, by column; order within the attributes does not count."""
    found = {}
    for name in REMAPPED:
        if pa.types.is_map(old.schema.field(name).type):
            n = sum(dict(a) != dict(b) for a, b in zip(_maps(old, name), _maps(new, name), strict=True))
        elif name == "attribute_types":
            continue
        else:
            frame = pl.DataFrame({"a": pl.from_arrow(old.column(name)), "b": pl.from_arrow(new.column(name))})
            n = frame.filter(pl.col("a").ne_missing(pl.col("b"))).height
        if n:
            found[name] = n
    return found


def _maps(rows: pa.Table, name: str) -> list[list[tuple[str, str]]]:
    found: list[list[tuple[str, str]]] = rows.column(name).to_pylist()
    return found


def _issues(old: pa.ChunkedArray, new: pa.ChunkedArray) -> pa.Array:
    texts = []
    for before, after in zip(old.to_pylist(), new.to_pylist(), strict=True):
        codes = set((after or "").split(",")) | {code for code in (before or "").split(",") if code in LASTING}
        texts.append(",".join(code for code in ISSUES if code in codes) or None)
    return pa.array(texts, pa.string())


def _cost(old: pa.Table, new: pa.Table) -> pa.Array:
    """The old cost where neither model, tokens nor reported cost changed (prices of that day), else today's."""
    names = ["provider", "model_request", "model_response", *schema.DIALECT_TOKENS, "cost_reported_usd"]
    frames = [pl.from_arrow(table.select(names)) for table in (old, new)]
    same = [a.eq_missing(b) for a, b in zip(*(frame.get_columns() for frame in frames), strict=True)]  # type: ignore[union-attr]
    unchanged = pa.array(pl.DataFrame(same).select(pl.all_horizontal(pl.all())).to_series().to_list(), pa.bool_())
    return pc.if_else(unchanged, old.column("cost_usd").combine_chunks(), new.column("cost_usd").combine_chunks())


def _replace(lake: Lake, file: LakeFile, rows: pa.Table) -> None:
    try:
        lake.replace("spans", [file], rows, operation="UPDATE")
    except Conflict as error:
        raise Conflict(f"{error}; the file was packed meanwhile: run the same command again") from error
