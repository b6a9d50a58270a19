"""Towards the answer that is read first: consistency over both orders, the first-rate, the mean of both orders.

Choices are of answers, not of places: 0 is the pair's first answer, 1 its second, -1 no verdict. `ab` was given with
answer 0 first, `ba` with answer 1 first. Definitions and the correction by two orders: Wang et al. 2023
(arXiv:2305.17926); one random order: a Bradley-Terry model with a coefficient of place, identified by randomisation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import scipy
from numpy.typing import NDArray

from core.errors import InvalidInput
from evaluators.statistics.estimates import Estimate, Unestimated
from evaluators.statistics.rates import FloatArray, mean_of, wilson
from judges.biases.logistic import Fit, fit_logistic

Choices = NDArray[np.int64]
NONE: Final = -1


@dataclass(frozen=True, kw_only=True)
class OrderBias:
    """What two orders of the same pairs say. `n` are the pairs with both verdicts.

    `consistency`: P(same winner). `p_first`: P(the winner was read first), .5 without bias; `first_rate` is p_first -
    .5. Their intervals take a pair as one unit. `p_no_bias` is the exact two-sided p of "first as often as second"
    among the pairs that changed; 1 where none did.
    """

    n: int
    n_missing: int
    consistency: Estimate | Unestimated
    p_first: Estimate | Unestimated
    first_rate: Estimate | Unestimated
    n_first_twice: int
    n_second_twice: int
    p_no_bias: float


def order_bias(ab: Choices, ba: Choices, level: float = 0.95) -> OrderBias:
    """The bias of a judge that saw each pair in both orders. Raises InvalidInput for shapes or choices that are not."""
    _check(ab, ba)
    both = (ab != NONE) & (ba != NONE)
    a, b = ab[both], ba[both]
    n, same = len(a), int((a == b).sum())
    first_twice = int(((a == 0) & (b == 1)).sum())
    second_twice = int(((a == 1) & (b == 0)).sum())
    changed = first_twice + second_twice
    read_first = ((a == 0).astype(np.float64) + (b == 1)) / 2
    p_first = mean_of(read_first, level)
    return OrderBias(
        n=n,
        n_missing=len(ab) - n,
        consistency=_rate(same, n, level),
        p_first=p_first,
        first_rate=_moved(p_first, -0.5),
        n_first_twice=first_twice,
        n_second_twice=second_twice,
        p_no_bias=float(scipy.stats.binomtest(first_twice, changed, 0.5).pvalue) if changed else 1.0,
    )


def mean_of_orders(ab: Choices, ba: Choices) -> FloatArray:
    """The preference for answer 0: 1, 0, or a half where the orders chose differently; NaN where a verdict lacks."""
    _check(ab, ba)
    found = ((ab == 0).astype(np.float64) + (ba == 0)) / 2
    return np.where((ab != NONE) & (ba != NONE), found, np.nan)


def accuracy_of_orders(ab: Choices, ba: Choices, gold: Choices) -> float | None:
    """The mean of both orders' shares of right choices; a missing verdict is not right. None without a pair."""
    _check(ab, ba)
    return float(((ab == gold).mean() + (ba == gold).mean()) / 2) if len(gold) else None


def first_share(read_first_won: NDArray[np.bool_], level: float = 0.95) -> Estimate | Unestimated:
    """P(the winner was read first) of pairs that were read in one random order each, with Wilson's interval."""
    return _rate(int(read_first_won.sum()), len(read_first_won), level)


def place_effect(
    won: FloatArray,
    place: FloatArray,
    strength: FloatArray | None = None,
    clusters: NDArray[np.int64] | None = None,
) -> Fit | Unestimated:
    """logit P(i beats j) = s + beta o, with o = 1 where i was read first and -1 where second, for pairs that were read
    in one random order. The fit's coefficients are the constant, beta, then those of `strength`, shape (n, k): what is
    known of s_i - s_j, such as the gold label as 1 and -1. Raises InvalidInput for places that are neither 1 nor -1."""
    if not np.isin(place, (-1.0, 1.0)).all():
        raise InvalidInput("a place is 1 (read first) or -1 (read second)", field="place")
    columns = [np.ones_like(place), place, *([] if strength is None else strength.reshape(len(place), -1).T)]
    return fit_logistic(won, np.column_stack(columns), clusters)


def _rate(count: int, n: int, level: float) -> Estimate | Unestimated:
    if not n:
        return mean_of(np.empty(0), level)
    value = count / n
    return Estimate(value=value, n=n, se=float(np.sqrt(value * (1 - value) / n)), interval=wilson(count, n, level))


def _moved(found: Estimate | Unestimated, by: float) -> Estimate | Unestimated:

    if isinstance(found, Unestimated):
        return found
    ends = found.interval
    moved = None if ends is None else replace(ends, low=ends.low + by, high=ends.high + by)
    return replace(found, value=found.value + by, interval=moved)


def _check(ab: Choices, ba: Choices) -> None:
    if ab.shape != ba.shape or ab.ndim != 1:
        raise InvalidInput(f"choices of shape {ab.shape} and {ba.shape}", field="ba")
    if not (np.isin(ab, (NONE, 0, 1)).all() and np.isin(ba, (NONE, 0, 1)).all()):
        raise InvalidInput("a choice is 0, 1, or -1 for none", field="ab")
