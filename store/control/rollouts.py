"""Rows of rollouts, and how they change."""

from __future__ import annotations

import json
from typing import Any, Final

from sqlalchemy import Connection, Table

from core.errors import Conflict, Corrupt, NotFound
from core.ids import TenantId
from store.control import seals
from store.control.records import PlanSpec
from store.control.rollout_records import (
    BlockRecord,
    CertificateRecord,
    CheckRecord,
    EventRecord,
    RolloutRecord,
    RolloutStatus,
)
from store.control.rollout_tables import (
    ROLLOUT_BLOCKS,
    ROLLOUT_CERTIFICATES,
    ROLLOUT_CHECKS,
    ROLLOUT_EVENTS,
    ROLLOUTS,
)

_AS_THEY_ARE: Final = (
    *("rollout_id", "app", "baseline", "candidate", "policy_hash", "revision", "n_blocks", "n_events"),
    *("n_certificates", "started_by", "started_key", "started_at_ns", "ended_at_ns", "owner", "lease_until_ns"),
)


def rows(connection: Connection, tenant: TenantId | None, app: str | None = None) -> list[RolloutRecord]:
    """The rollouts of a tenant or of all, of one app or of all, newest first."""
    key = ({} if tenant is None else {"tenant": str(tenant)}) | ({} if app is None else {"app": app})
    found = map(_record, seals.rows(connection, ROLLOUTS, key))
    return sorted(found, key=lambda one: (-one.started_at_ns, one.rollout_id))


def open_of(connection: Connection, tenant: TenantId, app: str) -> RolloutRecord | None:
    """The rollout of an app that has not ended, if there is one: there is never more."""
    return next((one for one in rows(connection, tenant, app) if not one.status.ended), None)


def rolled_back(connection: Connection, tenant: TenantId, app: str) -> dict[str, RolloutRecord]:
    """The releases of an app that were rolled back, with the rollout that did it."""
    found = rows(connection, tenant, app)
    return {one.candidate: one for one in found if one.status is RolloutStatus.ROLLED_BACK}


def refuse_plan_by_hand(connection: Connection, tenant: TenantId, spec: PlanSpec) -> None:
    """Raises Conflict where a rollout has the plan of an app now, or for a release that was rolled back and would get
    sessions or, as the baseline, those that a plan leaves over."""
    app = spec.app
    found = open_of(connection, tenant, app)
    if found is not None:
        raise Conflict(
            f"rollout {found.rollout_id} of {found.candidate[:80]} sets this app's plan until it ends; to put the "
            f"baseline back now: assay rollouts abort {app[:80]}"
        )
    weighed = [name for name, weight in spec.weights.items() if weight > 0]
    refuse_rolled_back(connection, tenant, app, [spec.baseline, *weighed])


def refuse_rolled_back(connection: Connection, tenant: TenantId, app: str, releases: list[str]) -> None:
    """Raises Conflict naming a release among these that a rollout rolled back."""
    known = rolled_back(connection, tenant, app)
    for name in releases:
        if name in known:
            raise Conflict(
                f"release {name[:80]} of this app was rolled back by rollout {known[name].rollout_id} and gets no "
                "sessions again; register what mends it under another name"
            )


def find(connection: Connection, tenant: TenantId, rollout_id: str) -> Any:
    """The row of a rollout. Raises NotFound."""
    row = seals.one(connection, ROLLOUTS, {"tenant": str(tenant), "rollout_id": rollout_id})
    if row is None:
        raise NotFound(f"there is no rollout {rollout_id[:60]!r}")
    return row


def need(connection: Connection, tenant: TenantId, rollout_id: str) -> RolloutRecord:
    """One rollout. Raises NotFound."""
    return _record(find(connection, tenant, rollout_id))


def add(connection: Connection, record: RolloutRecord) -> None:
    """Writes a new one."""
    seals.add(connection, ROLLOUTS, _values(record))


def change(connection: Connection, before: RolloutRecord, after: RolloutRecord) -> None:
    """Writes what a rollout has become. Raises Conflict when it is not at the revision of `before` any more."""
    row = find(connection, before.tenant, before.rollout_id)
    if row.revision != before.revision:
        raise Conflict(f"rollout {before.rollout_id} has changed meanwhile; look at it again, then decide")
    seals.change(connection, ROLLOUTS, row, **_values(after))


def keep_for(connection: Connection, record: RolloutRecord, owner: str, until_ns: int) -> None:
    """Notes who looks after a rollout, and until when; its revision stays."""
    row = find(connection, record.tenant, record.rollout_id)
    seals.change(connection, ROLLOUTS, row, owner=owner, lease_until_ns=until_ns)


def add_block(connection: Connection, of: RolloutRecord, block: BlockRecord) -> None:
    """Writes a block."""
    values = {"number": block.number, "at_ns": block.at_ns, "step": block.step, "counts": text_of(block.counts)}
    seals.add(connection, ROLLOUT_BLOCKS, {**_key(of), **values})


