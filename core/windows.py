"""Half-open UTC windows [start, end), in nanoseconds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from core.clock import NS_PER_S, to_datetime, to_ns
from core.errors import InvalidInput

_SPAN = re.compile(r"(\d{1,6})(s|m|h|d|w)\Z")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True, kw_only=True)
class Window:
    """Half-open: `start_ns` is inside, `end_ns` is not."""

    start_ns: int
    end_ns: int

    def __post_init__(self) -> None:
        if self.end_ns <= self.start_ns:
            raise InvalidInput(
                f"the window ends ({to_datetime(self.end_ns):%Y-%m-%dT%H:%M:%SZ}) before it starts "
                f"({to_datetime(self.start_ns):%Y-%m-%dT%H:%M:%SZ})",
                field="end",
            )

    def contains(self, ns: int) -> bool:
        """Whether `ns` lies inside."""
        return self.start_ns <= ns < self.end_ns


def parse_duration_s(text: str) -> int:
    """Seconds in texts such as 90s, 15m, 24h, 7d, 2w. Raises InvalidInput otherwise."""
    found = _SPAN.match(text.strip())
    if not found:
        raise InvalidInput(f"{text[:40]!r} is not a duration; write for example 15m, 24h or 7d", field="since")
    return int(found[1]) * _SECONDS[found[2]]


def parse_moment(text: str, field: str) -> int:
    """Nanoseconds of an RFC 3339 time with a zone. Raises InvalidInput naming `field`."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(
            f"{field}={text[:60]!r} is not a time; write for example 2026-11-21T00:00:00Z", field
        ) from None
    if moment.tzinfo is None:
        raise InvalidInput(f"{field}={text[:60]!r} has no time zone; add Z for UTC", field)
    return to_ns(moment)


def window_of(*, now_ns: int, start: str | None = None, end: str | None = None, since: str | None = None) -> Window:
    """The window a caller asked for: `since` counts back from `end` (default: one hour past now, so that
    slightly fast client clocks are inside); otherwise `start` and `end`.

    Raises InvalidInput where neither `since` nor `start` is given, or the window is empty.
    """
    end_ns = parse_moment(end, "end") if end else now_ns + 3600 * NS_PER_S
    if since:
        base = end_ns if end else now_ns
        return Window(start_ns=base - parse_duration_s(since) * NS_PER_S, end_ns=end_ns)
    if not start:
        raise InvalidInput("a time window is required: give since=7d, or start= and end=", field="since")
    return Window(start_ns=parse_moment(start, "start"), end_ns=end_ns)


def day_of(ns: int) -> str:
    """The UTC date, as YYYY-MM-DD, on which `ns` falls."""
    return datetime.fromtimestamp(ns // NS_PER_S, UTC).strftime("%Y-%m-%d")
