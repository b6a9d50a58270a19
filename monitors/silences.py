"""Silences: when nobody is to hear of which alerts. Pure: the time and the time zones' rules are all that counts.

A silence keeps an alert from being told, never from living: it fires, stands in its incident, holds a rollout, and what
still fires when the silence is over is told then. A silence names no other silence, so that none can wait for itself.
What could go on for ever is refused: one without an end, windows that touch their next ones, and a new silence that,
with those that are there, would keep something unheard for more than `MOST_S` at a stretch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from core.clock import NS_PER_S, to_datetime, to_ns
from core.errors import InvalidInput
from core.windows import Window
from monitors.alert_records import DAY_S, Severity

MOST_S: Final = 30 * DAY_S
MOST_IN_FORCE: Final = 200  # of a tenant: each new one is held against all of them
MOST_WEEKLY_S: Final = 366 * DAY_S
FEWEST_HEARD_MINUTES: Final = 120  # between two windows of one silence; a change of the clock takes at most two hours
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WEEK_MINUTES: Final = 7 * 24 * 60
_CLOCK: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])\Z")


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What an alert is about, as silences look at it."""

    app: str
    monitor: str
    series: str
    severity: Severity


@dataclass(frozen=True, kw_only=True)
class Matcher:
    """Which alerts of a tenant: all for which every part that is given is the same. None: whatever it is."""

    app: str | None = None
    monitor: str | None = None
    series: str | None = None
    severity: Severity | None = None

    def matches(self, subject: Subject) -> bool:
        """Whether an alert is meant."""
        return all(
            wanted is None or wanted == found
            for wanted, found in (
                (self.app, subject.app),
                (self.monitor, subject.monitor),
                (self.series, subject.series),
                (self.severity, subject.severity),
            )
        )

    def covers(self, other: Matcher) -> bool:
        """Whether all that the other means is meant by this one too."""
        return all(mine is None or mine == theirs for mine, theirs in self._beside(other))

    def both(self, other: Matcher) -> Matcher | None:
        """What both of them mean; None: nothing."""
        if any(None not in (mine, theirs) and mine != theirs for mine, theirs in self._beside(other)):
            return None
        return Matcher(
            app=self.app or other.app, monitor=self.monitor or other.monitor, series=self.series or other.series,
            severity=self.severity or other.severity,
        )  # fmt: skip

    def _beside(self, other: Matcher) -> tuple[tuple[str | None, str | None], ...]:
        return (
            (self.app, other.app),
            (self.monitor, other.monitor),
            (self.series, other.series),
            (self.severity, other.severity),
        )


@dataclass(frozen=True, kw_only=True)
class Weekly:
    """Windows that come every week, by the clock on a wall in `zone`: on these days from `start` to `end`, HH:MM; an
    end that is not after the start is on the next day.

    Where a clock is set on, a time that it passes over is the moment of the change: a window of nothing but such times
    does not come. Where it is set back, a start is the first of the two, an end the second: the hour twice is silent
    twice.
    """

    days: tuple[str, ...]
    start: str
    end: str
    zone: str = "UTC"

    def __post_init__(self) -> None:
        if not self.days or set(self.days) - set(DAYS) or len(set(self.days)) < len(self.days):
            raise InvalidInput(f"days are one or more of {', '.join(DAYS)}, each once", field="days")
        for name in ("start", "end"):
            if not _CLOCK.match(getattr(self, name)):
                raise InvalidInput(f"{name} is {getattr(self, name)[:20]!r}; write a time as 02:30", field=name)
        zone_of(self.zone)
        if self.start == self.end:
            raise InvalidInput("a window that ends when it starts is a whole day, or none: say which", field="end")
        if _least_heard(self) < FEWEST_HEARD_MINUTES:
            raise InvalidInput(
                f"these windows leave less than {FEWEST_HEARD_MINUTES} min between two of them: a silence that hardly "
                f"ends; make them shorter, or silence the time once",
                field="end",
            )

    def on(self, day: date) -> Window | None:
        """The window that starts on a day of this calendar, if one does."""
        if DAYS[day.weekday()] not in self.days:
            return None
        start, end = _minutes(self.start), _minutes(self.end)
        zone, next_day = zone_of(self.zone), day + timedelta(days=end <= start)
        start_ns, end_ns = _instant(day, start, zone, fold=0), _instant(next_day, end, zone, fold=1)
        return Window(start_ns=start_ns, end_ns=end_ns) if end_ns > start_ns else None


@dataclass(frozen=True, kw_only=True)
class Silence:
    """Of what, from when to when (half-open), in which weekly windows of that time (None: all of it), and why.
    `ended_ns` is when somebody ended it before its time."""

    silence_id: str
    matcher: Matcher
    start_ns: int
    end_ns: int
    why: str
    weekly: Weekly | None = None
    by: str = ""
    ended_ns: int | None = None

    def __post_init__(self) -> None:
        if not self.why.strip():
            raise InvalidInput("say why: whoever misses a page asks", field="why")
        Window(start_ns=self.start_ns, end_ns=self.end_ns)
        most = MOST_S if self.weekly is None else MOST_WEEKLY_S
        if self.end_ns - self.start_ns > most * NS_PER_S:
            kind = "silence" if self.weekly is None else "silence that comes every week"
            raise InvalidInput(f"a {kind} lasts {most // DAY_S} days at most; renew it then", field="end")

    @property
    def until_ns(self) -> int:
        """When it is over."""
        return self.end_ns if self.ended_ns is None else min(self.end_ns, self.ended_ns)

    def active(self, at_ns: int) -> bool:
        """Whether it is silent at a time."""
        if not self.start_ns <= at_ns < self.until_ns:
            return False
        return self.weekly is None or any(one.contains(at_ns) for one in _around(self.weekly, at_ns, at_ns + 1))

    def windows(self, window: Window) -> list[Window]:
        """When it is silent within a window, in order."""
        start, end = max(window.start_ns, self.start_ns), min(window.end_ns, self.until_ns)
        if end <= start:
            return []
        every = [Window(start_ns=start, end_ns=end)] if self.weekly is None else _around(self.weekly, start, end)
        cut = ((max(one.start_ns, start), min(one.end_ns, end)) for one in every)
        return [Window(start_ns=a, end_ns=b) for a, b in cut if b > a]


