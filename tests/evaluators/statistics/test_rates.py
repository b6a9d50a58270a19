"""Rates and means over examples, against statsmodels and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from core.errors import InvalidInput
from evaluators.statistics.estimates import Estimate, Lack, Unestimated
from evaluators.statistics.rates import clustered_mean, jeffreys, rule_of_three, wilson

COUNTS = [(0, 1), (1, 1), (0, 20), (3, 20), (20, 20), (82, 140), (1, 4000), (1999, 4000)]


@pytest.mark.parametrize(("successes", "n"), COUNTS)
@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_wilson_is_that_of_statsmodels(successes: int, n: int, level: float) -> None:
    found = wilson(successes, n, level)
    low, high = proportion_confint(successes, n, alpha=1 - level, method="wilson")
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-12)


@pytest.mark.parametrize(("successes", "n"), [pair for pair in COUNTS if 0 < pair[0] < pair[1]])
def test_jeffreys_is_that_of_statsmodels(successes: int, n: int) -> None:
    found = jeffreys(successes, n)
    low, high = proportion_confint(successes, n, alpha=0.05, method="jeffreys")
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-12)


def test_the_rule_of_three_is_exact_and_near_three_over_n() -> None:
    assert rule_of_three(300) == pytest.approx(3 / 300, rel=0.01)
    assert (1 - rule_of_three(17)) ** 17 == pytest.approx(0.05, abs=1e-12)


@pytest.mark.parametrize(("successes", "n", "level"), [(1, 0, 0.95), (5, 4, 0.95), (-1, 4, 0.95), (1, 4, 1.0)])
def test_counts_that_are_no_rate_are_refused(successes: int, n: int, level: float) -> None:
    with pytest.raises(InvalidInput):
        wilson(successes, n, level)


def test_a_mean_over_examples_by_hand() -> None:
    found = clustered_mean(np.array([1.0, 0, 1, 1, 0, 0]), np.array([7, 7, 9, 9, 11, 11]))
    assert isinstance(found, Estimate)
    assert found.value == pytest.approx(0.5)  # means .5, 1, 0
    assert found.se == pytest.approx(0.5 / np.sqrt(3))  # sd .5
    assert found.interval is not None
    assert found.interval.high - found.value == pytest.approx(stats.t.isf(0.025, 2) * 0.5 / np.sqrt(3))


def test_trials_that_are_said_twice_shrink_no_standard_error() -> None:
    rng = np.random.default_rng(1)
    values, example = rng.random(120), np.repeat(np.arange(30), 4)
    once = clustered_mean(values, example)
    twice = clustered_mean(np.tile(values, 2), np.tile(example, 2))
    assert isinstance(once, Estimate)
    assert isinstance(twice, Estimate)
    assert once.se is not None
    assert twice.se is not None
    assert twice.se == pytest.approx(once.se, rel=1e-12)
    assert twice.n == once.n == 30


def test_what_is_not_known_is_said() -> None:
    none = clustered_mean(np.array([]), np.array([], dtype=np.int64))
    assert none == Unestimated(reason=Lack.NO_EXAMPLES)
    broken = clustered_mean(np.array([1.0, np.nan]), np.array([1, 2]))
    assert broken == Unestimated(reason=Lack.NOT_FINITE)
    one = clustered_mean(np.array([1.0, 0.0]), np.array([1, 1]))
    assert isinstance(one, Estimate)
    assert (one.se, one.interval, one.lack) == (None, None, Lack.ONE_EXAMPLE)
    same = clustered_mean(np.ones(9), np.arange(9))
    assert isinstance(same, Estimate)
    assert (same.se, same.lack) == (None, Lack.ZERO_VARIANCE)
