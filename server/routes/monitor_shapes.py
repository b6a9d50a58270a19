"""What the routes of monitors, alerts, incidents, silences and deliveries give. Times are RFC 3339, UTC."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

SeverityText = Literal["page", "ticket"]


class SeriesNow(BaseModel):
    """The newest value of one series against its band; null is not known."""

    series: str
    at: str
    value: float | None
    n: float | None
    expected: float | None
    low: float | None
    high: float | None
    z: float | None
    status: str
    breach: int


class Silenced(BaseModel):
    """The silence under which nobody is told of a monitor now."""

    id: str
    why: str
    end: str


class Recent(BaseModel):
    """The course of one series of late: means over equal stretches from `start` to `end`; null: nothing happened."""

    series: str | None
    start: str
    end: str
    value: list[float | None]


class Monitor(BaseModel):
    """A monitor: `definition` as docs/monitors.md has it; `about` and `unit` are of its series. `health`: how it is, in
    one word. `series`: the newest value of each, of many the 50 that are farthest out; `until`: up to when it was
    looked at, null before the first look."""

    name: str
    app: str
    status: Literal["on", "off", "deleted"]
    health: Literal["firing", "pending", "no_data", "waiting", "warming_up", "ok", "off"]
    version: int
    definition: dict[str, Any]
    about: str
    unit: str
    changed_by: str
    changed_at: str
    until: str | None = None
    n_series: int = 0
    n_firing: int = 0
    n_pending: int = 0
    silenced: Silenced | None = None
    series: list[SeriesNow] = []
    recent: Recent | None = None
    dry_run: bool = False


class Monitors(BaseModel):
    """The monitors of a tenant, by name."""

    items: list[Monitor]
    next_cursor: None = None


class MonitorVersion(BaseModel):
    """A definition that a monitor has, or had."""

    version: int
    definition: dict[str, Any]
    made_by: str
    made_at: str


class MonitorShown(Monitor):
    """A monitor with its versions, newest first, and the silences that concern it and are not over."""

    versions: list[MonitorVersion]
    silences: list[Silence]


class Kinds(BaseModel):
    """What can be watched: series by name, families of them, bands and defaults."""

    series: list[dict[str, Any]]
    families: dict[str, str]
    bands: list[str]
    defaults: list[str]


class Chart(BaseModel):
    """Points of one series in order of time, with the band around each."""

    series: str
    at: list[str]
    value: list[float | None]
    n: list[float | None]
    expected: list[float | None]
    low: list[float | None]
    high: list[float | None]
    verdict: list[str]


class BacktestAlert(BaseModel):
    """An alert that would have been raised."""

    series: str
    fired_at: str
    resolved_at: str | None
    severity: SeverityText
    text: str


class Marker(BaseModel):
    """Something that was deployed in the time of a chart."""

    at: str
    what: str
    name: str


class Backtest(BaseModel):
    """What a monitor would have done. `expected_false_alarms_per_week` null: `why` says why none can be told."""

    definition: dict[str, Any]
    start: str
    end: str
    n_series: int
    n_points: int
    n_missing: int
    alerts: list[BacktestAlert]
    alerts_per_week: float
    expected_false_alarms_per_week: float | None
    why: str
    charts: list[Chart]
    markers: list[Marker]


class SilencedBy(BaseModel):
    """The silence under which nobody is told of an alert, and until when it stays so."""

    id: str
    why: str
    by: str
    until: str


class Silent(BaseModel):
    """A time in which nobody was told of alerts of a monitor, or of one of its series."""

    id: str
    series: str | None
    start: str
    end: str
    why: str
    made_by: str


class Course(BaseModel):
    """How a series of a monitor went. The band is that of the monitor as it is now, learned from the four weeks before
    `start`; `alerts` and `silences` are what was. `names`: its series in that time; `chart` null: there is none yet."""

    version: int
    definition: dict[str, Any]
    start: str
    end: str
    n_points: int
    n_missing: int
    names: list[str]
    chart: Chart | None
    markers: list[Marker]
    alerts: list[Alert]
    silences: list[Silent]


class Alert(BaseModel):
    """An alert of one series. `id` is MONITOR/SERIES/EPISODE. `now`: the series' newest value against its band, and
    `unit` its unit, null where the monitor is gone, changed, or has too many series; `silence`: who keeps it from being
    told now."""

    id: str
    monitor: str
    series: str
    episode: int
    app: str
    status: Literal["pending", "firing", "resolved"]
    severity: SeverityText
    since: str
    resolved_at: str | None
    incident: str | None
    text: str
    cause: str | None
    told: bool
    late: bool
    withdrawn: bool
    unit: str | None = None
    now: SeriesNow | None = None
    silence: SilencedBy | None = None


class Alerts(BaseModel):
    """Alerts, newest first."""

    items: list[Alert]
    next_cursor: str | None


class Incident(BaseModel):
    """An incident: alerts of one app that began together."""

    id: str
    app: str
    status: Literal["open", "acknowledged", "closed"]
    severity: SeverityText
    title: str
    owner: str | None
    opened_at: str
    onset_at: str
    acknowledged_at: str | None
    acknowledged_by: str | None
    closed_at: str | None
    closed_by: str | None
    follows: str | None
    n_alerts: int
    n_firing: int
    likely: str | None
    why: str | None


class Incidents(BaseModel):
    """Incidents, newest first."""

    items: list[Incident]
    next_cursor: str | None


class TimelineEntry(BaseModel):
    """A line of a timeline: when it happened by the data (`at`), and when it was written."""

    number: int
    at: str
    written_at: str
    kind: str
    text: str
    monitor: str | None
    series: str | None
    by: str | None


class MonitorRunbook(BaseModel):
    """What a monitor says to do: a link, or words."""

    monitor: str
    runbook: str


class IncidentShown(Incident):
    """An incident with its alerts, timeline and diagnosis: what moved together, where, what to do first, sessions to
    open, what was deployed before. `runbook`: of the likely cause; `runbooks`: of its monitors, as they are now.
    `deliveries`: who was told."""

    alerts: list[dict[str, Any]]
    timeline: list[TimelineEntry]
    diagnosis: dict[str, Any] | None
    examples: list[str]
    first: list[str]
    runbook: str | None
    runbooks: list[MonitorRunbook]
    deliveries: list[Delivery]


class IncidentChart(Chart):
    """A series of an incident around its onset, in steps of `step_s`. `monitor` null: none of its alerts is of it; the
    diagnosis saw it `move` up or down, and its band is that of a new monitor. `words`: what it is; `unit`: its unit."""

    monitor: str | None
    words: str
    move: Literal["up", "down"] | None
    unit: str
    step_s: int


class LeftOut(BaseModel):
    """A series that is not drawn, and why."""

    series: str
    why: str


class IncidentSeries(BaseModel):
    """What moved together in an incident, with what was deployed meanwhile."""

    start: str
    end: str
    charts: list[IncidentChart]
    left_out: list[LeftOut]
    markers: list[Marker]


class Silence(BaseModel):
    """A silence; `active`: nobody is told of what it matches now."""

    id: str
    matcher: dict[str, Any]
    start: str
    end: str
    weekly: dict[str, Any] | None
    why: str
    made_by: str
    made_at: str
    ended_at: str | None
    ended_by: str | None
    active: bool
    dry_run: bool = False


class Silences(BaseModel):
    """Silences, those that end last first."""

    items: list[Silence]
    next_cursor: None = None


class Delivery(BaseModel):
    """A message for one channel; `id` is also what its receiver knows it by."""

    id: str
    channel: str
    incident: str | None
    seq: int
    kind: str
    text: str
    state: Literal["queued", "running", "succeeded", "retrying", "dead"]
    tries: int
    next_at: str
    error: str | None
    created_at: str
    ended_at: str | None


class Deliveries(BaseModel):
    """Messages, newest first."""

    items: list[Delivery]
    next_cursor: str | None


class ChannelName(BaseModel):
    """A channel that a monitor may tell."""

    name: str
    kind: str


class ChannelNames(BaseModel):
    """The channels that an operator has set for the tenant. `why`: why they cannot be told, null where they can."""

    items: list[ChannelName]
    why: str | None = None
    next_cursor: None = None


for _later in (IncidentShown, MonitorShown, Course):
    _later.model_rebuild()
