"""Incidents: alerts of one app that began together, who looks after them, and what happened when. Records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

from core.errors import InvalidInput
from monitors.alert_records import Event, Severity, plain


class IncidentStatus(StrEnum):
    """Where an incident stands. Closed is for ever: what fires then is another incident."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    CLOSED = "closed"


class EntryKind(StrEnum):
    """What stands in a timeline."""

    OPENED = "opened"
    FIRED = "fired"
    RAISED = "raised"
    RENOTIFIED = "renotified"
    RESOLVED = "resolved"
    NOTED = "noted"
    ACKNOWLEDGED = "acknowledged"
    ASSIGNED = "assigned"
    REOPENED = "reopened"
    """Acknowledged, and then it became worse."""
    CLOSED = "closed"
    NOTE = "note"
    """What a person wrote; also after it was closed."""


class TellingKind(StrEnum):
    """What a receiver is to do with what it is told."""

    CALL = "call"
    """Somebody is called, or a ticket is made."""
    UPDATE = "update"
    """Nobody is called: there is more to be read in the same incident."""
    RESOLVED = "resolved"
    """No alert of the incident fires any more."""


@dataclass(frozen=True, kw_only=True)
class IncidentRules:
    """Within which distance of beginnings alerts are one incident, how long it is quiet before it closes by itself, and
    how long after a call it is called again for alerts that still fire."""

    gap_s: int = 1800
    quiet_s: int = 1800
    recall_s: int = 3600

    def __post_init__(self) -> None:
        for name in ("gap_s", "quiet_s", "recall_s"):
            if getattr(self, name) < 0:
                raise InvalidInput(f"{name} is {getattr(self, name)}; it is 0 or more", field=name)


@dataclass(frozen=True, kw_only=True)
class News:
    """An event of an alert, and whose it is. `owner` is who the monitor says looks after it."""

    app: str
    monitor: str
    series: str
    event: Event
    owner: str | None = None

    @property
    def alert(self) -> tuple[str, str]:
        """The series of a monitor whose alert it is."""
        return (self.monitor, self.series)


@dataclass(frozen=True, kw_only=True)
class Member:
    """One firing in an incident. `resolved_ns` None: it fires."""

    monitor: str
    series: str
    episode: int
    severity: Severity
    fired_ns: int
    resolved_ns: int | None = None

    @property
    def alert(self) -> tuple[str, str]:
        """The series of a monitor whose alert it is."""
        return (self.monitor, self.series)


@dataclass(frozen=True, kw_only=True)
class Incident:
    """`number` is what people call it by (I-17). `called_ns` is when somebody was last called, `quiet_ns` since when no
    alert of it fires; None: nobody was, or one does. `owner` is that of the monitor that opened it, or who it was given
    to. `follows`: the closed one in which the same alert fired before."""

    number: int
    app: str
    status: IncidentStatus
    severity: Severity
    opened_ns: int
    members: tuple[Member, ...]
    called_ns: int | None = None
    quiet_ns: int | None = None
    acknowledged_ns: int | None = None
    acknowledged_by: str | None = None
    closed_ns: int | None = None
    closed_by: str | None = None
    owner: str | None = None
    follows: int | None = None

    @property
    def name(self) -> str:
        """What people call it by."""
        return f"I-{self.number}"

    @property
    def onset_ns(self) -> int:
        """When the first of its alerts fired, by the data."""
        return min(one.fired_ns for one in self.members)

    @property
    def firing(self) -> tuple[Member, ...]:
        """Those of its alerts that fire."""
        return tuple(one for one in self.members if one.resolved_ns is None)

    @property
    def title(self) -> str:
        """The app and the monitors in the order in which they fired."""
        names = list(dict.fromkeys(one.monitor for one in sorted(self.members, key=lambda one: one.fired_ns)))
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        return f"{self.app}: {', '.join(names[:3])}{more}"

    def as_json(self) -> dict[str, Any]:
        """Its JSON object."""
        return {name: plain(value) for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """The incident again."""
        members = tuple(Member(**{**one, "severity": Severity(one["severity"])}) for one in told["members"])
        fixed = {"status": IncidentStatus(told["status"]), "severity": Severity(told["severity"]), "members": members}
        return cls(**{**told, **fixed})


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A line of an incident's timeline: when it was written, when it happened by the data, what, by whom."""

    number: int
    told_ns: int
    at_ns: int
    kind: EntryKind
    text: str
    monitor: str | None = None
    series: str | None = None
    by: str | None = None


@dataclass(frozen=True, kw_only=True)
class Telling:
    """What receivers are told of an incident, because of which news."""

    number: int
    kind: TellingKind
    severity: Severity
    news: News


@dataclass(frozen=True, kw_only=True)
class Joined:
    """The incidents that changed, their new lines and what is told, each in order; the number of the next incident."""

    incidents: tuple[Incident, ...]
    entries: tuple[Entry, ...]
    tellings: tuple[Telling, ...]
    next_number: int
