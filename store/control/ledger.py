"""The ledger: what became of every item that was received, settled exactly once per journal position."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection, update

from core.errors import Corrupt, InvalidInput
from core.ids import TenantId
from core.records import Counts
from store.control import seals
from store.control.records import LedgerRow
from store.control.tables import LEDGER, WATERMARKS

SIGNALS: Final = frozenset({"spans", "log_records", "metric_points"})
_COLUMNS: Final = ("received", "stored", "duplicate", "quarantined", "rejected")

_LOG: Final = logging.getLogger("assay.control")

Deltas = Mapping[tuple[TenantId, str], Counts]


def settled_upto(connection: Connection, journal: int) -> int:
    """The last position of `journal` whose counts are in the ledger; 0 when none is."""
    found = seals.one(connection, WATERMARKS, {"journal": journal})
    return 0 if found is None else int(found.upto_seq)


def watermarks(connection: Connection) -> dict[int, int]:
    """The last settled position of every journal."""
    return {int(row.journal): int(row.upto_seq) for row in seals.rows(connection, WATERMARKS, None)}


def settle(connection: Connection, journal: int, upto_seq: int, deltas: Deltas) -> bool:
    """Adds `deltas` and moves the watermark; False, adding nothing, when it is at or past `upto_seq` already."""
    settled = seals.one(connection, WATERMARKS, {"journal": journal})
    if settled is not None and upto_seq <= settled.upto_seq:
        return False
    add(connection, deltas)
    if settled is None:
        seals.add(connection, WATERMARKS, {"journal": journal, "upto_seq": upto_seq})
    else:
        seals.change(connection, WATERMARKS, settled, upto_seq=upto_seq)
    return True


def add(connection: Connection, deltas: Deltas) -> None:
    """Adds counts that have no journal position. Raises InvalidInput for an unknown signal or a negative count."""
    for (tenant, signal), counts in deltas.items():
        values = {column: getattr(counts, column) for column in _COLUMNS}
        if signal not in SIGNALS:
            raise InvalidInput(f"{signal!r} is not a signal of the ledger; use one of {', '.join(sorted(SIGNALS))}")
        if min(values.values()) < 0:
            raise InvalidInput(f"the ledger only grows; {counts} has a negative count")
        _add(connection, {"tenant": str(tenant), "signal": str(signal)}, values)


def _add(connection: Connection, key: dict[str, str], values: dict[str, int]) -> None:
    try:
        row = seals.one(connection, LEDGER, key)
    except Corrupt as error:
        # Ingest goes on. The line stays one that nobody believes: what it said cannot be known any more.
        _LOG.error("%s", error)
        grown = {column: LEDGER.c[column] + n for column, n in values.items()}
        line = [LEDGER.c[name] == value for name, value in key.items()]
        connection.execute(update(LEDGER).where(*line).values(**grown, seal=None))
        return
    if row is None:
        seals.add(connection, LEDGER, {**key, **values})
    else:
        seals.change(connection, LEDGER, row, **{column: getattr(row, column) + n for column, n in values.items()})


def rows(connection: Connection, tenant: TenantId | None) -> list[LedgerRow]:
    """The lines of one tenant, or of all, sorted by tenant and signal."""
    found = [
        LedgerRow(
            tenant=TenantId(row.tenant),
            signal=row.signal,
            counts=Counts(**{column: getattr(row, column) for column in _COLUMNS}),
        )
        for row in seals.rows(connection, LEDGER, None if tenant is None else {"tenant": str(tenant)})
    ]
    return sorted(found, key=lambda row: (row.tenant, row.signal))  # databases sort text by their own rules
