"""How much an old memory still counts."""

from __future__ import annotations

import math
from datetime import datetime

from agent_runtime.errors import InvalidInput

_DAY_S = 86_400.0


def decay(age_s: float, half_life_days: float) -> float:
    """0..1: half after one half-life, a quarter after two; 1 for what is not older than now.

    Raises InvalidInput when the half-life is not a positive number of days.
    """
    if not half_life_days > 0 or math.isinf(half_life_days):
        raise InvalidInput(f"memory_half_life_days is {half_life_days}, not a positive number of days")
    return float(0.5 ** (max(0.0, age_s) / (half_life_days * _DAY_S)))


def weigh(similarity: float, weight: float, age_s: float, half_life_days: float) -> float:
    """The score 0..1 of a memory: 0.7 similarity to what is said now and 0.3 its own weight, decayed by age."""
    return (0.7 * similarity + 0.3 * weight) * decay(age_s, half_life_days)


def age_s(then: str, now: datetime) -> float:
    """Seconds from an ISO time in UTC until `now`."""
    return (now - datetime.fromisoformat(then)).total_seconds()
