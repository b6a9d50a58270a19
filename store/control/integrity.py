"""Looks every sealed row of a control database file over, and puts right what a seal proves."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Table, select

from core.errors import StorageFailed
from store.control.database import PATIENCE_S, Database, checked_url, text_of
from store.control.seals import SEAL, Values, columns_of, is_sound, mended
from store.control.tables import DATASET_CHUNKS, DATASET_VERSIONS, SEALED

_VERSION: Final = ("tenant", "name", "version", "chunks")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What is wrong with one row, or with the file. `mendable`: what was written is known, and can be written again."""

    what: str
    mendable: bool


@dataclass(frozen=True, kw_only=True)
class _Damaged:
    table: Table
    rowid: int
    right: Values | None


def look_over(path: Path) -> list[Finding]:
    """Everything wrong with the file at `path`, which it does not change. Raises StorageFailed."""
    try:
        with closing(_opened(path, "ro")) as database:
            return _findings(database)
    except sqlite3.Error as error:
        raise StorageFailed(f"{path} cannot be read: {error}") from error


def look_over_server(url: str) -> list[Finding]:
    """The rows of a database on PostgreSQL that do not fit their seal. Raises StorageFailed."""
    found = []
    with _reading(url) as connection:
        for table in SEALED:
            for row in connection.execute(select(table)):
                values = dict(row._mapping)
                if not is_sound(table, values):
                    key = ", ".join(f"{column.name} {str(values[column.name])[:80]!r}" for column in table.primary_key)
                    found.append(Finding(what=f"the row of {table.name} with {key} was altered", mendable=False))
        versions = connection.execute(select(*(DATASET_VERSIONS.c[name] for name in _VERSION))).all()
        chunks = connection.execute(select(DATASET_CHUNKS.c.tenant, DATASET_CHUNKS.c.sha256)).all()
    return found + _lost(versions, chunks)


def sound_rows_at(url: str, table: Table) -> list[Values]:
    """`sound_rows` of the database at a URL; none where there is no SQLite file. Raises StorageFailed."""
    path = sqlite_file(url)
    if path is not None:
        return sound_rows(path, table) if path.exists() else []
    with _reading(url) as connection:
        found = [dict(row._mapping) for row in connection.execute(select(table).order_by(*table.primary_key))]
    kept = [row if is_sound(table, row) else mended(table, row) for row in found]
    return [row for row in kept if row is not None]


def sqlite_file(url: str) -> Path | None:
    """The file of a control database on SQLite, None for one on PostgreSQL. Raises InvalidInput."""
    parsed = checked_url(url)
    return Path(str(parsed.database)) if parsed.get_backend_name() == "sqlite" else None


@contextmanager
def _reading(url: str) -> Iterator[Connection]:
    database = Database(url)
    try:
        with database.read() as connection:
            yield connection
    finally:
        database.close()


def sound_rows(path: Path, table: Table) -> list[Values]:
    """The rows of a table as they were written, without those of which that is not known. Raises StorageFailed."""
    order = ", ".join(column.name for column in table.primary_key)
    names = (*columns_of(table), SEAL)
    try:
        with closing(_opened(path, "ro")) as database:
            cursor = database.execute(f"SELECT * FROM {table} NOT INDEXED ORDER BY {order}")
            found = [dict(zip([column[0] for column in cursor.description], row, strict=True)) for row in cursor]
    except sqlite3.Error as error:
        raise StorageFailed(f"{table} in {path} cannot be read: {error}") from error
    if found and SEAL not in found[0]:
        return list(found)  # of a release before seals
    kept = [row if is_sound(table, row) else mended(table, row) for row in found if row.keys() >= set(names)]
    return [row for row in kept if row is not None]


def mend(path: Path) -> list[Finding]:
    """Writes rows whose content is proven, makes indexes anew, and returns what was wrong before. Assay may run.

    Raises StorageFailed; nothing was changed then.
    """
    try:
        with closing(_opened(path, "rw")) as database:
            database.execute("BEGIN IMMEDIATE")
            found = _findings(database)
            for damaged in list(_damaged(database)):
                if damaged.right is not None:
                    _write(database, damaged)
            if any(finding.mendable for finding in found):
                database.execute("REINDEX")
            database.execute("COMMIT")
            return found
    except sqlite3.Error as error:
        raise StorageFailed(f"{path} could not be mended: {error}; nothing was changed") from error


def _opened(path: Path, mode: str) -> sqlite3.Connection:
    database = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=PATIENCE_S)
    database.isolation_level = None
    database.text_factory = text_of
    return database


def _findings(database: sqlite3.Connection) -> list[Finding]:
    found = []
    for damaged in _damaged(database):
        names = [column.name for column in damaged.table.primary_key]
        key = "" if damaged.right is None else ", ".join(f"{name} {damaged.right[name]!r}" for name in names)
        which = f"row {damaged.rowid} of {damaged.table.name}" + (f" ({key})" if key else "")
        how = "has one flipped bit" if damaged.right is not None else "was altered and is not believed"
        found.append(Finding(what=f"{which} {how}", mendable=damaged.right is not None))
    if {"dataset_versions", "dataset_chunks"} <= _tables(database):
        versions = database.execute(f"SELECT {', '.join(_VERSION)} FROM dataset_versions NOT INDEXED").fetchall()
        chunks = database.execute("SELECT tenant, sha256 FROM dataset_chunks NOT INDEXED").fetchall()
        found += _lost(versions, chunks)
    for (line,) in database.execute("PRAGMA integrity_check(20)"):
        if line != "ok":
            found.append(Finding(what=str(line)[:300], mendable=" index " in f" {line} "))
    return found


def _lost(versions: Iterable[Any], chunks: Iterable[Any]) -> list[Finding]:
    """Versions of datasets whose examples are gone."""
    there = {tuple(chunk) for chunk in chunks}
    found = []
    for tenant, name, version, manifest in versions:
        try:
            n = sum((tenant, sha256) not in there for sha256, _ in json.loads(manifest))
        except (ValueError, TypeError):
            continue  # its seal says that it was altered
        if n:
            what = f"{n} of the chunks of version {version} of the dataset {name[:80]!r} of {tenant} are gone"
            found.append(Finding(what=what, mendable=False))
    return found


def _tables(database: sqlite3.Connection) -> set[str]:
    return {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _damaged(database: sqlite3.Connection) -> Iterator[_Damaged]:
    there = _tables(database)
    for table in SEALED:
        if table.name not in there or SEAL not in {row[1] for row in database.execute(f"PRAGMA table_info({table})")}:
            continue  # of a release before seals: the next start seals it
        names = (*columns_of(table), SEAL)
        asked = ", ".join(f'"{name}"' for name in names)
        for rowid, *row in database.execute(f'SELECT rowid, {asked} FROM "{table}" NOT INDEXED').fetchall():
            values = dict(zip(names, row, strict=True))
            if not is_sound(table, values):
                yield _Damaged(table=table, rowid=rowid, right=mended(table, values))


def _write(database: sqlite3.Connection, damaged: _Damaged) -> None:
    assert damaged.right is not None
    names = (*columns_of(damaged.table), SEAL)
    asked = ", ".join(f'"{name}" = ?' for name in names)
    row = [damaged.right[name] for name in names]
    database.execute(f'UPDATE "{damaged.table}" SET {asked} WHERE rowid = ?', [*row, damaged.rowid])
