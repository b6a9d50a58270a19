"""The ledger: what became of every item that was received, settled exactly once per journal position."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection, insert, select, update

from core.errors import InvalidInput
from core.ids import TenantId
from core.records import Counts
from store.control.records import LedgerRow
from store.control.tables import LEDGER, WATERMARKS

SIGNALS: Final = frozenset({"spans", "log_records", "metric_points"})
_COLUMNS: Final = ("received", "stored", "duplicate", "quarantined", "rejected")

Deltas = Mapping[tuple[TenantId, str], Counts]


def settled_upto(connection: Connection, journal: int) -> int:
    """The last position of `journal` whose counts are in the ledger; 0 when none is."""
    found = connection.execute(select(WATERMARKS.c.upto_seq).where(WATERMARKS.c.journal == journal)).scalar()
    return 0 if found is None else int(found)


def settle(connection: Connection, journal: int, upto_seq: int, deltas: Deltas) -> bool:
    """Adds `deltas` and moves the watermark; False, adding nothing, when it is at or past `upto_seq` already."""
    settled = connection.execute(select(WATERMARKS.c.upto_seq).where(WATERMARKS.c.journal == journal)).scalar()
    if settled is not None and upto_seq <= settled:
        return False
    add(connection, deltas)
    if settled is None:
        connection.execute(insert(WATERMARKS).values(journal=journal, upto_seq=upto_seq))
    else:
        connection.execute(update(WATERMARKS).where(WATERMARKS.c.journal == journal).values(upto_seq=upto_seq))
    return True


def add(connection: Connection, deltas: Deltas) -> None:
    """Adds counts that have no journal position. Raises InvalidInput for an unknown signal or a negative count."""
    for (tenant, signal), counts in deltas.items():
        values = {column: getattr(counts, column) for column in _COLUMNS}
        if signal not in SIGNALS:
            raise InvalidInput(f"{signal!r} is not a signal of the ledger; use one of {', '.join(sorted(SIGNALS))}")
        if min(values.values()) < 0:
            raise InvalidInput(f"the ledger only grows; {counts} has a negative count")
        row = (LEDGER.c.tenant == tenant) & (LEDGER.c.signal == signal)
        grown = {column: LEDGER.c[column] + n for column, n in values.items()}
        if connection.execute(update(LEDGER).where(row).values(**grown)).rowcount == 0:
            connection.execute(insert(LEDGER).values(tenant=tenant, signal=signal, **values))


def rows(connection: Connection, tenant: TenantId | None) -> list[LedgerRow]:
    """The lines of one tenant, or of all, sorted by tenant and signal."""
    query = select(LEDGER)
    if tenant is not None:
        query = query.where(LEDGER.c.tenant == tenant)
    found = [
        LedgerRow(
            tenant=TenantId(row.tenant),
            signal=row.signal,
            counts=Counts(**{column: getattr(row, column) for column in _COLUMNS}),
        )
        for row in connection.execute(query)
    ]
    return sorted(found, key=lambda row: (row.tenant, row.signal))  # databases sort text by their own rules
