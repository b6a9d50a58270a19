"""Whether the ledger adds up: received = stored + duplicate + quarantined + rejected, per tenant and signal."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from core.errors import StorageFailed
from core.ids import TenantId
from core.records import Counts
from store.control.records import LedgerRow
from store.doctor import Check

_ROWS = """
    SELECT tenant, signal, received, stored, duplicate, quarantined, rejected FROM ledger ORDER BY tenant, signal
"""


def ledger_checks(rows: Iterable[LedgerRow]) -> list[Check]:
    """One check per row, from its counts."""
    return [_check(row) for row in rows]


def ledger_of_folder(data_dir: Path) -> list[LedgerRow]:
    """Every tenant's rows, read from control.db of a data folder without changing it; none where there is no file.

    Raises StorageFailed.
    """
    path = data_dir / "control.db"
    if not path.exists():
        return []
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)) as connection:
            return [_row(*found) for found in connection.execute(_ROWS)]
    except sqlite3.Error as error:
        raise StorageFailed(f"the ledger in {path} cannot be read: {error}") from error


def _row(tenant: str, signal: str, *counts: int) -> LedgerRow:
    names = ("received", "stored", "duplicate", "quarantined", "rejected")
    return LedgerRow(tenant=TenantId(tenant), signal=signal, counts=Counts(**dict(zip(names, counts, strict=True))))


def _check(row: LedgerRow) -> Check:
    parts = {"stored": row.stored, "duplicate": row.duplicate, "quarantined": row.quarantined, "rejected": row.rejected}
    sums = " + ".join(f"{count} {name}" for name, count in parts.items())
    name = f"ledger: {row.signal} of {row.tenant}"
    missing = row.received - sum(parts.values())
    if missing == 0:
        return Check(name=name, status="ok", detail=f"{row.received} received = {sums}")
    return Check(
        name=name,
        status="fail",
        detail=f"{row.received} received is not {sums}: {missing} unaccounted for",
        remedy="keep the data folder; run `assay doctor` again in a minute, then report it",
    )
