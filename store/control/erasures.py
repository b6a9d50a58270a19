"""Erasures: an intent that outlives a kill, and the receipt that is left of it.

While it runs, an erasure has to know whom it is about. The id and what belongs to it stand in `sealed`, encrypted by
the caller; when it is done they are gone, and only the keyed hash of the id and counts remain.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, delete

from core.errors import NotFound
from core.ids import TenantId
from store.control import seals
from store.control.records import Json
from store.control.tables import CLAIMS, ERASURES


@dataclass(frozen=True, kw_only=True)
class Erasure:
    """One request to erase a user. `receipt` and `finished_at_ns` are None while it is under way, `sealed` after."""

    erasure_id: str
    tenant: TenantId
    subject: str  # keyed hash of the user's id, hexadecimal
    requested_at_ns: int
    finished_at_ns: int | None = None
    receipt: Json | None = None
    sealed: bytes | None = field(default=None, repr=False)


def subject_of(pepper: bytes, tenant: TenantId, user_id: str) -> str:
    """What stands for a user's id in records that stay: HMAC-SHA256 under the pepper, hexadecimal."""
    text = f"assay erasure subject v1\0{tenant}\0{user_id}"
    return hmac.digest(pepper, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hex()


def stand_in(pepper: bytes, tenant: TenantId, text: str) -> str:
    """What stands for the id of an erased session, trace or example in records that stay: always the same."""
    return f"erased-{subject_of(pepper, tenant, text)[:32]}"


def add(connection: Connection, erasure: Erasure) -> None:
    """Adds an erasure that is under way."""
    seals.add(
        connection,
        ERASURES,
        {
            "erasure_id": erasure.erasure_id,
            "tenant": str(erasure.tenant),
            "subject": erasure.subject,
            "sealed": erasure.sealed,
            "requested_at_ns": erasure.requested_at_ns,
        },
    )


def under_way(connection: Connection, tenant: TenantId, subject: str) -> Erasure | None:
    """The tenant's unfinished erasure of a subject, or None."""
    found = seals.rows(connection, ERASURES, {"tenant": str(tenant), "subject": subject})
    return next((_record(row) for row in found if row.finished_at_ns is None), None)


def need(connection: Connection, tenant: TenantId, erasure_id: str) -> Erasure:
    """One erasure of the tenant. Raises NotFound, also for one of another tenant."""
    row = seals.one(connection, ERASURES, {"tenant": str(tenant), "erasure_id": erasure_id})
    if row is None:
        raise NotFound(f"there is no erasure {erasure_id!r}")
    return _record(row)


def rows(connection: Connection, tenant: TenantId | None, *, unfinished: bool) -> list[Erasure]:
    """The erasures of a tenant, or of all, newest first."""
    found = map(_record, seals.rows(connection, ERASURES, None if tenant is None else {"tenant": str(tenant)}))
    wanted = [each for each in found if not (unfinished and each.finished_at_ns is not None)]
    return sorted(wanted, key=lambda each: (-each.requested_at_ns, each.erasure_id))


def seal(connection: Connection, erasure_id: str, sealed: bytes) -> None:
    """Replaces what an erasure under way has to remember."""
    _change(connection, erasure_id, sealed=sealed)


def finish(connection: Connection, erasure_id: str, receipt: Json, at_ns: int) -> None:
    """Keeps the receipt and forgets whom it was about."""
    done = {"sealed": None, "finished_at_ns": at_ns, "receipt": json.dumps(receipt, sort_keys=True)}
    _change(connection, erasure_id, **done)


def _change(connection: Connection, erasure_id: str, **changes: object) -> None:
    row = seals.one(connection, ERASURES, {"erasure_id": erasure_id})
    if row is not None:
        seals.change(connection, ERASURES, row, **changes)


def forget_claims(connection: Connection, tenant: TenantId, user_id: str) -> int:
    """Deletes the tenant's idempotency keys that contain a user's id; returns how many."""
    named = CLAIMS.c.key.contains(user_id, autoescape=True)
    return connection.execute(delete(CLAIMS).where(CLAIMS.c.tenant == tenant, named)).rowcount


def _record(row: Any) -> Erasure:
    return Erasure(
        erasure_id=row.erasure_id,
        tenant=TenantId(row.tenant),
        subject=row.subject,
        sealed=row.sealed,
        requested_at_ns=row.requested_at_ns,
        finished_at_ns=row.finished_at_ns,
        receipt=None if row.receipt is None else json.loads(row.receipt),
    )
