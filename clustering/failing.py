"""Does a cluster fail more than the rest of its app, and does it no longer: both by intervals, with both numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from clustering.lineage_records import Failure
from evaluators.statistics.rates import rule_of_three, wilson

FAILING_LEVEL: Final = 0.99  # every cluster is asked in every run
FIXED_LEVEL: Final = 0.95


@dataclass(frozen=True, kw_only=True)
class Excess:
    """A cluster's failure rate, the rest's, and their difference with its interval."""

    rate: float
    rest: float
    value: float
    low: float
    high: float

    @property
    def text(self) -> str:
        """Both rates, and the difference in points."""
        return (
            f"fails in {self.rate:.0%}, the rest in {self.rest:.0%}: "
            f"{100 * self.value:+.0f} points ({100 * self.low:+.0f} to {100 * self.high:+.0f})"
        )


def excess(cluster: Failure, everything: Failure, level: float) -> Excess | None:
    """The cluster's failure rate minus that of all other sessions; None where either has no session of known outcome.

    Newcombe's hybrid score interval: estimate - sqrt((p1 - l1)^2 + (u2 - p2)^2) to estimate + sqrt((u1 - p1)^2 +
    (p2 - l2)^2) from Wilson's (l, u) (Newcombe 1998, Statistics in Medicine 17:873, method 10).
    """
    other = Failure(everything.n_failed - cluster.n_failed, everything.n_known - cluster.n_known)
    if cluster.n_known < 1 or other.n_known < 1:
        return None
    rate, rest = cluster.n_failed / cluster.n_known, other.n_failed / other.n_known
    ours, theirs = wilson(*cluster, level), wilson(*other, level)
    value = rate - rest
    return Excess(
        rate=rate, rest=rest, value=value,
        low=value - math.hypot(rate - ours.low, theirs.high - rest),
        high=value + math.hypot(ours.high - rate, rest - theirs.low),
    )  # fmt: skip


def failing(cluster: Failure, everything: Failure) -> Excess | None:
    """Its excess, where the 99% interval lies above 0; else None."""
    found = excess(cluster, everything, FAILING_LEVEL)
    return found if found is not None and found.low > 0 else None


def no_longer(cluster: Failure, everything: Failure, was: float) -> Excess | None:
    """Its excess, where a cluster that failed `was` above the rest no longer does; else None.

    The 95% interval must reach 0 (it is not above the rest) and end below half of `was` (that it fell is known: few
    sessions alone, whose interval reaches anything, fix nothing).
    """
    found = excess(cluster, everything, FIXED_LEVEL)
    return found if found is not None and found.low <= 0 and found.high < was / 2 else None


def absent(n: int, of: int, now: int) -> bool:
    """Whether none among `now` sessions is news for a cluster that had `n` of `of`: the 95% upper bound of its share,
    1 - .05^(1 / now), lies below what it had."""
    return now > 0 and of > 0 and rule_of_three(now) < n / of
