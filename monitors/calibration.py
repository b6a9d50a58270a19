"""From the false alarms that are wished to the width of the band: k for a chosen number of points between them."""

from __future__ import annotations

import math
from bisect import bisect_left
from enum import StrEnum
from functools import lru_cache
from typing import Final

from core.errors import InvalidInput
from monitors.calibration_table import RUN_LENGTHS
from monitors.records import Direction
from monitors.student import student_k

LEAST_ARL0: Final = 20.0


class Estimator(StrEnum):
    """From what sigma is estimated."""

    VARIANCE = "variance"
    """The moving mean of d^2."""
    ABSOLUTE = "absolute"
    """1.2533 times the moving mean of |d|: an outlier counts for less."""


@lru_cache(maxsize=4096)
def k_for(
    alpha: float,
    arl0: float,
    *,
    estimator: Estimator = Estimator.VARIANCE,
    direction: Direction = Direction.BOTH,
) -> float:
    """k at which a band of independent normal points breaches once in arl0 points, by the simulated table.

    Between its alphas and run lengths the quotient of k to Student's law is interpolated, linear in the logarithms;
    beyond its longest run k grows with log(arl0) as between its last two entries, which errs to fewer alarms. Below its
    least alpha the quotient stays. A band with one side breaches half as often. Raises InvalidInput.
    """
    if not 0 < alpha <= max(RUN_LENGTHS[estimator]):
        raise InvalidInput(f"alpha {alpha} cannot be calibrated: above 0 and up to .3", field="alpha")
    if not LEAST_ARL0 <= arl0 < math.inf:
        raise InvalidInput(f"{arl0} points between false alarms: at least {LEAST_ARL0:.0f}", field="arl0")
    both = arl0 if direction is Direction.BOTH else max(arl0 / 2, LEAST_ARL0)
    known = sorted(RUN_LENGTHS[estimator])
    above = min(bisect_left(known, alpha), len(known) - 1)
    below = max(above - 1, 0) if known[above] != alpha else above
    low, high = (_to_student(known[one], both, estimator) for one in (below, above))
    if alpha <= known[below] or below == above:
        return low * student_k(alpha, both)
    weight = math.log(alpha / known[below]) / math.log(known[above] / known[below])
    return (low + weight * (high - low)) * student_k(alpha, both)


def _to_student(alpha: float, arl0: float, estimator: Estimator) -> float:
    """The table's k at one of its alphas, over Student's."""
    rows = RUN_LENGTHS[estimator][alpha]
    at = math.log(arl0)
    logs = [math.log(one) for _, one in rows]
    if at >= logs[-1]:
        (k0, _), (k1, _) = rows[-2:]
        return (k1 + (k1 - k0) * (at - logs[-1]) / (logs[-1] - logs[-2])) / student_k(alpha, arl0)
    quotients = [k / student_k(alpha, one) for k, one in rows]
    above = bisect_left(logs, at)
    if above == 0:
        return quotients[0]
    weight = (at - logs[above - 1]) / (logs[above] - logs[above - 1])
    return quotients[above - 1] + weight * (quotients[above] - quotients[above - 1])
