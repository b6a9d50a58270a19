"""Time is an argument: a Clock is a function that answers nanoseconds since the Unix epoch, UTC."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], int]

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000


def system_clock() -> int:
    """Nanoseconds since the Unix epoch by the machine's clock."""
    return time.time_ns()


def to_datetime(ns: int) -> datetime:
    """A UTC datetime (microsecond precision) of `ns` nanoseconds since the epoch.

    Values outside the years 1 to 9999 are clamped to those years.
    """
    us = max(-62_135_596_800_000_000, min(253_402_300_799_999_999, ns // 1000))
    return datetime.fromtimestamp(us // 1_000_000, UTC).replace(microsecond=us % 1_000_000)


def to_ns(moment: datetime) -> int:
    """Nanoseconds since the epoch of an aware datetime, exact to the microsecond."""
    delta = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * NS_PER_S + delta.microseconds * 1000
