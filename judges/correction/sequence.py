"""A corrected mean that may be looked at every day: a confidence sequence for any rate of judging and labelling.

Each target is worth x = m + (R_J/pi_J)(f - m) + (R_J R_H / (pi_J pi_H))(Y - f), with f = c + lam (J - c_J): R_J and R_H
say whether it was judged and labelled, pi_J and pi_H are the chances of that, and m, c, c_J and lam are made from the
targets before it. So the mean of x, given the past, is that of Y, whatever the judge does: the augmented
inverse-probability weighting of Robins, Rotnitzky, Zhao 1994, as prediction-powered inference (Zrnic, Candes 2024,
arXiv:2403.03208; anytime: Csillag et al. 2025, arXiv:2502.04294).

The interval around the running mean is the asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy,
Ramdas (arXiv:2103.06476), theorem 2.2: it holds at all times at once once there are enough labels, and for means that
change (its Lyapunov form) it is one for the mean so far.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from core.errors import InvalidInput
from evaluators.statistics.rates import FloatArray

FIRST_LABELS: Final = 30  # no interval before: the theorem is about large numbers
PRIOR_LABELS: Final = 5.0  # so many labels have to speak before the judge is believed by half of what they say


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """After each target, of shape (..., targets): the running mean and its two ends; NaN where there is no interval
    yet."""

    value: FloatArray
    low: FloatArray
    high: FloatArray
    level: float


def increments(judge: FloatArray, label: FloatArray, p_judge: FloatArray, p_human: FloatArray) -> FloatArray:
    """x of targets in order of time, of shape (..., targets), as are all arguments.

    `judge` is NaN where nobody judged, `label` where nobody labelled; values are from 0 to 1. `p_judge` is known of all
    targets, `p_human` of those with a label. Raises InvalidInput for a label without a verdict or a chance that is
    none.
    """
    judged, seen = ~np.isnan(judge), ~np.isnan(label)
    if (seen & ~judged).any():
        raise InvalidInput("a label of a target that was not judged corrects nothing", field="label")
    if not ((p_judge > 0) & (p_judge <= 1)).all() or not ((p_human[seen] > 0) & (p_human[seen] <= 1)).all():
        raise InvalidInput("a chance of being drawn lies above 0 and up to 1", field="p_human")
    j, y = np.where(judged, judge, 0.0), np.where(seen, label, 0.0)
    outer = np.where(judged, 1 / p_judge, 0.0)
    inner = np.where(seen, outer / np.where(seen, p_human, 1.0), 0.0)
    centre, centre_j, lam = _believed(j, y, outer, inner, seen)
    said = np.clip(centre + lam * (j - centre_j), 0.0, 1.0)
    found: FloatArray = centre + outer * (said - centre) + inner * (y - said)
    return found


def _believed(
    j: FloatArray, y: FloatArray, outer: FloatArray, inner: FloatArray, seen: np.ndarray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """What is believed before each target: the mean of Y, that of J, and lam, from those before it alone."""
    weight, n = _before(inner), _before(seen.astype(np.float64))
    safe = np.maximum(weight, 1e-300)
    mean_y, mean_j = _before(inner * y) / safe, _before(inner * j) / safe
    shared = _before(inner * y * j) / safe - mean_y * mean_j
    spread = _before(inner * j * j) / safe - mean_j**2
    lam = np.clip(n * shared / (n * spread + PRIOR_LABELS / 4), 0.0, 1.0)
    centre = np.clip((n * mean_y + 1.0) / (n + 2), 0.0, 1.0)
    total = _before(outer)
    centre_j = np.where(total > 0, _before(outer * j) / np.maximum(total, 1e-300), 0.5)
    return centre, centre_j, lam


def _before(values: FloatArray) -> FloatArray:
    """Sums over all earlier entries of the last axis."""
    found = np.zeros_like(values)
    np.cumsum(values[..., :-1], axis=-1, out=found[..., 1:])
    return found


def confidence_sequence(
    x: FloatArray,
    n_labels: FloatArray,
    *,
    level: float = 0.95,
    tuned_at: float = 1000.0,
    weights: FloatArray | None = None,
) -> Sequence:
    """The running mean of x and its interval after each target, all of shape (..., targets).

    Half of it is s sqrt(2 (t rho^2 + 1) / (t^2 rho^2) log(sqrt(t rho^2 + 1) / alpha)) after t targets with standard
    deviation s, arXiv:2103.06476, theorem 2.2; rho makes it shortest at `tuned_at` targets (section B of its appendix),
    which is chosen before looking. With `weights` it is the weighted mean, and s^2/t is sum w^2 (x - mean)^2 / (sum
    w)^2. `n_labels` counts labels so far. Ends are cut to 0 and 1. Raises InvalidInput for a level that is none.
    """
    if not 0 < level < 1 or not tuned_at > 0:
        raise InvalidInput(f"a level lies between 0 and 1, not {level}", field="level")
    w = np.ones_like(x) if weights is None else weights
    total, t = np.cumsum(w, axis=-1), np.arange(1, x.shape[-1] + 1, dtype=np.float64)
    mean = np.cumsum(w * x, axis=-1) / total
    squares = np.cumsum(w * w * x * x, axis=-1) - 2 * mean * np.cumsum(w * w * x, axis=-1)
    squares = np.maximum(squares + mean**2 * np.cumsum(w * w, axis=-1), 0.0)
    squares *= (n_labels + 1) / np.maximum(n_labels - 1, 1)  # few labels have not shown their spread
    alpha = 1 - level
    prior = tuned_at / (-2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha)))  # 1 / rho^2
    half = np.sqrt(squares * (1 + prior / t) * np.log((t + prior) / (prior * alpha**2))) / total
    half = np.where((n_labels >= FIRST_LABELS) & (squares > 0), half, np.nan)
    ends = (np.clip(mean - half, 0.0, 1.0), np.clip(mean + half, 0.0, 1.0))
    return Sequence(value=mean, low=ends[0], high=ends[1], level=level)
