"""The scale on which points are compared: where they are nearly normal, as far as their kind allows.

Of rates and counts these are the scales of Anscombe's residuals (Cox, Snell, JRSS B 1968, section 5): the integral of
(p(1-p))^(-1/3), and 3/2 x^(2/3). The arcsine and the root make the variance even but leave half the skew, by which one
tail at k = 3.3 is a third too heavy; here the variance depends on the expected value, which is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import scipy

from monitors.records import KINDS, Codes, Floats, Kind, Points

RATE, LEVEL, POSITIVE, COUNT = (KINDS.index(one) for one in (Kind.RATE, Kind.LEVEL, Kind.POSITIVE, Kind.COUNT))
SIXTH: Final = 1 / 6
"""Added to successes, failures and counts: then the mean on the scale is that of the expected value, to order 1/n."""

_TURNS: Final = np.linspace(0.0, np.pi / 2, 8193)
"""Rates as angles, at which the integral is tabulated: fine where it is steep."""


@dataclass(frozen=True, kw_only=True)
class Scaled:
    """Points on the scale of comparison, and the variance that counting brings to each by its own value."""

    y: Floats
    sampling: Floats


def scaled(points: Points) -> Scaled:
    """Where nothing is expected yet: a point's own value says how much it can be trusted."""
    y = transformed(points)
    return Scaled(y=y, sampling=sampling(y, points))


def transformed(points: Points) -> Floats:
    """Rates and counts on their scales, latency and cost by the logarithm, levels as they are."""
    x, kinds = points.x, points.kinds
    y = x.copy()
    positive, count, rate = kinds == POSITIVE, kinds == COUNT, kinds == RATE
    if positive.any():
        y[positive] = np.log(x[positive])
    if count.any():
        y[count] = 1.5 * (x[count] + SIXTH) ** (2 / 3)
    if rate.any():
        share, behind = x[rate], points.n[rate]
        known = np.isfinite(behind)
        corrected = np.where(known, (share * behind + SIXTH) / (behind + 2 * SIXTH), share)
        y[rate] = np.interp(np.arcsin(np.sqrt(corrected)), _TURNS, _integral())
    return y


def sampling(expected: Floats, points: Points) -> Floats:
    """Variance that counting brings to a rate or a count expected there; 0 where it brings none or n is not known.

    (p(1-p))^(1/3) / n and mean^(1/3). A rate of 1 has half a failure more, lest one failure be infinitely far off.
    """
    told = np.zeros(len(expected))
    count, rate = points.kinds == COUNT, points.kinds == RATE
    if count.any():
        told[count] = (_of_count(expected[count]) + 0.5) ** (1 / 3)
    if rate.any():
        behind = np.where(np.isfinite(points.n[rate]), points.n[rate], 1.0)
        share = (_of_rate(expected[rate]) * behind + 0.5) / (behind + 1)
        told[rate] = np.where(np.isfinite(points.n[rate]), (share * (1 - share)) ** (1 / 3) / behind, 0.0)
    return told


def unscaled(y: Floats, n: Floats, kinds: Codes) -> Floats:
    """Back to the user's scale, within what the kind can be."""
    x = y.copy()
    positive, count, rate = kinds == POSITIVE, kinds == COUNT, kinds == RATE
    if positive.any():
        with np.errstate(over="ignore"):
            x[positive] = np.exp(y[positive])
    if count.any():
        x[count] = _of_count(y[count])
    if rate.any():
        share, behind = _of_rate(y[rate]), n[rate]
        known = np.isfinite(behind)
        back = np.where(known, (share * (behind + 2 * SIXTH) - SIXTH) / np.where(known, behind, 1.0), share)
        x[rate] = np.clip(back, 0, 1)
    return x


def _of_rate(y: Floats) -> Floats:
    return np.asarray(np.sin(np.interp(y, _integral(), _TURNS)) ** 2)


def _of_count(y: Floats) -> Floats:
    return np.maximum((np.maximum(y, 0) / 1.5) ** 1.5 - SIXTH, 0)


def increments(totals: Floats) -> Floats:
    """Events between the readings of one ever growing counter, along the last axis; a reset counts from zero again.

    Where a reading is missing the next one's increment goes back to the last that is there, as the events did happen;
    the first reading has none before it and is missing.
    """
    told = np.full(totals.shape, np.nan)
    last = np.full(totals.shape[:-1], np.nan)
    for at in range(totals.shape[-1]):
        now = totals[..., at]
        with np.errstate(invalid="ignore"):
            told[..., at] = np.where(now < last, now, now - last)
        last = np.where(np.isnan(now), last, now)
    return told


@cache
def _integral() -> Floats:
    """The integral at _TURNS, made when a rate is first looked at: it loads what most processes never need."""
    return np.asarray(scipy.special.betainc(2 / 3, 2 / 3, np.sin(_TURNS) ** 2) * scipy.special.beta(2 / 3, 2 / 3))
