"""Intervals of agreement: a Dirichlet posterior of the table, and the BCa bootstrap over items.

Two intervals are given of every coefficient: the two-sided one of 95%, to show, and one-sided bounds of 95% each, to
decide by. An interval always holds its estimate. The posterior leans towards chance, as its prior does: at 50 items its
95% quantile lies below the truth in up to 12% of cases, its 97.5% quantile in about 5%. So its upper bound is the
latter, which is the end of the two-sided interval; its lower bound at 5% holds (benchmarks/judges/coverage.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy

from core.errors import InvalidInput
from evaluators.statistics.estimates import Estimate, Interval, Lack, Unestimated
from judges.agreement.kappa import Statistic
from judges.agreement.tables import FloatArray, IntArray, Table

LEVEL: Final = 0.95
DRAWS: Final = 20_000  # the 2.5% quantile is then known to 0.02 standard deviations
RESAMPLES: Final = 4_000
PRIOR_MASS: Final = 2.0  # items that the prior is worth: 1/2 in each of four cells, 2/K^2 in each of K^2
AT_ONCE: Final = 4_000_000  # numbers of resamples held in memory
UNDEFINED: Final = 0.01  # share of resamples without a value that is still left out

Resampled = Callable[[FloatArray], FloatArray]  # multiplicities (B, units) -> (B,)


@dataclass(frozen=True, kw_only=True)
class Coefficient:
    """A coefficient with its two-sided interval in `estimate`, and one-sided bounds of the same level.

    `lower` and `upper` are None where the estimate is missing or its `lack` says why there is no interval.
    """

    estimate: Estimate | Unestimated
    lower: float | None = None
    upper: float | None = None

    @property
    def value(self) -> float | None:
        """The number itself, where there is one."""
        return None if isinstance(self.estimate, Unestimated) else self.estimate.value


def posterior(of: Table, draws: int, seed: int, prior_mass: float = PRIOR_MASS) -> FloatArray:
    """Tables of proportions drawn from the posterior, shape (draws, K, K).

    Dirichlet(counts + prior_mass / K^2), drawn as gammas. Of items with weights a cell is (mass / m) Gamma(m + prior),
    with m = mass^2 / sum of squared weights the items of equal weight that it is worth: the Bayesian bootstrap (Rubin
    1981, Ann Statist 9:130) of the cell, its first two moments kept; an empty cell has the weight of its verdict.
    """
    shape = of.worth() + prior_mass / of.k**2
    drawn = np.random.default_rng(seed).standard_gamma(shape, size=(draws, of.k, of.k)) * of.unit()
    return np.asarray(drawn / drawn.sum(axis=(1, 2), keepdims=True))


def method_of(of: Table) -> str:
    """What an interval from the posterior of this table is called."""
    if of.weighted:
        return "weighted_posterior"
    return "dirichlet_plus_half" if of.k == 2 else "dirichlet_mass_2"


def posterior_coefficient(
    of: Table, statistic: Statistic, *, seed: int, level: float = LEVEL, draws: int = DRAWS
) -> Coefficient:
    """A statistic of a table with equal-tailed quantiles of its posterior; `se` is the posterior's deviation.

    At n items the interval of kappa covers as the benchmark says (benchmarks/judges/coverage.py); where all agree it
    still has a width. Unestimated where the statistic is not defined for the table itself.
    """
    _check(level)
    if not of.n:
        return Coefficient(estimate=Unestimated(reason=Lack.NO_EXAMPLES))
    value = float(statistic(of.mass))
    if not np.isfinite(value):
        return Coefficient(estimate=Unestimated(reason=Lack.ONE_CLASS))
    drawn = statistic(posterior(of, draws, seed))
    drawn = drawn[np.isfinite(drawn)]
    tail = (1 - level) / 2
    ends = np.quantile(drawn, [tail, 1 - level, 1 - tail, 1 - tail])
    return _told(value, of.n, float(drawn.std()), ends, level, method_of(of))


def bca_coefficient(
    counts: IntArray, statistic: Resampled, *, seed: int, level: float = LEVEL, resamples: int = RESAMPLES
) -> Coefficient:
    """A statistic of `counts` units of each pattern, shape (patterns,), with the bias-corrected accelerated bootstrap.

    Whole units are drawn anew. Efron 1987 (JASA 82:171), equations 2.3, 6.6; the acceleration from leaving out one unit
    at a time. Without an interval where no resample differs, or where more than UNDEFINED of them have no value.
    """
    _check(level)
    n = int(counts.sum())
    if n == 0:
        return Coefficient(estimate=Unestimated(reason=Lack.NO_EXAMPLES))
    value = float(statistic(counts[None, :].astype(np.float64))[0])
    if not np.isfinite(value):
        return Coefficient(estimate=Unestimated(reason=Lack.ONE_CLASS))
    drawn = _resampled(counts, n, statistic, resamples, seed)
    finite = drawn[np.isfinite(drawn)]
    if len(finite) < (1 - UNDEFINED) * len(drawn):
        return Coefficient(estimate=Estimate(value=value, n=n, se=None, interval=None, lack=Lack.ONE_CLASS))
    se = float(finite.std(ddof=1))
    if se < 1e-9:
        return Coefficient(estimate=Estimate(value=value, n=n, se=None, interval=None, lack=Lack.ZERO_VARIANCE))
    tail = (1 - level) / 2
    wanted = np.array([tail, 1 - level, level, 1 - tail])
    shares = _bca_shares(value, finite, _acceleration(counts, statistic), wanted)
    return _told(value, n, se, np.quantile(finite, shares), level, "bca_bootstrap")


def _resampled(counts: IntArray, n: int, statistic: Resampled, resamples: int, seed: int) -> FloatArray:
    rng, found, left = np.random.default_rng(seed), [], resamples
    while left:
        some = min(left, max(1, AT_ONCE // len(counts)))
        found.append(statistic(rng.multinomial(n, counts / n, size=some).astype(np.float64)))
        left -= some
    return np.concatenate(found)


def _acceleration(counts: IntArray, statistic: Resampled) -> float:
    """Skewness of the jackknife over 6 (Efron 1987, equation 6.6); 0 where leaving one out changes nothing."""
    left_out = []
    for some in np.array_split(np.arange(len(counts)), max(1, len(counts) ** 2 // AT_ONCE)):
        without = np.tile(counts.astype(np.float64), (len(some), 1))
        without[np.arange(len(some)), some] -= 1
        left_out.append(statistic(without))
    each = np.concatenate(left_out)
    known = np.isfinite(each)
    each, times = each[known], counts[known]
    if not times.sum():
        return 0.0
    off = (each * times).sum() / times.sum() - each
    spread = float((times * off**2).sum())
    return float((times * off**3).sum()) / (6 * spread**1.5) if spread > 1e-24 else 0.0


def _bca_shares(value: float, drawn: FloatArray, acceleration: float, wanted: FloatArray) -> FloatArray:
    """Which quantiles of the resamples to take for those that are wanted."""
    close = 1e-12 * (1 + abs(value))
    below = (np.count_nonzero(drawn < value - close) + 0.5 * np.count_nonzero(np.abs(drawn - value) <= close)) / len(
        drawn
    )
    shift = scipy.stats.norm.ppf(min(max(below, 0.5 / len(drawn)), 1 - 0.5 / len(drawn)))
    at = shift + scipy.stats.norm.ppf(wanted)
    return np.asarray(scipy.stats.norm.cdf(shift + at / (1 - acceleration * at)))


def _told(value: float, n: int, se: float, ends: FloatArray, level: float, method: str) -> Coefficient:
    low, lower, upper, high = (float(end) for end in ends)
    interval = Interval(low=min(low, value), high=max(high, value), level=level, method=method)
    return Coefficient(
        estimate=Estimate(value=value, n=n, se=se, interval=interval),
        lower=min(lower, value),
        upper=max(upper, value),
    )


def _check(level: float) -> None:
    if not 0.5 < level < 1:
        raise InvalidInput(f"a level lies between 0.5 and 1, not {level}", field="level")
