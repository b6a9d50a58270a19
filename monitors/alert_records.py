"""An alert: what is seen of its series, where its life stands, what is told of it. Records, and their JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final, Self, TypeVar

from core.clock import NS_PER_S
from core.errors import InvalidInput

DAY_S: Final = 86_400
E = TypeVar("E", bound=StrEnum)


class Severity(StrEnum):
    """How loud an alert is."""

    TICKET = "ticket"
    """To be looked at in working hours."""
    PAGE = "page"
    """Somebody is called now."""

    @property
    def rank(self) -> int:
        """The louder, the higher."""
        return 1 if self is Severity.PAGE else 0


class AlertStatus(StrEnum):
    """Where an alert stands; there is none before its first breach, and none after one that never fired."""

    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


class NoData(StrEnum):
    """What a point without data is to an alert."""

    KEEP = "keep"
    """Nothing: the alert stays as it is, for a day at most."""
    OK = "ok"
    """A calm point."""
    ALERT = "alert"
    """A breach: silence is the trouble."""


class Verdict(StrEnum):
    """One point as the life of an alert takes it."""

    BREACH = "breach"
    BETWEEN = "between"
    """Inside the band, but not as far inside as it takes to resolve."""
    CALM = "calm"
    MISSING = "missing"
    WARMING_UP = "warming_up"
    """A value of which the band cannot say anything yet."""
    ADOPTED = "adopted"
    """The new level has lasted: from now on it is the expected one."""


class Cause(StrEnum):
    """Why an alert fired, was told again, or resolved."""

    BREACH = "breach"
    NO_DATA = "no_data"
    CALM = "calm"
    ADOPTED = "adopted"
    VANISHED = "vanished"
    """There was no point for so long that nobody knows whether it is over."""
    LATE_DATA = "late_data"
    REOPENED = "reopened"
    """It fired again so soon that it is the same alert, or late data says that it had not ended."""
    WORSE = "worse"
    STILL = "still"
    SILENCE_OVER = "silence_over"
    CLOSED = "closed"
    """The monitor was changed, switched off or deleted."""


class EventKind(StrEnum):
    """What happened to an alert."""

    FIRED = "fired"
    RAISED = "raised"
    RENOTIFIED = "renotified"
    RESOLVED = "resolved"
    NOTED = "noted"


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How a monitor's alerts live. `step_s` is the length of its buckets; every count is of buckets."""

    step_s: int = 300
    for_points: int = 1
    """Breaches in a row until it fires."""
    clear_points: int = 3
    """Calm points in a row until it resolves."""
    clear_share: float = 0.8
    """How far the band is shrunk for a point to be calm: 1 is the band itself."""
    severity: Severity = Severity.PAGE
    no_data: NoData = NoData.KEEP
    renotify_s: int | None = 4 * 3600
    """How often a firing alert that nobody acknowledged is told again; None: never."""
    vanish_s: int = DAY_S
    """How long without a point a firing alert is kept."""
    flap_window_s: int = DAY_S
    """Within which firings count as flapping."""
    flap_limit: int = 3
    """From this firing on in that time, an alert takes twice as many calm points to resolve, then four times, ..."""
    silent_most_s: int = 7 * DAY_S
    """How long a firing alert may stay untold because of silences."""

    def __post_init__(self) -> None:
        for name, least in (("step_s", 1), ("for_points", 1), ("clear_points", 1), ("flap_limit", 2)):
            if getattr(self, name) < least:
                raise InvalidInput(f"{name} is {getattr(self, name)}; it is at least {least}", field=name)
        if not 0 < self.clear_share <= 1:
            raise InvalidInput(f"clear_share is {self.clear_share}; it is above 0, and 1 at most", field="clear_share")
        for name in ("vanish_s", "flap_window_s", "silent_most_s"):
            if getattr(self, name) < self.step_s:
                raise InvalidInput(f"{name} is shorter than one step of {self.step_s} s", field=name)
        if self.renotify_s is not None and self.renotify_s < 60:
            raise InvalidInput("renotify_s is at least 60; null for never", field="renotify_s")

    @property
    def step_ns(self) -> int:
        """The length of a bucket."""
        return self.step_s * NS_PER_S

    @property
    def slack_ns(self) -> int:
        """Two firings that are no further apart than it takes to resolve are one alert."""
        return self.clear_points * self.step_ns


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One bucket of one series, judged. `at_ns` is where the bucket begins; what is not known is None.

    `why` is a sentence in place of the one that the numbers give; `severity` one in place of the monitor's.
    """

    at_ns: int
    verdict: Verdict
    side: int = 0
    value: float | None = None
    n: float | None = None
    expected: float | None = None
    low: float | None = None
    high: float | None = None
    z: float | None = None
    severity: Severity | None = None
    why: str | None = None

    @property
    def known(self) -> bool:
        """Whether there was a value."""
        return self.verdict is not Verdict.MISSING

    def words(self) -> str:
        """What was seen, with the numbers that it was compared with."""
        if self.why:
            return self.why
        if not self.known:
            return "no data"
        of = "" if self.n is None else f" of {self.n:,.0f}"
        at = "?" if self.value is None else f"{self.value:.4g}{of}"
        edge = self.low if self.side < 0 else self.high if self.side > 0 else None
        if edge is not None:
            said = f"{at}, {'below' if self.side < 0 else 'above'} {edge:.4g}"
        elif self.low is not None and self.high is not None:
            said = f"{at}, between {self.low:.4g} and {self.high:.4g}"
        else:
            said = at
        return said if self.expected is None else f"{said} (expected {self.expected:.4g})"

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """What `asdict` made of one."""
        severity = told.get("severity")
        return cls(
            **{
                **told,
                "verdict": Verdict(told["verdict"]),
                "severity": None if severity is None else Severity(severity),
            }
        )


@dataclass(frozen=True, kw_only=True)
class AlertState:
    """Where the alert of one series stands by the points up to `at_ns`. Times are those of buckets, never a clock's.

    `breaches` and `calm` count points in a row, `spells` holds when the newest firings began, within the time in which
    they count as flapping. `known_ns` is the newest bucket with a value. `seen` is what made it stand where it stands.
    """

    at_ns: int
    known_ns: int | None = None
    status: AlertStatus | None = None
    breaches: int = 0
    calm: int = 0
    since_ns: int | None = None
    fired_ns: int | None = None
    resolved_ns: int | None = None
    severity: Severity | None = None
    cause: Cause | None = None
    spells: tuple[int, ...] = ()
    seen: Seen | None = None

    def as_json(self) -> dict[str, Any]:
        """Its JSON object."""
        return {name: plain(value) for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """The state again."""
        return cls(
            **{
                **told,
                "status": _of(AlertStatus, told["status"]),
                "severity": _of(Severity, told["severity"]),
                "cause": _of(Cause, told["cause"]),
                "spells": tuple(told["spells"]),
                "seen": None if told["seen"] is None else Seen.from_json(told["seen"]),
            }
        )


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to the alert `episode` of a series: when by the data (`at_ns`), when it was told.

    `fired_ns` is when that alert began to fire. `tells` is whether somebody is to hear of it now: not under a silence,
    and not of what had ended before it was known. `late` is whether late data, or a late look, is the reason.
    """

    kind: EventKind
    cause: Cause
    episode: int
    at_ns: int
    told_ns: int
    fired_ns: int
    severity: Severity
    text: str
    tells: bool = True
    late: bool = False

    def as_json(self) -> dict[str, Any]:
        """Its JSON object."""
        return {name: plain(value) for name, value in asdict(self).items()}


def dedup_key(tenant: str, monitor: str, series: str, episode: int) -> str:
    """What an alert is called outside: the same for all events of one alert, another for the next of its series."""
    parts = (one.replace("%", "%25").replace("/", "%2F") for one in (tenant, monitor, series))
    return "/".join((*parts, str(episode)))


def plain(value: Any) -> Any:
    """A value as JSON holds it: enumerations as text, tuples as lists, what is no number as null."""
    match value:
        case StrEnum():
            return value.value
        case Mapping():
            return {key: plain(one) for key, one in value.items()}
        case tuple() | list():
            return [plain(one) for one in value]
        case float() if not math.isfinite(value):
            return None
        case _:
            return value


def _of(kind: type[E], text: str | None) -> E | None:
    return None if text is None else kind(text)
