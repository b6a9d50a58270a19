"""Background upkeep of the lake: many small files become few, ordered so that readers can skip.

Files of one (tenant, date) partition that are smaller than TARGET_BYTES and MOST_ROWS are packed together once there
are enough of them; what a pack holds in memory follows its rows, however well they compress. Rows are laid in Z-order
of time and trace (Morton curve over the ranks of both), so that a file and its row groups are narrow in both; bloom
filters do the rest. Rollups are added up as well, by the minute and by the hour (store/hours.py). Reads go on
meanwhile: a pack is one commit that removes the old files and adds the new ones, and the old bytes stay until `vacuum`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from core.errors import AssayError, Conflict
from store import hours, schema
from store.delta_log import LakeFile
from store.lake import TIME_COLUMN, Lake
from store.leftover import vacuum
from store.retention import enforce

TARGET_BYTES: Final = 32 << 20
# Of spans alike, 32 MB hold a million: packing them took 2.8 GB of memory in a soak, these 0.75.
MOST_ROWS: Final = {"spans": 1 << 17, "embeddings": 1 << 14}
MOST_ROWS_ELSEWHERE: Final = 1 << 19
MIN_FILES: Final = 8  # fewer wait for others
MIN_FILES_OF_A_FULL_PACK: Final = 4
SECOND_KEY: Final = {
    "spans": "trace_id",
    "turns": "trace_id",
    "sessions": "session_id",
    "embeddings": "session_id",
    "memberships": "session_id",
}
# Old bytes stay this long after a pack: queries that began on the earlier snapshot finish on it.
GRACE_S: Final = 120
CHECKPOINT_EVERY: Final = 50
NICE: Final = 10  # upkeep gives way to everything else, and most of all to those who acknowledge


def plan(lake: Lake, table: str) -> list[list[LakeFile]]:
    """Groups of small files of one partition worth packing, each at most about TARGET_BYTES and its table's most rows.

    A file known to be damaged is in none: it stays as it is, so that nothing is made of what it holds. A table whose
    log is damaged has none at all.
    """
    if table in lake.unreadable():
        return []
    most_rows = MOST_ROWS.get(table, MOST_ROWS_ELSEWHERE)
    by_partition: dict[tuple[str, str], list[LakeFile]] = defaultdict(list)
    damaged = {damage.file for damage in lake.damaged()}
    for file in lake.snapshot(table).files:
        is_small = file.size < TARGET_BYTES // 2 and file.n_rows < most_rows // 2
        if is_small and f"{table}/{file.relative}" not in damaged:
            by_partition[file.tenant, file.date].append(file)
    return [group for files in by_partition.values() for group in _groups(files, most_rows)]


def _groups(files: list[LakeFile], most_rows: int) -> Iterator[list[LakeFile]]:
    """Of one partition's small files. What is left over at its end is packed once there are MIN_FILES; others will
    never have more files than now, as one more would be too many."""
    group: list[LakeFile] = []
    n_bytes = n_rows = 0
    for file in sorted(files, key=lambda f: f.min_seq):
        if group and (n_bytes + file.size > TARGET_BYTES or n_rows + file.n_rows > most_rows):
            if len(group) >= MIN_FILES_OF_A_FULL_PACK:
                yield group
            group, n_bytes, n_rows = [], 0, 0
        group.append(file)
        n_bytes, n_rows = n_bytes + file.size, n_rows + file.n_rows
    if len(group) >= MIN_FILES:
        yield group


def pack(lake: Lake, table: str, files: list[LakeFile]) -> list[LakeFile]:
    """Replaces `files` by their rows in Z-order. The bytes that are decoded are hashed: a flipped bit is not copied on.

    Raises Corrupt when a file was altered, Conflict when another process packed it meanwhile.
    """
    if table == "rollups":
        return lake.replace(
            table, files, hours.packed(_rows(lake, table, files)), operation="OPTIMIZE", same_rows=False
        )
    rows = _rows(lake, table, files)
    second = SECOND_KEY.get(table)
    order = z_order(rows.column(TIME_COLUMN[table]), rows.column(second) if second else None)
    names = rows.column_names
    columns = dict(zip(names, rows.columns, strict=True))
    del rows
    ordered = [columns.pop(name).take(order) for name in names]  # each column's old order goes when its new one is made
    return lake.replace(table, files, pa.table(ordered, schema=schema.TABLES[table]), operation="OPTIMIZE")


def _rows(lake: Lake, table: str, files: list[LakeFile]) -> pa.Table:
    return pa.concat_tables([lake.read(file, verify=True).select(schema.TABLES[table].names) for file in files])


def z_order(first: pa.ChunkedArray, second: pa.ChunkedArray | None) -> pa.Array:
    """Row numbers in Morton order of the two columns' ranks; plain order of the first when there is one only."""
    if second is None:
        return pc.sort_indices(first, sort_keys=[("", "ascending")])
    keys = [_rank(column) for column in (first, second)]
    code = _spread(keys[0]) | (_spread(keys[1]) << np.uint64(1))
    return pa.array(np.argsort(code, kind="stable"))


