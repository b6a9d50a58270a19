"""Intervals of clusters: do they hold as often as they say, with 2 sessions, with 200, with none of n and with all."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from clustering.intervals import Floats, Ints, Told, exact, mean_of, median_of, ratio_of, share_of
from clustering.service_reading import Count

LEAST = 0.93  # of intervals at 95% that have to hold
MANY = (2, 5, 20, 200)
SHARES = (0.02, 0.1, 0.35, 0.9, 0.99, 1.0)


def alone(n: int) -> Ints:
    return np.arange(n)


def holds(told: Told, truth: float) -> bool:
    above = told.low is None or told.low <= truth * (1 + 1e-9)
    return above and (told.high is None or truth <= told.high * (1 + 1e-9))


@pytest.mark.parametrize("n", MANY)
def test_a_share_lies_in_its_interval_as_often_as_it_says(n: int) -> None:
    ends = [exact(yes, n) for yes in range(n + 1)]
    for share in SHARES:
        chance = stats.binom.pmf(np.arange(n + 1), n, share)
        assert chance[[low <= share <= high for low, high in ends]].sum() >= LEAST, share


@pytest.mark.parametrize("n_rest", [5, 60])
@pytest.mark.parametrize("n", MANY)
def test_a_ratio_of_shares_lies_in_its_interval_as_often_as_it_says(n: int, n_rest: int) -> None:
    chance = np.random.default_rng(n + n_rest)
    for share in SHARES:
        for rest in (0.02, 0.105, 0.6):
            drawn = zip(chance.binomial(n, share, 150), chance.binomial(n_rest, rest, 150), strict=True)
            told = [ratio_of(yes, n, other, n_rest) for yes, other in drawn]
            assert np.mean([holds(one, share / rest) for one in told]) >= LEAST, (share, rest)


def test_two_sessions_of_two_do_not_make_a_ratio_sure() -> None:
    told = ratio_of(2, 2, 21, 200)
    assert told.value == pytest.approx(9.52, abs=0.01)
    assert told.low is not None
    assert told.high is not None
    assert told.low < 1.6  # of two sessions the share may be .16
    assert told.high > 14  # and that of the rest .066
    low, high = proportion_confint(21, 200, method="beta")
    assert told.high == pytest.approx(1 / low)
    ours, _ = proportion_confint(2, 2, method="beta")
    assert told.low >= ours / high


def test_what_the_rest_has_none_of_has_no_upper_bound() -> None:
    told = ratio_of(5, 10, 0, 300)
    assert told.high is None
    assert told.value == pytest.approx(5.5 / 10.5 / (0.5 / 300.5))
    assert told.low is not None
    assert told.value is not None
    assert 1 < told.low < told.value
    assert ratio_of(0, 10, 3, 30).low == 0.0
    assert ratio_of(5, 10, 0, 0) == (None, None, None)


@pytest.mark.parametrize(("yes", "n"), [(0, 2), (2, 2), (7, 40), (0, 200), (200, 200)])
def test_the_interval_of_a_share_is_clopper_and_pearsons(yes: int, n: int) -> None:
    expected = proportion_confint(yes, n, method="beta")
    assert list(share_of(np.arange(n) < yes, alone(n))) == pytest.approx([yes / n, *expected])
    assert Count(n=n, n_failed=yes, n_known=n).bounds() == pytest.approx(expected)


def test_a_user_with_all_sessions_counts_once() -> None:
    told = share_of(np.ones(1000, dtype=np.bool_), np.zeros(1000, dtype=np.int64))
    assert list(told) == pytest.approx([1.0, 0.025, 1.0])
    halves = share_of(np.arange(100) % 2 == 0, np.arange(100) % 4)  # four users, each always the same
    few = share_of(np.arange(4) % 2 == 0, alone(4))
    assert halves.low is not None
    assert few.low is not None
    assert 0 < halves.low < few.low  # 100 sessions of four users tell no more than four


@pytest.mark.parametrize("n_users", [2, 5, 20])
def test_a_share_of_users_who_repeat_themselves_lies_in_its_interval(n_users: int) -> None:
    chance, users = np.random.default_rng(n_users), np.repeat(np.arange(n_users), 8)
    hits = []
    for _ in range(300):
        of_user = chance.beta(1.2, 1.2, n_users)  # sessions of one user are alike: a correlation of .3
        hits.append(holds(share_of(chance.random(len(users)) < of_user[users], users), 0.5))
    assert np.mean(hits) >= LEAST


def skewed(chance: np.random.Generator, n: int) -> Floats:
    return chance.exponential(1.0, n)


def like_costs(chance: np.random.Generator, n: int) -> Floats:
    return chance.lognormal(-0.125, 0.5, n)


@pytest.mark.parametrize("n", MANY)
@pytest.mark.parametrize("drawn", [skewed, like_costs])
def test_a_mean_lies_in_its_interval_as_often_as_it_says(drawn: object, n: int) -> None:
    assert callable(drawn)
    chance = np.random.default_rng(n)
    assert np.mean([holds(mean_of(drawn(chance, n), alone(n)), 1.0) for _ in range(600)]) >= LEAST


def test_a_mean_of_what_is_never_negative_reaches_never_below_0() -> None:
    told = mean_of(np.array([0.001, 0.9]), alone(2))
    assert told.low is not None
    assert told.low > 0
    scores = mean_of(np.array([-1.0, 1.0, 0.0]), alone(3))
    assert scores.low is not None
    assert scores.low == pytest.approx(stats.t.interval(0.95, 2, 0.0, stats.sem([-1.0, 1.0, 0.0]))[0])


def test_a_mean_of_one_user_or_of_all_the_same_has_no_interval() -> None:
    assert mean_of(np.arange(50.0), np.zeros(50, dtype=np.int64)) == (24.5, None, None)
    assert mean_of(np.array([2.0, 2.0]), alone(2)) == (2.0, None, None)
    assert mean_of(np.full(20, 0.1), alone(20)).low is None  # by the last digit they differ from their mean


def test_a_mean_of_users_is_their_ratio_of_totals() -> None:
    values, users = np.array([1.0, 2, 3, 10, 12]), np.array([0, 0, 0, 1, 1])
    told = mean_of(values, users)
    residuals = np.array([6 - 3 * 5.6, 22 - 2 * 5.6])
    se = math.sqrt(2 * (residuals**2).sum()) / 5  # Kish 1965, section 6.3: g / (g - 1) = 2, over n^2
    assert told.high is not None
    assert math.log(told.high / 5.6) * 5.6 / stats.t.isf(0.025, 1) == pytest.approx(se)


@pytest.mark.parametrize("n", [6, 8, 20, 60])
def test_a_median_lies_in_its_interval_as_often_as_it_says(n: int) -> None:
    chance = np.random.default_rng(n)
    told = [median_of(chance.exponential(1.0, n), alone(n)) for _ in range(400)]
    assert all(one.low is not None for one in told)
    assert np.mean([holds(one, math.log(2)) for one in told]) >= LEAST


def test_a_median_of_five_has_no_interval() -> None:
    assert median_of(np.arange(5.0), alone(5)) == (2.0, None, None)
