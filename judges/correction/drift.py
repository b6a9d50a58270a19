"""Has the product changed, or only its judge? Two e-detectors, of which one cannot hear the judge.

An e-detector adds up, over all days on which a change could have begun, the wealth of somebody who bets on it from that
day on: M = (M_before + 1) L, with L what a day's bets multiply (the Shiryaev-Roberts e-detector of Shin, Ramdas,
Rinaldo 2022, arXiv:2203.03532, section 2). While nothing has changed, the mean of M after d days is d at most, so
that an alarm at M >= ARL comes on average not before ARL days (the same section): no distribution is assumed, and days
may depend on each other.

A bet on one observation z, whose mean is 0 or less while nothing has changed and which never falls below -reach,
multiplies the wealth by 1 + b z / reach (Waudby-Smith, Ramdas 2024, arXiv:2010.09686). The bettor holds equal shares of
a grid of b.

* Product: z = low - x and x - high, with x of judges/correction/sequence.py, whose mean is what people say whatever the
  judge does, and low to high where the product's mean lay.
* Judge: per class of the label, z = low - J and J - high, with low to high where its sensitivity, or 1 - specificity,
  lay. The share of each class may change as it will: a product that got worse is no drift of its judge.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from core.errors import InvalidInput
from evaluators.statistics.rates import FloatArray

BETS: Final = np.geomspace(0.005, 0.95, 16)  # shares of the largest bet that cannot lose more than all
ARL_DAYS: Final = 365.0


class Drift(StrEnum):
    """What changed."""

    NOTHING = "nothing"
    PRODUCT = "product"
    JUDGE = "judge"
    BOTH = "both"


@dataclass(frozen=True, kw_only=True)
class Range:
    """Where a mean lay while nothing had changed."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Detected:
    """The evidence after each day, of shape (days,), and the first day on which it reached `arl` (None: on none)."""

    evidence: FloatArray
    at: int | None
    arl: float


def product_drift(
    x: FloatArray,
    day: np.ndarray,
    was: Range,
    least_chance: float,
    *,
    weight: FloatArray | None = None,
    arl: float = ARL_DAYS,
) -> Detected:
    """Whether the mean of the corrected values left `was`. x and `day` (0, 1, ... in order) are of shape (targets,);
    `least_chance` is the smallest chance with which a target gets a label (p_judge p_human), as it bounds x. Raises
    InvalidInput for a chance that is none or a value beyond its bounds."""
    if not 0 < least_chance <= 1:
        raise InvalidInput(f"{least_chance} is no chance", field="least_chance")
    most = 1 / least_chance
    sides = ((was.low - x, most - was.low), (x - was.high, most - 1 + was.high))
    of_largest = 1.0 if weight is None or not len(weight) else weight / weight.max()
    return _detected([_days(z * of_largest, max(reach, 1e-9), day) for z, reach in sides], arl)


def judge_drift(
    judge: FloatArray,
    label: FloatArray,
    weight: FloatArray,
    day: np.ndarray,
    sensitivity: Range,
    false_pass: Range,
    *,
    arl: float = ARL_DAYS,
) -> Detected:
    """Whether the judge's values left `sensitivity` where people pass, or `false_pass` (1 - specificity) where they
    fail. Arrays of shape (labels,), in order of `day`; `weight` is 1 / chance of the label, of which the largest
    shortens all bets. Raises InvalidInput for weights that are none."""
    if len(weight) and not (np.isfinite(weight) & (weight > 0)).all():
        raise InvalidInput("a weight is a number above 0", field="weight")
    weighed = weight / weight.max() if len(weight) else weight
    grown = []
    for was, among in ((sensitivity, label >= 0.5), (false_pass, label < 0.5)):
        for z, reach in ((was.low - judge, 1 - was.low), (judge - was.high, was.high)):
            grown.append(_days(np.where(among, weighed * z, 0.0), max(reach, 1e-9), day))
    return _detected(grown, arl)


def _days(z: FloatArray, reach: float, day: np.ndarray) -> FloatArray:
    """The log of what each bet is multiplied by on each day, of shape (days, bets)."""
    scaled = z / reach
    if (scaled < -1 - 1e-9).any() or np.isnan(scaled).any():
        raise InvalidInput("a value is beyond the bounds of the bet", field="x")
    grown = np.log1p(BETS * np.maximum(scaled, -1.0)[:, None])
    n_days = int(day[-1]) + 1 if len(day) else 0
    found = np.zeros((n_days, len(BETS)))
    np.add.at(found, day, grown)
    return found


def _detected(grown: list[FloatArray], arl: float) -> Detected:
    """The mean of all bets' e-detectors, and its first day at `arl` or more."""
    days = np.concatenate(grown, axis=1)
    log_m, told = np.full(days.shape[1], -np.inf), np.zeros(len(days))
    for i, multiplied in enumerate(days):
        log_m = multiplied + np.logaddexp(log_m, 0.0)
        told[i] = float(np.exp(np.minimum(log_m, 700.0)).mean())
    over = np.flatnonzero(told >= arl)
    return Detected(evidence=told, at=int(over[0]) if len(over) else None, arl=arl)


def which(product: Detected, judge: Detected) -> Drift:
    """What changed, from both alarms."""
    match (product.at is not None, judge.at is not None):
        case (True, True):
            return Drift.BOTH
        case (True, False):
            return Drift.PRODUCT
        case (False, True):
            return Drift.JUDGE
        case _:
            return Drift.NOTHING
