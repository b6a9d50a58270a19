"""The audit chain: each record's hash covers the one before it, under a key that is not in the database.

Editing, deleting or reordering a record breaks the chain at that record. Cutting the tail leaves a good chain, so the
head (sequence number and hash) is kept apart under its own keyed code; someone who can also put an old head back is
found out by a head that was noted elsewhere (`verify(..., noted=...)`).
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import Connection, Row, insert, select, update

from core.errors import Corrupt
from core.ids import TenantId
from core.records import Principal
from store.control.records import AuditHead, AuditRecord, AuditVerdict, Json
from store.control.tables import AUDIT, AUDIT_HEADS

GENESIS: Final = bytes(32)


class AuditChain:
    """Writes and checks chains inside transactions of the caller."""

    def __init__(self, pepper: bytes) -> None:
        self._key = hmac.digest(pepper, b"assay audit chain v1", hashlib.sha256)

    def append(
        self,
        connection: Connection,
        by: Principal,
        action: str,
        resource: str,
        *,
        before: Json | None,
        after: Json | None,
        at_ns: int,
    ) -> int:
        """Adds a record to the chain of the principal's tenant and moves its head. Returns its sequence number."""
        head = self._head(connection, by.tenant)
        seq, prev = (head.seq + 1, head.hash) if head else (1, GENESIS)
        row = {
            "tenant": str(by.tenant),
            "seq": seq,
            "at_ns": at_ns,
            "actor": by.name[:200],
            "actor_key_id": by.key_id,
            "action": action[:100],
            "resource": resource[:300],
            "before": _canonical(before),
            "after": _canonical(after),
        }
        link = self._link(row, prev)
        connection.execute(insert(AUDIT).values(**row, prev_hash=prev, hash=link))
        moved = {"seq": seq, "hash": link, "mac": self._mac(by.tenant, seq, link)}
        if head:
            connection.execute(update(AUDIT_HEADS).where(AUDIT_HEADS.c.tenant == by.tenant).values(**moved))
        else:
            connection.execute(insert(AUDIT_HEADS).values(tenant=by.tenant, **moved))
        return seq

    def verify(self, connection: Connection, tenant: TenantId, noted: AuditHead | None = None) -> AuditVerdict:
        """Walks the whole chain of `tenant`. `noted` is a head seen earlier that must still be part of it."""
        rows = connection.execute(select(AUDIT).where(AUDIT.c.tenant == tenant).order_by(AUDIT.c.seq))
        n, last, broken = self._walk(rows, noted)
        head = AuditHead(seq=n, hash=last.hex()) if n else None
        if broken is None:
            broken = self._check_head(connection, tenant, n, last, noted)
        if broken is None:
            return AuditVerdict(ok=True, n_records=n, head=head)
        return AuditVerdict(ok=False, n_records=n, head=head, first_bad_seq=broken[0], reason=broken[1])

    def newest(
        self, connection: Connection, tenant: TenantId, *, before_seq: int | None, limit: int
    ) -> list[AuditRecord]:
        """Up to `limit` records, newest first, older than number `before_seq`. Raises Corrupt when they are not the
        links that were written; `verify` says where the chain breaks."""
        head = self._head(connection, tenant)
        if head is None:
            if connection.execute(select(AUDIT.c.seq).where(AUDIT.c.tenant == tenant)).first() is not None:
                raise Corrupt(f"the audit chain of {tenant} has no head; ask for /api/v1/audit/verify")
            return []
        last = head.seq if before_seq is None else min(head.seq, before_seq - 1)
        query = select(AUDIT).where(AUDIT.c.tenant == tenant, AUDIT.c.seq <= last).order_by(AUDIT.c.seq.desc())
        rows = connection.execute(query.limit(limit)).all()
        if [row.seq for row in rows] != list(range(last, max(0, last - limit), -1)):
            raise Corrupt(f"records are missing in the audit chain of {tenant}; ask for /api/v1/audit/verify")
        following = head.hash if last == head.seq else None
        for row in rows:
            forged = following is not None and row.hash != following
            if forged or not hmac.compare_digest(self._link(row._mapping, row.prev_hash), row.hash):
                raise Corrupt(f"record {row.seq} of the audit chain of {tenant} was changed after it was written")
            following = row.prev_hash
        return [record_of(row) for row in rows]

    def _head(self, connection: Connection, tenant: TenantId) -> Row[Any] | None:
        """The head of a chain, None when there is none. Raises Corrupt when it was changed."""
        head = connection.execute(select(AUDIT_HEADS).where(AUDIT_HEADS.c.tenant == tenant)).first()
        if head is not None and (
            head.tenant != tenant or not hmac.compare_digest(head.mac, self._mac(tenant, head.seq, head.hash))
        ):
            raise Corrupt(f"the head of the audit chain of {tenant} was changed; restore a backup of control.db")
        return head

    def _walk(self, rows: Iterable[Row[Any]], noted: AuditHead | None) -> tuple[int, bytes, tuple[int, str] | None]:
        n, prev = 0, GENESIS
        for row in rows:
            expected = n + 1
            if row.seq != expected:
                return n, prev, (expected, f"record {expected} is missing; the next one is {row.seq}")
            if not hmac.compare_digest(row.prev_hash, prev):
                return n, prev, (expected, f"record {expected} does not follow record {n}")
            if not hmac.compare_digest(self._link(row._mapping, prev), row.hash):
                return n, prev, (expected, f"record {expected} was changed after it was written")
            n, prev = expected, row.hash
            if noted is not None and noted.seq == n and noted.hash != prev.hex():
                return n, prev, (n, f"record {n} is not the one that was noted; the chain was rewritten")
        return n, prev, None

    def _check_head(
        self, connection: Connection, tenant: TenantId, n: int, last: bytes, noted: AuditHead | None
    ) -> tuple[int, str] | None:
        head = connection.execute(select(AUDIT_HEADS).where(AUDIT_HEADS.c.tenant == tenant)).first()
        if head is None:
            return (1, "the chain has no head: its records and head were removed, or the tenant never existed")
        if not hmac.compare_digest(head.mac, self._mac(tenant, head.seq, head.hash)):
            return (n, "the head of the chain was changed")
        if head.seq > n:
            return (n + 1, f"{head.seq - n} records at the end are missing: the head says {head.seq}, found {n}")
        if head.seq < n or not hmac.compare_digest(head.hash, last):
            return (head.seq, f"the chain goes on after its head: the head says {head.seq}, found {n}")
        if noted is not None and noted.seq > n:
            return (n + 1, f"the chain ends at {n} but {noted.seq} was noted earlier: an older copy was put back")
        return None

    def _link(self, row: Any, prev: bytes) -> bytes:
        names = ("tenant", "seq", "at_ns", "actor", "actor_key_id", "action", "resource", "before", "after")
        body = json.dumps([row[name] for name in names], ensure_ascii=True, separators=(",", ":"))
        return hmac.digest(self._key, prev + body.encode("ascii"), hashlib.sha256)

    def _mac(self, tenant: str, seq: int, link: bytes) -> bytes:
        return hmac.digest(self._key, b"head\0" + f"{tenant}\0{seq}\0".encode("ascii") + link, hashlib.sha256)


def record_of(row: Row[Any]) -> AuditRecord:
    """The frozen copy of one row of the table."""
    return AuditRecord(
        tenant=TenantId(row.tenant),
        seq=row.seq,
        at_ns=row.at_ns,
        actor=row.actor,
        actor_key_id=row.actor_key_id,
        action=row.action,
        resource=row.resource,
        before=None if row.before is None else json.loads(row.before),
        after=None if row.after is None else json.loads(row.after),
        hash=row.hash.hex(),
    )


def _canonical(value: Json | None) -> str | None:
    if value is None:
        return None
    return json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False)
