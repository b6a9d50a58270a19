"""Prediction-powered means: the judge's mean over all targets, moved by what people say of some of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy

from core.errors import InvalidInput
from evaluators.statistics.estimates import Interval
from evaluators.statistics.rates import FloatArray
from judges.correction.records import Judged


@dataclass(frozen=True, kw_only=True)
class PpiMean:
    """A mean, the `lam` it was made with, its variance, and the labels' effective number. `df`: degrees of freedom, n
    less one for the mean and one for a lam that was fitted."""

    value: float
    lam: float
    variance: float
    n: float
    fitted: bool = False

    @property
    def df(self) -> float:
        """n - 2 where lam was fitted, else n - 1."""
        return self.n - (2 if self.fitted else 1)

    @property
    def se(self) -> float:
        """The standard error with the variance times n / df; 0 without a degree of freedom."""
        return math.sqrt(self.variance * self.n / self.df) if self.df > 0 else 0.0


def ppi_mean(
    label: FloatArray, judge: FloatArray, unlabelled: FloatArray, lam: float | None = None, *, finite: bool = False
) -> PpiMean:
    """PPI++ of a mean: lam mean(unlabelled) + mean(label - lam judge), from n labels with the judge's values of the
    same targets and the judge's values of N others of the same population, each of shape (n,) or (N,).

    Angelopoulos, Duchi, Zrnic 2023 (arXiv:2311.01453), of a mean; `lam` 1 is Angelopoulos
    et al. 2023 (arXiv:2301.09633), algorithm 1. The variance is lam^2 Var(J)/N + Var(Y - lam J)/n. Without `lam` it is
    `tuned`. `finite` asks about these n + N targets and no others: of the variance only that of who was labelled is
    left (Cochran 1977, chapter 7, the regression estimator). Raises InvalidInput without labels or for shapes that
    differ.
    """
    n, others = len(label), len(unlabelled)
    if label.shape != judge.shape or label.ndim != 1 or n == 0:
        raise InvalidInput(f"{label.shape} labels for {judge.shape} values of the judge", field="label")
    if others == 0:
        variance = 0.0 if finite else float(label.var()) / n
        return PpiMean(value=float(label.mean()), lam=0.0, variance=variance, n=n)
    used = tuned(label, judge, unlabelled) if lam is None else lam
    rectified = label - used * judge
    variance = float(used**2 * unlabelled.var() / others + rectified.var() / n)
    if finite:
        whole = n + others
        variance = float((label - used * whole / others * judge).var()) * (1 / n - 1 / whole)
    value = float(used * unlabelled.mean() + rectified.mean())
    return PpiMean(value=value, lam=used, variance=variance, n=n, fitted=lam is None and used > 0)


def tuned(label: FloatArray, judge: FloatArray, unlabelled: FloatArray) -> float:
    """The lam of least variance, from 0 to 1: Cov(Y, J) / (Var(J) (1 + n/N)), arXiv:2311.01453, section 6 (power
    tuning), of a mean. Var(J) is over all judged targets. 0 where the judge says the same of all."""
    spread = float(np.concatenate([judge, unlabelled]).var(ddof=1))
    if not spread > 0:
        return 0.0
    shared = float(np.mean((label - label.mean()) * (judge - judge.mean())))
    return min(1.0, max(0.0, shared / (spread * (1 + len(label) / len(unlabelled)))))


def two_phase_mean(judged: Judged, lam: float | None = None, *, finite: bool = False) -> PpiMean:
    """The same where targets and labels were drawn with known unequal chances: each judged target weighs 1/p_judge,
    each label 1/(p_judge p_human), and the judge's mean is over all judged targets, the labelled ones too (among the
    others some kinds are rare, as they were labelled).

    theta = Y_w + lam (J_all - J_w), with means of those weights: the difference estimator of two-phase sampling
    (Sarndal, Swensson, Wretman 1992, chapter 9), with PPI++'s lam: the one of least variance. The variance is the sum
    of squares of every target's share in theta, which needs no joint chances. `n` is Kish's (sum w)^2 / sum w^2.
    `finite` as in `ppi_mean`, where every target was judged. Raises InvalidInput without labels.
    """
    seen = judged.labelled
    if not seen.any():
        raise InvalidInput("there is no label", field="label")
    outer = 1 / judged.p_judge
    inner = np.where(seen, outer / np.where(seen, judged.p_human, 1.0), 0.0)
    label = np.where(seen, judged.label, 0.0)
    outer, inner = outer / outer.sum(), inner / inner.sum()
    said, heard, all_said = float(inner @ judged.judge), float(inner @ label), float(outer @ judged.judge)
    human = inner * (label - heard)
    moved = outer * (judged.judge - all_said) - inner * (judged.judge - said)
    spread = float(moved @ moved)
    best = min(1.0, max(0.0, -float(human @ moved) / spread)) if spread > 0 else 0.0
    used = best if lam is None else lam
    shares = human + used * moved
    if finite:
        residual = label - heard - used * (judged.judge - said)
        shares = inner * np.sqrt(1 - np.where(seen, judged.p_human, 1.0)) * residual
    return PpiMean(
        value=heard + used * (all_said - said),
        lam=used,
        variance=float(shares @ shares),
        n=float(1 / (inner @ inner)),
        fitted=lam is None and used > 0,
    )


def wald(found: PpiMean, level: float = 0.95) -> Interval:
    """value +- z sqrt(variance): the normal interval of arXiv:2311.01453. Too short near 0 and 1 and for few
    labels."""
    half = float(scipy.stats.norm.isf((1 - level) / 2)) * math.sqrt(found.variance)
    return Interval(low=found.value - half, high=found.value + half, level=level, method="ppi++_wald")


def logit(found: PpiMean, level: float = 0.95) -> Interval | None:
    """The interval on the scale of log odds, with Student's quantile at `df` and the variance times n / df: the delta
    method, se / (value (1 - value)). None where the value is not between 0 and 1, or nothing varies."""
    value = found.value
    if not (0 < value < 1 and found.se > 0):
        return None
    half = float(scipy.stats.t.isf((1 - level) / 2, found.df)) * found.se / (value * (1 - value))
    middle = math.log(value / (1 - value))
    return Interval(low=_rate(middle - half), high=_rate(middle + half), level=level, method="ppi++_logit_t")


def _rate(log_odds: float) -> float:
    return 0.5 * (1 + math.tanh(log_odds / 2))
