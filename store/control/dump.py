"""Copies a whole control database, as of one moment, into another that is empty; SQLite or PostgreSQL on either side.

Rows that do not fit their seal are not copied on in silence: one that its seal can put right is, any other ends it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Final

from sqlalchemy import Connection, Table, delete, insert, select

from core.errors import Conflict, Corrupt, StorageFailed
from store.control.database import Database
from store.control.migrate import HEAD, revision_of, upgrade
from store.control.seals import is_sound, mended
from store.control.tables import CHANGES, METADATA, SEALED

CHUNK: Final = 1_000


def copy(source: str, target: str) -> dict[str, int]:
    """Copies every table from one URL to another in one transaction of each; rows by table. An SQLite file to be copied
    is brought up to this release first.

    Raises Conflict when there are rows at `target`, Corrupt, StorageFailed when the source is of another release.
    """
    require_empty(target)
    done = {}
    with closing(Database(source)) as here, closing(Database(target)) as there:
        upgrade(there)
        if here.engine.dialect.name == "sqlite":
            upgrade(here)
        with here.read() as reading, there.write() as writing:
            if (found := revision_of(reading)) != HEAD:
                raise StorageFailed(
                    f"the control database {here.name} is at revision {found}, not {HEAD}: start this release once"
                )
            writing.execute(delete(CHANGES))  # a new database has counted none
            for table in METADATA.sorted_tables:
                done[table.name] = 0
                for rows in _chunks(reading, table):
                    writing.execute(insert(table), rows)
                    done[table.name] += len(rows)
    return done


def require_empty(url: str) -> None:
    """Raises Conflict when there are rows in the control database at `url`, which may be missing; StorageFailed."""
    with closing(Database(url)) as database, database.read() as connection:
        if revision_of(connection) is None:
            return
        for table in METADATA.sorted_tables:
            if table is not CHANGES and connection.execute(select(table).limit(1)).first() is not None:
                raise Conflict(f"the control database {database.name} is not empty; restore into an empty one")


def _chunks(connection: Connection, table: Table) -> Iterator[list[dict[str, object]]]:
    found = connection.execution_options(yield_per=CHUNK).execute(select(table))
    for rows in found.mappings().partitions():
        yield [_sound(table, dict(row)) for row in rows]


def _sound(table: Table, row: dict[str, object]) -> dict[str, object]:
    if table not in SEALED or is_sound(table, row):
        return row
    right = mended(table, row)
    if right is None:
        key = ", ".join(f"{column.name} {str(row[column.name])[:80]!r}" for column in table.primary_key)
        raise Corrupt(f"the row of {table.name} with {key} was altered: look at assay doctor, mend it, then again")
    return right
