"""Whether the audit chains of a control database are whole, asked of the database itself and changing nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, NullPool, create_engine, select
from sqlalchemy.exc import SQLAlchemyError

from core.errors import StorageFailed
from core.ids import TenantId
from store.control.audit import AuditChain
from store.control.database import Database, text_of
from store.control.integrity import sqlite_file
from store.control.records import AuditVerdict
from store.control.tables import AUDIT, AUDIT_HEADS, TENANTS
from store.doctor import Check

TAMPERED: Final = "somebody changed the control database: compare with a backup"


def audit_checks_at(url: str, pepper: bytes) -> list[Check]:
    """One check per tenant of the control database at `url`; none where there is no file. Raises StorageFailed."""
    path = sqlite_file(url)
    if path is not None and not path.exists():
        return []
    chain = AuditChain(pepper)
    with _reading(url, path) as connection:
        named = (table.c.tenant for table in (AUDIT, AUDIT_HEADS))
        tenants = {str(row[0]) for column in (TENANTS.c.id, *named) for row in connection.execute(select(column))}
        return [_check(tenant, chain.verify(connection, TenantId(tenant))) for tenant in sorted(tenants)]


def _check(tenant: str, verdict: AuditVerdict) -> Check:
    name = f"audit log of {tenant}"
    if verdict.ok:
        return Check(name=name, status="ok", detail=f"chain intact, records: {verdict.n_records}")
    return Check(name=name, status="fail", detail=str(verdict.reason), remedy=TAMPERED)


@contextmanager
def _reading(url: str, path: Path | None) -> Iterator[Connection]:
    if path is None:
        database = Database(url)
        try:
            with database.read() as connection:
                yield connection
        finally:
            database.close()
        return
    engine = create_engine("sqlite://", creator=lambda: _opened(path), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            yield connection
    except SQLAlchemyError as error:
        raise StorageFailed(f"the audit log in {path} cannot be read: {error}") from error
    finally:
        engine.dispose()


def _opened(path: Path) -> sqlite3.Connection:
    """A connection that cannot write, not even a journal mode."""
    database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    database.text_factory = text_of
    return database
