"""Connections to the control database: one kind of read, one kind of write, errors in our own words.

Writers are serial on purpose. SQLite has one writer at a time whatever one wishes, and a transaction that starts by
reading and then wants to write fails at once with "database is locked", however long the busy timeout. So a write
begins with BEGIN IMMEDIATE (it queues in SQLite's busy handler), behind a lock that queues this process's own threads.
On PostgreSQL an advisory lock does the same.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from core.errors import InvalidInput, StorageFailed

BUSY_TIMEOUT_MS: Final = 30_000
_ADVISORY_LOCK: Final = 0x41535341  # "ASSA"


class Database:
    """A pool of connections to one database; safe to use from many threads."""

    def __init__(self, url: str) -> None:
        """Opens nothing yet. Raises InvalidInput when `url` is neither SQLite's nor PostgreSQL's."""
        self._url = _checked(url)
        self._write_lock = threading.Lock()
        self.engine: Engine = _engine(self._url)
        self.writing: Engine = self.engine.execution_options(assay_write=True)

    @property
    def name(self) -> str:
        """The URL without its password, for messages."""
        return self._url.render_as_string(hide_password=True)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads. Raises StorageFailed."""
        with self._translated(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """The one transaction that writes now; committed on a clean exit. Raises StorageFailed."""
        with self._translated(), self._write_lock, self.writing.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
            yield connection

    def close(self) -> None:
        """Gives all connections back."""
        self.engine.dispose()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise StorageFailed(f"the control database {self.name} failed: {error.orig}") from error
        except SQLAlchemyError as error:
            raise StorageFailed(f"the control database {self.name} failed: {error}") from error


def _checked(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise InvalidInput("the control database's URL cannot be read; write sqlite:///data/control.db") from None
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise InvalidInput(f"the control database is SQLite or PostgreSQL, not {parsed.get_backend_name()!r}")
    return parsed


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "postgresql":
        return create_engine(url, pool_pre_ping=True, pool_size=5, max_overflow=5, pool_timeout=10)
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
    connection.isolation_level = None  # transactions are begun by _begin_sqlite, never behind our back
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "cache_size=-2000",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("assay_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
