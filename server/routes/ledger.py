"""The tenant's ledger: what became of everything it sent."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from core.records import Principal, Role
from server.policy import ServicesOf, known_parameters_only, needs

router = APIRouter(prefix="/api/v1/ledger", tags=["ledger"], dependencies=[Depends(known_parameters_only)])


class LedgerLine(BaseModel):
    """The counts of one signal. `balanced`: received = stored + duplicate + quarantined + rejected."""

    signal: str
    received: int
    stored: int
    duplicate: int
    quarantined: int
    rejected: int
    balanced: bool


class LedgerLines(BaseModel):
    """One line per signal that was ever received."""

    items: list[LedgerLine]
    next_cursor: None = None


@router.get("")
def read_ledger(caller: Annotated[Principal, Depends(needs(Role.VIEWER))], services: ServicesOf) -> LedgerLines:
    """The caller's tenant's counts."""
    return LedgerLines(
        items=[
            LedgerLine(
                signal=row.signal,
                received=row.received,
                stored=row.stored,
                duplicate=row.duplicate,
                quarantined=row.quarantined,
                rejected=row.rejected,
                balanced=row.counts.balanced,
            )
            for row in services.control.ledger(caller.tenant)
        ]
    )
