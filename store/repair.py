"""Repairs a lake with damaged files, openly: what would be done is listed first, what went stays on record.

Turns, sessions and rollups are made anew from their day's spans where all of these are there, and what the journal
still keeps is made anew from the journal; of a lake in an object store, an object of which this machine has a sound
copy is sent again: nothing is lost. Other files are taken out of their table; their bytes move to `<lake>/_damaged`,
beside a note that says what they were, and `assay doctor` warns of them until an operator deletes both. Sound files are
not touched, and Assay may run meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, get_args

import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from core.clock import Clock, system_clock
from core.errors import Conflict, StorageFailed
from store import aside, derive, schema
from store.delta_log import LakeFile
from store.durable import replace_durably, sync_folder
from store.lake import Lake
from store.mirror import N_FETCHING
from store.trust import Damage

TRIES: Final = 5
UNDERIVED: Final = "underived.txt"  # tab-separated: table, tenant, day, last seq


Act = Literal["send", "replay", "rebuild", "take_out"]  # in this order: what is derived comes after its spans


@dataclass(frozen=True, kw_only=True)
class Repair:
    """What is, or would be, done about one damaged file.

    send: the copy in the mirror is sound and replaces the object. rebuild: its rows are made anew from the day's spans.
    replay: they are made anew from the journal. take_out: they are lost to the lake.
    """

    act: Act
    damage: Damage


Kept = Callable[[Lake, str, LakeFile], pa.Table | None]


def nothing_kept(lake: Lake, table: str, file: LakeFile) -> None:
    """For a repair without a journal."""
    return


def plan(lake: Lake, damages: list[Damage], kept: Kept = nothing_kept) -> list[Repair]:
    """What repairing these files means. `kept` gives all rows of a damaged file where the journal has them.

    A day that has lost spans keeps the turns, sessions and rollups that are left of it: made anew they would be fewer.
    """
    sent = {d.file for d in damages if _sound_copy(lake, d) is not None}
    replayed = {d.file for d in damages if d.file not in sent and _rows_kept(lake, d, kept) is not None}
    lost = {(d.tenant, d.date) for d in damages if d.table == "spans" and d.file not in sent | replayed}
    lost |= {(d.tenant, d.date) for d in taken_out(lake) if d.table == "spans"}
    whole = "spans" not in lake.unreadable()

    def act(d: Damage) -> Act:
        if d.file in sent | replayed:
            return "send" if d.file in sent else "replay"
        return "rebuild" if whole and d.table in derive.DERIVED and (d.tenant, d.date) not in lost else "take_out"

    found = [Repair(act=act(d), damage=d) for d in damages]
    found += [Repair(act="rebuild", damage=d) for d in underived(lake) if whole and (d.tenant, d.date) not in lost]
    return sorted(found, key=lambda each: get_args(Act).index(each.act))


def note_underived(lake: Lake, table: str, file: LakeFile, upto: int) -> None:
    """Keeps in mind that what a damaged file of spans adds to a derived table, up to seq `upto`, was never made.

    Raises OSError.
    """
    path = _underived_path(lake)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as notes:
        notes.write(f"{table}\t{file.tenant}\t{file.date}\t{upto}\n")
        notes.flush()
        os.fsync(notes.fileno())
    sync_folder(path.parent)


def underived(lake: Lake) -> list[Damage]:
    """Derived tables and days that lack rows, as damage of the whole day."""
    return [
        Damage(
            table=table,
            tenant=tenant,
            date=date,
            file=f"{table}/tenant={tenant}/date={date}",
            n_rows=0,
            reason="lacks what a file of spans that was damaged adds to it",
            found_at_ns=0,
            seen=None,
        )
        for table, tenant, date in _notes(lake)
    ]


def _notes(lake: Lake) -> dict[tuple[str, str, str], int]:
    """The last seq to derive by table, tenant and day."""
    try:
        lines = _underived_path(lake).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    found: dict[tuple[str, str, str], int] = {}
    for line in lines:
        parts = line.split("\t")
        if len(parts) == 4 and parts[0] in derive.DERIVED and parts[3].isdigit():
            place = (parts[0], parts[1], parts[2])
            found[place] = max(found.get(place, 0), int(parts[3]))
    return found


def _forget_underived(lake: Lake, place: tuple[str, str, str]) -> None:
    path = _underived_path(lake)
    if path.exists():
        kept = [line for line in path.read_text(encoding="utf-8").splitlines() if line.split("\t")[:3] != list(place)]
        replace_durably(path, "".join(f"{line}\n" for line in kept).encode())


def _underived_path(lake: Lake) -> Path:
    return lake.trust.note_path("", "").with_name(UNDERIVED)


def _file_of(lake: Lake, damage: Damage) -> LakeFile | None:
    files = lake.snapshot(damage.table).files
    return next((file for file in files if f"{damage.table}/{file.relative}" == damage.file), None)


def _rows_kept(lake: Lake, damage: Damage, kept: Kept) -> pa.Table | None:
    file = _file_of(lake, damage)
    return None if file is None else kept(lake, damage.table, file)


def find_damage(lake: Lake, progress: Callable[[int, int], None] | None = None) -> list[Damage]:
    """Reads every file of the lake and returns what is damaged; `progress` gets (files done, files in all).

    Tables whose log is damaged are passed over. Raises StorageFailed.
    """
    readable = [table for table in lake.tables() if table not in lake.unreadable()]
    files = [(table, file) for table in readable for file in lake.snapshot(table).files]

    def look(which: tuple[str, LakeFile]) -> None:
        with suppress(Conflict):  # it left the table meanwhile
            lake.compare(*which)

    with ThreadPoolExecutor(N_FETCHING if lake.is_mirrored else 1, "compare") as pool:
        for done, _ in enumerate(pool.map(look, files), 1):
            if progress:
                progress(done, len(files))
    lake.forget_the_gone()
    return lake.damaged()


def repair(lake: Lake, repairs: list[Repair], clock: Clock = system_clock, kept: Kept = nothing_kept) -> list[Repair]:
    """Does what `plan` said and returns what was done. A file that is sound again by then is left as it is.

    Safe to interrupt and to run again. Raises StorageFailed; Corrupt when spans that a rebuild needs turn out damaged;
    Conflict when other processes rewrote the same files every time.
    """
    done = []
    rebuilt: set[tuple[str, str, str]] = set()
    for each in repairs:
        damage = each.damage
        place = (damage.table, damage.tenant, damage.date)
        if each.act == "rebuild":
            if place not in rebuilt:
                rebuild(lake, *place)
                _forget_underived(lake, place)
                rebuilt.add(place)
            done.append(each)
        elif each.act == "send":
            if _send(lake, damage):
                done.append(each)
        elif each.act == "replay":
            if _replay(lake, damage, kept):
                done.append(each)
        elif _take_out(lake, damage, clock):
            done.append(each)
    lake.forget_the_gone()
    return done


def taken_out(lake: Lake) -> list[Damage]:
    """The files that repairs took out, and that nobody has deleted from the record since."""
    live = {damage.file for damage in lake.damaged()}
    return [d for d in lake.trust.noted().values() if d.taken_out_ns is not None and d.file not in live]


def _replay(lake: Lake, damage: Damage, kept: Kept) -> bool:
    """Puts the journal's rows in the place of a file that is still damaged, in one commit."""
    file = _file_of(lake, damage)
    if file is None or lake.compare(damage.table, file) is None:
        return False
    rows = kept(lake, damage.table, file)
    if rows is None:
        raise StorageFailed(f"{damage.file}: the journal has let go of its rows meanwhile; run the same command again")
    lake.replace(damage.table, [file], rows, operation="UPDATE")
    return True


