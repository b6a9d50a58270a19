"""Sample-ratio mismatch at every look: its false alarms, its power, and its formula from predictions one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from core.errors import InvalidInput
from experiments.statistics.mismatch import CONCENTRATIONS, Mismatch, mismatch
from experiments.statistics.records import NoEffect, Why


def found(counts: list[int], weights: list[float]) -> Mismatch:
    told = mismatch(counts, weights)
    assert isinstance(told, Mismatch)
    return told


@settings(deadline=None)
@given(some.lists(some.integers(0, 2), min_size=1, max_size=60), some.randoms())
def test_is_the_product_of_predictions_in_any_order(arms: list[int], chance: object) -> None:
    weights = [0.5, 0.3, 0.2]
    counts = [arms.count(place) for place in range(3)]
    factors = []
    for concentration in CONCENTRATIONS:
        seen, factor = [0, 0, 0], 1.0
        for arm in arms:
            predicted = (concentration * weights[arm] + seen[arm]) / (concentration + sum(seen))
            factor *= predicted / weights[arm]
            seen[arm] += 1
        factors.append(factor)
    assert found(counts, weights).e_value == pytest.approx(sum(factors) / len(factors), rel=1e-9)


def test_seldom_alarms_whatever_the_looks() -> None:
    """At most .01 of runs ever reach 100; looked at after every twentieth unit."""
    chance, ever = np.random.default_rng(3), 0
    for _ in range(400):
        arms = np.cumsum(chance.random(1_000) < 0.5)
        most = max(found([int(arms[n - 1]), n - int(arms[n - 1])], [1, 1]).e_value for n in range(20, 1_001, 20))
        ever += most >= 100
    assert ever / 400 <= 0.025  # .01 and three standard errors


def test_sees_a_lost_arm_within_twenty_units_and_a_small_loss_within_many() -> None:
    assert found([20, 0], [1, 1]).e_value > 1_000
    assert found([10, 10], [1, 1]).e_value < 1
    assert found([505_000, 495_000], [1, 1]).e_value > 1_000
    assert found([505_000, 495_000], [505, 495]).e_value < 1
    assert found([91, 9], [9, 1]).e_value < 1  # unequal by design


def test_chi_square_is_beside_it_where_it_holds() -> None:
    told = found([5_200, 4_800], [1, 1])
    assert told.p_value == pytest.approx(math.erfc(4 / math.sqrt(2)), rel=1e-9)  # z = 200 / 50
    assert found([5, 3], [1, 1]).p_value is None


def test_a_huge_mismatch_stays_a_number() -> None:
    assert math.isfinite(found([10_000_000, 0], [1, 1]).e_value)


def test_no_units_or_one_arm_is_said() -> None:
    none, one = mismatch([0, 0], [1, 1]), mismatch([5], [1])
    assert isinstance(none, NoEffect)
    assert none.why is Why.NO_UNITS
    assert isinstance(one, NoEffect)
    assert one.why is Why.ONE_ARM


@pytest.mark.parametrize(
    ("counts", "weights"), [([1, -1], [1, 1]), ([1], [1, 1]), ([1, 1], [1, 0]), ([1, 1], [1, math.nan])]
)
def test_bad_counts_and_weights_are_refused(counts: list[int], weights: list[float]) -> None:
    with pytest.raises(InvalidInput):
        mismatch(counts, weights)
