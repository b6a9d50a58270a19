"""Looks an installation over from outside and says what is wrong with it and what to do. Needs no server.

It changes nothing but the notes of damaged files (store/trust.py), which it keeps up with what it sees.
"""

from __future__ import annotations

import platform
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, Literal

from core.errors import AssayError, StorageFailed
from core.ids import TenantId
from store.bucket_log import damage_of, tables_there, tables_without_log
from store.compaction import GRACE_S, plan
from store.control.integrity import look_over, look_over_server, sound_rows_at, sqlite_file
from store.control.records import LedgerRow
from store.control.tables import LEDGER, WATERMARKS
from store.delta_log import COUNTS_REMOVED, REMOVED
from store.instance import instance_of, require_secrets
from store.lake import Lake
from store.leftover import orphans as left_over
from store.objects import Objects, is_object_url
from store.repair import find_damage, taken_out, underived
from store.trust import FOLDER, Damage

Status = Literal["ok", "warn", "fail"]
LOW_DISK: Final = 2 << 30
PACKAGES: Final = ("duckdb", "deltalake", "pyarrow", "polars", "ibis-framework", "numba", "grpcio", "streamlit")
MANY_FILES: Final = 2_000
MOST_NAMED: Final = 20
DAMAGE_FILE: Final = "damaged.txt"  # written by the collector's journal


