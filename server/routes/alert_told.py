"""Alerts as the API tells them: each with its newest value against the band, and with who keeps it from being told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from core.errors import InvalidInput
from core.ids import TenantId
from core.windows import Window
from monitors.alert_records import Severity
from monitors.definition import Definition
from monitors.records import Kind
from monitors.service_incident_series import IncidentSeries
from monitors.silences import Silence, Subject, silenced
from monitors.silencing import silence_of
from server.routes.keys import rfc3339
from server.routes.monitor_told import alert_told, monitor_told
from store.control.control import Control
from store.control.monitor_records import MonitorRecord, RaisedAlert


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What alerts are told with, as it is at `now_ns`. `newest` is by monitor and series, `units` by monitor."""

    now_ns: int
    silences: Sequence[Silence]
    newest: Mapping[tuple[str, str], Mapping[str, Any]]
    units: Mapping[str, str | None]

    @classmethod
    def of(cls, control: Control, tenant: TenantId, now_ns: int) -> Self:
        """Reads it."""
        states = {one.name: one for one in control.monitor_states(tenant)}
        monitors = control.monitors(tenant)
        newest = {
            (monitor.name, str(one["series"])): one
            for monitor in monitors
            for one in monitor_told(monitor, states.get(monitor.name))["series"]
        }
        silences = [silence_of(one) for one in control.silences(tenant)]
        units = {one.name: _unit(one) for one in monitors}
        return cls(now_ns=now_ns, silences=silences, newest=newest, units=units)

    def told(self, one: RaisedAlert) -> dict[str, Any]:
        """An alert with what is around it."""
        now = self.newest.get((one.monitor, one.series))
        return {
            **alert_told(one),
            "unit": None if now is None else self.units.get(one.monitor),
            "now": None if now is None else dict(now),
            "silence": self._silence(one) if one.resolved_ns is None else None,
        }

    def _silence(self, one: RaisedAlert) -> dict[str, Any] | None:
        subject = Subject(app=one.app, monitor=one.monitor, series=one.series, severity=Severity(one.severity))
        found = silenced(self.silences, subject, self.now_ns)
        if found is None:
            return None
        windows = found.windows(Window(start_ns=self.now_ns, end_ns=found.until_ns))
        until = windows[0].end_ns if windows else found.until_ns  # of weekly ones, the end of this one
        return {"id": found.silence_id, "why": found.why, "by": found.by, "until": rfc3339(until)}


def series_told(found: IncidentSeries) -> dict[str, Any]:
    """The charts of an incident."""
    return {
        "start": rfc3339(found.window.start_ns),
        "end": rfc3339(found.window.end_ns),
        "charts": [
            {**{name: of for name, of in one.items() if name != "at_ns"}, "at": [rfc3339(at) for at in one["at_ns"]]}
            for one in found.charts
        ],
        "left_out": [{"series": series, "why": why} for series, why in found.left_out],
        "markers": [{"at": rfc3339(one.at_ns), "what": one.what, "name": one.name} for one in found.markers],
    }


def _unit(monitor: MonitorRecord) -> str | None:
    """The unit of a monitor's series; None of a definition that is known no more."""
    try:
        spec = Definition.from_json(monitor.definition).spec
    except InvalidInput:
        return None
    return spec.unit or ("share" if spec.kind is Kind.RATE else "")
