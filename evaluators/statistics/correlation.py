"""How two scores of the same targets go together: Pearson's and Spearman's correlation with their intervals.

Both intervals are of Fisher's z: atanh(r) +- z_level * se. Pearson: se = 1 / sqrt(n - 3), Fisher 1921 (Metron 1:3).
Spearman: se = sqrt((1 + r^2 / 2) / (n - 3)), Bonett, Wright 2000 (Psychometrika 65:23), equation 3.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import scipy

from core.errors import InvalidInput
from evaluators.statistics.estimates import Estimate, Interval, Lack, Unestimated
from evaluators.statistics.rates import FloatArray

FEWEST: Final = 4


def pearson(x: FloatArray, y: FloatArray, level: float = 0.95) -> Estimate | Unestimated:
    """The linear correlation of pairs, both arrays of shape (n,). Unestimated with fewer than FEWEST pairs, where one
    of both never varies, and for values that are not finite. Raises InvalidInput for other shapes."""
    found = _correlation(x, y)
    if isinstance(found, Unestimated):
        return found
    return _told(found, len(x), 1.0, level, "fisher_z")


def spearman(x: FloatArray, y: FloatArray, level: float = 0.95) -> Estimate | Unestimated:
    """The correlation of ranks, ties at their mean rank; as `pearson` else."""
    if x.shape == y.shape and x.ndim == 1 and len(x) and np.isfinite(x).all() and np.isfinite(y).all():
        x, y = scipy.stats.rankdata(x), scipy.stats.rankdata(y)
    found = _correlation(x, y)
    if isinstance(found, Unestimated):
        return found
    return _told(found, len(x), 1 + found**2 / 2, level, "bonett_wright")


def _correlation(x: FloatArray, y: FloatArray) -> float | Unestimated:
    if x.shape != y.shape or x.ndim != 1:
        raise InvalidInput(f"values of shape {x.shape} beside {y.shape} are no pairs", field="values")
    if len(x) < FEWEST:
        return Unestimated(reason=Lack.TOO_FEW if len(x) else Lack.NO_EXAMPLES)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return Unestimated(reason=Lack.NOT_FINITE)
    if (x == x[0]).all() or (y == y[0]).all():
        return Unestimated(reason=Lack.ZERO_VARIANCE, detail="one of both never varies")
    with np.errstate(over="ignore", invalid="ignore"):
        both = [one / np.abs(one).max() for one in (x, y)]  # so that squares of large numbers stay finite
        a, b = (one - one.mean() for one in both)
        found = float((a @ b) / math.sqrt(float(a @ a) * float(b @ b) or math.nan))
    return max(-1.0, min(1.0, found)) if math.isfinite(found) else Unestimated(reason=Lack.NOT_FINITE)


def _told(r: float, n: int, spread: float, level: float, method: str) -> Estimate:
    if abs(r) > 1 - 1e-12:
        return Estimate(value=r, n=n, se=None, interval=None, lack=Lack.ZERO_VARIANCE)
    se = math.sqrt(spread / (n - 3))
    half = float(scipy.stats.norm.isf((1 - level) / 2)) * se
    low, high = math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half)
    return Estimate(
        value=r, n=n, se=se * (1 - r * r), interval=Interval(low=low, high=high, level=level, method=method)
    )
