"""Bytes that no table needs any more: found, and deleted once nobody can still put them into one.

A writer makes its files durable before it commits them, and may be slow in between. So age alone says nothing: what was
listed goes only after a moment in which no writer of this machine was in between (`Lake.unwritten`) and no snapshot
named it. Writers of other machines, on a lake in an object store, send a file again whose commit took them long.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from core.errors import Conflict
from store.lake import Lake

PATIENCE_S: Final = 5.0


def orphans(lake: Lake, table: str, older_than_ms: int) -> list[Path]:
    """Parquet files (and unfinished ones) that no snapshot names and that were last written, or taken out of the table,
    before then; of an object store by the path that they have in the mirror. A writer may be about to commit one."""
    live = frozenset(file.relative for file in lake.snapshot(table).files)
    if lake.mirror is not None:
        spared = lake.left_since(table, older_than_ms)
        return [lake.root / path for path in lake.mirror.leftover(table, live | spared, older_than_ms)]
    folder = lake.root / table
    found = []
    for path in folder.rglob("part-*"):
        if path.suffix not in (".parquet", ".tmp") or "_delta_log" in path.parts:
            continue
        if str(path.relative_to(folder)) in live:
            continue
        try:
            old = path.stat().st_mtime * 1000 < older_than_ms
        except FileNotFoundError:  # renamed or deleted by another process since it was listed
            continue
        if old:
            found.append(path)
    return found


def vacuum(lake: Lake, table: str, *, older_than_ms: int) -> list[Path]:
    """Deletes what `orphans` lists, unless a writer is about to commit it, and returns it.

    Deletes nothing while a writer of this machine is at work all the while, or while somebody holds the objects of the
    lake (`Mirror.held`); the next round does. Raises StorageFailed.
    """
    found = orphans(lake, table, older_than_ms)
    try:
        with lake.unwritten(PATIENCE_S):
            live = {file.path for file in lake.snapshot(table).files}
    except Conflict:
        return []
    if lake.mirror is not None:
        if lake.mirror.is_held():
            return []
        lake.mirror.tidy(table, live, older_than_ms)
    gone = [path for path in found if str(path) not in live]
    for path in gone:
        if lake.mirror is not None:
            lake.mirror.objects.delete(str(path.relative_to(lake.root)))
        path.unlink(missing_ok=True)
    return gone


def sweep(lake: Lake, table: str, tenant: str) -> tuple[int, int]:
    """Deletes all files of a tenant that are not part of a table: (deleted, too young to tell), the latter always 0 in
    a folder, where no writer is between file and commit meanwhile. Raises StorageFailed."""
    with lake.unwritten():
        live = frozenset(file.relative for file in lake.snapshot(table).select(tenant))
        if lake.mirror is not None:
            return lake.mirror.sweep(table, tenant, live, lake.left_since(table, 0))
        folder = lake.root / table
        gone = [path for path in (folder / f"tenant={tenant}").rglob("part-*") if path.is_file()]
        gone = [path for path in gone if str(path.relative_to(folder)) not in live]
        for path in gone:
            path.unlink(missing_ok=True)
        return len(gone), 0
