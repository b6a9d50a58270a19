"""How much a series must have shown before it is judged, and how a moving mean begins without a bias."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from monitors.records import Floats

LEAST: Final = 30


def least_points(alpha: float) -> int:
    """Points before the first verdict: 30, and 3 / alpha, when 95% of a moving mean's weight is on what was seen."""
    return max(LEAST, math.ceil(3 / alpha))


def gain(alpha: float, seen: NDArray[np.int64]) -> Floats:
    """Weight of the next point after `seen` others: alpha / (1 - (1 - alpha)^t), so that the weights sum to one.

    The same as dividing a mean begun at zero by 1 - (1 - alpha)^t (Kingma, Ba 2015, algorithm 1): the first point is
    the mean, the t-th of few counts nearly 1 / t. Never above 1, as rounding would have it: a variance of which more
    than all is taken off is below zero.
    """
    return np.asarray(np.minimum(alpha / -np.expm1((seen + 1) * math.log1p(-alpha)), 1.0), dtype=np.float64)
