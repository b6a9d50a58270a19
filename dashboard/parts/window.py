"""The time range of a page: what the address and the viewer chose, as API parameters, as words and as two moments."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from dashboard import human

RANGES: Final = {
    "15m": "Last 15 minutes",
    "1h": "Last hour",
    "6h": "Last 6 hours",
    "24h": "Last 24 hours",
    "7d": "Last 7 days",
    "30d": "Last 30 days",
    "90d": "Last 90 days",
    "365d": "Last year",
    "3650d": "All time",
    "custom": "Custom range",
}
DEFAULT: Final = "24h"
ALL_TIME: Final = "3650d"
ALIASES: Final = {"all": ALL_TIME, "1y": "365d", "10y": ALL_TIME}  # what an address may say for a listed range
CUSTOM: Final = "custom"
BUCKETS: Final = {"1m": 60, "5m": 300, "15m": 900, "1h": 3600, "6h": 21600, "1d": 86400}
_SECONDS: Final = {"m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}
_NOUNS: Final = {"m": "minute", "h": "hour", "d": "day", "w": "week", "y": "year"}
_ANY: Final = re.compile(r"([1-9][0-9]{0,4})([mhdwy])\Z")


@dataclass(frozen=True, kw_only=True)
class Window:
    """A chosen range of time: API parameters, words ("in the last 24 hours"), length; `fixed` where both ends are.

    `endless` marks a window that stands for all time.
    """

    parameters: dict[str, str]
    words: str
    seconds: float
    fixed: tuple[datetime, datetime] | None = None
    endless: bool = False

    @property
    def bucket(self) -> str:
        """The rollup bucket that gives a chart 12 to 72 points over this window, or as close as there is."""
        return next((name for name, size in BUCKETS.items() if self.seconds / size <= 72), "1d")

    def bounds(self, now: datetime) -> tuple[datetime, datetime]:
        """First and last moment, in UTC, as seen at `now`."""
        return self.fixed or (now.astimezone(UTC) - timedelta(seconds=self.seconds), now.astimezone(UTC))

    def before(self, now: datetime) -> dict[str, str] | None:
        """The API parameters of the window of the same length that ends where this one starts; None for all time."""
        if self.endless:
            return None
        start, _ = self.bounds(now)
        return _parameters(start - timedelta(seconds=self.seconds), start)

    @property
    def before_words(self) -> str:
        """ "the 24 hours before": what `before` spans."""
        since = self.parameters.get("since")
        return f"the {_length(since)} before" if since else "the same length of time before"


def known(since: str | None) -> bool:
    """Whether the pages can show `since`: a listed range, or a length such as 90m, 48h, 3d or 2y up to ten years."""
    return since in RANGES or (since is not None and 0 < _seconds(since) <= _seconds(ALL_TIME))


def title(since: str) -> str:
    """The words of a range in the list of ranges: those of RANGES, or of any other length ("Last 3 days")."""
    return RANGES.get(since) or f"Last {_length(since)}"


def relative(since: str) -> Window:
    """The window that ends now. `since` is `known` and not "custom"."""
    words = "of all time" if since == ALL_TIME else f"in the {title(since).lower()}"
    return Window(parameters={"since": since}, words=words, seconds=_seconds(since), endless=since == ALL_TIME)


def between(start: datetime, end: datetime) -> Window:
    """The window from `start` to `end`, both with a time zone."""
    first, last = start.astimezone(UTC), end.astimezone(UTC)
    return Window(
        parameters=_parameters(first, last),
        words="in the chosen range",
        seconds=(last - first).total_seconds(),
        fixed=(first, last),
    )


def _parameters(start: datetime, end: datetime) -> dict[str, str]:
    return {"start": f"{start:%Y-%m-%dT%H:%M:%SZ}", "end": f"{end:%Y-%m-%dT%H:%M:%SZ}"}


def _seconds(since: str) -> int:
    found = _ANY.match(since)
    return int(found[1]) * _SECONDS[found[2]] if found else 0


def _length(since: str) -> str:
    found = _ANY.match(since)
    if not found:
        return since
    number = int(found[1])
    return _NOUNS[found[2]] if number == 1 else human.plural(number, _NOUNS[found[2]])
