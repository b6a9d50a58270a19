"""Idempotency keys: the first request with a key claims it together with the answer it is going to give.

The answer (for example the ids of what will be created) is decided before the work, so a retry after a crash does the
same work under the same ids, and work that is itself exactly once stays so.

Whoever has a claim holds it on a lease of LEASE_NS, and renews it while at work. A claim whose lease ran out belongs to
a process that died: the next request takes it over, one request only.
"""

from __future__ import annotations

import hmac
from typing import Any, Final

from sqlalchemy import Connection, delete, select

from core.clock import NS_PER_S
from core.errors import Conflict
from core.ids import TenantId
from store.control import seals
from store.control.records import Claim, ClaimState
from store.control.tables import CLAIMS

KEPT_NS: Final = 24 * 3600 * NS_PER_S
LEASE_NS: Final = 30 * NS_PER_S


def claim(connection: Connection, tenant: TenantId, key: str, body_hash: bytes, answer: str, at_ns: int) -> Claim:
    """The claim on `key`: ours with `answer`, or the earlier one with its answer.

    Raises Conflict when the key was used with another body. Claims are forgotten after a day.
    """
    _forget(connection, at_ns - KEPT_NS)
    row = _row(connection, tenant, key)
    if row is None:
        values = {"tenant": str(tenant), "key": key, "body_hash": body_hash, "answer": answer, "created_at_ns": at_ns}
        seals.add(connection, CLAIMS, values)
        return Claim(state=ClaimState.NEW, answer=answer, since_ns=at_ns)
    if not hmac.compare_digest(row.body_hash, body_hash):
        raise Conflict("this Idempotency-Key was used with another body; use a fresh key for a new request")
    state = _state(row, at_ns)
    if state is ClaimState.ABANDONED:
        seals.change(connection, CLAIMS, row, created_at_ns=at_ns)
        return Claim(state=state, answer=row.answer, since_ns=at_ns)
    return Claim(state=state, answer=row.answer, since_ns=row.created_at_ns)


def is_pending(connection: Connection, tenant: TenantId, key: str, at_ns: int) -> bool:
    """Whether somebody is at work behind the claim at `at_ns`."""
    row = _row(connection, tenant, key)
    return row is not None and _state(row, at_ns) is ClaimState.PENDING


def renew(connection: Connection, tenant: TenantId, key: str, since_ns: int, at_ns: int) -> bool:
    """Begins the lease anew at `at_ns`; False when it is over, or no longer the one that began at `since_ns`."""
    row = _row(connection, tenant, key)
    if row is None or row.finished_at_ns is not None or row.created_at_ns != since_ns:
        return False
    seals.change(connection, CLAIMS, row, created_at_ns=at_ns)
    return True


def finish(connection: Connection, tenant: TenantId, key: str, at_ns: int) -> None:
    """Notes that the work behind the claim is done."""
    row = _row(connection, tenant, key)
    if row is not None:
        seals.change(connection, CLAIMS, row, finished_at_ns=at_ns)


def _row(connection: Connection, tenant: TenantId, key: str) -> Any | None:
    return seals.one(connection, CLAIMS, {"tenant": str(tenant), "key": key})


def _state(row: Any, at_ns: int) -> ClaimState:
    if row.finished_at_ns is not None:
        return ClaimState.DONE
    return ClaimState.PENDING if at_ns < row.created_at_ns + LEASE_NS else ClaimState.ABANDONED


def _forget(connection: Connection, before_ns: int) -> None:
    """Deletes claims made before then. One that was altered cannot say when it was made, and stays."""
    for row in connection.execute(select(CLAIMS).where(CLAIMS.c.created_at_ns < before_ns)).all():
        if seals.is_sound(CLAIMS, dict(row._mapping)):
            connection.execute(delete(CLAIMS).where(CLAIMS.c.tenant == row.tenant, CLAIMS.c.key == row.key))