def _sound_copy(lake: Lake, damage: Damage) -> bytes | None:
    """What an object of the lake has to hold, where the mirror of it does."""
    file = _file_of(lake, damage) if lake.mirror is not None else None
    try:
        content = None if file is None else Path(file.path).read_bytes()
    except OSError:
        return None
    sound = file is not None and content is not None and xxhash.xxh3_128_hexdigest(content) == file.content_hash
    return content if sound else None


def _send(lake: Lake, damage: Damage) -> bool:
    """Puts the sound copy over an object that is still damaged."""
    file, content = _file_of(lake, damage), _sound_copy(lake, damage)
    if file is None or content is None or lake.mirror is None or lake.compare(damage.table, file) is None:
        return False
    lake.mirror.objects.put(damage.file, content)
    lake.compare(damage.table, file)
    return True


def _take_out(lake: Lake, damage: Damage, clock: Clock) -> bool:
    file = _file_of(lake, damage)
    if file is None or lake.compare(damage.table, file) is None:
        return False
    # Before the commit: a note without the commit still is damage, a commit without the note would be forgotten.
    aside.note(lake, replace(damage, taken_out_ns=clock()), file)
    lake.remove(damage.table, [file])
    aside.move(lake, damage, file)
    return True


def rebuild(lake: Lake, table: str, tenant: str, date: str) -> None:
    """Puts the partial rows that the day's spans make in the place of all of that day's files. Raises Conflict."""
    for attempt in range(TRIES):
        old = [file for file in lake.snapshot(table).select(tenant) if file.date == date]
        upto = max((file.max_seq for file in old), default=0)
        upto = max(upto, _notes(lake).get((table, tenant, date), 0))
        try:
            lake.replace(table, old, _derived(lake, table, tenant, date, upto), operation="UPDATE")
            return
        except Conflict:
            if attempt == TRIES - 1:
                raise


def _derived(lake: Lake, table: str, tenant: str, date: str, upto: int) -> pa.Table:
    """What the day's spans with seq up to `upto` make; file by file, so that memory stays bounded."""
    parts = [schema.TABLES[table].empty_table()]
    for file in lake.snapshot("spans").select(tenant):
        if file.date == date and file.min_seq <= upto:
            rows = lake.read(file, derive.COLUMNS)
            rows = rows.filter(pc.less_equal(rows.column("seq"), upto))
            if rows.num_rows:
                parts.append(derive.derived(table, rows))
    return pa.concat_tables(parts)
