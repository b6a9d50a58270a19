"""Idempotency keys: the first request with a key claims it together with the answer it is going to give.

The answer (for example the ids of what will be created) is decided before the work, so a retry after a crash does the
same work under the same ids, and work that is itself exactly once stays so.
"""

from __future__ import annotations

import hmac
from typing import Final

from sqlalchemy import Connection, delete, select

from core.clock import NS_PER_S
from core.errors import Conflict
from core.ids import TenantId
from store.control import seals
from store.control.records import Claim, ClaimState
from store.control.tables import CLAIMS

KEPT_NS: Final = 24 * 3600 * NS_PER_S


def claim(connection: Connection, tenant: TenantId, key: str, body_hash: bytes, answer: str, at_ns: int) -> Claim:
    """The claim on `key`: ours with `answer`, or the earlier one with its answer.

    Raises Conflict when the key was used with another body. Claims are forgotten after a day.
    """
    _forget(connection, at_ns - KEPT_NS)
    row = seals.one(connection, CLAIMS, {"tenant": str(tenant), "key": key})
    if row is None:
        values = {"tenant": str(tenant), "key": key, "body_hash": body_hash, "answer": answer, "created_at_ns": at_ns}
        seals.add(connection, CLAIMS, values)
        return Claim(state=ClaimState.NEW, answer=answer)
    if not hmac.compare_digest(row.body_hash, body_hash):
        raise Conflict("this Idempotency-Key was used with another body; use a fresh key for a new request")
    return Claim(state=ClaimState.PENDING if row.finished_at_ns is None else ClaimState.DONE, answer=row.answer)


def finish(connection: Connection, tenant: TenantId, key: str, at_ns: int) -> None:
    """Notes that the work behind the claim is done."""
    row = seals.one(connection, CLAIMS, {"tenant": str(tenant), "key": key})
    if row is not None:
        seals.change(connection, CLAIMS, row, finished_at_ns=at_ns)


def _forget(connection: Connection, before_ns: int) -> None:
    """Deletes claims made before then. One that was altered cannot say when it was made, and stays."""
    for row in connection.execute(select(CLAIMS).where(CLAIMS.c.created_at_ns < before_ns)).all():
        if seals.is_sound(CLAIMS, dict(row._mapping)):
            connection.execute(delete(CLAIMS).where(CLAIMS.c.tenant == row.tenant, CLAIMS.c.key == row.key))