@dataclass(frozen=True, kw_only=True)
class Check:
    """One finding: what was looked at, how it is, the figures, and what to do (empty when nothing)."""

    name: str
    status: Status
    detail: str
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class Settled:
    """What the ledger said before the lake was looked at: journal -> settled position, tenant -> stored spans."""

    upto: Mapping[int, int]
    stored: Mapping[str, int]

    @classmethod
    def of(cls, watermarks: Mapping[int, int], rows: Iterable[LedgerRow]) -> Settled:
        """From the watermarks and lines of the ledger."""
        return cls(upto=watermarks, stored={row.tenant: row.stored for row in rows if row.signal == "spans"})


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an installation keeps its lake (a folder, or an s3:// URL) and its control database."""

    data: Path
    lake: str
    control_url: str

    @classmethod
    def of_folder(cls, data: Path) -> Place:
        """As it is where nothing else was set."""
        return cls(data=data, lake=str(data / "lake"), control_url=f"sqlite:///{data.absolute() / 'control.db'}")


def examine(
    where: Path | Place,
    *,
    scrub: bool = True,
    progress: Callable[[int, int], None] | None = None,
    tenant: TenantId | None = None,
    settled: Settled | None = None,
) -> list[Check]:
    """Every check that needs no server. With `scrub` every lake file is read and its hash compared;
    `progress` gets (files done, files in all). With `tenant` rows and files of that tenant only are counted and named.
    `settled` is read from the control database by default."""
    place = where if isinstance(where, Place) else Place.of_folder(where)
    checks = [_versions(), _disk(place.data)]
    checks.append(_secrets(place.data))
    checks += _guarded("control database", lambda: _control(place.control_url))
    checks += _guarded("journal", lambda: _journal(place.data / "journal"))
    found = settled if settled is not None else _settled(place.control_url)
    checks += _guarded("lake", lambda: _lake(place, found, scrub, progress, tenant))
    return checks


def _guarded(name: str, look: Callable[[], Iterable[Check]]) -> list[Check]:
    """What is found, with the failure that ended the looking."""
    found: list[Check] = []
    try:
        for check in look():
            found.append(check)
    except (AssayError, OSError, sqlite3.Error) as error:
        remedy = "keep everything as it is; restore a backup"
        found.append(Check(name=name, status="fail", detail=str(error), remedy=remedy))
    return found


def _versions() -> Check:
    found = []
    for package in ("assay", *PACKAGES):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            return Check(name="versions", status="fail", detail=f"{package} is not installed", remedy="make setup")
    return Check(name="versions", status="ok", detail=f"Python {platform.python_version()}, {', '.join(found)}")


def _disk(data_dir: Path) -> Check:
    usage = shutil.disk_usage(data_dir)
    detail = f"{usage.free / 2**30:.1f} GiB free of {usage.total / 2**30:.0f}"
    if usage.free < LOW_DISK:
        return Check(name="disk", status="warn", detail=detail, remedy="free some space, or shorten the retention")
    return Check(name="disk", status="ok", detail=detail)


def _secrets(data: Path) -> Check:
    """Whether pepper and master key are those that the folder was written with."""
    try:
        known = instance_of(data)
        require_secrets(data)
    except AssayError as error:
        remedy = "put secrets/ back from a backup before anything else"
        return Check(name="secrets", status="fail", detail=str(error), remedy=remedy)
    if known is None:
        return Check(name="secrets", status="ok", detail="the next start notes what they are")
    return Check(name="secrets", status="ok", detail=f"{', '.join(sorted(known.secrets))} are the folder's own")


def _control(url: str) -> Iterator[Check]:
    path = sqlite_file(url)
    if path is not None and not path.exists():
        yield Check(name="control database", status="warn", detail=f"no SQLite file at {path}", remedy="assay up")
        return
    found = look_over(path) if path is not None else look_over_server(url)
    if not found:
        detail = "integrity_check says ok, every row fits its seal" if path is not None else "every row fits its seal"
        yield Check(name="control database", status="ok", detail=detail)
    for finding in found[:MOST_NAMED]:
        remedy = "assay doctor --repair puts it right" if finding.mendable else "restore a backup of it"
        yield Check(name="control database", status="fail", detail=finding.what, remedy=remedy)


def _journal(folder: Path) -> Iterator[Check]:
    segments = sorted(folder.glob("*.seg"))
    size = sum(path.stat().st_size for path in segments)
    keyless = [path.name for path in segments if not path.with_suffix(".key").exists()]
    detail = f"{len(segments)} segments, {size / 2**20:.1f} MiB not yet released"
    damage = folder / DAMAGE_FILE
    if damage.exists():
        lines = damage.read_text(encoding="utf-8", errors="replace").splitlines()
        remedy = (
            "what could not be read was not stored. If a secret was away, put it back and start again: what waits is "
            f"read anew; else have the senders send again. Then delete {damage}"
        )
        yield Check(name="journal damage", status="fail", detail=f"{len(lines)} findings: {lines[-1]}", remedy=remedy)
    if keyless:
        remedy = "these cannot be read any more: delete them once you know that nothing is missing"
        yield Check(name="journal", status="fail", detail=f"no key for {', '.join(keyless[:3])}", remedy=remedy)
    else:
        yield Check(name="journal", status="ok", detail=detail)


def _settled(url: str) -> Settled:
    """From the control database, which is checked by itself: of a damaged one what is sound."""
    try:
        upto = {int(str(row["journal"])): int(str(row["upto_seq"])) for row in sound_rows_at(url, WATERMARKS)}
        rows = [row for row in sound_rows_at(url, LEDGER) if row["signal"] == "spans"]
        return Settled(upto=upto, stored={str(row["tenant"]): int(str(row["stored"])) for row in rows})
    except StorageFailed:
        return Settled(upto={}, stored={})


def _lake(
    place: Place,
    settled: Settled,
    scrub: bool,
    progress: Callable[[int, int], None] | None,
    tenant: TenantId | None,
) -> Iterator[Check]:
    if not is_object_url(place.lake) and not Path(place.lake).is_dir():
        yield Check(name="lake", status="warn", detail=f"there is none at {place.lake} yet", remedy="assay up")
        return
    logs = list(_logs_there(place.lake)) if is_object_url(place.lake) else []
    yield from logs
    if any(check.name == "lake" for check in logs):
        return
    lake = Lake(place.lake, cache=place.data / "lake-cache")
    unreadable = lake.unreadable()
    for error in unreadable.values() if not logs else ():
        remedy = "restore this table's _delta_log from a backup; the other tables are served"
        yield Check(name="lake log", status="fail", detail=str(error), remedy=remedy)
    if "spans" not in unreadable:
        yield from _reaches(lake, settled.upto)
        yield from _held(lake, settled, tenant)
    yield from _files(lake, [table for table in lake.tables() if table not in unreadable], scrub, progress, tenant)


def _logs_there(url: str) -> Iterator[Check]:
    """What is wrong with the logs in an object store, whatever the copies here say; a check `lake` where there is
    nothing to open."""
    objects = Objects(url)
    tables = tables_there(objects)
    gone = tables_without_log(objects)
    if gone:
        detail = f"{', '.join(gone)} at {url}: there are files, and no log"
        yield Check(name="lake", status="fail", detail=detail, remedy="restore _delta_log from a backup; do not start")
    elif not tables:
        yield Check(name="lake", status="warn", detail=f"there is none at {url} yet", remedy="assay up")
    for table in sorted(tables):
        if error := damage_of(objects, table):
            remedy = f"restore it; lake-cache/*/{table}/_delta_log of a machine that read it may hold it as it was"
            yield Check(name="lake log", status="fail", detail=str(error), remedy=remedy)


def _reaches(lake: Lake, watermarks: Mapping[int, int]) -> Iterator[Check]:
    """Whether the lake holds everything that the ledger counts. Entries at the end of a log that are gone leave a log
    that is whole but too short."""
    short = []
    for journal, settled in sorted(watermarks.items()):
        reached = lake.txn_version("spans", f"journal-{journal}") or 0
        if reached < settled:
            short.append(f"of journal {journal} the table spans ends at position {reached}, the ledger at {settled}")
    if short:
        remedy = "entries at the end of spans/_delta_log are gone, and acknowledged rows with them: restore a backup"
        yield Check(name="lake end", status="fail", detail="; ".join(short), remedy=remedy)
    elif watermarks:
        yield Check(name="lake end", status="ok", detail="the table spans reaches as far as the ledger")


def _held(lake: Lake, settled: Settled, tenant: TenantId | None) -> Iterator[Check]:
    """Whether the rows of the table spans are those that the ledger counts as stored, less those that have left it by
    retention, erasure or repair, which the log of the table counts. The lake was looked at after the ledger."""
    snapshot, txns = lake.counted("spans")
    came = {int(app.removeprefix("journal-")): n for app, n in txns.items() if app.startswith("journal-")}
    ahead = any(n > settled.upto.get(journal, 0) for journal, n in came.items())
    held: Counter[str] = Counter()
    for file in snapshot.files:
        held[file.tenant] += file.n_rows
    for name, stored in sorted(settled.stored.items()):
        if tenant is not None and name != tenant:
            continue
        removed = txns.get(REMOVED + name, 0)
        said = f"{held[name]} in the lake + {removed} removed"
        more = held[name] + removed - stored
        status: Status = "ok"
        remedy = ""
        if more == 0:
            detail = f"{stored} stored = {said}"
        elif more > 0 and ahead:
            detail = f"{stored} stored, {said}: {more} are not counted yet"
        elif more < 0 and COUNTS_REMOVED not in txns:
            status, remedy = (
                "warn",
                "expected after retention or an erasure under an earlier release; else restore a backup",
            )
            detail = f"{stored} stored is not {said}: {-more} left uncounted, or are lost"
        else:
            status, remedy = "fail", "keep everything as it is and compare with a backup"
            detail = f"{stored} stored is not {said}: {abs(more)} {'too many' if more > 0 else 'are missing'}"
        yield Check(name=f"rows: spans of {name}", status=status, detail=detail, remedy=remedy)


def _files(
    lake: Lake, readable: list[str], scrub: bool, progress: Callable[[int, int], None] | None, tenant: TenantId | None
) -> Iterator[Check]:
    yield from _sizes(lake, readable, tenant)
    files = [file for table in readable for file in lake.snapshot(table).files]
    started = time.monotonic()
    damages = find_damage(lake, progress) if scrub else lake.damaged()
    seconds = max(time.monotonic() - started, 1e-9)
    n_own = sum(tenant is None or file.tenant == tenant for file in files)
    yield from _damages(_of(tenant, damages), n_own)
    yield from _others(len(damages) - len(_of(tenant, damages)))
    yield from _taken_out(_of(tenant, taken_out(lake)))
    for damage in _of(tenant, underived(lake))[:MOST_NAMED]:
        remedy = "assay doctor --repair makes it anew once the day's spans are whole"
        yield Check(name="derived", status="fail", detail=str(damage), remedy=remedy)
    if scrub and not damages:
        rate = sum(file.size for file in files) / seconds / 2**20
        detail = f"all {n_own} files hold the bytes that were written ({rate:.0f} MiB/s)"
        yield Check(name="integrity", status="ok", detail=detail)


def _of(tenant: TenantId | None, damages: list[Damage]) -> list[Damage]:
    return [damage for damage in damages if tenant is None or damage.tenant == tenant]


def _others(n: int) -> Iterator[Check]:
    """Damage that an operator has to know of, without a word about whose it is."""
    if n:
        remedy = "assay doctor --offline on the machine of the data folder names them"
        yield Check(name="integrity", status="fail", detail=f"{n} damaged files of other tenants", remedy=remedy)


def _damages(damages: list[Damage], n_files: int) -> Iterator[Check]:
    """One failure per damaged file, the first MOST_NAMED of them by name."""
    remedy = "put this very file back from a backup and it is read again; without one: assay doctor --repair"
    for damage in damages[:MOST_NAMED]:
        yield Check(name="integrity", status="fail", detail=str(damage), remedy=remedy)
    if len(damages) > MOST_NAMED:
        n_rows = sum(damage.n_rows for damage in damages)
        detail = f"{len(damages)} of {n_files} files with {n_rows} rows are damaged; {MOST_NAMED} are named"
        yield Check(name="integrity", status="fail", detail=detail, remedy=remedy)


def _taken_out(damages: list[Damage]) -> Iterator[Check]:
    if damages:
        n_rows = sum(damage.n_rows for damage in damages)
        detail = f"{len(damages)} damaged files with {n_rows} rows are not in the lake any more; first: {damages[0]}"
        remedy = f"once you accept the loss, delete their bytes and notes in lake/{FOLDER}"
        yield Check(name="repaired", status="warn", detail=detail, remedy=remedy)


def _sizes(lake: Lake, tables: list[str], tenant: TenantId | None) -> Iterator[Check]:
    parts, small, orphans = [], 0, 0
    for table in tables:
        snapshot = lake.snapshot(table)
        files = snapshot.files if tenant is None else snapshot.select(tenant)
        if files:
            rows = sum(file.n_rows for file in files)
            size = sum(file.size for file in files) / 2**20
            parts.append(f"{table} {rows:,} rows in {len(files)} files, {size:.1f} MiB")
        small += sum(len(group) for group in plan(lake, table))
        orphans += len(left_over(lake, table, int((time.time() - 6 * GRACE_S) * 1000)))
    detail = "; ".join(parts) or "empty"
    if small > MANY_FILES:
        remedy = "compaction is behind: look at the collector's log, or run python -m store.compaction on the lake"
        yield Check(
            name="lake", status="warn", detail=f"{detail}; {small} small files wait to be packed", remedy=remedy
        )
    elif orphans:
        yield Check(name="lake", status="ok", detail=f"{detail}; {orphans} old files wait to be deleted")
    else:
        yield Check(name="lake", status="ok", detail=detail)
