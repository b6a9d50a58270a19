"""Decisions of gates: one row each, and beside it the bundle that it can be computed again from. They never change, but
that an erasure takes ids of sessions out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection

from core.errors import Corrupt, NotFound
from core.ids import TenantId
from store.control import seals
from store.control.tables import GATE_BUNDLES, GATE_DECISIONS


@dataclass(frozen=True, kw_only=True)
class GateRecord:
    """A decision as it is kept. `told` is all of it as JSON, `digest` that of its bundle, `dataset` None where there
    was no run."""

    tenant: TenantId
    gate_id: str
    app: str
    candidate: str
    baseline: str
    dataset: str | None
    policy_name: str | None
    decision: str
    told: Mapping[str, Any]
    digest: str
    made_by: str
    made_at_ns: int


def add(connection: Connection, record: GateRecord, bundle: bytes) -> None:
    """Writes a decision and its bundle."""
    key = {"tenant": str(record.tenant), "gate_id": record.gate_id}
    names = ("app", "candidate", "baseline", "dataset", "policy_name", "decision", "digest", "made_by", "made_at_ns")
    seals.add(
        connection,
        GATE_DECISIONS,
        {**key, **{name: getattr(record, name) for name in names}, "told": _text(record.told)},
    )
    seals.add(connection, GATE_BUNDLES, {**key, "n_bytes": len(bundle), "body": _packed(bundle)})


def rewrite(
    connection: Connection, tenant: TenantId, gate_id: str, told: Mapping[str, Any], digest: str, bundle: bytes
) -> None:
    """Writes a decision and its bundle without what was erased. Raises NotFound."""
    key = {"tenant": str(tenant), "gate_id": gate_id}
    decision, kept = seals.one(connection, GATE_DECISIONS, key), seals.one(connection, GATE_BUNDLES, key)
    if decision is None or kept is None:
        raise _unknown(gate_id)
    seals.change(connection, GATE_DECISIONS, decision, told=_text(told), digest=digest)
    seals.change(connection, GATE_BUNDLES, kept, n_bytes=len(bundle), body=_packed(bundle))


def rows(connection: Connection, tenant: TenantId, app: str | None) -> list[GateRecord]:
    """The decisions of a tenant, of one app or of all, newest first."""
    key = {"tenant": str(tenant)} | ({} if app is None else {"app": app})
    found = map(_record, seals.rows(connection, GATE_DECISIONS, key))
    return sorted(found, key=lambda one: (-one.made_at_ns, one.gate_id))


def need(connection: Connection, tenant: TenantId, gate_id: str) -> GateRecord:
    """One decision. Raises NotFound."""
    row = seals.one(connection, GATE_DECISIONS, {"tenant": str(tenant), "gate_id": gate_id})
    if row is None:
        raise _unknown(gate_id)
    return _record(row)


def bundle(connection: Connection, tenant: TenantId, gate_id: str) -> bytes:
    """The bundle of a decision, as it was written. Raises NotFound, Corrupt."""
    row = seals.one(connection, GATE_BUNDLES, {"tenant": str(tenant), "gate_id": gate_id})
    if row is None:
        raise _unknown(gate_id)
    try:
        return bytes(pa.decompress(row.body, decompressed_size=row.n_bytes, codec="zstd", asbytes=True))
    except (OSError, pa.ArrowException) as error:
        raise Corrupt(f"the bundle of {gate_id[:60]} cannot be unpacked; run assay doctor") from error


def _text(told: Mapping[str, Any]) -> str:
    return json.dumps(told, ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _packed(bundle: bytes) -> bytes:
    return bytes(pa.compress(bundle, codec="zstd", asbytes=True))


def _unknown(gate_id: str) -> NotFound:
    return NotFound(f"there is no decision {gate_id[:60]!r} of a gate")


def _record(row: Any) -> GateRecord:
    names = ("gate_id", "app", "candidate", "baseline", "dataset", "policy_name", "decision", "digest", "made_by")
    return GateRecord(
        tenant=TenantId(row.tenant),
        told=json.loads(row.told),
        made_at_ns=row.made_at_ns,
        **{name: getattr(row, name) for name in names},
    )
