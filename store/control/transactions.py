"""What every change of the control database has in common: one transaction, counted, with its audit record in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from sqlalchemy import Connection

from core.clock import Clock
from core.ids import TenantId
from core.records import Principal, Role
from store.control import changes
from store.control.audit import AuditChain
from store.control.database import PATIENCE_S, Database
from store.control.records import Json


class Transactions:
    """An open, migrated database with its audit chain and clock."""

    def __init__(self, database: Database, *, pepper: bytes, clock: Clock) -> None:
        self._database = database
        self._pepper = pepper
        self._clock = clock
        self._chain = AuditChain(pepper)

    @contextmanager
    def _changing(self, patience_s: float = PATIENCE_S) -> Iterator[Connection]:
        """A transaction that writes, counted in the database and, once it is committed, beside it."""
        with self._database.write(patience_s) as connection:
            n = changes.count(connection)
            yield connection
        self._database.note_changes(n)

    def _audit(
        self,
        connection: Connection,
        by: Principal | None,
        tenant: TenantId,
        action: str,
        resource: str,
        after: Json,
        before: Json | None = None,
    ) -> None:
        """Adds a record to the tenant's chain; `by` None means Assay itself."""
        self._chain.append(
            connection, actor(by, tenant), action, resource, before=before, after=after, at_ns=self._clock()
        )


def actor(by: Principal | None, tenant: TenantId) -> Principal:
    """Who is noted as the author of a change of a tenant."""
    if by is None:
        return Principal(tenant=tenant, role=Role.ADMIN, name="assay")
    return replace(by, tenant=tenant)
