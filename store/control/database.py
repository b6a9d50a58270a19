"""Connections to the control database: one kind of read, one kind of write, errors in our own words.

Writers are serial on purpose. SQLite has one writer at a time whatever one wishes, and a transaction that starts by
reading and then wants to write fails at once with "database is locked", however long the busy timeout. So a write
begins with BEGIN IMMEDIATE (it queues in SQLite's busy handler), behind a lock that queues this process's own threads.
On PostgreSQL an advisory lock does the same, and a read sees one moment however many statements it takes (REPEATABLE
READ), as it does on SQLite: else the audit chain and its head could come from two moments and look forged.

Somebody else's lock (a backup tool, a shell with an open transaction) is waited for PATIENCE_S seconds, counted from
when the write was asked for, so that writers behind each other do not wait one after the other.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import xxhash
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from core.errors import InvalidInput, StorageFailed

PATIENCE_S: Final = 5.0
NOTE: Final = "-changes"  # the file beside control.db
CONNECT_WITHIN_S: Final = 5
_LEAST_PATIENCE_S: Final = 0.25  # for a writer whose own queue took all of its patience
_ADVISORY_LOCK: Final = 0x41535341  # "ASSA"


_LOG: Final = logging.getLogger("assay.control")


class DatabaseBusy(StorageFailed):
    """Another process keeps the control database locked; nothing was changed, try again."""

    code = "database_busy"


class Database:
    """A pool of connections to one database; safe to use from many threads."""

    def __init__(self, url: str) -> None:
        """Opens nothing yet. Raises InvalidInput when `url` is neither SQLite's nor PostgreSQL's."""
        self._url = checked_url(url)
        self._write_lock = threading.Lock()
        self._note = None if self._url.database is None else Path(f"{self._url.database}{NOTE}")
        self.engine: Engine = _engine(self._url)
        server = self._url.get_backend_name() == "postgresql"
        self._note = None if server else self._note
        self._reader = self.engine.execution_options(isolation_level="REPEATABLE READ") if server else self.engine

    @property
    def name(self) -> str:
        """The URL without its password, for messages."""
        return self._url.render_as_string(hide_password=True)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads. Raises StorageFailed."""
        with self._translated(), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def write(self, patience_s: float = PATIENCE_S) -> Iterator[Connection]:
        """The one transaction that writes now; committed on a clean exit.

        Raises DatabaseBusy when another process keeps the lock for about `patience_s` seconds, else StorageFailed.
        """
        give_up = time.monotonic() + patience_s
        with self._translated(), self._write_lock:
            left_s = max(give_up - time.monotonic(), min(_LEAST_PATIENCE_S, patience_s))
            with self.engine.execution_options(assay_write_ms=int(left_s * 1000)).begin() as connection:
                if connection.dialect.name == "postgresql":
                    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(left_s * 1000)}")
                    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
                yield connection

    def compact(self) -> None:
        """Rewrites an SQLite file without what was deleted from it, and empties its log: no deleted byte stays.

        Raises StorageFailed; DatabaseBusy when somebody reads an old state all the while.
        """
        if self.engine.dialect.name != "sqlite":
            return
        with self._translated(), self._write_lock, self.engine.connect() as connection:
            raw = connection.connection.driver_connection
            assert raw is not None
            try:
                raw.execute("VACUUM")
                (busy, _, _) = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            except sqlite3.Error as error:
                raise StorageFailed(f"the control database {self.name} could not be rewritten: {error}") from error
        if busy:
            raise DatabaseBusy("the control database is being read; its log still holds what was deleted, try again")

    def noted_changes(self) -> int:
        """How many changes the note beside an SQLite file says there were; 0 without a note that can be read."""
        if self._note is None:
            return 0
        try:
            count, _, check = self._note.read_text(encoding="ascii").strip().partition(" ")
        except (OSError, ValueError):
            return 0
        return int(count) if xxhash.xxh3_64_hexdigest(count.encode()) == check and count.isdigit() else 0

    def note_changes(self, n: int) -> None:
        """Notes beside an SQLite file that there were `n` changes: its own log cannot tell a change that a flipped bit
        took away from one that was never finished. Nothing depends on the last of these notes being there."""
        if self._note is None:
            return
        count = f"{n:020}"
        try:
            with os.fdopen(os.open(self._note, os.O_WRONLY | os.O_CREAT, 0o600), "wb", buffering=0) as file:
                file.write(f"{count} {xxhash.xxh3_64_hexdigest(count.encode())}\n".encode())
        except OSError as error:
            _LOG.warning("the number of changes could not be noted in %s: %s", self._note, error)

    def close(self) -> None:
        """Gives all connections back."""
        self.engine.dispose()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            if _is_busy(error.orig):
                raise DatabaseBusy(
                    "the control database is locked by another process; nothing was changed, try again in some seconds"
                ) from error
            raise StorageFailed(f"the control database {self.name} failed: {error.orig}") from error
        except SQLAlchemyError as error:
            raise StorageFailed(f"the control database {self.name} failed: {error}") from error


def checked_url(url: str) -> URL:
    """The parsed URL of a control database. Raises InvalidInput when it is neither SQLite's nor PostgreSQL's."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise InvalidInput("the control database's URL cannot be read; write sqlite:///data/control.db") from None
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise InvalidInput(f"the control database is SQLite or PostgreSQL, not {parsed.get_backend_name()!r}")
    return parsed


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "postgresql":
        try:
            return create_engine(
                url,
                pool_pre_ping=True,
                pool_size=5,
                max_overflow=5,
                pool_timeout=10,
                connect_args={"connect_timeout": CONNECT_WITHIN_S} if url.get_driver_name() == "psycopg" else {},
            )
        except ModuleNotFoundError as error:
            raise InvalidInput(
                f"a control database on PostgreSQL needs the package {error.name}, which is not installed; "
                "run `make setup`, or pip install 'psycopg[binary]' and begin the URL with postgresql+psycopg://"
            ) from error
    if not url.database or url.database == ":memory:":
        raise InvalidInput("the control database needs a file: several processes share it")
    path = Path(url.database)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    engine = create_engine(
        url, pool_size=8, max_overflow=64, pool_timeout=30, connect_args={"check_same_thread": False}
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.text_factory = text_of  # a flipped bit makes a text that is no UTF-8: the row is read, and refused
    connection.isolation_level = None  # transactions are begun by _begin_sqlite, never behind our back
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout={int(PATIENCE_S * 1000)}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "secure_delete=ON",
        "cache_size=-2000",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def text_of(raw: bytes) -> str:
    """The text of stored bytes, UTF-8 or not: what is not comes back as the same bytes (PEP 383)."""
    return raw.decode("utf-8", "surrogateescape")


def _begin_sqlite(connection: Connection) -> None:
    wait_ms = connection.get_execution_options().get("assay_write_ms")
    if wait_ms is None:
        connection.exec_driver_sql("BEGIN")
        return
    connection.exec_driver_sql(f"PRAGMA busy_timeout={wait_ms:d}")
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _is_busy(error: BaseException | None) -> bool:
    """Whether SQLite says SQLITE_BUSY (https://www.sqlite.org/rescode.html#busy) or PostgreSQL lock_not_available."""
    if isinstance(error, sqlite3.OperationalError):
        return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
    return getattr(error, "sqlstate", None) == "55P03"
