"""What the tenant sent that could not be kept, and why. The payloads themselves stay sealed."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from core.clock import to_datetime
from core.records import Principal, Role
from core.windows import Window, window_of
from server.policy import ServicesOf, known_parameters_only, needs
from server.wiring import Services
from store.cursor import Position

router = APIRouter(prefix="/api/v1/quarantine", tags=["quarantine"], dependencies=[Depends(known_parameters_only)])


class Quarantined(BaseModel):
    """One thing that was set aside. `reason` is a code, `detail` says what is wrong and what to do."""

    ingested_at: str
    signal: str
    reason: str
    detail: str
    payload_bytes: int
    seq: int


class QuarantinePage(BaseModel):
    """A page, newest first."""

    items: list[Quarantined]
    next_cursor: str | None


@router.get("")
def list_quarantine(
    caller: Annotated[Principal, Depends(needs(Role.POWER_USER))],
    services: ServicesOf,
    since: str | None = None,
    start: str | None = None,
    end: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    cursor: str | None = None,
) -> QuarantinePage:
    """What was set aside in the window (by the time it arrived), newest first."""
    query = f"quarantine {since} {start} {end}"
    below: int | None = None
    if cursor is None:
        window = window_of(now_ns=services.clock(), start=start, end=end, since=since)
    else:
        position = services.cursors.decode(cursor, tenant=caller.tenant, query=query)
        window, below = position.window, position.order
    rows = _rows(services, caller, window, below, limit + 1)
    shown = rows[:limit]
    after = Position(order=shown[-1].seq, row_id="", window=window) if len(rows) > limit else None
    return QuarantinePage(
        items=shown,
        next_cursor=None if after is None else services.cursors.encode(after, tenant=caller.tenant, query=query),
    )


def _rows(services: Services, caller: Principal, window: Window, below: int | None, limit: int) -> list[Quarantined]:
    store = services.store.tenant(caller.tenant)
    table = store.table("quarantine")
    arrived = table.ingested_at
    kept = (arrived >= to_datetime(window.start_ns)) & (arrived < to_datetime(window.end_ns))
    if below is not None:
        kept = kept & (table.seq < below)
    columns = ["tenant", "ingested_at", "signal", "reason", "detail", "payload_bytes", "seq"]
    rows = store.arrow(table.filter(kept).order_by(table.seq.desc()).limit(limit).select(columns))
    return [
        Quarantined(
            ingested_at=row["ingested_at"].strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            signal=row["signal"] or "",
            reason=row["reason"] or "",
            detail=row["detail"] or "",
            payload_bytes=row["payload_bytes"] or 0,
            seq=row["seq"],
        )
        for row in rows.to_pylist()
    ]
