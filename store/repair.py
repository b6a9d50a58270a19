"""Takes damaged files out of their tables, openly: what would go is listed first, what went stays on record.

The bytes move to `<lake>/_damaged`, beside a note that says what they were, and `assay doctor` warns of them until an
operator deletes both. Nothing else is touched.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from core.clock import Clock, system_clock
from core.errors import Conflict, StorageFailed
from store.lake import Lake
from store.trust import Damage


def find_damage(lake: Lake) -> list[Damage]:
    """Reads every file of the lake and returns what is damaged. Raises StorageFailed, Corrupt (a log)."""
    for table in lake.tables():
        for file in lake.snapshot(table).files:
            try:
                lake.trust.compare(table, file)
            except Conflict:  # it left the table meanwhile
                continue
    lake.forget_the_gone()
    return lake.damaged()


def take_out(lake: Lake, damages: list[Damage], clock: Clock = system_clock) -> list[Damage]:
    """Takes these files out, one commit per table, and returns those that went.

    Each is compared once more: one that was restored meanwhile stays. Safe to interrupt and to run again. Raises
    StorageFailed, Conflict when a file was packed meanwhile.
    """
    gone = []
    for table in sorted({damage.table for damage in damages}):
        named = {damage.file for damage in damages if damage.table == table}
        files = [file for file in lake.snapshot(table).files if f"{table}/{file.relative}" in named]
        found = [(file, lake.trust.compare(table, file)) for file in files]
        broken = [(file, damage) for file, damage in found if damage is not None]
        if not broken:
            continue
        for _, damage in broken:  # before the commit: a note without a commit is damage still, never the other way
            lake.trust.note(replace(damage, taken_out_ns=clock()))
        lake.remove(table, [file for file, _ in broken])
        for file, damage in broken:
            _move_aside(lake, damage.table, Path(file.path))
            gone.append(damage)
    return gone


def taken_out(lake: Lake) -> list[Damage]:
    """The files that repairs took out, and that nobody has deleted from the record since."""
    live = {damage.file for damage in lake.damaged()}
    return [d for d in lake.trust.noted().values() if d.taken_out_ns is not None and d.file not in live]


def _move_aside(lake: Lake, table: str, path: Path) -> None:
    target = lake.trust.note_path(table, str(path)).with_suffix(".parquet")
    try:
        path.replace(target)
    except FileNotFoundError:  # the file was what is missing
        return
    except OSError as error:
        raise StorageFailed(f"{path} is out of its table but could not be moved to {target}: {error}") from error
