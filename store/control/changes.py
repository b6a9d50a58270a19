"""The number of changes: how a database whose last changes are gone is told from one that is as it was left.

SQLite takes a damaged end of its log for a write that was cut short, and opens without the changes in it: a revoked
key would work again. So every writing transaction counts, and the count is noted in a file beside the database once it
is committed. A database with fewer changes than were noted is refused.
"""

from __future__ import annotations

from sqlalchemy import Connection

from core.errors import Corrupt
from store.control import seals
from store.control.database import NOTE, Database
from store.control.tables import CHANGES


def count(connection: Connection) -> int:
    """Counts a transaction in itself, and returns its number."""
    row = seals.one(connection, CHANGES, {"id": 1})
    if row is None:
        seals.add(connection, CHANGES, {"id": 1, "n": 1})
        return 1
    seals.change(connection, CHANGES, row, n=row.n + 1)
    return int(row.n) + 1


def check(connection: Connection, noted: int, database: Database) -> None:
    """Raises Corrupt when the database has fewer changes than were noted beside it."""
    row = seals.one(connection, CHANGES, {"id": 1})
    n = 0 if row is None else int(row.n)
    if n < noted:
        raise Corrupt(
            f"the last {noted - n} changes of the control database {database.name} are gone: its log was damaged, or "
            f"an older copy was put back; restore a backup of it, or delete the file beside it whose name ends in "
            f"{NOTE} to go on without them"
        )
