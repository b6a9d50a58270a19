"""CUPED over sums: the regression it stands for, units without a past, and what it does with nothing to go by."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from experiments.statistics.cuped import adjusted, reduction
from experiments.statistics.effects import difference
from experiments.statistics.records import Effect, NoEffect, Why
from tests.experiments.statistics.sampled import Array, sums


def effect(found: Effect | NoEffect) -> Effect:
    assert isinstance(found, Effect), found
    return found


def drawn(rho: float, n: int = 4000, seed: int = 1) -> tuple[Array, Array]:
    chance = np.random.default_rng(seed)
    x = chance.normal(5, 2, n)
    return x, rho * (x - 5) / 2 + np.sqrt(1 - rho**2) * chance.normal(0, 1, n)


@pytest.mark.parametrize("rho", [0.3, 0.5, 0.7, 0.9])
def test_the_variance_that_goes_is_the_square_of_the_correlation(rho: float) -> None:
    x, y = drawn(rho)
    control, treatment = sums(y[:2000], x=x[:2000]), sums(y[2000:], x=x[2000:])
    assert reduction(control, treatment) == pytest.approx(rho**2, abs=0.035)
    plain, less = (effect(one(control, treatment, alpha=0.05)) for one in (difference, adjusted))
    assert less.se == pytest.approx(plain.se * np.sqrt(1 - rho**2), rel=0.03)


def test_a_missing_past_is_the_mean_with_an_indicator() -> None:
    x, y = drawn(0.8)
    chance = np.random.default_rng(2)
    new = chance.random(len(x)) < 0.3
    y = np.where(new, y - 1.5, y)  # who has no past differs, so that the indicator matters
    treated = np.arange(len(x)) >= 2000
    past = np.where(new, np.nan, x)
    found = effect(adjusted(sums(y[:2000], x=past[:2000]), sums(y[2000:], x=past[2000:]), alpha=0.05))
    # theta from all units, then the difference of what is left: mean imputed, indicator beside it
    columns = np.column_stack([np.ones(len(x)), np.where(new, np.nanmean(past), x), ~new])
    theta = sm.OLS(y, columns).fit().params
    left = y - columns[:, 1:] @ theta[1:]
    by_hand = effect(difference(sums(left[:2000]), sums(left[2000:]), alpha=0.05))
    assert (found.estimate, found.se, found.low) == pytest.approx((by_hand.estimate, by_hand.se, by_hand.low), abs=1e-9)
    regression = sm.OLS(y, np.column_stack([columns, treated])).fit(cov_type="HC2")
    assert found.estimate == pytest.approx(regression.params[-1], abs=5e-4)
    assert found.se == pytest.approx(regression.bse[-1], rel=0.01)
    only_imputed = effect(adjusted(
        *(sums(part, x=np.where(np.isnan(own), np.nanmean(past), own))
          for part, own in ((y[:2000], past[:2000]), (y[2000:], past[2000:]))), alpha=0.05))  # fmt: skip
    assert found.se < 0.9 * only_imputed.se


def test_of_a_ratio_the_unit_is_adjusted() -> None:
    chance = np.random.default_rng(3)
    taste = chance.normal(0, 1, 3000)
    s = chance.poisson(3, 3000) + 1.0
    y = chance.binomial(s.astype(int), 1 / (1 + np.exp(-taste))).astype(float)
    x = taste + chance.normal(0, 0.3, 3000)
    control, treatment = sums(y[::2], s[::2], x[::2]), sums(y[1::2], s[1::2], x[1::2])
    plain, less = (effect(one(control, treatment, alpha=0.05)) for one in (difference, adjusted))
    assert less.se < 0.85 * plain.se
    assert less.method == "cuped_delta_welch_t"


def test_few_users_of_unequal_size_count_as_fewer_with_a_covariate_too() -> None:
    """A past that is the same for all users of a size, over both arms, explains nothing: as without it."""
    s = np.array([6.0, 6, 1, 1, 1, 1, 2, 2])
    y = np.array([4.0, 2, 1, 0, 1, 0, 2, 0])
    x = np.array([1.0, 1, -1, -1, -1, -1, 2, 2])
    control, treatment = sums(y, s, x), sums(s - y, s, x)  # rates of .5, so that both leave the same
    plain, less = (effect(one(control, treatment, alpha=0.05)) for one in (difference, adjusted))
    assert less.method == "cuped_delta_welch_t"
    assert (less.se, less.df) == pytest.approx((plain.se, plain.df), rel=1e-12)


def test_a_covariate_that_is_shifted_changes_nothing() -> None:
    x, y = drawn(0.6, 400)
    one = effect(adjusted(sums(y[:200], x=x[:200]), sums(y[200:], x=x[200:]), alpha=0.05))
    two = effect(adjusted(sums(y[:200], x=3 * x[:200] + 7), sums(y[200:], x=3 * x[200:] + 7), alpha=0.05))
    assert (two.low, two.high) == pytest.approx((one.low, one.high), abs=1e-9)


@pytest.mark.parametrize("x", [None, np.full(40, 3.0), np.full(40, np.nan)])
def test_a_covariate_that_says_nothing_leaves_the_effect_as_it_was(x: Array | None) -> None:
    y = np.random.default_rng(4).normal(0, 1, 80)
    arms = sums(y[:40], x=x), sums(y[40:], x=x)
    assert adjusted(*arms, alpha=0.05) == difference(*arms, alpha=0.05)


def test_an_outcome_that_its_past_explains_entirely_says_so() -> None:
    x = np.random.default_rng(5).normal(0, 1, 80)
    found = adjusted(sums(2 * x[:40], x=x[:40]), sums(2 * x[40:], x=x[40:]), alpha=0.05)
    assert isinstance(found, NoEffect)
    assert found.why is Why.CONSTANT
    assert "before the exposure" in found.text


def test_no_units_have_no_adjusted_effect_either() -> None:
    found = adjusted(sums([]), sums([]), alpha=0.05)
    assert isinstance(found, NoEffect)
    assert found.why is Why.NO_UNITS
    assert reduction(sums([]), sums([])) is None
