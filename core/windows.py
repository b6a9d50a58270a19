"""Half-open UTC windows [start, end), in nanoseconds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from core.clock import NS_PER_S, to_datetime, to_ns
from core.errors import InvalidInput

_SPAN = re.compile(r"([0-9]{1,6})(s|m|h|d|w|y)\Z")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}
_NUMBER = re.compile(r"-?[0-9]{1,19}\Z")

FIRST_NS = -(2**63)  # the least time a row can have: a time of 2^63 and more is stored as its two's complement
LAST_NS = 2**63 - 1
AHEAD_NS = 3600 * NS_PER_S  # how far past now a window reaches that names no end, for clients with a fast clock


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
    """Seconds in texts such as 90s, 15m, 24h, 7d, 2w, 1y (365 days). Raises InvalidInput otherwise."""
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


def moment_ns(text: str, field: str) -> int:
    """Nanoseconds of an RFC 3339 time with a zone, or of an integer of nanoseconds from -2^63 to 2^63.

    2^63 itself is nobody's time: it is the end of a window that holds the last one. Raises InvalidInput naming `field`.
    """
    if _NUMBER.match(text):
        value = int(text)
        if not FIRST_NS <= value <= LAST_NS + 1:
            raise InvalidInput(f"{field} is out of range: nanoseconds go from -2^63 to 2^63", field)
        return value
    # An unescaped "+" of a zone reaches us as a space.
    found = parse_moment(text.replace(" ", "+") if text.count(" ") == 1 and "T" in text else text, field)
    if not FIRST_NS <= found <= LAST_NS:
        raise InvalidInput(f"{field}={text[:40]!r} is outside the years 1678 to 2262", field)
    return found


def window_of(*, now_ns: int, start: str | None = None, end: str | None = None, since: str | None = None) -> Window:
    """The window a caller asked for, with moments as `moment_ns` reads them: `since` counts back from `end`, or from
    now with an hour to spare ahead; else from `start` to `end` or that hour. A `since` that reaches back beyond the
    first time there is ends there.

    Raises InvalidInput naming the parameter: neither or both of `since` and `start`, or an empty window.
    """
    until_ns = now_ns + AHEAD_NS if end is None else moment_ns(end, "end")
    if since is None:
        if start is None:
            raise InvalidInput("a time window is required: give since=7d, or start= and end=", field="since")
        return Window(start_ns=moment_ns(start, "start"), end_ns=until_ns)
    if start is not None:
        raise InvalidInput("give since= or start=, not both", field="since")
    back_ns = parse_duration_s(since) * NS_PER_S
    if back_ns == 0:
        raise InvalidInput(f"since={since} is an empty window", field="since")
    return Window(start_ns=max((now_ns if end is None else until_ns) - back_ns, FIRST_NS), end_ns=until_ns)


def day_of(ns: int) -> str:
    """The UTC date, as YYYY-MM-DD, on which `ns` falls."""
    return datetime.fromtimestamp(ns // NS_PER_S, UTC).strftime("%Y-%m-%d")
