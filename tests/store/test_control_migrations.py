"""Migrations of the control database: whole steps or none, whoever is killed where."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from core.errors import Corrupt, StorageFailed
from core.ids import TenantId
from store.control.control import Control
from store.control.database import Database
from store.control.migrate import HEAD, REVISIONS, SCRIPTS, upgrade
from store.control.tables import METADATA

PEPPER = b"pepper for tests, 32 bytes long!"

# Kills itself before the n-th statement that writes.
KILLED = """
import os, signal, sys
from sqlalchemy import event
from store.control.database import Database
from store.control.migrate import upgrade

database = Database(sys.argv[1])
left = [int(sys.argv[2])]

def count(connection, cursor, statement, parameters, context, many):
    if not statement.lstrip().upper().startswith(("SELECT", "PRAGMA", "BEGIN")):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

event.listen(database.engine, "before_cursor_execute", count)
event.listen(database.engine, "commit", lambda connection: count(None, None, "COMMIT", None, None, None))
upgrade(database)
"""


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder / 'control.db'}"


def shape(path: Path) -> list[tuple[str, str]]:
    connection = sqlite3.connect(path)
    try:
        return sorted(connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall())
    finally:
        connection.close()


def test_the_scripts_are_the_listed_revisions() -> None:
    scripts = ScriptDirectory(str(SCRIPTS))
    assert [script.revision for script in reversed(list(scripts.walk_revisions()))] == list(REVISIONS)
    assert scripts.get_heads() == [HEAD]


def test_the_scripts_make_the_tables_of_the_code(tmp_path: Path) -> None:
    database = Database(url_of(tmp_path))
    upgrade(database)
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_opening_again_and_again_changes_nothing(tmp_path: Path) -> None:
    Control.open(url_of(tmp_path), pepper=PEPPER).close()
    first = shape(tmp_path / "control.db")
    for _ in range(50):
        Control.open(url_of(tmp_path), pepper=PEPPER).close()
    assert shape(tmp_path / "control.db") == first


def test_killed_before_any_statement_the_next_open_goes_on(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    Control.open(url_of(whole), pepper=PEPPER).close()
    n, survived = 0, False
    while not survived:
        n += 1
        folder = tmp_path / str(n)
        folder.mkdir()
        child = subprocess.run([sys.executable, "-c", KILLED, url_of(folder), str(n)], check=False, timeout=120)
        assert child.returncode in (0, -signal.SIGKILL)
        survived = child.returncode == 0
        control = Control.open(url_of(folder), pepper=PEPPER)
        control.ensure_tenant(TenantId("airline"))
        assert control.verify(TenantId("airline")).ok
        control.close()
        assert shape(folder / "control.db") == shape(whole / "control.db")
    assert n > len(METADATA.tables) + len(REVISIONS)


@pytest.mark.parametrize("table", sorted(METADATA.tables))
def test_a_missing_table_is_named(tmp_path: Path, table: str) -> None:
    Control.open(url_of(tmp_path), pepper=PEPPER).close()
    connection = sqlite3.connect(tmp_path / "control.db")
    with connection:
        connection.execute(f"DROP TABLE {table}")
    connection.close()
    with pytest.raises(Corrupt, match=table):
        Control.open(url_of(tmp_path), pepper=PEPPER)


def test_a_newer_database_is_left_alone(tmp_path: Path) -> None:
    Control.open(url_of(tmp_path), pepper=PEPPER).close()
    connection = sqlite3.connect(tmp_path / "control.db")
    with connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(StorageFailed, match="newer"):
        Control.open(url_of(tmp_path), pepper=PEPPER)


def test_a_file_that_is_no_database_is_a_storage_failure(tmp_path: Path) -> None:
    (tmp_path / "control.db").write_bytes(b"\0garbage" * 1000)
    with pytest.raises(StorageFailed):
        Control.open(url_of(tmp_path), pepper=PEPPER)