def silenced(silences: Iterable[Silence], subject: Subject, at_ns: int) -> Silence | None:
    """The silence under which an alert is at a time: of several the one that lasts longest; None: it is to be heard."""
    some = [one for one in silences if one.matcher.matches(subject) and one.active(at_ns)]
    return max(some, key=lambda one: (one.until_ns, one.silence_id), default=None)


def checked(new: Silence, existing: Sequence[Silence]) -> Silence:
    """A new silence, if it ends. Raises InvalidInput where with those that are there, each beginning before another is
    over, something that it silences would not be heard for more than MOST_S at a stretch; and for one more than
    MOST_IN_FORCE that are not over."""
    if sum(one.until_ns > new.start_ns for one in existing) >= MOST_IN_FORCE:
        raise InvalidInput(
            f"{MOST_IN_FORCE} silences are in force or to come: end some, or silence more by one (an app, a severity)",
            field="matcher",
        )
    most_ns = MOST_S * NS_PER_S
    around = Window(start_ns=new.start_ns - most_ns, end_ns=new.until_ns + most_ns)
    timed, mine = [(one, one.windows(around)) for one in existing], new.windows(around)
    shared = {found for one in existing if (found := new.matcher.both(one.matcher)) is not None}
    for matcher in sorted(shared, key=repr):
        covering = [each for each in timed if each[0].matcher.covers(matcher)]
        for one in stretches([*mine, *(window for _, windows in covering for window in windows)]):
            if one.end_ns - one.start_ns > most_ns:
                names = ", ".join(sorted(each.silence_id for each, _ in covering))
                raise InvalidInput(
                    f"with {names} nothing would be heard from {to_datetime(one.start_ns):%Y-%m-%d %H:%M} to "
                    f"{to_datetime(one.end_ns):%Y-%m-%d %H:%M}: silences one after the other are one, and last "
                    f"{MOST_S // DAY_S} days at most",
                    field="end",
                )
    return new


def stretches(windows: Sequence[Window]) -> list[Window]:
    """Windows joined where they touch or overlap, in order."""
    found: list[Window] = []
    for one in sorted(windows, key=lambda each: each.start_ns):
        if found and one.start_ns <= found[-1].end_ns:
            found[-1] = Window(start_ns=found[-1].start_ns, end_ns=max(found[-1].end_ns, one.end_ns))
        else:
            found.append(one)
    return found


def zone_of(name: str) -> ZoneInfo:
    """A time zone by its name. Raises InvalidInput for one that is not known."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidInput(
            f"{name[:60]!r} is no time zone that is known here; write for example Europe/Berlin", field="zone"
        ) from None


def _around(weekly: Weekly, start_ns: int, end_ns: int) -> Iterator[Window]:
    """The windows that reach into a time: from two days before, for a zone's offset and a window over midnight."""
    day, last = to_datetime(start_ns).date() - timedelta(days=2), to_datetime(end_ns).date() + timedelta(days=1)
    while day <= last:
        window = weekly.on(day)
        if window is not None:
            yield window
        day += timedelta(days=1)


def _instant(day: date, minutes: int, zone: ZoneInfo, fold: int) -> int:
    """When a clock shows a time, as nanoseconds. One that it passes over is the moment in which it does."""
    shown = datetime(day.year, day.month, day.day, minutes // 60, minutes % 60, fold=fold)
    at = shown.replace(tzinfo=zone).astimezone(UTC)
    if at.astimezone(zone).replace(tzinfo=None, fold=0) == shown.replace(fold=0):
        return to_ns(at)
    early, late = sorted(to_ns(shown.replace(tzinfo=zone, fold=one).astimezone(UTC)) // NS_PER_S for one in (0, 1))
    before = to_datetime(early * NS_PER_S).astimezone(zone).utcoffset()
    while late - early > 1:
        middle = (early + late) // 2
        if to_datetime(middle * NS_PER_S).astimezone(zone).utcoffset() == before:
            early = middle
        else:
            late = middle
    return late * NS_PER_S


def _least_heard(weekly: Weekly) -> int:
    """The fewest minutes between two windows in a week without a change of the clock."""
    start, end = _minutes(weekly.start), _minutes(weekly.end)
    lasts = (end - start) % (24 * 60)
    starts = sorted(DAYS.index(day) * 24 * 60 + start for day in weekly.days)
    after = [*starts[1:], starts[0] + _WEEK_MINUTES]
    return min(b - a - lasts for a, b in zip(starts, after, strict=True))


def _minutes(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)
