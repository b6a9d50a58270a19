"""A backup of a whole installation while Assay runs on it, and its restore.

What a restored folder has to hold is every span that was acknowledged before the backup began, once. So the journal is
copied first: what leaves it afterwards is in the lake already. Then, for the moment it takes to note and link the
lake's files and to copy the control database, no process of this machine may commit (`Lake.unwritten`), and the ledger
has caught up with the spans. Files of the lake never change, so a hard link keeps them, whatever compaction does
meanwhile; objects are kept by `Mirror.held`, and go from the store into the backup one by one. All is written out with
its hash.

A backup is a folder, or a tar packed with zstd: `summary.json` first, the files, `manifest.json` with every hash last.
Where lake and control database lay makes no difference to what is in it, nor to where it can be restored: the lake is
files and logs, the control database an SQLite file.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Final

from core.errors import Conflict, Corrupt, StorageFailed
from store.backup_archive import Progress, Summary, read_archive, sync_below, write_archive
from store.bucket_log import tables_there
from store.control import dump
from store.control.integrity import sound_rows_at, sqlite_file
from store.control.tables import WATERMARKS
from store.delta_log import LakeFile
from store.doctor import Place
from store.durable import sync_folder
from store.lake import Lake
from store.mirror import Mirror
from store.objects import Objects, is_object_url
from store.trust import FOLDER as DAMAGED
from store.versions import FORMAT

STAGING: Final = "_backup"  # below the lake, so that links need no copy
SETTLED_WITHIN_S: Final = 5.0
_NOT_KEPT: Final = {"lock", "drain", "drained"}


def make_backup(
    place: Place, lake: Lake, target: Path, *, release: str, at_ns: int, progress: Progress = lambda *_: None
) -> Summary:
    """Backs an installation up to `target`: a file when its name ends in .tar.zst, else a folder that is not there yet.

    Raises Conflict when `target` exists, StorageFailed, Corrupt when the log of a table is damaged or a file of the
    lake is not what was written: repair first, a backup keeps no silent damage.
    """
    if target.exists():
        raise Conflict(f"{target} exists; name another, or remove it first")
    part = target.with_name(f".{target.name}.part")
    _remove(part)
    with lake.mirror.held() if lake.mirror else nullcontext(lambda: None) as renew, _staged(place, lake) as staging:
        try:
            copy = Lake(staging / "lake")
            (staging / "lake" / "_writers.lock").unlink(missing_ok=True)
            files = {table: copy.snapshot(table).files for table in copy.tables()}
            summary = _summary(staging, files, lake, release, at_ns)
            fetched = () if lake.mirror is None else _fetched(lake.mirror, files, renew)
            packed = target.name.endswith(".tar.zst")
            write_archive(staging, part, summary, progress, packed=packed, fetched=fetched)
            part.replace(target)
            sync_folder(target.absolute().parent)
        except OSError as error:
            raise StorageFailed(f"{target} could not be written: {error}") from error
        finally:
            _remove(part)
    return summary


def restore(
    source: Path, where: Path | Place, progress: Progress = lambda *_: None, *, dry_run: bool = False
) -> Summary:
    """Puts a backup into a data folder, which must be empty or not there; with `dry_run` only reads it and compares
    hashes. A place with a lake in an object store, or a control database on PostgreSQL, gets these there: both empty.

    Nothing is at the folder, and no table in the object store, until every hash was compared; a kill leaves a hidden
    folder beside it, which the next restore removes, and files that no table names. Raises Conflict when something is
    there, Corrupt when the backup is not what was written, NewerData, StorageFailed.
    """
    place = where if isinstance(where, Place) else Place.of_folder(where)
    data = place.data
    objects = Objects(place.lake) if is_object_url(place.lake) else None
    far = place.control_url if sqlite_file(place.control_url) is None else None
    if not dry_run:
        _require_empty(data, objects, far)
    part = data.absolute().with_name(f".{data.absolute().name}.restoring")
    _remove(part)
    try:
        if dry_run:
            return read_archive(source, None, progress)
        summary = read_archive(source, part, progress, objects.put if objects else None)
        if far is not None and (part / "control.db").exists():
            dump.copy(f"sqlite:///{part / 'control.db'}", far)
            _remove(part / "control.db")
        if objects is not None:
            _send_lake(part / "lake", objects)
        _forget_address(part / "credentials.json")
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


def _require_empty(data: Path, objects: Objects | None, control_url: str | None) -> None:
    if data.exists() and (not data.is_dir() or any(data.iterdir())):
        raise Conflict(f"{data} is not empty; restore into another folder with --data DIR")
    if objects is not None and tables_there(objects):
        raise Conflict(f"there is a lake at {objects.url}; restore into another prefix, or delete what is there first")
    if control_url is not None:
        dump.require_empty(control_url)


def _forget_address(credentials: Path) -> None:
    """The address in a backup is the original's, which may run: a restored folder has none until it is started."""
    with suppress(FileNotFoundError, ValueError):
        kept = json.loads(credentials.read_bytes())
        if isinstance(kept, dict) and kept.pop("url", None) is not None:
            credentials.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


def _send_lake(folder: Path, objects: Objects) -> None:
    """What is left of the lake once its data files were sent: notes of damage, and the logs, by which it is there."""
    for path in sorted(folder.rglob("*"), key=lambda path: ("_delta_log" in path.parts, path)):
        if path.is_file():
            objects.put(path.relative_to(folder).as_posix(), path.read_bytes())
    _remove(folder)


