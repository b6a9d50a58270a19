"""A backup of a whole data folder while Assay runs on it, and its restore.

What a restored folder has to hold is every span that was acknowledged before the backup began, once. So the journal is
copied first: what leaves it afterwards is in the lake already. Then, for the moment it takes to note and link the
lake's files and to copy the control database, no process may commit (`Lake.unwritten`), and the ledger has caught up
with the spans. Files of the lake never change, so a hard link keeps them, whatever compaction does meanwhile. The links
are then written out, each with its hash.

A backup is a folder, or a tar packed with zstd: `summary.json` first, the files, `manifest.json` with every hash last.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from core.errors import Conflict, Corrupt, StorageFailed
from store.backup_archive import Progress, Summary, read_archive, sync_below, write_archive
from store.durable import sync_folder
from store.lake import Lake
from store.trust import FOLDER as DAMAGED
from store.versions import FORMAT

STAGING: Final = "_backup"  # below the lake, so that links need no copy
SETTLED_WITHIN_S: Final = 5.0
_NOT_KEPT: Final = {"lock", "drain", "drained"}


def make_backup(
    data: Path, lake: Lake, target: Path, *, release: str, at_ns: int, progress: Progress = lambda *_: None
) -> Summary:
    """Backs `data` up to `target`: a file when its name ends in .tar.zst, else a folder that is not there yet.

    Raises Conflict when `target` exists, StorageFailed, Corrupt when the log of a table is damaged or a file of the
    lake is not what was written: repair first, a backup keeps no silent damage.
    """
    if target.exists():
        raise Conflict(f"{target} exists; name another, or remove it first")
    part = target.with_name(f".{target.name}.part")
    _remove(part)
    with _staged(data, lake) as staging:
        try:
            summary = _fill(staging, data, lake, release, at_ns, progress)
            write_archive(staging, part, summary, progress, packed=target.name.endswith(".tar.zst"))
            part.replace(target)
            sync_folder(target.absolute().parent)
        except OSError as error:
            raise StorageFailed(f"{target} could not be written: {error}") from error
        finally:
            _remove(part)
    return summary


def restore(source: Path, data: Path, progress: Progress = lambda *_: None, *, dry_run: bool = False) -> Summary:
    """Puts a backup into `data`, which must be empty or not there; with `dry_run` only reads it and compares hashes.

    Nothing is at `data` until every hash was compared; a kill leaves a hidden folder beside it, which the next restore
    removes. Raises Conflict when `data` holds something, Corrupt when the backup is not what was written, NewerData,
    StorageFailed.
    """
    if not dry_run and data.exists() and (not data.is_dir() or any(data.iterdir())):
        raise Conflict(f"{data} is not empty; restore into another folder with --data DIR")
    part = data.absolute().with_name(f".{data.absolute().name}.restoring")
    _remove(part)
    try:
        summary = read_archive(source, None if dry_run else part, progress)
        if not dry_run:
            (part / "secrets").chmod(0o700)
            sync_below(part)
            if data.exists():
                data.rmdir()
            part.replace(data)
            sync_folder(part.parent)
    except OSError as error:
        raise StorageFailed(f"{source} could not be restored to {data}: {error}") from error
    finally:
        _remove(part)
    return summary


def remove_staging(lake: Lake) -> None:
    """Removes what a backup that was killed left beside the tables; call it only when none runs."""
    _remove(lake.root / STAGING)


# -- staging -------------------------------------------------------------------------------------------------------


@contextmanager
def _staged(data: Path, lake: Lake) -> Iterator[Path]:
    """A folder of links and copies of everything that belongs together. What an earlier kill left goes first."""
    staging = lake.root / STAGING
    _remove(staging)
    staging.mkdir(mode=0o700)
    try:
        _copy_journal(data / "journal", staging / "journal")
        with lake.unwritten():
            _wait_until_settled(data, lake)
            _link_lake(lake, staging / "lake")
            _copy_control(data / "control.db", staging / "control.db")
        _copy_small(data, staging)
        yield staging
    finally:
        _remove(staging)


def _copy_journal(journal: Path, target: Path) -> None:
    """Key before segment: who destroys them takes the segment first, so a segment that is there has a good key."""
    target.mkdir(mode=0o750)
    if not journal.is_dir():
        return
    for path in sorted(journal.iterdir()):
        if path.is_file() and path.name not in _NOT_KEPT and path.suffix not in (".key", ".tmp"):
            key = path.with_suffix(".key") if path.suffix == ".seg" else None
            with suppress(FileNotFoundError):  # stored and destroyed since it was listed
                wrapped = None if key is None or not key.exists() else key.read_bytes()
                shutil.copyfile(path, target / path.name)
                if key is not None and wrapped is not None:
                    (target / key.name).write_bytes(wrapped)


def _wait_until_settled(data: Path, lake: Lake) -> None:
    """Until the ledger counts what the spans hold; without a collector that runs, its journal still has the rest."""
    try:
        number = int(json.loads((data / "journal" / "journal.json").read_bytes())["number"])
    except (FileNotFoundError, ValueError, KeyError):
        return
    stored = lake.txn_version("spans", f"journal-{number}") or 0
    deadline = time.monotonic() + SETTLED_WITHIN_S
    while _settled_upto(data / "control.db", number) < stored and time.monotonic() < deadline:
        time.sleep(0.01)


def _settled_upto(database: Path, journal: int) -> int:
    if not database.exists():
        return 1 << 62
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=10)) as connection:
            found = connection.execute("SELECT upto_seq FROM watermarks WHERE journal = ?", (journal,)).fetchone()
    except sqlite3.Error as error:
        raise StorageFailed(f"{database} cannot be read: {error}") from error
    return int(found[0]) if found else 0


def _link_lake(lake: Lake, target: Path) -> None:
    for error in lake.unreadable().values():
        raise error
    for table in lake.tables():
        for file in lake.snapshot(table).files:
            try:
                _link(Path(file.path), target / table / file.relative)
            except FileNotFoundError:
                raise Corrupt(f"{table}: {file.relative} is missing: assay doctor --repair, then again") from None
        _link_log(lake.root / table / "_delta_log", target / table / "_delta_log")
    for path in (lake.root / DAMAGED).glob("*"):
        _link(path, target / DAMAGED / path.name)


def _link_log(log: Path, target: Path) -> None:
    """The log as of one moment: only a checkpoint may come in between, which makes entries before it superfluous."""
    for _ in range(20):
        _remove(target)
        try:
            for path in sorted(log.iterdir()):
                if path.is_file() and not path.name.startswith("."):
                    _link(path, target / path.name)
            return
        except FileNotFoundError:
            continue
    raise Conflict(f"{log} changes all the while; try again")


def _link(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, target)
    except FileNotFoundError:
        raise
    except OSError:  # a file system without links
        shutil.copyfile(path, target)


def _copy_control(database: Path, target: Path) -> None:
    """SQLite's own backup: one transaction's view, whatever is written meanwhile."""
    if not database.exists():
        return
    try:
        with (
            closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=30)) as source,
            closing(sqlite3.connect(target)) as copy,
        ):
            source.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        raise StorageFailed(f"{database} could not be copied: {error}") from error
    target.chmod(0o600)


def _copy_small(data: Path, staging: Path) -> None:
    """Secrets and the first keys, for their owner only, and the number of the format."""
    (staging / "secrets").mkdir(mode=0o700)
    for path in (*sorted((data / "secrets").glob("[!.]*")), data / "credentials.json", data / "format.json"):
        if path.is_file():
            shutil.copy(path, staging / path.relative_to(data))


def _fill(staging: Path, data: Path, lake: Lake, release: str, at_ns: int, progress: Progress) -> Summary:
    """Says what the links hold, after opening them as a lake of their own."""
    copy = Lake(staging / "lake")
    files = {table: copy.snapshot(table).files for table in copy.tables()}
    for n in range(1, len(files) + 1):
        progress("looking at the tables", n, len(files))
    (staging / "lake" / "_writers.lock").unlink(missing_ok=True)
    paths = [path for path in staging.rglob("*") if path.is_file()]
    return Summary(
        format=FORMAT,
        release=release,
        made_at_ns=at_ns,
        rows={table: sum(file.n_rows for file in held) for table, held in files.items()},
        files={table: len(held) for table, held in files.items()},
        n_files=len(paths),
        n_bytes=sum(path.stat().st_size for path in paths),
        control=(data / "control.db").exists(),
    )


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
