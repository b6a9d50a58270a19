"""Looks a data folder over from outside and says what is wrong with it and what to do. Needs no server.

It changes nothing but the notes of damaged files (store/trust.py), which it keeps up with what it sees.
"""

from __future__ import annotations

import platform
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, Literal

from core.errors import AssayError, StorageFailed
from core.ids import TenantId
from store.compaction import GRACE_S, plan
from store.control.integrity import look_over, sound_rows
from store.control.tables import WATERMARKS
from store.lake import Lake
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


def examine(
    data_dir: Path,
    *,
    scrub: bool = True,
    progress: Callable[[int, int], None] | None = None,
    tenant: TenantId | None = None,
    watermarks: Mapping[int, int] | None = None,
) -> list[Check]:
    """Every check that needs nothing but the folder. With `scrub` every lake file is read and its hash compared;
    `progress` gets (files done, files in all). With `tenant` rows and files of that tenant only are counted and named.
    `watermarks`, journal -> position that the ledger has settled, are those of the folder's control.db by default."""
    checks = [_versions(), _disk(data_dir)]
    checks += _guarded("control database", lambda: _control(data_dir / "control.db"))
    checks += _guarded("journal", lambda: _journal(data_dir / "journal"))
    lake = data_dir / "lake"
    if lake.is_dir():
        settled = watermarks if watermarks is not None else _watermarks(data_dir / "control.db")
        checks += _guarded("lake end", lambda: _reaches(lake, settled))
        checks += _guarded("lake", lambda: _lake(lake, scrub, progress, tenant))
    else:
        checks.append(Check(name="lake", status="warn", detail=f"there is none at {lake} yet", remedy="assay up"))
    return checks


def _guarded(name: str, look: Callable[[], Iterable[Check]]) -> list[Check]:
    try:
        return list(look())
    except (AssayError, OSError, sqlite3.Error) as error:
        return [Check(name=name, status="fail", detail=str(error), remedy="keep the folder as it is; restore a backup")]


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


def _control(path: Path) -> Iterator[Check]:
    if not path.exists():
        yield Check(name="control database", status="warn", detail=f"no SQLite file at {path}", remedy="assay up")
        return
    found = look_over(path)
    if not found:
        yield Check(name="control database", status="ok", detail="integrity_check says ok, every row fits its seal")
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
        remedy = f"acknowledged requests were lost: have the senders send again, then delete {damage}"
        yield Check(name="journal damage", status="fail", detail=f"{len(lines)} findings: {lines[-1]}", remedy=remedy)
    if keyless:
        remedy = "these cannot be read any more: delete them once you know that nothing is missing"
        yield Check(name="journal", status="fail", detail=f"no key for {', '.join(keyless[:3])}", remedy=remedy)
    else:
        yield Check(name="journal", status="ok", detail=detail)


def _reaches(root: Path, watermarks: Mapping[int, int]) -> Iterator[Check]:
    """Whether the lake holds everything that the ledger counts. Entries at the end of a log that are gone leave a log
    that is whole but too short."""
    lake = Lake(root)
    if "spans" in lake.unreadable():
        return
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


def _watermarks(path: Path) -> dict[int, int]:
    """Journal -> position that the ledger has settled; none where the file, which is checked by itself, is damaged."""
    try:
        rows = sound_rows(path, WATERMARKS) if path.exists() else []
    except StorageFailed:
        return {}
    return {int(str(row["journal"])): int(str(row["upto_seq"])) for row in rows}


def _lake(
    root: Path, scrub: bool, progress: Callable[[int, int], None] | None, tenant: TenantId | None
) -> Iterator[Check]:
    lake = Lake(root)
    unreadable = lake.unreadable()
    for error in unreadable.values():
        remedy = "restore this table's _delta_log from a backup; the other tables are served"
        yield Check(name="lake log", status="fail", detail=str(error), remedy=remedy)
    readable = [table for table in lake.tables() if table not in unreadable]
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
        orphans += len(lake.orphans(table, int((time.time() - 6 * GRACE_S) * 1000)))
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
