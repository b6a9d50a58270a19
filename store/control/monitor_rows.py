"""Rows of monitors, alerts, incidents and silences, and how they change."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa
from sqlalchemy import Connection

from core.errors import Conflict, Corrupt, NotFound
from core.ids import TenantId
from store.control import seals
from store.control.cluster_rows import text_of
from store.control.monitor_records import (
    IncidentEntry,
    IncidentRecord,
    MonitorRecord,
    MonitorStateRecord,
    MonitorStatus,
    MonitorVersion,
    RaisedAlert,
    RolloutAsking,
    SilenceRecord,
)
from store.control.monitor_tables import (
    ALERTS,
    INCIDENT_ENTRIES,
    INCIDENTS,
    MONITOR_ASKINGS,
    MONITOR_STATES,
    MONITOR_VERSIONS,
    MONITORS,
    SILENCES,
)

PENDING: Final = "pending"
_MONITOR: Final = ("name", "app", "version", "revision", "changed_by", "changed_at_ns")
_VERSION: Final = ("name", "version", "made_by", "made_at_ns")
_STATE: Final = ("name", "version", "settled_ns", "until_ns", "looked_at_ns")
_ALERT: Final = (*("monitor", "series", "episode", "app", "status", "severity", "since_ns", "resolved_ns", "incident"),)
_INCIDENT: Final = (
    *("number", "app", "status", "severity", "opened_ns", "closed_ns", "revision", "n_entries", "n_told"),
)
_ENTRY: Final = ("incident", "number", "told_ns", "at_ns", "kind", "text", "monitor", "series", "made_by")
_SILENCE: Final = (*("silence_id", "start_ns", "end_ns", "why", "made_by", "made_at_ns", "ended_ns", "ended_by"),)

# Monitors


def find_monitor(connection: Connection, tenant: TenantId, name: str) -> MonitorRecord | None:
    """A monitor, deleted ones too; None where there never was one."""
    row = seals.one(connection, MONITORS, {"tenant": str(tenant), "name": name})
    return None if row is None else _monitor(connection, row)


def need_monitor(connection: Connection, tenant: TenantId, name: str) -> MonitorRecord:
    """A monitor that is not deleted. Raises NotFound."""
    found = find_monitor(connection, tenant, name)
    if found is None or found.status is MonitorStatus.DELETED:
        raise NotFound(f"there is no monitor {name[:80]!r}; assay monitors list has those there are")
    return found


def monitors(connection: Connection, tenant: TenantId | None) -> list[MonitorRecord]:
    """The monitors of a tenant or of all that are not deleted, by name."""
    key = None if tenant is None else {"tenant": str(tenant)}
    there = [row for row in seals.rows(connection, MONITORS, key) if row.status != MonitorStatus.DELETED.value]
    return sorted((_monitor(connection, row) for row in there), key=lambda one: (one.tenant, one.name))


def put_monitor(connection: Connection, after: MonitorRecord) -> None:
    """Writes a monitor as it is from now on."""
    values = {"tenant": str(after.tenant), "status": after.status.value}
    values |= {name: getattr(after, name) for name in _MONITOR}
    _put(connection, MONITORS, ("tenant", "name"), values)


def add_version(connection: Connection, of: MonitorRecord) -> None:
    """Writes the version that a monitor has now."""
    seals.add(
        connection,
        MONITOR_VERSIONS,
        {
            "tenant": str(of.tenant), "name": of.name, "version": of.version, "definition": text_of(of.definition),
            "made_by": of.changed_by, "made_at_ns": of.changed_at_ns,
        },
    )  # fmt: skip


def versions(connection: Connection, tenant: TenantId, name: str) -> list[MonitorVersion]:
    """Every version of a monitor, newest first."""
    found = [
        MonitorVersion(definition=json.loads(row.definition), **{each: getattr(row, each) for each in _VERSION})
        for row in seals.rows(connection, MONITOR_VERSIONS, {"tenant": str(tenant), "name": name})
    ]
    return sorted(found, key=lambda one: -one.version)


def states(connection: Connection, tenant: TenantId) -> list[MonitorStateRecord]:
    """How far the monitors of a tenant were looked at, without their bands, which are long."""
    rows = seals.rows(connection, MONITOR_STATES, {"tenant": str(tenant)})
    return sorted((_state(row, with_band=False) for row in rows), key=lambda one: one.name)


def state(connection: Connection, tenant: TenantId, name: str) -> MonitorStateRecord | None:
    """How far one monitor was looked at; None before the first look."""
    row = seals.one(connection, MONITOR_STATES, {"tenant": str(tenant), "name": name})
    return None if row is None else _state(row)


def put_state(connection: Connection, after: MonitorStateRecord) -> None:
    """Writes how far a monitor was looked at; a band that is None stays as it is."""
    values: dict[str, Any] = {"tenant": str(after.tenant)}
    if after.band is not None:
        values["band"] = packed(after.band)
    values |= {"books": text_of(after.books), "told": text_of(after.told)}
    values |= {name: getattr(after, name) for name in _STATE}
    _put(connection, MONITOR_STATES, ("tenant", "name"), values)


# Alerts


def alerts(connection: Connection, tenant: TenantId, key: dict[str, Any]) -> list[RaisedAlert]:
    """The alerts of a tenant with these values, newest first."""
    found = map(_alert, seals.rows(connection, ALERTS, {"tenant": str(tenant), **key}))
    return sorted(found, key=lambda one: (-one.since_ns, one.monitor, one.series, -one.episode))


def put_alert(connection: Connection, after: RaisedAlert) -> None:
    """Writes an alert as it is from now on; one that late data changes keeps the incident it is in."""
    values = {"tenant": str(after.tenant), "body": text_of(after.body)}
    values |= {name: getattr(after, name) for name in _ALERT}
    _put(connection, ALERTS, ("tenant", "monitor", "series", "episode"), values)


def replace_pending(
    connection: Connection, tenant: TenantId, monitors: Sequence[str], pending: Sequence[RaisedAlert]
) -> None:
    """The pending alerts of these monitors, in place of those that were."""
    where = (ALERTS.c.tenant == str(tenant), ALERTS.c.status == PENDING)
    for name in monitors:
        connection.execute(ALERTS.delete().where(*where, ALERTS.c.monitor == name))
    for one in pending:
        put_alert(connection, one)


# Incidents


def incidents(connection: Connection, tenant: TenantId, key: dict[str, Any] | None = None) -> list[IncidentRecord]:
    """The incidents of a tenant with these values, newest first."""
    found = map(_incident, seals.rows(connection, INCIDENTS, {"tenant": str(tenant), **(key or {})}))
    return sorted(found, key=lambda one: -one.number)


def need_incident(connection: Connection, tenant: TenantId, number: int) -> IncidentRecord:
    """One incident. Raises NotFound."""
    row = seals.one(connection, INCIDENTS, {"tenant": str(tenant), "number": number})
    if row is None:
        raise NotFound(f"there is no incident I-{number}; assay incidents list has those there are")
    return _incident(row)


def last_incident(connection: Connection, tenant: TenantId) -> int:
    """The number of the last incident; 0 before the first."""
    return max((row.number for row in seals.rows(connection, INCIDENTS, {"tenant": str(tenant)})), default=0)


def put_incident(connection: Connection, seen: IncidentRecord, after: IncidentRecord) -> None:
    """Writes an incident as it is from now on. Raises Conflict where it is not as it was `seen`."""
    row = seals.one(connection, INCIDENTS, {"tenant": str(after.tenant), "number": after.number})
    if (0 if row is None else row.revision) != seen.revision:
        raise Conflict(f"incident I-{after.number} was changed meanwhile")
    diagnosis = None if after.diagnosis is None else text_of(after.diagnosis)
    values = {"tenant": str(after.tenant), "body": text_of(after.body), "diagnosis": diagnosis}
    values |= {name: getattr(after, name) for name in _INCIDENT}
    if row is None:
        seals.add(connection, INCIDENTS, values)
    else:
        seals.change(connection, INCIDENTS, row, **values)


def add_entry(connection: Connection, tenant: TenantId, made: IncidentEntry) -> None:
    """Writes a line of a timeline."""
    seals.add(connection, INCIDENT_ENTRIES, {"tenant": str(tenant), **{name: getattr(made, name) for name in _ENTRY}})


def entries(connection: Connection, of: IncidentRecord) -> list[IncidentEntry]:
    """The timeline of an incident, in order. All timelines are looked through only where the index hides a line."""
    key = {"tenant": str(of.tenant), "incident": of.number}
    rows = seals.by_index(connection, INCIDENT_ENTRIES, key)
    if len(rows) != of.n_entries:
        rows = seals.rows(connection, INCIDENT_ENTRIES, key)
    if len(rows) != of.n_entries:
        raise Corrupt(f"the timeline of I-{of.number} has {len(rows)} lines of {of.n_entries}; run assay doctor")
    found = [IncidentEntry(**{name: getattr(row, name) for name in _ENTRY}) for row in rows]
    return sorted(found, key=lambda one: one.number)


# Silences, and what is asked of rollouts


def silences(connection: Connection, tenant: TenantId) -> list[SilenceRecord]:
    """The silences of a tenant, those that end last first."""
    found = map(_silence, seals.rows(connection, SILENCES, {"tenant": str(tenant)}))
    return sorted(found, key=lambda one: (-one.end_ns, one.silence_id))


def need_silence(connection: Connection, tenant: TenantId, silence_id: str) -> SilenceRecord:
    """One silence. Raises NotFound."""
    row = seals.one(connection, SILENCES, {"tenant": str(tenant), "silence_id": silence_id})
    if row is None:
        raise NotFound(f"there is no silence {silence_id[:40]!r}; assay silence --list has those there are")
    return _silence(row)


def put_silence(connection: Connection, after: SilenceRecord) -> None:
    """Writes a silence as it is from now on."""
    weekly = None if after.weekly is None else text_of(after.weekly)
    values = {"tenant": str(after.tenant), "matcher": text_of(after.matcher), "weekly": weekly}
    values |= {name: getattr(after, name) for name in _SILENCE}
    _put(connection, SILENCES, ("tenant", "silence_id"), values)


def asking(connection: Connection, tenant: TenantId, rollout_id: str) -> RolloutAsking | None:
    """What was asked of a rollout last; None where nothing ever was."""
    row = seals.one(connection, MONITOR_ASKINGS, {"tenant": str(tenant), "rollout_id": rollout_id})
    if row is None:
        return None
    return RolloutAsking(
        tenant=TenantId(row.tenant), rollout_id=row.rollout_id, guard=row.guard,
        reasons=tuple(json.loads(row.reasons)), at_ns=row.at_ns, until_ns=row.until_ns,
    )  # fmt: skip


def put_asking(connection: Connection, made: RolloutAsking) -> None:
    """Writes what is asked of a rollout from now on."""
    reasons = json.dumps(list(made.reasons), separators=(",", ":"))
    values = {"tenant": str(made.tenant), "rollout_id": made.rollout_id, "guard": made.guard, "reasons": reasons}
    _put(
        connection, MONITOR_ASKINGS, ("tenant", "rollout_id"),
        {**values, "at_ns": made.at_ns, "until_ns": made.until_ns},
    )  # fmt: skip


def packed(value: Any) -> bytes:
    """A JSON value as it is kept where it is long: its length, and canonical JSON under zstd."""
    text = text_of(value).encode("ascii")
    return len(text).to_bytes(8, "big") + bytes(pa.Codec("zstd").compress(text, asbytes=True))


def unpacked(raw: bytes) -> Any:
    """What `packed` packed."""
    return json.loads(pa.Codec("zstd").decompress(raw[8:], int.from_bytes(raw[:8], "big"), asbytes=True))


def _put(connection: Connection, table: Any, key: tuple[str, ...], values: dict[str, Any]) -> None:
    row = seals.one(connection, table, {name: values[name] for name in key})
    if row is None:
        seals.add(connection, table, values)
    else:
        seals.change(connection, table, row, **values)


def _monitor(connection: Connection, row: Any) -> MonitorRecord:
    key = {"tenant": row.tenant, "name": row.name, "version": row.version}
    version = seals.one(connection, MONITOR_VERSIONS, key)
    if version is None:
        raise Corrupt(f"version {row.version} of the monitor {row.name[:80]!r} is gone; run assay doctor")
    return MonitorRecord(
        tenant=TenantId(row.tenant), definition=json.loads(version.definition), status=MonitorStatus(row.status),
        **{name: getattr(row, name) for name in _MONITOR},
    )  # fmt: skip


def _state(row: Any, *, with_band: bool = True) -> MonitorStateRecord:
    return MonitorStateRecord(
        tenant=TenantId(row.tenant), band=unpacked(bytes(row.band)) if with_band else None, books=json.loads(row.books),
        told=json.loads(row.told), **{name: getattr(row, name) for name in _STATE},
    )  # fmt: skip


def _alert(row: Any) -> RaisedAlert:
    said = {name: getattr(row, name) for name in _ALERT}
    return RaisedAlert(tenant=TenantId(row.tenant), body=json.loads(row.body), **said)


def _incident(row: Any) -> IncidentRecord:
    diagnosis = None if row.diagnosis is None else json.loads(row.diagnosis)
    said = {name: getattr(row, name) for name in _INCIDENT}
    return IncidentRecord(tenant=TenantId(row.tenant), body=json.loads(row.body), diagnosis=diagnosis, **said)


def _silence(row: Any) -> SilenceRecord:
    weekly = None if row.weekly is None else json.loads(row.weekly)
    said = {name: getattr(row, name) for name in _SILENCE}
    return SilenceRecord(tenant=TenantId(row.tenant), matcher=json.loads(row.matcher), weekly=weekly, **said)
