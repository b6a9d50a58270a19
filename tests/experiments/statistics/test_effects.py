"""Differences of arms: against other libraries and hand, and an answer to everything that has none."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from statsmodels.stats.proportion import confint_proportions_2indep, test_proportions_2indep
from statsmodels.stats.weightstats import CompareMeans

from core.errors import InvalidInput
from experiments.statistics.effects import contrast, design_effect, difference
from experiments.statistics.records import Effect, Moments, NoEffect, Why
from tests.experiments.statistics.sampled import rate, sums
from tests.thorough import often

test_proportions_2indep.__test__ = False  # a function of statsmodels, not one of pytest's


def effect(found: Effect | NoEffect) -> Effect:
    assert isinstance(found, Effect), found
    return found


def test_means_of_one_observation_a_unit_are_those_of_welchs_test() -> None:
    chance = np.random.default_rng(1)
    a, b = chance.normal(3, 2, 57), chance.exponential(3.5, 41)
    found = effect(difference(sums(a), sums(b), alpha=0.1))
    theirs = CompareMeans.from_data(b, a)
    low, high = theirs.tconfint_diff(alpha=0.1, usevar="unequal")
    _, p, df = theirs.ttest_ind(usevar="unequal")
    assert found.estimate == pytest.approx(b.mean() - a.mean(), abs=1e-12)
    assert (found.low, found.high, found.p_value, found.df) == pytest.approx((low, high, p, df), abs=1e-9)


def test_a_ratio_counts_the_spread_of_units_not_of_their_observations() -> None:
    # Two users: 9 of 10 sessions and 1 of 10; the rate is .5, and its variance that of (.8, -.8) / 2 over 2 users.
    control = sums([9, 1], [10, 10])
    treatment = sums([5, 5, 6, 4], [10, 10, 10, 10])
    found = effect(difference(control, treatment, alpha=0.05))
    of_control = (4.0**2 + 4.0**2) / 1 / 2 / 10**2
    of_treatment = (1 + 1) / 3 / 4 / 10**2
    assert found.se == pytest.approx(math.sqrt(of_control + of_treatment), abs=1e-12)


def test_few_users_with_most_of_the_sessions_count_as_fewer() -> None:
    """5 users count as Kish's (8 + 4)^2 / (64 + 4) = 2.1, in the divisor and in the degrees of freedom."""
    y, s = np.array([5.0, 1, 0, 1, 1]), np.array([8.0, 1, 1, 1, 1])
    arm = sums(y, s)
    found = effect(difference(arm, arm, alpha=0.05))
    kish = 12**2 / 68
    variance = float(((y - 8 / 12 * s) ** 2).sum()) * kish / (kish - 1) / 12**2
    assert found.se == pytest.approx(math.sqrt(2 * variance), rel=1e-12)
    assert found.df == pytest.approx(2 * (kish - 1), rel=1e-12)
    assert (found.n_control, found.n_treatment) == (5, 5)


def test_fifty_effective_users_count_as_they_are() -> None:
    y, s = np.tile([1.0, 2, 3, 0], 30), np.tile([1.0, 2, 3, 1], 30)
    found = effect(difference(sums(y, s), sums(y, s), alpha=0.05))
    variance = float(((y - 6 / 7 * s) ** 2).sum()) / 119 * 120 / s.sum() ** 2
    assert found.se == pytest.approx(math.sqrt(2 * variance), rel=1e-12)
    assert found.df == pytest.approx(2 * 119, rel=1e-12)


def test_one_user_with_half_of_the_sessions_is_no_evidence_of_an_effect() -> None:
    """A/A: 300 users an arm of whom one has as many sessions as all others. As 300 they reject 4 times in 10."""
    chance = np.random.default_rng(3)

    def arm() -> Moments:
        s = chance.geometric(0.2, 300)
        s[0] = s[1:].sum()
        y = chance.binomial(s, 1 / (1 + np.exp(-0.85 - chance.normal(0, 1, 300))))
        return sums(y, s)

    found = [effect(difference(arm(), arm(), alpha=0.05)) for _ in range(300)]
    rejected = sum(one.low > 0 or one.high < 0 for one in found) / 300
    counted = sum(abs(one.estimate / one.se) > 1.96 for one in found) / 300
    assert rejected <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)
    assert counted > 0.25


@settings(max_examples=often(60, 15), deadline=None)
@given(
    y=st.lists(st.floats(-50, 50), min_size=4, max_size=30),
    factor=st.floats(0.1, 100),
    cut=st.integers(1, 3),
)
def test_sums_add_and_units_of_measurement_do_not_matter(y: list[float], factor: float, cut: int) -> None:
    a, b = np.array(y), np.array(y)[::-1] * 1.5 + np.arange(len(y))
    whole = difference(sums(a), sums(b), alpha=0.05)
    parts = difference(sums(a[:cut]) + sums(a[cut:]), sums(b), alpha=0.05)
    scaled = difference(sums(a * factor), sums(b * factor), alpha=0.05)
    if isinstance(whole, NoEffect):
        assert isinstance(parts, NoEffect)
        return
    assert effect(parts).low == pytest.approx(whole.low, rel=1e-6, abs=1e-6)
    assert effect(scaled).low == pytest.approx(whole.low * factor, rel=1e-6, abs=1e-6 * factor)


