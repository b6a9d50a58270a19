"""Looking often without erring often: a week's error is shared out over its looks.

A cluster's p at a look is divided by the look's share; the least of a week so far is what Benjamini-Hochberg takes. By
the union bound the least is below u with a chance of at most u under the null, whatever windows the looks take and
however they overlap; and since it only falls, what was found once stays found until the week ends. So of all that is
told in a week at most `fdr` is expected to be wrong, be it looked at once or 175 times. Equal shares would hold the
same rate and find little: most growth is moderate, and it is the look at a whole week that shows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

HOUR_NS: Final = 3_600_000_000_000
DAY_NS: Final = 24 * HOUR_NS
WEEK_NS: Final = 7 * DAY_NS
MONDAY_NS: Final = 4 * DAY_NS  # 1970-01-05, a Monday
WEEKLY: Final = 0.6  # of the week's error: the first nightly look, for what grew moderately
NIGHTLY: Final = 0.3  # in six parts: the nights after it
HOURLY: Final = 0.1  # in 168 parts


@dataclass(frozen=True, kw_only=True)
class Week:
    """The looks of one UTC week (Monday to Monday) so far and each cluster's least p over its looks' shares.

    `nights` are days 0-6 and `hours` hours 0-167 of the week that had their look.
    """

    start_ns: int
    nights: frozenset[int] = frozenset()
    hours: frozenset[int] = frozenset()
    least: Mapping[str, float] = field(default_factory=dict)

    def after(self, least: Mapping[str, float]) -> Week:
        """The week with what a look found (`Found.least`)."""
        return replace(self, least=dict(least))

    def as_json(self) -> dict[str, Any]:
        """A plain object; `week_of_json` reads it."""
        return {
            "start_ns": self.start_ns,
            "nights": sorted(self.nights),
            "hours": sorted(self.hours),
            "least": dict(self.least),
        }


@dataclass(frozen=True, kw_only=True)
class Look:
    """One look: its share of the week's error (0 where this hour had its look: nothing may be told) and the week."""

    share: float
    week: Week


def week_of_json(told: Mapping[str, Any]) -> Week:
    """What `Week.as_json` gave."""
    return Week(
        start_ns=int(told["start_ns"]),
        nights=frozenset(told["nights"]),
        hours=frozenset(told["hours"]),
        least=dict(told["least"]),
    )


def look(at_ns: int, week: Week | None, *, nightly: bool) -> Look:
    """The look at this time after those in `week` (None or of another week: the first of its week).

    The first nightly look of a week has 0.6 of its error, the others 0.3 / 6 each, once in a day; every other look
    0.1 / 168, once in an hour; a second one in the same hour has nothing. `at_ns` is Unix time in ns.
    """
    start = (at_ns - MONDAY_NS) // WEEK_NS * WEEK_NS + MONDAY_NS
    if week is None or week.start_ns != start:
        week = Week(start_ns=start)
    day, hour = (at_ns - start) // DAY_NS, (at_ns - start) // HOUR_NS
    if nightly and day not in week.nights:
        share = NIGHTLY / 6 if week.nights else WEEKLY
        return Look(share=share, week=replace(week, nights=week.nights | {day}))
    if hour not in week.hours:
        return Look(share=HOURLY / 168, week=replace(week, hours=week.hours | {hour}))
    return Look(share=0.0, week=week)
