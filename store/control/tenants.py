"""Tenants: their rows, and the PII policy as JSON text."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection

from core.errors import InvalidInput, NotFound
from core.ids import TenantId
from core.records import PiiEntity, PiiMode, PiiPolicy
from store.control import seals
from store.control.records import TenantRecord
from store.control.tables import TENANTS


def create(connection: Connection, tenant: TenantId, at_ns: int) -> TenantRecord:
    """Adds a tenant with the default choices: everything redacted, nothing deleted."""
    record = TenantRecord(id=tenant, created_at_ns=at_ns, pii=PiiPolicy(), retention_days=None)
    values = {"id": str(tenant), "created_at_ns": at_ns, "pii": pii_text(record.pii), "retention_days": None}
    seals.add(connection, TENANTS, values)
    return record


def find(connection: Connection, tenant: TenantId) -> TenantRecord | None:
    """The tenant, or None."""
    row = seals.one(connection, TENANTS, {"id": str(tenant)})
    return None if row is None else _record(row)


def need(connection: Connection, tenant: TenantId) -> TenantRecord:
    """The tenant. Raises NotFound."""
    record = find(connection, tenant)
    if record is None:
        raise NotFound(f"there is no tenant {tenant!r}")
    return record


def every(connection: Connection) -> list[TenantRecord]:
    """All tenants, by name."""
    return sorted(map(_record, seals.rows(connection, TENANTS)), key=lambda record: record.id)


def replace_choices(connection: Connection, record: TenantRecord) -> None:
    """Writes the choices of `record`. Raises InvalidInput for a retention out of range."""
    days = record.retention_days
    if days is not None and not 1 <= days <= 36_500:
        raise InvalidInput("retention_days must be from 1 to 36500, or null to keep everything", "retention_days")
    row = seals.one(connection, TENANTS, {"id": str(record.id)})
    if row is not None:
        seals.change(connection, TENANTS, row, pii=pii_text(record.pii), retention_days=days)


def pii_json(policy: PiiPolicy) -> dict[str, object]:
    """`policy` as a JSON object."""
    return {
        "default": policy.default.value,
        "by_entity": {entity.value: mode.value for entity, mode in sorted(policy.by_entity.items())},
    }


def pii_text(policy: PiiPolicy) -> str:
    """`policy` as the text of its column."""
    return json.dumps(pii_json(policy))


def choices_json(record: TenantRecord) -> dict[str, object]:
    """What an audit record says of a tenant."""
    return {"pii": pii_json(record.pii), "retention_days": record.retention_days}


def _record(row: Any) -> TenantRecord:
    pii = json.loads(row.pii)
    return TenantRecord(
        id=TenantId(row.id),
        created_at_ns=row.created_at_ns,
        pii=PiiPolicy(
            default=PiiMode(pii["default"]),
            by_entity={PiiEntity(entity): PiiMode(mode) for entity, mode in pii["by_entity"].items()},
        ),
        retention_days=row.retention_days,
    )
