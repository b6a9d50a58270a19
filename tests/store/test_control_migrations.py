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
from tests.store.databases import KINDS, PEPPER, ControlDatabase, empty_database
from tests.thorough import often

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


@pytest.mark.parametrize("kind", KINDS)
def test_the_scripts_make_the_tables_of_the_code(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    opened = Database(empty_database(kind, tmp_path, request).url)
    upgrade(opened)
    with opened.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_opening_again_and_again_changes_nothing(database: ControlDatabase) -> None:
    database.open().close()
    first = database.shape()
    for _ in range(50):
        database.open().close()
    assert database.shape() == first


# Every so many statements: primes, so that they meet statements of every sort. A server's databases are slow to make.
STEPS = {"sqlite": often(2, 7), "postgresql": often(4, 13)}


@pytest.mark.parametrize("kind", KINDS)
def test_killed_before_any_statement_the_next_open_goes_on(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    def fresh(name: str) -> ControlDatabase:
        (tmp_path / name).mkdir()
        return empty_database(kind, tmp_path / name, request)

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


def test_a_missing_table_is_named(database: ControlDatabase) -> None:
    for table in sorted(METADATA.tables):
        database.execute(f"ALTER TABLE {table} RENAME TO mislaid")
        with pytest.raises(Corrupt, match=f"no table {table};"):
            database.open()
        database.execute(f"ALTER TABLE mislaid RENAME TO {table}")
    database.open().close()


def test_a_newer_database_is_left_alone(database: ControlDatabase) -> None:
    database.open().close()
    database.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StorageFailed, match="newer"):
        database.open()


def test_a_file_that_is_no_database_is_a_storage_failure(tmp_path: Path) -> None:
    (tmp_path / "control.db").write_bytes(b"\0garbage" * 1000)
    with pytest.raises(StorageFailed):
        Control.open(url_of(tmp_path), pepper=PEPPER)