def blocks(connection: Connection, tenant: TenantId, rollout_id: str, after: int = 0) -> list[BlockRecord]:
    """The blocks of a rollout behind number `after`, in order. Raises NotFound."""
    found = _of(connection, ROLLOUT_BLOCKS, tenant, rollout_id, "n_blocks")
    return [
        BlockRecord(number=row.number, at_ns=row.at_ns, step=row.step, counts=json.loads(row.counts))
        for row in found
        if row.number > after
    ]


def add_event(connection: Connection, of: RolloutRecord, event: EventRecord) -> None:
    """Writes an event."""
    names = ("number", "at_ns", "kind", "text", "made_by", "certificate")
    seals.add(connection, ROLLOUT_EVENTS, {**_key(of), **{name: getattr(event, name) for name in names}})


def events(connection: Connection, tenant: TenantId, rollout_id: str) -> list[EventRecord]:
    """What happened to a rollout, in order. Raises NotFound."""
    names = ("number", "at_ns", "kind", "text", "made_by", "certificate")
    found = _of(connection, ROLLOUT_EVENTS, tenant, rollout_id, "n_events")
    return [EventRecord(**{name: getattr(row, name) for name in names}) for row in found]


def add_certificate(connection: Connection, of: RolloutRecord, certificate: CertificateRecord) -> None:
    """Writes a certificate."""
    values = {"number": certificate.number, "at_ns": certificate.at_ns, "digest": certificate.digest}
    seals.add(connection, ROLLOUT_CERTIFICATES, {**_key(of), **values, "body": text_of(certificate.body)})


def certificates(connection: Connection, tenant: TenantId, rollout_id: str) -> list[CertificateRecord]:
    """The certificates of a rollout, in order. Raises NotFound."""
    found = _of(connection, ROLLOUT_CERTIFICATES, tenant, rollout_id, "n_certificates")
    return [
        CertificateRecord(number=row.number, at_ns=row.at_ns, digest=row.digest, body=json.loads(row.body))
        for row in found
    ]


def add_check(connection: Connection, tenant: TenantId, check: CheckRecord) -> None:
    """Writes what was reported of a check."""
    names = ("app", "release", "name", "number", "note", "link", "made_by", "made_at_ns")
    values = {name: getattr(check, name) for name in names}
    seals.add(connection, ROLLOUT_CHECKS, {"tenant": str(tenant), **values, "passed": int(check.passed)})


def checks(connection: Connection, tenant: TenantId, app: str, release: str) -> list[CheckRecord]:
    """Everything reported of a release, by name, newest first."""
    found = seals.rows(connection, ROLLOUT_CHECKS, {"tenant": str(tenant), "app": app, "release": release})
    names = ("app", "release", "name", "number", "note", "link", "made_by", "made_at_ns")
    made = [
        CheckRecord(passed=bool(row.passed), **{name: getattr(row, name) for name in names})
        for row in found
    ]  # fmt: skip
    return sorted(made, key=lambda one: (one.name, -one.number))


def text_of(value: Any) -> str:
    """Canonical JSON: keys sorted, no blanks. Raises ValueError for a number that is not finite."""
    return json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _of(connection: Connection, table: Table, tenant: TenantId, rollout_id: str, count: str) -> list[Any]:
    """The rows of a rollout, by number. It says itself how many: only where the index has others is the table read."""
    n = int(getattr(find(connection, tenant, rollout_id), count))
    key = {"tenant": str(tenant), "rollout_id": rollout_id}
    found = sorted(seals.by_index(connection, table, key), key=lambda row: row.number)
    if [row.number for row in found] != list(range(1, n + 1)):
        found = sorted(seals.rows(connection, table, key), key=lambda row: row.number)
    if [row.number for row in found] != list(range(1, n + 1)):
        raise Corrupt(f"{table.name} lacks rows of rollout {rollout_id[:60]}, which has {n}; run assay doctor")
    return found


def _key(record: RolloutRecord) -> dict[str, object]:
    return {"tenant": str(record.tenant), "rollout_id": record.rollout_id}


def _values(record: RolloutRecord) -> dict[str, object]:
    said = {"tenant": str(record.tenant), "status": record.status.value}
    texts = {"policy": text_of(record.policy), "state": text_of(record.state)}
    return {**said, **texts, **{name: getattr(record, name) for name in _AS_THEY_ARE}}


def _record(row: Any) -> RolloutRecord:
    return RolloutRecord(
        tenant=TenantId(row.tenant),
        status=RolloutStatus(row.status),
        policy=json.loads(row.policy),
        state=json.loads(row.state),
        **{name: getattr(row, name) for name in _AS_THEY_ARE},
    )
