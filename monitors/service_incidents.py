"""What people do with incidents: acknowledge, give to somebody, note, close. Whoever was called hears of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.ids import TenantId
from core.records import Principal
from monitors import incidents
from monitors.incident_records import Entry, Incident
from monitors.look_records import entry_of, record_of
from monitors.messages import acknowledged_message, closed_message
from store.control.control import Control
from store.control.incidents import Change
from store.control.monitor_records import IncidentRecord, Wanted


def acknowledge(control: Control, tenant: TenantId, number: int, *, by: Principal) -> IncidentRecord:
    """Somebody looks after it; as it stands, where somebody does already. Raises NotFound, Conflict."""
    channels = _told(control, tenant, number)

    def decide(record: IncidentRecord, now: int) -> Change | None:
        made = incidents.acknowledged(_of(record), by.name, now)
        return None if made is None else _change(record, *made, channels, acknowledged_message(made[0], now))

    return control.change_incident(tenant, number, decide, by=by, action="incidents.ack")


def assign(control: Control, tenant: TenantId, number: int, to: str, *, by: Principal) -> IncidentRecord:
    """Somebody gives it to somebody. Raises NotFound, Conflict, InvalidInput."""

    def decide(record: IncidentRecord, now: int) -> Change | None:
        made = incidents.assigned(_of(record), to, by.name, now)
        return None if made is None else _change(record, *made, (), None)

    return control.change_incident(tenant, number, decide, by=by, action="incidents.assign")


def note(control: Control, tenant: TenantId, number: int, text: str, *, by: Principal) -> IncidentRecord:
    """A note in the timeline, also after it was closed. Raises NotFound, InvalidInput."""

    def decide(record: IncidentRecord, now: int) -> Change:
        return record, (entry_of(incidents.noted(_of(record), by.name, text, now)),), ()

    return control.change_incident(tenant, number, decide, by=by, action="incidents.note")


def close(control: Control, tenant: TenantId, number: int, why: str, *, by: Principal) -> IncidentRecord:
    """Somebody closes it; as it stands, where it is. Raises NotFound; Conflict while alerts of it fire."""
    channels = _told(control, tenant, number)

    def decide(record: IncidentRecord, now: int) -> Change | None:
        made = incidents.closed(_of(record), by.name, why, now)
        return None if made is None else _change(record, *made, channels, closed_message(made[0], now))

    return control.change_incident(tenant, number, decide, by=by, action="incidents.close")


def _told(control: Control, tenant: TenantId, number: int) -> Sequence[str]:
    """The channels that were told of an incident."""
    return tuple(sorted({one.channel for one in control.deliveries(tenant, incident=number)}))


def _of(record: IncidentRecord) -> Incident:
    return Incident.from_json(record.body)


def _change(
    record: IncidentRecord, after: Incident, line: Entry, channels: Sequence[str], message: Mapping[str, Any] | None
) -> Change:
    wanted = () if message is None else tuple(
        Wanted(channel=one, incident=record.number, payload=message) for one in channels
    )  # fmt: skip
    return record_of(record, after), (entry_of(line),), wanted
