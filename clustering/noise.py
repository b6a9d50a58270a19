"""Whether much more of a run is noise than of the runs before. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Final

FEWEST_RUNS: Final = 3  # before, to be held against
MOST_RUNS: Final = 10
LEAST_RATIO: Final = 1.5
LEAST_POINTS: Final = 0.1  # of the sessions


def jumped(shares: Sequence[float]) -> float | None:
    """The median share of noise of the runs before the last of `shares` (oldest first), where the last one is at least
    half as much again and a tenth of the sessions above it; else None. The median, so that one odd run moves nothing;
    a share is of hundreds of sessions, and moves by chance far less than that."""
    before = list(shares[:-1])[-MOST_RUNS:]
    if len(before) < FEWEST_RUNS:
        return None
    usual = median(before)
    return usual if shares[-1] >= LEAST_RATIO * usual and shares[-1] - usual >= LEAST_POINTS else None


def says(shares: Sequence[float]) -> list[str]:
    """What to say of a jump."""
    usual = jumped(shares)
    if usual is None:
        return []
    return [
        f"noise jumped: {shares[-1]:.0%} of the last run's sessions are in no cluster, {usual:.0%} in the runs before; "
        "much may be new, or the sessions changed their kind"
    ]
