"""Monitors, alerts, incidents, silences and deliveries as the API tells them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.windows import Window
from monitors.definition import Definition
from monitors.health import concerns, health_of, hides_all
from monitors.incident_records import Incident
from monitors.silencing import silence_of
from server.routes.keys import rfc3339
from store.control.monitor_records import (
    Delivery,
    IncidentEntry,
    IncidentRecord,
    MonitorRecord,
    MonitorStateRecord,
    MonitorStatus,
    MonitorVersion,
    RaisedAlert,
    SilenceRecord,
)


def monitor_told(
    one: MonitorRecord, state: MonitorStateRecord | None = None, around: Around | None = None, *, dry_run: bool = False
) -> dict[str, Any]:
    """A monitor, with what the last look saw."""
    around = around or Around(now_ns=0)
    same = state is not None and state.version == one.version and not state.told.get("ended")
    told: Mapping[str, Any] = state.told if state is not None and same else {}
    definition = Definition.from_json(one.definition)
    mine = [each.status for each in around.alerts if each.monitor == one.name]
    until_ns = state.until_ns if state is not None and same else None
    health = health_of(
        on=one.status is MonitorStatus.ON, late_s=definition.late_s, until_ns=until_ns, newest=told.get("series", ()),
        n_firing=mine.count("firing"), n_pending=mine.count("pending"),
    )  # fmt: skip
    return {
        "name": one.name,
        "app": one.app,
        "status": one.status.value,
        "health": health.value,
        "version": one.version,
        "definition": dict(one.definition),
        "about": definition.spec.text,
        "unit": definition.spec.unit,
        "changed_by": one.changed_by,
        "changed_at": rfc3339(one.changed_at_ns),
        "until": rfc3339(until_ns),
        "n_series": told.get("n_series", 0),
        "n_firing": mine.count("firing"),
        "n_pending": mine.count("pending"),
        "silenced": around.silenced(one.name, definition),
        "series": [
            {**{name: value for name, value in each.items() if name != "at_ns"}, "at": rfc3339(each["at_ns"])}
            for each in told.get("series", ())
        ],
        "recent": None,
        "dry_run": dry_run,
    }


@dataclass(frozen=True, kw_only=True)
class Around:
    """What of a tenant tells how its monitors are: alerts that are not resolved, and silences."""

    now_ns: int
    alerts: Sequence[RaisedAlert] = ()
    silences: Sequence[SilenceRecord] = ()

    def silenced(self, name: str, definition: Definition) -> dict[str, Any] | None:
        """The silence under which nobody is told of any series of a monitor now: of several the one that lasts longest;
        None: somebody is."""
        some = [
            one
            for record in self.silences
            if (one := silence_of(record)).active(self.now_ns)
            and concerns(one.matcher, name, definition)
            and hides_all(one.matcher, definition)
        ]
        last = max(some, key=lambda one: one.until_ns, default=None)
        return None if last is None else {"id": last.silence_id, "why": last.why, "end": rfc3339(last.until_ns)}

    def coming(self, name: str, definition: Definition) -> list[dict[str, Any]]:
        """The silences that concern a monitor and are not over yet, those that are over first at the top."""
        some = [(silence_of(record), record) for record in self.silences]
        mine = [
            (one.until_ns, record)
            for one, record in some
            if one.until_ns > self.now_ns and concerns(one.matcher, name, definition)
        ]
        return [silence_told(record, self.now_ns) for _, record in sorted(mine, key=lambda each: each[0])]


def version_told(one: MonitorVersion) -> dict[str, Any]:
    """A version of a monitor."""
    made = {"version": one.version, "definition": dict(one.definition)}
    return {**made, "made_by": one.made_by, "made_at": rfc3339(one.made_at_ns)}


def backtest_told(found: Mapping[str, Any], definition: Mapping[str, Any], markers: Sequence[Any]) -> dict[str, Any]:
    """A backtest; `markers` are those deployments that lie in its time."""
    window = Window(start_ns=found["start_ns"], end_ns=found["end_ns"])
    kept = ("n_series", "n_points", "n_missing", "alerts_per_week", "expected_false_alarms_per_week", "why")
    return {
        "definition": dict(definition),
        "start": rfc3339(window.start_ns),
        "end": rfc3339(window.end_ns),
        **{name: found[name] for name in kept},
        "alerts": [
            {
                "series": one["series"],
                "fired_at": rfc3339(one["from_ns"]),
                "resolved_at": rfc3339(one["until_ns"]),
                "severity": one["severity"],
                "text": one["text"],
            }
            for one in found["alerts"]
        ],
        "charts": [chart_told(one) for one in found["charts"]],
        "markers": markers_told(markers, window),
    }


def chart_told(one: Mapping[str, Any]) -> dict[str, Any]:
    """The points of one series with their band."""
    return {**{name: of for name, of in one.items() if name != "at_ns"}, "at": [rfc3339(at) for at in one["at_ns"]]}


def markers_told(markers: Sequence[Any], window: Window) -> list[dict[str, Any]]:
    """What was deployed within a window."""
    return [
        {"at": rfc3339(one.at_ns), "what": one.what, "name": one.name} for one in markers if window.contains(one.at_ns)
    ]


def alert_told(one: RaisedAlert) -> dict[str, Any]:
    """An alert."""
    return {
        "id": f"{one.monitor}/{one.series}/{one.episode}",
        "monitor": one.monitor,
        "series": one.series,
        "episode": one.episode,
        "app": one.app,
        "status": one.status,
        "severity": one.severity,
        "since": rfc3339(one.since_ns),
        "resolved_at": rfc3339(one.resolved_ns),
        "incident": None if one.incident is None else f"I-{one.incident}",
        "text": one.body.get("text", ""),
        "cause": one.body.get("cause"),
        "told": bool(one.body.get("told")),
        "late": bool(one.body.get("late")),
        "withdrawn": bool(one.body.get("withdrawn")),
    }


def incident_told(one: IncidentRecord) -> dict[str, Any]:
    """An incident, in short."""
    incident = Incident.from_json(one.body)
    cause = (one.diagnosis or {}).get("told") or {}
    return {
        "id": incident.name,
        "app": incident.app,
        "status": one.status,
        "severity": one.severity,
        "title": incident.title,
        "owner": incident.owner,
        "opened_at": rfc3339(incident.opened_ns),
        "onset_at": rfc3339(incident.onset_ns),
        "acknowledged_at": rfc3339(incident.acknowledged_ns),
        "acknowledged_by": incident.acknowledged_by,
        "closed_at": rfc3339(incident.closed_ns),
        "closed_by": incident.closed_by,
        "follows": None if incident.follows is None else f"I-{incident.follows}",
        "n_alerts": len(incident.members),
        "n_firing": len(incident.firing),
        "likely": cause.get("title"),
        "why": (one.diagnosis or {}).get("why"),
    }


def incident_shown(
    one: IncidentRecord,
    entries: Sequence[IncidentEntry],
    deliveries: Sequence[Delivery],
    examples: Sequence[str],
    monitors: Sequence[MonitorRecord],
) -> dict[str, Any]:
    """An incident with all that is known of it; `monitors` are the tenant's, of which its alerts' runbooks are told."""
    incident = Incident.from_json(one.body)
    cause = (one.diagnosis or {}).get("told") or {}
    return {
        **incident_told(one),
        "alerts": [
            {
                "monitor": each.monitor,
                "series": each.series,
                "episode": each.episode,
                "severity": each.severity.value,
                "fired_at": rfc3339(each.fired_ns),
                "resolved_at": rfc3339(each.resolved_ns),
            }
            for each in incident.members
        ],
        "timeline": [_entry_told(each) for each in entries],
        "diagnosis": None if one.diagnosis is None else dict(one.diagnosis),
        "examples": list(examples),
        "first": list(cause.get("first", ())),
        "runbook": cause.get("runbook"),
        "runbooks": _runbooks(incident, monitors),
        "deliveries": [delivery_told(each) for each in deliveries],
    }


def _runbooks(incident: Incident, monitors: Sequence[MonitorRecord]) -> list[dict[str, str]]:
    """Each once, with the first of the incident's monitors that names it."""
    known = {one.name: one.definition.get("runbook") for one in monitors}
    named: dict[str, str] = {}
    for each in incident.members:
        if runbook := known.get(each.monitor):
            named.setdefault(str(runbook), each.monitor)
    return [{"monitor": monitor, "runbook": runbook} for runbook, monitor in named.items()]


