"""Whether the ledger adds up: received = stored + duplicate + quarantined + rejected, per tenant and signal."""

from __future__ import annotations

from collections.abc import Iterable

from core.ids import TenantId
from core.records import Counts
from store.control.integrity import sound_rows_at
from store.control.records import LedgerRow
from store.control.seals import Values
from store.control.tables import LEDGER
from store.doctor import Check


def ledger_checks(rows: Iterable[LedgerRow]) -> list[Check]:
    """One check per row, from its counts."""
    return [_check(row) for row in rows]


def ledger_at(url: str) -> list[LedgerRow]:
    """Every tenant's rows in the control database at `url`, which is not changed; none where there is no file.

    Rows that were altered are left out: the check of the control database names them. Raises StorageFailed.
    """
    return [_row(values) for values in sound_rows_at(url, LEDGER)]


def _row(values: Values) -> LedgerRow:
    counts = {name: int(str(values[name])) for name in ("received", "stored", "duplicate", "quarantined", "rejected")}
    return LedgerRow(tenant=TenantId(str(values["tenant"])), signal=str(values["signal"]), counts=Counts(**counts))


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
