"""The part of the control database that keeps what gates decided."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.ids import TenantId
from core.records import Principal
from store.control import gates, tenants
from store.control.erasures import stand_in
from store.control.gates import GateRecord
from store.control.transactions import Transactions


class Gating(Transactions):
    """Decisions of gates; every method is one transaction, as everywhere in `Control`."""

    def add_gate(self, record: GateRecord, bundle: bytes, *, by: Principal) -> None:
        """Keeps a decision with its bundle. Raises NotFound for an unknown tenant."""
        with self._changing() as connection:
            tenants.need(connection, record.tenant)
            gates.add(connection, record, bundle)
            names = ("app", "candidate", "baseline", "dataset", "decision", "digest")
            after = {name: getattr(record, name) for name in names}
            self._audit(connection, by, record.tenant, "gate.decide", f"gate/{record.gate_id}", after)

    def rewrite_gate(self, record: GateRecord, told: Mapping[str, Any], digest: str, bundle: bytes) -> None:
        """Keeps a decision and its bundle without ids that were erased; the audit log has both digests. Raises
        NotFound."""
        with self._changing() as connection:
            gates.rewrite(connection, record.tenant, record.gate_id, told, digest, bundle)
            resource, before = f"gate/{record.gate_id}", {"digest": record.digest}
            self._audit(connection, None, record.tenant, "gate.forget", resource, {"digest": digest}, before)

    def stand_in(self, tenant: TenantId, text: str) -> str:
        """What stands for the id of an erased session or trace in records that stay."""
        return stand_in(self._pepper, tenant, text)

    def gates(self, tenant: TenantId, app: str | None = None) -> list[GateRecord]:
        """The tenant's decisions, of one app or of all, newest first."""
        with self._database.read() as connection:
            return gates.rows(connection, tenant, app)

    def gate(self, tenant: TenantId, gate_id: str) -> GateRecord:
        """One decision. Raises NotFound, also for another tenant's."""
        with self._database.read() as connection:
            return gates.need(connection, tenant, gate_id)

    def gate_bundle(self, tenant: TenantId, gate_id: str) -> bytes:
        """The bundle of a decision: JSON text as it was made. Raises NotFound, Corrupt."""
        with self._database.read() as connection:
            return gates.bundle(connection, tenant, gate_id)
