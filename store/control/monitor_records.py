"""Monitors as the control database keeps them, with their alerts, incidents, silences, deliveries and jobs.

What a definition, a band's state, an alert's book and an incident mean is the room `monitors`'; here they are plain
JSON.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from core.ids import TenantId


class MonitorStatus(StrEnum):
    """DELETED: its versions, alerts and incidents stay; a new one of its name counts versions on."""

    ON = "on"
    OFF = "off"
    DELETED = "deleted"


class DeliveryState(StrEnum):
    """QUEUED: not tried yet. RUNNING: a process sends it now. DEAD: given up, until somebody replays it."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    RETRYING = "retrying"
    DEAD = "dead"

    @property
    def ended(self) -> bool:
        """Whether nothing more is done about it by itself."""
        return self in (DeliveryState.SUCCEEDED, DeliveryState.DEAD)


class JobState(StrEnum):
    """QUEUED: somebody asked for it, no server has begun. SUCCEEDED, FAILED: so it ended, and it is begun again at its
    next time. RETRYING: it failed, and is tried again before that. DEAD: it failed too often, and rests."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    RETRYING = "retrying"
    DEAD = "dead"


@dataclass(frozen=True, kw_only=True)
class MonitorRecord:
    """A monitor as it is now: `definition` is that of `version`."""

    tenant: TenantId
    name: str
    app: str
    definition: Mapping[str, Any]
    status: MonitorStatus = MonitorStatus.ON
    version: int = 1
    revision: int = 1
    changed_by: str = ""
    changed_at_ns: int = 0


@dataclass(frozen=True, kw_only=True)
class MonitorVersion:
    """A definition that a monitor has, or had; immutable."""

    name: str
    version: int
    definition: Mapping[str, Any]
    made_by: str
    made_at_ns: int


@dataclass(frozen=True, kw_only=True)
class MonitorStateRecord:
    """How far a monitor was looked at. `band` is a JSON object: its series and their band as of `settled_ns`; None
    where it was not asked for, or is to stay as it is kept. `books`: where the alert of each series stands; `told`: the
    newest values."""

    tenant: TenantId
    name: str
    version: int
    settled_ns: int
    until_ns: int
    band: Mapping[str, Any] | None = None
    books: Mapping[str, Any] = field(default_factory=dict)
    told: Mapping[str, Any] = field(default_factory=dict)
    looked_at_ns: int = 0


@dataclass(frozen=True, kw_only=True)
class RaisedAlert:
    """One alert of one series: pending, firing, or resolved."""

    tenant: TenantId
    monitor: str
    series: str
    episode: int
    app: str
    status: str
    severity: str
    since_ns: int
    resolved_ns: int | None = None
    incident: int | None = None
    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class IncidentRecord:
    """`body` is the whole incident; the columns are what is looked for. `revision` 0: it is not written yet."""

    tenant: TenantId
    number: int
    app: str
    status: str
    severity: str
    opened_ns: int
    closed_ns: int | None = None
    body: Mapping[str, Any] = field(default_factory=dict)
    diagnosis: Mapping[str, Any] | None = None
    revision: int = 0
    n_entries: int = 0
    n_told: int = 0


@dataclass(frozen=True, kw_only=True)
class IncidentEntry:
    """A line of a timeline. `number` 0: not written yet."""

    incident: int
    told_ns: int
    at_ns: int
    kind: str
    text: str
    monitor: str | None = None
    series: str | None = None
    made_by: str | None = None
    number: int = 0


@dataclass(frozen=True, kw_only=True)
class SilenceRecord:
    """Of what, when and why nobody is told. `weekly`: its windows; None: all of its time."""

    tenant: TenantId
    silence_id: str
    matcher: Mapping[str, Any]
    start_ns: int
    end_ns: int
    why: str
    weekly: Mapping[str, Any] | None = None
    made_by: str = ""
    made_at_ns: int = 0
    ended_ns: int | None = None
    ended_by: str | None = None


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A message for one channel. `seq` is its place among those of the incident: of one channel none is sent before the
    one ahead of it has ended. `incident` 0: of none, a test. `tries` counts those that began."""

    tenant: TenantId
    id: str
    channel: str
    incident: int
    seq: int
    payload: Mapping[str, Any]
    state: DeliveryState = DeliveryState.QUEUED
    tries: int = 0
    next_at_ns: int = 0
    last_error: str | None = None
    created_ns: int = 0
    ended_ns: int | None = None
    owner: str | None = None
    lease_until_ns: int | None = None


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A message that a look asks for; its seq and id are given as it is written."""

    channel: str
    incident: int
    payload: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class RolloutAsking:
    """What firing guardrails ask of a rollout, until `until_ns` unless they ask again."""

    tenant: TenantId
    rollout_id: str
    guard: str
    reasons: tuple[str, ...]
    at_ns: int
    until_ns: int


@dataclass(frozen=True, kw_only=True)
class JobRun:
    """One run of a job that is over. `state` is SUCCEEDED, FAILED (it is tried again) or DEAD (it is not); `took_ms` is
    None where the server ended before the run did."""

    number: int
    at_ns: int
    state: JobState
    took_ms: float | None = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class ScheduledJob:
    """Something that servers do by the clock for a tenant. `tries` are those in a row that failed; `schedule` says in
    words when it is begun; `runs` are the newest that are over, the last one last."""

    tenant: TenantId
    name: str
    state: JobState = JobState.QUEUED
    due_ns: int = 0
    tries: int = 0
    n_runs: int = 0
    started_ns: int | None = None
    ended_ns: int | None = None
    succeeded_ns: int | None = None
    error: str | None = None
    told: Mapping[str, Any] = field(default_factory=dict)
    owner: str | None = None
    lease_until_ns: int | None = None
    schedule: str = ""
    runs: tuple[JobRun, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LookWritten:
    """All that a look at a tenant's monitors changes, in one transaction.

    `monitors` are those it saw, and `incidents` carry the revision that was seen: where one has changed meanwhile,
    nothing is written. `pending` are all alerts that are pending now, in place of those that were, of the monitors in
    `states`. `first_number`: what the next incident's number was.
    """

    tenant: TenantId
    owner: str
    monitors: tuple[MonitorRecord, ...] = ()
    states: tuple[MonitorStateRecord, ...] = ()
    alerts: tuple[RaisedAlert, ...] = ()
    pending: tuple[RaisedAlert, ...] = ()
    incidents: tuple[IncidentRecord, ...] = ()
    entries: tuple[IncidentEntry, ...] = ()
    wanted: tuple[Wanted, ...] = ()
    askings: tuple[RolloutAsking, ...] = ()
    first_number: int = 1


def delivery_id(tenant: TenantId, incident: int, seq: int, channel: str) -> str:
    """What a delivery is known by: the same message has the same id, however often it is made or sent."""
    name = "\n".join((str(tenant), str(incident), str(seq), channel))
    return f"d_{hashlib.sha256(name.encode()).hexdigest()[:32]}"
