"""Idempotency keys: the first request with a key claims it together with the answer it is going to give.

The answer (for example the ids of what will be created) is decided before the work, so a retry after a crash does the
same work under the same ids, and work that is itself exactly once stays so.
"""

from __future__ import annotations

import hmac
from typing import Final

from sqlalchemy import Connection, delete, insert, select, update

from core.clock import NS_PER_S
from core.errors import Conflict
from core.ids import TenantId
from store.control.records import Claim, ClaimState
from store.control.tables import CLAIMS

KEPT_NS: Final = 24 * 3600 * NS_PER_S


def claim(connection: Connection, tenant: TenantId, key: str, body_hash: bytes, answer: str, at_ns: int) -> Claim:
    """The claim on `key`: ours with `answer`, or the earlier one with its answer.

    Raises Conflict when the key was used with another body. Claims are forgotten after a day.
    """
    connection.execute(delete(CLAIMS).where(CLAIMS.c.created_at_ns < at_ns - KEPT_NS))
    row = connection.execute(select(CLAIMS).where(CLAIMS.c.tenant == tenant, CLAIMS.c.key == key)).first()
    if row is None:
        connection.execute(
            insert(CLAIMS).values(tenant=tenant, key=key, body_hash=body_hash, answer=answer, created_at_ns=at_ns)
        )
        return Claim(state=ClaimState.NEW, answer=answer)
    if not hmac.compare_digest(row.body_hash, body_hash):
        raise Conflict("this Idempotency-Key was used with another body; use a fresh key for a new request")
    return Claim(state=ClaimState.PENDING if row.finished_at_ns is None else ClaimState.DONE, answer=row.answer)


def finish(connection: Connection, tenant: TenantId, key: str, at_ns: int) -> None:
    """Notes that the work behind the claim is done."""
    connection.execute(
        update(CLAIMS).where(CLAIMS.c.tenant == tenant, CLAIMS.c.key == key).values(finished_at_ns=at_ns)
    )
