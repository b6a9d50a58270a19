"""Migrations of the control database: whole steps or none, whoever is killed where."""

from __future__ import annotations

import itertools
import signal
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
from tests.store.databases import KINDS, PEPPER, ControlDatabase, new_database

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


def test_the_scripts_are_the_listed_revisions() -> None:
    scripts = ScriptDirectory(str(SCRIPTS))
    assert [script.revision for script in reversed(list(scripts.walk_revisions()))] == list(REVISIONS)
    assert scripts.get_heads() == [HEAD]


def test_the_scripts_make_the_tables_of_the_code(database: ControlDatabase) -> None:
    opened = Database(database.url)
    upgrade(opened)
    with opened.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_opening_again_and_again_changes_nothing(database: ControlDatabase) -> None:
    database.open().close()
    first = database.shape()
    for _ in range(50):
        database.open().close()
    assert database.shape() == first


STEPS = {"sqlite": 2, "postgresql": 4}  # every so many statements; a server's databases are slow to make


@pytest.mark.parametrize("kind", KINDS)
def test_killed_before_any_statement_the_next_open_goes_on(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    def fresh(name: str) -> ControlDatabase:
        (tmp_path / name).mkdir()
        return new_database(kind, tmp_path / name, request)

    whole = fresh("whole")
    whole.open().close()
    survived = False
    for n in itertools.count(1, STEPS[kind]):
        killed = fresh(str(n))
        child = subprocess.run([sys.executable, "-c", KILLED, killed.url, str(n)], check=False, timeout=120)
        assert child.returncode in (0, -signal.SIGKILL)
        survived = child.returncode == 0
        control = killed.open()
        control.ensure_tenant(TenantId("airline"))
        assert control.verify(TenantId("airline")).ok
        control.close()
        assert killed.shape() == whole.shape()
        if survived:
            break
    assert n > len(METADATA.tables) + len(REVISIONS)


@pytest.mark.parametrize("table", sorted(METADATA.tables))
def test_a_missing_table_is_named(database: ControlDatabase, table: str) -> None:
    database.open().close()
    database.execute(f"DROP TABLE {table}")
    with pytest.raises(Corrupt, match=table):
        database.open()


def test_a_newer_database_is_left_alone(database: ControlDatabase) -> None:
    database.open().close()
    database.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StorageFailed, match="newer"):
        database.open()


def test_a_file_that_is_no_database_is_a_storage_failure(tmp_path: Path) -> None:
    (tmp_path / "control.db").write_bytes(b"\0garbage" * 1000)
    with pytest.raises(StorageFailed):
        Control.open(url_of(tmp_path), pepper=PEPPER)
