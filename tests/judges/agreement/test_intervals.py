"""Posterior and bootstrap intervals: what they hold, where all agree, weights, many labels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from core.errors import InvalidInput
from evaluators.statistics.estimates import Estimate, Lack, Unestimated
from judges.agreement.intervals import Coefficient, bca_coefficient, posterior, posterior_coefficient
from judges.agreement.kappa import Weighting, agreement_weights, kappas
from judges.agreement.tables import FloatArray, of_counts, table


def kappa(tables: FloatArray) -> FloatArray:
    return kappas(tables, np.eye(tables.shape[-1]))


def ends(of: Coefficient) -> tuple[float, float]:
    assert isinstance(of.estimate, Estimate)
    assert of.estimate.interval is not None
    return of.estimate.interval.low, of.estimate.interval.high


def test_the_posterior_of_two_labels_is_dirichlet_with_half_an_item_per_cell() -> None:
    counts = np.array([[20, 5], [10, 15]])
    drawn = posterior(of_counts(counts), 40_000, 1).reshape(-1, 4)
    exact = stats.dirichlet(counts.ravel() + 0.5)
    assert drawn.mean(axis=0) == pytest.approx(exact.mean(), abs=2e-3)
    assert drawn.var(axis=0) == pytest.approx(exact.var(), rel=0.05)


def test_where_all_agree_the_interval_ends_at_one_and_has_a_width() -> None:
    found = posterior_coefficient(of_counts(np.array([[10, 0], [0, 40]])), kappa, seed=0)
    low, high = ends(found)
    assert found.value == 1.0
    assert high == 1.0
    assert 0.7 < low < 0.95


def test_the_prior_is_worth_two_items_however_many_labels_there_are() -> None:
    """Half an item in each of 25 cells would be 12.5 items of pure chance: 50 items that agree would not reach .8."""
    counts = np.diag([10] * 5)
    assert ends(posterior_coefficient(of_counts(counts), kappa, seed=0))[0] > 0.85
    literal = kappa(posterior(of_counts(counts), 4_000, 0, prior_mass=12.5))
    assert float(np.quantile(literal, 0.975)) < 0.9


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 40), min_size=9, max_size=9))
def test_an_interval_holds_its_estimate_and_the_bounds_lie_within_it(cells: list[int]) -> None:
    of = of_counts(np.array(cells, dtype=np.int64).reshape(3, 3))
    weights = agreement_weights(3, Weighting.QUADRATIC)
    found = posterior_coefficient(of, lambda tables: kappas(tables, weights), seed=3, draws=500)
    if isinstance(found.estimate, Unestimated):
        assert found.estimate.reason in (Lack.NO_EXAMPLES, Lack.ONE_CLASS)
        return
    low, high = ends(found)
    assert found.lower is not None
    assert found.upper is not None
    assert -1 <= low <= found.lower <= found.estimate.value <= found.upper <= high <= 1


def test_the_order_of_items_and_the_names_of_labels_do_not_move_an_interval() -> None:
    rng = np.random.default_rng(2)
    label, verdict = rng.integers(0, 3, 80), rng.integers(0, 3, 80)
    verdict = np.where(rng.random(80) < 0.7, label, verdict)
    first = posterior_coefficient(table(label, verdict, 3), kappa, seed=5)
    mixed = rng.permutation(80)
    assert posterior_coefficient(table(label[mixed], verdict[mixed], 3), kappa, seed=5) == first
    renamed = np.array([2, 0, 1])
    other = posterior_coefficient(table(renamed[label], renamed[verdict], 3), kappa, seed=5)
    assert ends(other) == pytest.approx(ends(first), abs=0.006)  # other draws


def test_equal_weights_give_the_interval_of_no_weights_and_unequal_ones_a_wider_one() -> None:
    rng = np.random.default_rng(4)
    label = rng.integers(0, 2, 200)
    verdict = np.where(rng.random(200) < 0.9, label, 1 - label)
    bare = posterior_coefficient(table(label, verdict, 2), kappa, seed=0)
    even = posterior_coefficient(table(label, verdict, 2, np.full(200, 3.0)), kappa, seed=0)
    assert ends(even) == pytest.approx(ends(bare), abs=1e-9)
    uneven = posterior_coefficient(table(label, verdict, 2, rng.choice([1.0, 10.0], 200)), kappa, seed=0)
    assert np.subtract(*ends(uneven)[::-1]) > 1.1 * np.subtract(*ends(bare)[::-1])


def test_bca_is_scipys() -> None:
    """Of one sample's skewed mean, with resamples of its own, so near and not equal."""
    sample = np.random.default_rng(7).exponential(size=60)
    ours = bca_coefficient(
        np.ones(60, dtype=np.int64), lambda times: (times @ sample) / times.sum(axis=1), seed=1, resamples=20_000
    )
    theirs = stats.bootstrap((sample,), np.mean, method="BCa", n_resamples=20_000, rng=np.random.default_rng(1))
    assert ends(ours) == pytest.approx((theirs.confidence_interval.low, theirs.confidence_interval.high), abs=0.015)
    one_sided = stats.bootstrap(
        (sample,), np.mean, method="BCa", n_resamples=20_000, rng=np.random.default_rng(1), alternative="greater"
    )
    assert ours.lower == pytest.approx(one_sided.confidence_interval.low, abs=0.015)


def test_patterns_that_are_counted_give_what_single_units_give() -> None:
    values = np.array([0.0, 1.0, 3.0])
    counted = bca_coefficient(
        np.array([30, 20, 10]), lambda times: (times @ values) / times.sum(axis=1), seed=1, resamples=8_000
    )
    each = np.repeat(values, [30, 20, 10])
    single = bca_coefficient(
        np.ones(60, dtype=np.int64), lambda times: (times @ each) / times.sum(axis=1), seed=2, resamples=8_000
    )
    assert ends(counted) == pytest.approx(ends(single), abs=0.02)


def test_without_spread_or_value_there_is_no_bootstrap_interval() -> None:
    same = bca_coefficient(np.array([5, 5]), lambda times: np.ones(len(times)), seed=0, resamples=100)
    assert isinstance(same.estimate, Estimate)
    assert (same.estimate.lack, same.lower) == (Lack.ZERO_VARIANCE, None)
    undefined = bca_coefficient(np.array([5]), lambda times: np.full(len(times), np.nan), seed=0, resamples=100)
    assert undefined.estimate == Unestimated(reason=Lack.ONE_CLASS)
    sometimes = bca_coefficient(
        np.array([9, 1]), lambda times: np.where(times[:, 1] > 0, times[:, 1], np.nan), seed=0, resamples=500
    )
    assert isinstance(sometimes.estimate, Estimate)
    assert sometimes.estimate.lack is Lack.ONE_CLASS
    nothing = bca_coefficient(np.array([0]), lambda times: np.ones(len(times)), seed=0)
    assert nothing.estimate == Unestimated(reason=Lack.NO_EXAMPLES)
    with pytest.raises(InvalidInput):
        posterior_coefficient(of_counts(np.eye(2, dtype=np.int64)), kappa, seed=0, level=1.0)