def _rank(column: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    """Ranks scaled to 16 bits."""
    ranks = pc.rank(column, tiebreaker="dense").to_numpy(zero_copy_only=False).astype(np.float64)
    top = max(1.0, ranks.max())
    scaled: npt.NDArray[np.uint64] = (ranks * (65_535 / top)).astype(np.uint64)
    return scaled


def _spread(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Puts a zero bit between any two bits of 16-bit numbers (the standard masks of Morton coding)."""
    x = values & np.uint64(0xFFFF)
    for shift, mask in ((8, 0x00FF00FF), (4, 0x0F0F0F0F), (2, 0x33333333), (1, 0x55555555)):
        x = (x | (x << np.uint64(shift))) & np.uint64(mask)
    return x


def upkeep(lake: Lake, *, grace_s: float = GRACE_S) -> dict[str, dict[str, int]]:
    """One round over all tables: pack, checkpoint the log when it is long, delete bytes nobody needs.

    A group with a damaged file is left alone for this round; the next one packs the others of it. Returns counts by
    table: packed files, made files, deleted files.
    """
    done = {}
    for damage in lake.damaged():
        print(f"assay: left as it is: {damage}", file=sys.stderr)  # noqa: T201
    for table in set(lake.tables()) - set(lake.unreadable()):
        packed = made = 0
        for group in plan(lake, table):
            try:
                made += len(pack(lake, table, group))
                packed += len(group)
            except (AssayError, Conflict) as error:
                print(f"assay: {table}: not packed: {error}", file=sys.stderr)  # noqa: T201
        log = lake.root / table / "_delta_log"
        if _commits_since_checkpoint(log) >= CHECKPOINT_EVERY:
            lake.checkpoint(table)
        gone = vacuum(lake, table, older_than_ms=int((time.time() - grace_s) * 1000))
        done[table] = {"packed": packed, "made": made, "deleted": len(gone)}
    return done


def _commits_since_checkpoint(log: Path) -> int:
    marks = sorted(log.glob("*.checkpoint.parquet"))
    last = marks[-1].name.split(".")[0] if marks else ""
    return sum(1 for path in log.glob("*.json") if path.stem.isdigit() and path.stem > last)


def main() -> int:
    """`python -m store.compaction LAKE_ROOT`: retention and one round of upkeep, in a process of its own."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("root")
    parser.add_argument("--retain", default="{}", help="JSON: tenant -> days")
    parser.add_argument("--cache", type=Path, help="folder of what was read of a lake in an object store")
    args = parser.parse_args()
    os.nice(NICE)
    lake = Lake(args.root, cache=args.cache)
    enforce(lake, json.loads(args.retain), time.time_ns())
    upkeep(lake)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
