"""Rogan-Gladen: a judge's rate corrected by how often it is right, where the labels come from another population."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy

from core.errors import InvalidInput
from evaluators.statistics.estimates import Interval, Lack, Unestimated

LEAST_OF_CLASS: Final = 5  # labels of each class; with fewer, sensitivity or specificity is a guess


@dataclass(frozen=True, kw_only=True)
class RightShares:
    """How often a judge is right: specificity `q0` over `m0` targets that people fail, sensitivity `q1` over `m1` that
    they pass."""

    q0: float
    q1: float
    m0: int
    m1: int


@dataclass(frozen=True, kw_only=True)
class RoganGladen:
    """The corrected rate, its standard error and interval."""

    value: float
    se: float
    interval: Interval


def right_shares(label: np.ndarray, judge: np.ndarray) -> RightShares:
    """Sensitivity and specificity from labels and verdicts, each 0 or 1, of shape (n,). Raises InvalidInput where a
    class has no label, as its share is not known."""
    ones = label == 1
    m1, m0 = int(ones.sum()), int((~ones).sum())
    if not m0 or not m1:
        raise InvalidInput("labels of one class only tell nothing of the judge's errors in the other", field="label")
    return RightShares(q0=float((judge[~ones] == 0).mean()), q1=float((judge[ones] == 1).mean()), m0=m0, m1=m1)


def rogan_gladen(rate: float, n: float, shares: RightShares, level: float = 0.95) -> RoganGladen | Unestimated:
    """theta = (p + q0 - 1) / (q0 + q1 - 1), Rogan, Gladen 1978 (Am. J. Epidemiology 107:71), cut to 0 and 1, of a
    judge's `rate` over `n` targets. Holds where the judge errs as often here as where it was labelled, whatever the
    prevalence.

    The interval is that of Lee et al. 2025 (arXiv:2511.21140): p with z^2/2 of z^2 added, q0 and q1 with one
    of two, SE^2 = (p(1-p)/n + (1-theta)^2 q0(1-q0)/m0 + theta^2 q1(1-q1)/m1) / (q0+q1-1)^2, around theta +
    2 z^2 (theta q1(1-q1)/m1 - (1-theta) q0(1-q0)/m0). Unestimated where the judge is no better than chance, or a class
    has fewer than LEAST_OF_CLASS labels.
    """
    if min(shares.m0, shares.m1) < LEAST_OF_CLASS:
        told = f"{shares.m1} labels pass and {shares.m0} fail; at least {LEAST_OF_CLASS} of each are needed"
        return Unestimated(reason=Lack.ONE_CLASS, detail=told)
    z = float(scipy.stats.norm.isf((1 - level) / 2))
    q0, q1 = (shares.m0 * shares.q0 + 1) / (shares.m0 + 2), (shares.m1 * shares.q1 + 1) / (shares.m1 + 2)
    over, smooth = shares.q0 + shares.q1 - 1, q0 + q1 - 1
    if over <= 0 or smooth <= 0:
        told = f"sensitivity {shares.q1:.3f} + specificity {shares.q0:.3f} is not above 1"
        return Unestimated(reason=Lack.NO_BETTER_THAN_CHANCE, detail=told)
    p, m0, m1 = (n * rate + z * z / 2) / (n + z * z), shares.m0 + 2, shares.m1 + 2
    theta = (p + q0 - 1) / smooth
    of_fails, of_passes = q0 * (1 - q0) / m0, q1 * (1 - q1) / m1
    shift = 2 * z * z * (theta * of_passes - (1 - theta) * of_fails)
    se = math.sqrt(p * (1 - p) / (n + z * z) + (1 - theta) ** 2 * of_fails + theta**2 * of_passes) / smooth
    low, high = (min(1.0, max(0.0, theta + shift + side * z * se)) for side in (-1, 1))
    value = min(1.0, max(0.0, (rate + shares.q0 - 1) / over))
    ends = Interval(low=min(low, value), high=max(high, value), level=level, method="rogan_gladen_lee")
    return RoganGladen(value=value, se=se, interval=ends)