def remove_staging(lake: Lake) -> None:
    """Removes what a backup that was killed left beside the tables; call it only when none runs."""
    _remove(lake.root / STAGING)


# -- staging -------------------------------------------------------------------------------------------------------


@contextmanager
def _staged(place: Place, lake: Lake) -> Iterator[Path]:
    """A folder of links and copies of everything that belongs together. What an earlier kill left goes first."""
    data, staging = place.data, lake.root / STAGING
    _remove(staging)
    staging.mkdir(mode=0o700)
    try:
        _copy_journal(data / "journal", staging / "journal")
        with lake.unwritten():
            _wait_until_settled(place.control_url, lake)
            _link_lake(lake, staging / "lake")
            _copy_control(place.control_url, staging / "control.db")
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


def _wait_until_settled(control_url: str, lake: Lake) -> None:
    """Until the ledger counts what the spans hold; without a collector that runs, its journal still has the rest."""
    path = sqlite_file(control_url)
    if path is not None and not path.exists():
        return
    txns = lake.counted("spans")[1] if "spans" not in lake.unreadable() else {}
    stored = {app.removeprefix("journal-"): n for app, n in txns.items() if app.startswith("journal-")}
    deadline = time.monotonic() + SETTLED_WITHIN_S
    while time.monotonic() < deadline:
        settled = {str(row["journal"]): int(str(row["upto_seq"])) for row in sound_rows_at(control_url, WATERMARKS)}
        if all(settled.get(journal, 0) >= n for journal, n in stored.items()):
            return
        time.sleep(0.01)


def _link_lake(lake: Lake, target: Path) -> None:
    """The log of every table as of one moment, with links to its files where they lie in a folder."""
    for error in lake.unreadable().values():
        raise error
    for table in lake.tables():
        snapshot = lake.snapshot(table)
        for file in snapshot.files if lake.mirror is None else ():
            try:
                _link(Path(file.path), target / table / file.relative)
            except FileNotFoundError:
                raise Corrupt(f"{table}: {file.relative} is missing: assay doctor --repair, then again") from None
        _link_log(lake.root / table / "_delta_log", target / table / "_delta_log")
    for path in (lake.root / DAMAGED).glob("*"):
        _link(path, target / DAMAGED / path.name)
    for found in lake.mirror.objects.list(DAMAGED) if lake.mirror else ():
        content = lake.mirror.objects.get(found.path) if lake.mirror else None
        if content is not None:
            (target / DAMAGED).mkdir(parents=True, exist_ok=True)
            (target / found.path).unlink(missing_ok=True)
            (target / found.path).write_bytes(content)


def _fetched(
    mirror: Mirror, files: Mapping[str, Iterable[LakeFile]], renew: Callable[[], None]
) -> Iterator[tuple[str, bytes]]:
    """The data files of an object store one by one, by their name in the backup."""
    for table, held in files.items():
        for file in held:
            renew()
            content = mirror.objects.get(f"{table}/{file.relative}")
            if content is None:
                raise Corrupt(f"{table}: {file.relative} is missing: assay doctor --repair, then again")
            yield f"lake/{table}/{file.relative}", content


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


def _copy_control(url: str, target: Path) -> None:
    """One moment's view, whatever is written meanwhile: SQLite's own backup, or a copy of what PostgreSQL holds."""
    database = sqlite_file(url)
    if database is not None and not database.exists():
        return
    try:
        if database is None:
            dump.copy(url, f"sqlite:///{target.absolute()}")
            with closing(sqlite3.connect(target)) as copy:
                copy.execute("PRAGMA journal_mode=DELETE")
            return
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
    """Secrets and the first keys, for their owner only, the number of the format, what the gateway does, policies of
    gates, and what embedders learned, without which the stored vectors could be compared with no new one."""
    (staging / "secrets").mkdir(mode=0o700)
    policies = sorted((data / "gates").glob("[!.]*.yaml"))
    fits = sorted((data / "clustering").glob("[!.]*/[!.]*.npz"))
    for path in (*policies, *fits):
        (staging / path.parent.relative_to(data)).mkdir(parents=True, exist_ok=True, mode=0o700)
    small = [data / name for name in ("credentials.json", "format.json", "gateway.yaml")]
    for path in (*sorted((data / "secrets").glob("[!.]*")), *policies, *fits, *small):
        if path.is_file():
            shutil.copy(path, staging / path.relative_to(data))


def _summary(staging: Path, files: Mapping[str, Sequence[LakeFile]], lake: Lake, release: str, at_ns: int) -> Summary:
    """What the backup will hold."""
    paths = [path for path in staging.rglob("*") if path.is_file()]
    fetched = [file.size for held in files.values() for file in held] if lake.is_mirrored else []
    return Summary(
        format=FORMAT,
        release=release,
        made_at_ns=at_ns,
        rows={table: sum(file.n_rows for file in held) for table, held in files.items()},
        files={table: len(held) for table, held in files.items()},
        n_files=len(paths) + len(fetched),
        n_bytes=sum(path.stat().st_size for path in paths) + sum(fetched),
        control=(staging / "control.db").exists(),
    )


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
