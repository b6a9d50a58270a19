"""Brings the control database to the newest revision, one step per transaction, at every open.

A step and its line in `alembic_version` are one transaction, so a process killed anywhere leaves a database at one
whole revision and the next open goes on from there. Several processes may do it at once: each step is taken by the one
that holds the write lock, and the others see it done.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect

from core.errors import Corrupt, StorageFailed
from store.control.database import Database
from store.control.tables import METADATA

# All revisions in order, here so that opening an up-to-date database does not load Alembic; a test compares them with
# the scripts. The names sort in the order of application.
REVISIONS: Final = (
    *("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010", "0011", "0012"),
    *("0013", "0014", "0015", "0016", "0017", "0018"),
)
HEAD: Final = REVISIONS[-1]
SCRIPTS: Final = Path(__file__).parent / "migrations"


def upgrade(database: Database) -> None:
    """Applies the missing steps.

    Raises StorageFailed when the database cannot be written or is of a newer Assay, Corrupt when a table is missing.
    """
    with database.read() as connection:
        current = revision_of(connection)
    if current is not None and current > HEAD:
        raise StorageFailed(
            f"the control database {database.name} is at revision {current}, this Assay knows up to {HEAD}; "
            "run the newer Assay that wrote it"
        )
    to_take = [revision for revision in REVISIONS if current is None or current < revision]
    if to_take:
        _take(database, to_take)
    with database.read() as connection:
        missing = sorted(METADATA.tables.keys() - set(inspect(connection).get_table_names()))
    if missing:
        raise Corrupt(
            f"the control database {database.name} says revision {HEAD} but has no table {', '.join(missing)}; "
            "restore it from a backup"
        )


def revision_of(connection: Connection) -> str | None:
    """The revision the database is at; None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return None if found is None else str(found)


def _take(database: Database, revisions: list[str]) -> None:
    """Takes the steps to `revisions`, but for those that another process takes meanwhile. The scripts are read once."""
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.runtime.migration import MigrationStep
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    scripts = ScriptDirectory.from_config(config)
    for revision in revisions:
        script = scripts.get_revision(revision)
        assert script is not None
        step = MigrationStep.upgrade_from_script(scripts.revision_map, script)
        with database.write() as connection:
            current = revision_of(connection)
            if current is not None and current >= revision:
                continue
            config.attributes["connection"] = connection
            with EnvironmentContext(config, scripts, fn=lambda *_, step=step: [step]):
                scripts.run_env()