@pytest.mark.parametrize(
    ("treatment", "control", "low", "high"),
    [  # Newcombe 1998, Stat Med 17:873, table II, method of Miettinen and Nurminen, four decimals
        ((9, 10), (3, 10), 0.1700, 0.8406),
        ((5, 56), (0, 29), -0.0326, 0.1933),
        ((0, 10), (0, 20), -0.1658, 0.2844),
        ((10, 10), (0, 20), 0.7156, 1.0000),
    ],
)
def test_rare_answers_get_the_published_score_interval(
    treatment: tuple[int, int], control: tuple[int, int], low: float, high: float
) -> None:
    found = effect(difference(rate(*control), rate(*treatment), alpha=0.05, binary=True))
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)
    assert found.method == "miettinen_nurminen"


def test_the_score_interval_and_p_are_statsmodels_ones() -> None:
    found = effect(difference(rate(40, 40), rate(36, 41), alpha=0.05, binary=True))
    theirs = confint_proportions_2indep(36, 41, 40, 40, method="score", compare="diff", correction=True)
    p = test_proportions_2indep(36, 41, 40, 40, method="score", compare="diff", correction=True).pvalue
    assert (found.low, found.high, found.p_value) == pytest.approx((*theirs, p), abs=1e-9)


def test_one_failure_in_two_hundred_is_rejected_as_often_as_alpha_says() -> None:
    """Exactly, over all counts that two arms of 2,800 may have: by symmetry half of them."""
    n, p = 2_800, 0.005
    counts = np.arange(0, 45)
    chance = binom.pmf(counts, n, p)
    size = 0.0
    for a, b in itertools.combinations(counts[chance > 1e-5].tolist(), 2):
        found = contrast(rate(a, n), rate(b, n), binary=True)
        assert not isinstance(found, NoEffect)
        size += 2 * float(chance[a] * chance[b]) * (abs(found.z) > 1.959964)
    assert 0.045 < size < 0.055


def test_no_event_in_either_arm_bounds_the_harm_and_has_no_p() -> None:
    found = effect(difference(rate(0, 3000), rate(0, 3000), alpha=0.05, binary=True))
    assert -0.0014 < found.low < 0 < found.high < 0.0014
    assert found.p_value is None


def test_rare_events_of_users_with_many_sessions_count_users() -> None:
    one_each = effect(difference(rate(0, 100), rate(0, 100), alpha=0.05, binary=True))
    users = sums(np.zeros(100), np.full(100, 20.0))
    assert effect(difference(users, users, alpha=0.05, binary=True)).high == pytest.approx(one_each.high, abs=1e-12)


ONES = sums(np.ones(30))
FEW = sums([1.0, 2.0, 4.0])


@pytest.mark.parametrize(
    ("control", "treatment", "why"),
    [
        (Moments(), Moments(), Why.NO_UNITS),
        (FEW, Moments(), Why.ONE_ARM),
        (Moments(n_missing=9), FEW, Why.ONE_ARM),
        (sums([3.0]), FEW, Why.ONE_UNIT),
        (FEW, sums([3.0]), Why.ONE_UNIT),
        (ONES, ONES, Why.CONSTANT),
        (sums([0.1] * 7), sums([0.3] * 9), Why.CONSTANT),
        (FEW, sums([1.0, math.nan]), Why.NOT_FINITE),
        (FEW, sums([1.0, math.inf]), Why.NOT_FINITE),
        (FEW, sums([0.0, 0.0], [0.0, 0.0]), Why.NO_OBSERVATIONS),
        (sums([4.0, 8.0, 4.0], [1, 2, 1]), sums([4.0, 12.0, 8.0], [1, 3, 2]), Why.CONSTANT),
        (FEW, sums([900.0, 1.0, 0.0, 1.0], [1000, 1, 1, 1]), Why.FEW_UNITS),
    ],
)
def test_what_has_no_effect_says_why(control: Moments, treatment: Moments, why: Why) -> None:
    found = difference(control, treatment, alpha=0.05)
    assert isinstance(found, NoEffect)
    assert found.why is why
    assert len(found.text) > 20


def test_one_constant_arm_is_weighed_by_the_spread_of_the_other() -> None:
    found = effect(difference(ONES, FEW, alpha=0.05))
    assert found.df == pytest.approx(2)
    assert found.low < found.estimate < found.high


def test_a_spread_lost_to_cancellation_is_no_spread_and_one_not_lost_is_right() -> None:
    chance = np.random.default_rng(2)
    noise = chance.normal(0, 1, 500)
    assert isinstance(difference(sums(1e9 + noise), sums(1e9 - noise), alpha=0.05), NoEffect)
    told = effect(difference(sums(1e4 + noise), sums(1e4 + 1 - noise), alpha=0.05))
    assert told.se == pytest.approx(math.sqrt(2 * noise.var(ddof=1) / 500), rel=1e-5)


def test_sessions_that_are_all_alike_count_as_their_units() -> None:
    said = np.tile([1.0, 0.0, 1.0, 1.0], 50)
    assert design_effect(sums(said)) == pytest.approx(200 / 199)  # each session a unit: n / (n - 1)
    assert design_effect(sums(6 * said, np.full(200, 6.0))) == pytest.approx(6 * 200 / 199)
    for nothing in (Moments(), sums([1.0]), sums([1.0, 1.0]), sums([5.0, 3.0])):
        assert design_effect(nothing) == 1


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, math.nan])
def test_an_alpha_that_is_none_is_refused(alpha: float) -> None:
    with pytest.raises(InvalidInput, match="alpha"):
        difference(FEW, sums([1.0, 3.0]), alpha=alpha)


def test_a_statistic_beyond_what_doubles_tell_is_still_a_number() -> None:
    found = contrast(sums(np.tile([0.0, 1e-3], 4000)), sums(np.tile([1e3, 1e3 + 1e-1], 4000)))
    assert not isinstance(found, NoEffect)
    assert 37 < found.z < 38
