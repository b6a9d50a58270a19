"""Erasure of a user: what would go, the order to do it, and the receipts."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field

from core.records import Principal, Role
from server.erasing import MOST_ID_CHARS, Erasing, resume_in_child
from server.policy import ServicesOf, known_parameters_only, names_once, needs
from server.routes.keys import rfc3339
from store.control.erasures import Erasure

router = APIRouter(
    prefix="/api/v1/erasures", tags=["erasures"], dependencies=[Depends(known_parameters_only), Depends(names_once)]
)

Admin = Annotated[Principal, Depends(needs(Role.ADMIN))]


class Wanted(BaseModel):
    """Whom to erase, by the id as it was sent. `dry_run` counts and changes nothing."""

    model_config = ConfigDict(extra="forbid")

    user_id: Annotated[str, Field(min_length=1, max_length=MOST_ID_CHARS)]
    dry_run: bool = True


class Foreseen(BaseModel):
    """What would go, by table. What waits in the journal or a gateway is not counted."""

    dry_run: bool = True
    traces: int
    sessions: int
    days: int
    rows: dict[str, int]
    files: dict[str, int]
    agent_rows: dict[str, int]
    examples: int


class Shown(BaseModel):
    """An erasure. `subject` is a keyed hash of the id; `receipt` has the counts once it is done."""

    erasure_id: str
    subject: str
    state: str
    requested_at: str
    finished_at: str | None
    receipt: dict[str, Any] | None


class Erasures(BaseModel):
    """The erasures of a tenant, newest first."""

    items: list[Shown]
    next_cursor: None = None


@router.post("", responses={202: {"model": Shown}})
def erase(wanted: Wanted, caller: Admin, services: ServicesOf, response: Response) -> Foreseen | Shown:
    """Counts (200), or puts the erasure on record and lets a process of its own carry it out (202)."""
    erasing = Erasing(services.settings)
    try:
        if wanted.dry_run:
            found = erasing.foreseen(caller.tenant, wanted.user_id)
            return Foreseen(
                traces=len(found.traces),
                sessions=len(found.sessions),
                days=len(found.dates),
                rows=found.rows,
                files=found.files,
                agent_rows=erasing.foreseen_in_agent(caller.tenant, wanted.user_id),
                examples=erasing.foreseen_examples(caller.tenant, wanted.user_id, found),
            )
        begun = erasing.begin(caller.tenant, wanted.user_id, by=caller)
    finally:
        erasing.close()
    resume_in_child(services.settings)
    response.status_code = 202
    return _shown(begun)


@router.get("")
def list_erasures(caller: Admin, services: ServicesOf) -> Erasures:
    """All erasures of the tenant, with their receipts."""
    return Erasures(items=[_shown(each) for each in services.control.erasures(caller.tenant)])


@router.get("/{erasure_id}")
def show_erasure(erasure_id: str, caller: Admin, services: ServicesOf) -> Shown:
    """One erasure of the tenant."""
    return _shown(services.control.erasure(caller.tenant, erasure_id))


def _shown(each: Erasure) -> Shown:
    return Shown(
        erasure_id=each.erasure_id,
        subject=each.subject,
        state="under_way" if each.finished_at_ns is None else "done",
        requested_at=rfc3339(each.requested_at_ns) or "",
        finished_at=rfc3339(each.finished_at_ns),
        receipt=None if each.receipt is None else dict(each.receipt),
    )
