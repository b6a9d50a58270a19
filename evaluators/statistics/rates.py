"""One rate or mean: Wilson, Jeffreys, the rule of three, and the mean over examples that were tried several times."""

from __future__ import annotations

import math

import numpy as np
import scipy
from numpy.typing import NDArray

from core.errors import InvalidInput
from evaluators.statistics.estimates import Estimate, Interval, Lack, Unestimated

FloatArray = NDArray[np.float64]


def wilson(successes: int, n: int, level: float = 0.95) -> Interval:
    """Score interval of a binomial rate, of n independent yes-or-no answers.

    (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n), Wilson 1927 (JASA 22:209). Raises InvalidInput for counts
    that are none.
    """
    _check(successes, n, level)
    z = float(scipy.stats.norm.isf((1 - level) / 2))
    p, over = successes / n, z * z / n
    middle = (p + over / 2) / (1 + over)
    half = z / (1 + over) * math.sqrt(p * (1 - p) / n + over / (4 * n))
    low = 0.0 if successes == 0 else max(0.0, middle - half)
    high = 1.0 if successes == n else min(1.0, middle + half)
    return Interval(low=low, high=high, level=level, method="wilson")


def jeffreys(successes: int, n: int, level: float = 0.95) -> Interval:
    """Equal-tailed interval of Beta(x + 1/2, n - x + 1/2), with end 0 at x = 0 and 1 at x = n.

    Brown, Cai, DasGupta 2001 (Statistical Science 16:101), section 4.3. Raises InvalidInput for counts that are none.
    """
    _check(successes, n, level)
    posterior = scipy.stats.beta(successes + 0.5, n - successes + 0.5)
    tail = (1 - level) / 2
    low = 0.0 if successes == 0 else float(posterior.ppf(tail))
    high = 1.0 if successes == n else float(posterior.isf(tail))
    return Interval(low=low, high=high, level=level, method="jeffreys")


def rule_of_three(n: int, level: float = 0.95) -> float:
    """Exact upper bound of a rate when none of n answers was one: 1 - (1 - level)^(1/n), about 3/n at 95%.

    Hanley, Lippman-Hand 1983 (JAMA 249:1743). Raises InvalidInput for n < 1.
    """
    _check(0, n, level)
    return -math.expm1(math.log(1 - level) / n)


def clustered_mean(values: FloatArray, example: NDArray[np.int64], level: float = 0.95) -> Estimate | Unestimated:
    """Mean over examples of each example's mean over its trials: trials of one example are no new examples.

    `values` are scores of shape (rows,), `example` the number of the example of each row. SE = sd(means) / sqrt(n),
    ddof 1, n examples (Miller 2024, arXiv:2411.00640, section 2.2, with one weight per example); the interval is
    Student's with n - 1. Raises InvalidInput when the shapes differ.
    """
    if values.shape != example.shape or values.ndim != 1:
        raise InvalidInput(f"values of shape {values.shape} for examples of shape {example.shape}", field="values")
    if not len(values):
        return Unestimated(reason=Lack.NO_EXAMPLES)
    if not np.isfinite(values).all():
        return Unestimated(reason=Lack.NOT_FINITE)
    _, at = np.unique(example, return_inverse=True)
    return mean_of(np.bincount(at, weights=values) / np.bincount(at), level)


def mean_of(means: FloatArray, level: float = 0.95) -> Estimate | Unestimated:
    """As `clustered_mean`, of finite values of shape (examples,), one per example."""
    n = len(means)
    if n == 0:
        return Unestimated(reason=Lack.NO_EXAMPLES)
    value = float(means.mean())
    if n == 1:
        return Estimate(value=value, n=1, se=None, interval=None, lack=Lack.ONE_EXAMPLE)
    se = float(means.std(ddof=1)) / math.sqrt(n)
    if not se > 0:
        return Estimate(value=value, n=n, se=None, interval=None, lack=Lack.ZERO_VARIANCE)
    half = float(scipy.stats.t.isf((1 - level) / 2, n - 1)) * se
    return Estimate(
        value=value,
        n=n,
        se=se,
        interval=Interval(low=value - half, high=value + half, level=level, method="student_t_clustered"),
    )


def _check(successes: int, n: int, level: float) -> None:
    if n < 1 or not 0 <= successes <= n:
        raise InvalidInput(f"{successes} of {n} is no rate", field="n")
    if not 0 < level < 1:
        raise InvalidInput(f"a level lies between 0 and 1, not {level}", field="level")
