"""What is kept of monitors for a time only: incidents that were closed, alerts that are over, messages, silences that
have ended. What is open is kept, however old it is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import Connection, Table

from core.ids import TenantId
from store.control import seals
from store.control.monitor_records import DeliveryState
from store.control.monitor_tables import ALERTS, DELIVERIES, INCIDENT_ENTRIES, INCIDENTS, SILENCES

CLOSED: Final = "closed"
RESOLVED: Final = "resolved"


def forget(connection: Connection, tenant: TenantId, before_ns: int) -> dict[str, int]:
    """Drops what was over before then; how many rows of each table went.

    The last incident stays: the next one's number follows from it, and receivers know an incident by its number. With
    an incident go its timeline, alerts and messages, at once or, where it stays, not at all.
    """
    incidents = seals.rows(connection, INCIDENTS, {"tenant": str(tenant)})
    last = max((one.number for one in incidents), default=0)
    old = [
        one
        for one in incidents
        if one.status == CLOSED and one.number != last and one.closed_ns is not None and one.closed_ns < before_ns
    ]
    going, kept = {one.number for one in old}, {one.number for one in incidents} - {one.number for one in old}
    counts = {"incidents": _drop(connection, INCIDENTS, old)}
    entries = _of(connection, INCIDENT_ENTRIES, tenant) if going else []
    counts["entries"] = _drop(connection, INCIDENT_ENTRIES, (one for one in entries if one.incident in going))
    counts["alerts"] = _drop(
        connection,
        ALERTS,
        (
            one
            for one in _of(connection, ALERTS, tenant)
            if one.status == RESOLVED and one.incident not in kept and (one.resolved_ns or one.since_ns) < before_ns
        ),
    )
    counts["deliveries"] = _drop(
        connection,
        DELIVERIES,
        (
            one
            for one in _of(connection, DELIVERIES, tenant)
            if one.incident in going or (one.incident not in kept and _ended_before(one, before_ns))
        ),
    )
    silences = _of(connection, SILENCES, tenant)
    counts["silences"] = _drop(
        connection, SILENCES, (one for one in silences if min(one.end_ns, one.ended_ns or one.end_ns) < before_ns)
    )
    return {name: n for name, n in counts.items() if n}


def _ended_before(delivery: Any, before_ns: int) -> bool:
    return DeliveryState(delivery.state).ended and delivery.ended_ns is not None and delivery.ended_ns < before_ns


def _of(connection: Connection, table: Table, tenant: TenantId) -> list[Any]:
    return seals.rows(connection, table, {"tenant": str(tenant)})


def _drop(connection: Connection, table: Table, rows: Iterable[Any]) -> int:
    n = 0
    for row in rows:
        where = [column == getattr(row, column.name) for column in table.primary_key]
        n += connection.execute(table.delete().where(*where)).rowcount
    return n
