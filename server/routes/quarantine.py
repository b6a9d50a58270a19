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
    upto, n_shown = 2**63 - 1, 0  # rows of one request share its seq: a page goes on behind those it has shown
    if cursor is None:
        window = window_of(now_ns=services.clock(), start=start, end=end, since=since)
    else:
        position = services.cursors.decode(cursor, tenant=caller.tenant, query=query)
        window, upto, n_shown = position.window, position.order, int(position.row_id or 0)
    rows = _rows(services, caller, window, upto, n_shown + limit + 1)[n_shown:]
    shown = rows[:limit]
    after: Position | None = None
    if len(rows) > limit:
        last = shown[-1].seq
        n_same = sum(row.seq == last for row in shown) + (n_shown if last == upto else 0)
        after = Position(order=last, row_id=str(n_same), window=window)
    return QuarantinePage(
        items=shown,
        next_cursor=None if after is None else services.cursors.encode(after, tenant=caller.tenant, query=query),
    )


def _rows(services: Services, caller: Principal, window: Window, upto: int, limit: int) -> list[Quarantined]:
    store = services.store.tenant(caller.tenant)
    table = store.table("quarantine")
    arrived = table.ingested_at
    kept = (arrived >= to_datetime(window.start_ns)) & (arrived < to_datetime(window.end_ns))
    columns = ["tenant", "ingested_at", "signal", "reason", "detail", "payload_bytes", "seq"]
    chosen = table.filter(kept & (table.seq <= upto)).select(columns)
    order = [chosen.seq.desc(), *(name for name in columns if name != "seq")]  # whose order is open look the same
    rows = store.arrow(chosen.order_by(order).limit(limit))
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
