"""The tenant's audit chain: who changed what, and whether the records are all there and as they were written."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from core.records import Principal, Role
from core.windows import Window
from server.policy import ServicesOf, known_parameters_only, needs
from server.routes.keys import rfc3339
from store.control.records import AuditHead, AuditRecord
from store.cursor import Position

router = APIRouter(prefix="/api/v1/audit", tags=["audit"], dependencies=[Depends(known_parameters_only)])

Admin = Annotated[Principal, Depends(needs(Role.ADMIN))]

_LIST = "audit"
_ALWAYS = Window(start_ns=0, end_ns=2**63 - 1)


class AuditLine(BaseModel):
    """One change. `hash` covers it and every record before it."""

    seq: int
    at: str
    actor: str
    actor_key_id: str | None
    action: str
    resource: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    hash: str


class AuditLines(BaseModel):
    """A page of changes, newest first."""

    items: list[AuditLine]
    next_cursor: str | None


class Head(BaseModel):
    """The last link; noted elsewhere and given back later, it proves that nothing was cut off."""

    seq: int
    hash: str


class Verdict(BaseModel):
    """Whether the chain is whole; if not, where it breaks and how."""

    ok: bool
    n_records: int
    head: Head | None
    first_bad_seq: int | None
    reason: str | None


@router.get("")
def list_audit(
    caller: Admin,
    services: ServicesOf,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    cursor: str | None = None,
) -> AuditLines:
    """The tenant's changes, newest first. That they were read is a record too."""
    before = None
    if cursor is not None:
        before = services.cursors.decode(cursor, tenant=caller.tenant, query=_LIST).order
    records = services.control.list_audit(caller.tenant, before_seq=before, limit=limit + 1)
    if cursor is None:
        services.control.record(caller, "audit.read", "audit")
    shown, more = records[:limit], len(records) > limit
    after = Position(order=shown[-1].seq, row_id="", window=_ALWAYS) if more else None
    return AuditLines(
        items=[_line(record) for record in shown],
        next_cursor=None if after is None else services.cursors.encode(after, tenant=caller.tenant, query=_LIST),
    )


@router.get("/verify")
def verify(
    caller: Admin,
    services: ServicesOf,
    noted_seq: Annotated[int | None, Query(ge=1)] = None,
    noted_hash: Annotated[str | None, Query(pattern="^[0-9a-f]{64}$")] = None,
) -> Verdict:
    """Walks the whole chain. `noted_seq` and `noted_hash` are a head that was answered earlier."""
    noted = AuditHead(seq=noted_seq, hash=noted_hash) if noted_seq is not None and noted_hash is not None else None
    found = services.control.verify(caller.tenant, noted)
    return Verdict(
        ok=found.ok,
        n_records=found.n_records,
        head=None if found.head is None else Head(seq=found.head.seq, hash=found.head.hash),
        first_bad_seq=found.first_bad_seq,
        reason=found.reason,
    )


def _line(record: AuditRecord) -> AuditLine:
    return AuditLine(
        seq=record.seq,
        at=rfc3339(record.at_ns) or "",
        actor=record.actor,
        actor_key_id=record.actor_key_id,
        action=record.action,
        resource=record.resource,
        before=None if record.before is None else dict(record.before),
        after=None if record.after is None else dict(record.after),
        hash=record.hash,
    )
