"""Rows of the control database for tests that need one of a kind."""

from __future__ import annotations

from core.ids import TenantId
from store.control.gates import GateRecord


def decided(tenant: TenantId, gate_id: str = "gate_1", *, app: str = "desk", at_ns: int = 10**18) -> GateRecord:
    """A decision of a gate."""
    return GateRecord(
        tenant=tenant,
        gate_id=gate_id,
        app=app,
        candidate="v2",
        baseline="v1",
        dataset="golden",
        policy_name=None,
        decision="pass",
        told={"decision": "pass", "reasons": [{"text": "\u00e9 \u0000"}]},
        digest="ab" * 32,
        made_by="ann",
        made_at_ns=at_ns,
    )
