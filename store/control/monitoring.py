"""The part of the control database that monitors are kept in. What a look finds is one transaction with the checkpoint
that the next look begins at: whoever is killed where, all of it holds or none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection

from core.errors import Conflict
from core.ids import TenantId
from core.records import Principal
from store.control import monitor_rows, seals, tenants
from store.control.delivering import add_delivery, drop_old
from store.control.jobs import find_job
from store.control.monitor_records import (
    IncidentRecord,
    JobState,
    LookWritten,
    MonitorRecord,
    MonitorStateRecord,
    MonitorStatus,
    MonitorVersion,
    RaisedAlert,
    RolloutAsking,
    ScheduledJob,
)
from store.control.monitor_tables import MONITOR_STATES
from store.control.transactions import Transactions

MONITORS_JOB: Final = "monitors"  # the job under which a look is written


class Monitoring(Transactions):
    """Monitors, how far they were looked at, and their alerts; every method is one transaction, as everywhere in
    `Control`."""

    # What is watched

    def add_monitor(self, wanted: MonitorRecord, *, by: Principal) -> MonitorRecord:
        """A new monitor; one of a deleted one's name counts its versions on. Raises NotFound for an unknown tenant;
        Conflict where there is one of this name."""
        with self._changing() as connection:
            tenants.need(connection, wanted.tenant)
            before = monitor_rows.find_monitor(connection, wanted.tenant, wanted.name)
            if before is not None and before.status is not MonitorStatus.DELETED:
                raise Conflict(
                    f"there is a monitor {wanted.name[:80]!r}, of {before.app[:80]}; assay monitors edit changes it, "
                    f"and --name gives another one another name"
                )
            version, revision = (1, 1) if before is None else (before.version + 1, before.revision + 1)
            made = self._stamped(replace(wanted, version=version, revision=revision), by)
            monitor_rows.put_monitor(connection, made)
            monitor_rows.add_version(connection, made)
            self._audit(connection, by, made.tenant, "monitors.create", _resource(made), _said(made))
            return made

    def edit_monitor(
        self, seen: MonitorRecord, definition: Mapping[str, Any], status: MonitorStatus, *, by: Principal
    ) -> MonitorRecord:
        """The monitor with another definition, or on, off, deleted. Raises NotFound; Conflict where it is not as it was
        `seen`."""
        with self._changing() as connection:
            before = monitor_rows.need_monitor(connection, seen.tenant, seen.name)
            if before.revision != seen.revision:
                raise Conflict(f"the monitor {seen.name[:80]!r} was changed meanwhile; look at it again")
            is_new = dict(definition) != dict(before.definition)
            after = replace(
                before, definition=definition, status=status, version=before.version + is_new,
                revision=before.revision + 1, app=str(definition.get("app", before.app)),
            )  # fmt: skip
            after = self._stamped(after, by)
            monitor_rows.put_monitor(connection, after)
            if is_new:
                monitor_rows.add_version(connection, after)
            action = "monitors.delete" if status is MonitorStatus.DELETED else "monitors.edit"
            self._audit(connection, by, after.tenant, action, _resource(after), _said(after), _said(before))
            return after

    def monitor(self, tenant: TenantId, name: str) -> MonitorRecord:
        """One monitor that is not deleted. Raises NotFound, also for another tenant's."""
        with self._database.read() as connection:
            return monitor_rows.need_monitor(connection, tenant, name)

    def monitors(self, tenant: TenantId | None) -> list[MonitorRecord]:
        """The monitors of a tenant or of all that are not deleted, by name."""
        with self._database.read() as connection:
            return monitor_rows.monitors(connection, tenant)

    def monitor_versions(self, tenant: TenantId, name: str) -> list[MonitorVersion]:
        """Every version of a monitor, deleted ones too, newest first."""
        with self._database.read() as connection:
            return monitor_rows.versions(connection, tenant, name)

    def monitor_states(self, tenant: TenantId) -> list[MonitorStateRecord]:
        """How far the tenant's monitors were looked at, by name; without their bands, see `monitor_state`."""
        with self._database.read() as connection:
            return monitor_rows.states(connection, tenant)

    def monitor_state(self, tenant: TenantId, name: str) -> MonitorStateRecord | None:
        """How far one monitor was looked at; None before the first look."""
        with self._database.read() as connection:
            return monitor_rows.state(connection, tenant, name)

    def alerts(self, tenant: TenantId, *, status: str | None = None, monitor: str | None = None) -> list[RaisedAlert]:
        """The tenant's alerts, in one status and of one monitor where asked for, newest first."""
        key = ({} if status is None else {"status": status}) | ({} if monitor is None else {"monitor": monitor})
        with self._database.read() as connection:
            return monitor_rows.alerts(connection, tenant, key)

    def rollout_asking(self, tenant: TenantId, rollout_id: str) -> RolloutAsking | None:
        """What firing guardrails ask of a rollout now; None: nothing."""
        with self._database.read() as connection:
            found = monitor_rows.asking(connection, tenant, rollout_id)
        return found if found is not None and found.until_ns > self._clock() else None

    # A look

    def write_look(self, of: LookWritten) -> ScheduledJob:
        """Writes all that a look found. Raises Conflict where the job is another process's by now, or a monitor or an
        incident was changed since it was read: nothing is written then."""
        with self._changing() as connection:
            job = self._own_job(connection, of.tenant, MONITORS_JOB, of.owner)
            self._same_monitors(connection, of)
            if monitor_rows.last_incident(connection, of.tenant) + 1 != of.first_number:
                raise Conflict("another look has opened an incident meanwhile")
            now = self._clock()
            for state in of.states:
                monitor_rows.put_state(connection, replace(state, looked_at_ns=now))
            monitor_rows.replace_pending(connection, of.tenant, [one.name for one in of.states], of.pending)
            for alert in of.alerts:
                monitor_rows.put_alert(connection, alert)
            for incident in of.incidents:
                self._write_incident(connection, of, incident, now)
            for asking in of.askings:
                monitor_rows.put_asking(connection, asking)
            drop_old(connection, of.tenant, now)
            return job

    def _write_incident(self, connection: Connection, of: LookWritten, seen: IncidentRecord, now: int) -> None:
        entries = [one for one in of.entries if one.incident == seen.number]
        wanted = [one for one in of.wanted if one.incident == seen.number]
        after = replace(
            seen, revision=seen.revision + 1, n_entries=seen.n_entries + len(entries), n_told=seen.n_told + len(wanted)
        )
        monitor_rows.put_incident(connection, seen, after)
        for number, entry in enumerate(entries, seen.n_entries + 1):
            monitor_rows.add_entry(connection, of.tenant, replace(entry, number=number))
        for seq, one in enumerate(wanted, seen.n_told + 1):
            add_delivery(connection, of.tenant, one.channel, seen.number, seq, one.payload, now)
        said = {"status": after.status, "severity": after.severity}
        action = "incidents.open" if seen.revision == 0 else f"incidents.{after.status}"
        if seen.revision == 0 or after.closed_ns is not None:
            self._audit(connection, None, of.tenant, action, f"incident/I-{seen.number}", said)

    def _same_monitors(self, connection: Connection, of: LookWritten) -> None:
        """Raises Conflict where a monitor that was seen is another by now."""
        there = {one.name: one.revision for one in monitor_rows.monitors(connection, of.tenant)}
        for one in of.monitors:
            if there.get(one.name) != one.revision:
                raise Conflict(f"the monitor {one.name[:80]!r} was changed meanwhile")

    def drop_monitor_state(self, tenant: TenantId, name: str) -> None:
        """Forgets how far a monitor that is deleted was looked at."""
        with self._changing() as connection:
            row = seals.one(connection, MONITOR_STATES, {"tenant": str(tenant), "name": name})
            if row is not None:
                where = (MONITOR_STATES.c.tenant == str(tenant), MONITOR_STATES.c.name == name)
                connection.execute(MONITOR_STATES.delete().where(*where))

    def _own_job(self, connection: Connection, tenant: TenantId, name: str, owner: str) -> ScheduledJob:
        found = find_job(connection, tenant, name)
        if found is None or found.owner != owner or found.state is not JobState.RUNNING:
            raise Conflict(f"another process does {name} of {tenant} by now")
        return found

    def _stamped(self, record: MonitorRecord, by: Principal) -> MonitorRecord:
        return replace(record, changed_by=by.name[:200], changed_at_ns=self._clock())


def _resource(of: MonitorRecord) -> str:
    return f"monitor/{of.name}"


def _said(of: MonitorRecord) -> dict[str, Any]:
    return {"version": of.version, "status": of.status.value, "app": of.app, "definition": dict(of.definition)}
