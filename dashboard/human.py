"""Numbers, money, durations and times in the form a person reads. Unknown is an en dash, never zero."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

UNKNOWN: Final = "–"


def count(value: float | None) -> str:
    """950 -> "950", 3_412 -> "3,412", 34_120 -> "34.1k", 2_000_000 -> "2M"."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if abs(value) < 10_000:
        return f"{value:,.0f}"
    return _scaled(value)


def tokens(value: float | None) -> str:
    """850 -> "850 tok", 3_412 -> "3.4k tok"."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    return f"{value:,.0f} tok" if abs(value) < 1_000 else f"{_scaled(value)} tok"


def in_and_out(row: Mapping[str, Any]) -> str:
    """The tokens of a trace or session: "1,200 in · 80 out"; an en dash when no model call reported any."""
    sent, got = row.get("input_tokens"), row.get("output_tokens")
    return UNKNOWN if sent is None and got is None else f"{count(sent)} in · {count(got)} out"


def usd(value: float | None) -> str:
    """0.01234 -> "$0.0123", 12.5 -> "$12.50", 0.00001 -> "<$0.0001", 15_300 -> "$15.3k"."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if value == 0:
        return "$0"
    if 0 < value < 0.0001:
        return "<$0.0001"
    if abs(value) < 1:
        return f"${value:.4f}"
    return f"${value:,.2f}" if abs(value) < 10_000 else f"${_scaled(value)}"


def duration(ms: float | None) -> str:
    """0.42 -> "0.42 ms", 340 -> "340 ms", 1_240 -> "1.2 s", 125_000 -> "2 m 05 s", 3_840_000 -> "1 h 04 m"."""
    if ms is None or not math.isfinite(ms):
        return UNKNOWN
    if ms < 10:
        return f"{ms:.2g} ms" if ms < 1 else f"{ms:.1f} ms"
    if ms < 999.5:
        return f"{ms:.0f} ms"
    seconds = ms / 1000
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} m {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} m" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def share(part: float, whole: float) -> str:
    """2 of 50 -> "4.0%"; of nothing, unknown."""
    return f"{100 * part / whole:.1f}%" if whole else UNKNOWN


def score(value: float | None) -> str:
    """A score with at most three decimals: 1.0 -> "1", 0.8333 -> "0.833"."""
    return UNKNOWN if value is None else f"{value:.3f}".rstrip("0").rstrip(".")


def plural(number: int, noun: str) -> str:
    """(1, "span") -> "1 span"; (3, "span") -> "3 spans"."""
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def zone(name: str | None) -> tzinfo:
    """The time zone of that name (the browser's), UTC when it is unknown."""
    try:
        return ZoneInfo(name) if name else UTC
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


def moment(ns: int | None, tz: tzinfo) -> datetime | None:
    """Nanoseconds since 1970 as a datetime of `tz`; None when unknown or beyond the calendar."""
    if ns is None:
        return None
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ns // 1000)).astimezone(tz)
    except OverflowError:
        return None


def clock(ns: int | None, tz: tzinfo) -> str:
    """ "21 Nov 2026, 14:03:22.418" in `tz`."""
    at = moment(ns, tz)
    return UNKNOWN if at is None else f"{at.day} {at:%b %Y, %H:%M:%S}.{at.microsecond // 1000:03d}"


def offset(at: datetime) -> str:
    """How far a moment's zone is from UTC: "UTC", "UTC+1", "UTC-3:30"."""
    minutes = round((at.utcoffset() or timedelta()).total_seconds() / 60)
    hours, rest = divmod(abs(minutes), 60)
    return "UTC" + (f"{'+' if minutes > 0 else '-'}{hours}" + (f":{rest:02d}" if rest else "") if minutes else "")


def zone_name(tz: tzinfo, now: datetime) -> str:
    """A zone's name with its offset at `now`: "Europe/Berlin (UTC+1)"; UTC is "UTC"."""
    name = getattr(tz, "key", "UTC")
    return "UTC" if name in ("UTC", "Etc/UTC") else f"{name} ({offset(now)})"


def _scaled(value: float) -> str:
    for size, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size * 0.99995:
            return f"{value / size:.1f}".removesuffix(".0") + suffix
    return f"{value:,.0f}"