def _entry_told(one: IncidentEntry) -> dict[str, Any]:
    return {
        "number": one.number,
        "at": rfc3339(one.at_ns),
        "written_at": rfc3339(one.told_ns),
        "kind": one.kind,
        "text": one.text,
        "monitor": one.monitor,
        "series": one.series,
        "by": one.made_by,
    }


def silence_told(one: SilenceRecord, now_ns: int, *, dry_run: bool = False) -> dict[str, Any]:
    """A silence."""
    return {
        "id": one.silence_id,
        "matcher": {name: value for name, value in one.matcher.items() if value is not None},
        "start": rfc3339(one.start_ns),
        "end": rfc3339(one.end_ns),
        "weekly": None if one.weekly is None else dict(one.weekly),
        "why": one.why,
        "made_by": one.made_by,
        "made_at": rfc3339(one.made_at_ns),
        "ended_at": rfc3339(one.ended_ns),
        "ended_by": one.ended_by,
        "active": silence_of(one).active(now_ns),
        "dry_run": dry_run,
    }


def delivery_told(one: Delivery) -> dict[str, Any]:
    """A message."""
    return {
        "id": one.id,
        "channel": one.channel,
        "incident": f"I-{one.incident}" if one.incident else None,
        "seq": one.seq,
        "kind": str(one.payload.get("kind", "")),
        "text": str(one.payload.get("text", "")),
        "state": one.state.value,
        "tries": one.tries,
        "next_at": rfc3339(one.next_at_ns),
        "error": one.last_error,
        "created_at": rfc3339(one.created_ns),
        "ended_at": rfc3339(one.ended_ns),
    }
