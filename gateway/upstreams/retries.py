"""When to try again: exponential backoff with jitter, and what an upstream's Retry-After says."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

Chance = Callable[[], float]  # evenly from 0 up to 1

FIRST_S: Final = 0.2
MOST_S: Final = 5.0
MOST_WAIT_S: Final = 10.0  # an upstream that asks for more is left for the next target
MOST_REST_S: Final = 3600.0


def backoff_s(n_failed: int, chance: Chance) -> float:
    """The pause after the `n_failed`th failure: half of it certain, half by chance."""
    longest = min(MOST_S, FIRST_S * 2.0 ** min(n_failed - 1, 30))
    return float(longest * (0.5 + 0.5 * chance()))


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds of `retry-after-ms` or `retry-after` (seconds or an HTTP date); None: not said, or not readable."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        said = headers.get(name)
        if said is None:
            continue
        try:
            seconds = float(said) / unit
        except ValueError:
            seconds = _until(said, now)
        if math.isfinite(seconds):
            return min(max(0.0, seconds), MOST_REST_S)
    return None


def pause_s(asked_s: float | None, n_failed: int, chance: Chance, left_s: float) -> float | None:
    """How long to wait before the next attempt here; None: go to the next target at once."""
    wait = backoff_s(n_failed, chance) if asked_s is None else asked_s * (1.0 + 0.1 * chance())
    return wait if wait < left_s and (asked_s or 0.0) <= MOST_WAIT_S else None


def _until(said: str, now: datetime) -> float:
    try:
        then = parsedate_to_datetime(said)
    except (ValueError, TypeError, IndexError):
        return math.nan
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return (then - now).total_seconds()
