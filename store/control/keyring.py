"""Rows of API keys. Lookups that serve a caller name the tenant; only the door looks a key up by its id alone."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from core.errors import Conflict, NotFound
from core.ids import KeyId, TenantId
from core.records import Role
from store.control import seals
from store.control.records import KeyRecord
from store.control.tables import API_KEYS


def find(connection: Connection, key_id: KeyId) -> KeyRecord | None:
    """The key with this id, of whatever tenant and in whatever state, or None."""
    row = seals.one(connection, API_KEYS, {"key_id": str(key_id)})
    return None if row is None else _record(row)


def need(connection: Connection, tenant: TenantId, key_id: KeyId) -> KeyRecord:
    """The tenant's key. Raises NotFound, also for a key of another tenant."""
    record = find(connection, key_id)
    if record is None or record.tenant != tenant:
        raise NotFound(f"there is no key {key_id!r}")
    return record


def add(connection: Connection, record: KeyRecord) -> None:
    """Adds a key. Raises Conflict when its id is taken."""
    if find(connection, record.key_id) is not None:
        raise Conflict(f"there is a key {record.key_id!r} already")
    seals.add(
        connection,
        API_KEYS,
        {
            "key_id": str(record.key_id),
            "tenant": str(record.tenant),
            "role": record.role.value,
            "name": record.name,
            "digest": record.digest,
            "created_at_ns": record.created_at_ns,
            "expires_at_ns": record.expires_at_ns,
        },
    )


def of_tenant(connection: Connection, tenant: TenantId) -> list[KeyRecord]:
    """The tenant's keys, oldest first, revoked ones too."""
    found = map(_record, seals.rows(connection, API_KEYS, {"tenant": str(tenant)}))
    return sorted(found, key=lambda record: (record.created_at_ns, record.key_id))


def every(connection: Connection) -> list[KeyRecord]:
    """The keys of all tenants, revoked ones too."""
    return [_record(row) for row in seals.rows(connection, API_KEYS)]


def revoke(connection: Connection, record: KeyRecord, at_ns: int) -> None:
    """Marks the key revoked. Raises Conflict when it is the tenant's last usable admin key."""
    if record.role is Role.ADMIN and record.usable(at_ns) and _n_usable_admins(connection, record.tenant, at_ns) == 1:
        raise Conflict("this is the tenant's last admin key; create another admin key before revoking it")
    _change(connection, record.key_id, revoked_at_ns=at_ns)


def touch(connection: Connection, key_id: KeyId, at_ns: int) -> None:
    """Notes that the key was used at `at_ns`."""
    _change(connection, key_id, last_used_at_ns=at_ns)


def _change(connection: Connection, key_id: KeyId, **changes: int) -> None:
    row = seals.one(connection, API_KEYS, {"key_id": str(key_id)})
    if row is not None:
        seals.change(connection, API_KEYS, row, **changes)


def _n_usable_admins(connection: Connection, tenant: TenantId, at_ns: int) -> int:
    return sum(key.role is Role.ADMIN and key.usable(at_ns) for key in of_tenant(connection, tenant))


def _record(row: Any) -> KeyRecord:
    return KeyRecord(
        key_id=KeyId(row.key_id),
        tenant=TenantId(row.tenant),
        role=Role(row.role),
        name=row.name,
        digest=row.digest,
        created_at_ns=row.created_at_ns,
        expires_at_ns=row.expires_at_ns,
        revoked_at_ns=row.revoked_at_ns,
        last_used_at_ns=row.last_used_at_ns,
    )
