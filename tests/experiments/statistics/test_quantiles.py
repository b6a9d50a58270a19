"""Quantiles of clustered observations: coverage, units counted and not observations, and answers to what has none."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from numpy.typing import ArrayLike

from core.errors import InvalidInput
from experiments.statistics import quantiles
from experiments.statistics.records import Effect, NoEffect, Why
from tests.experiments.statistics.sampled import Array


def rows(values: ArrayLike, per_unit: int = 1) -> pl.DataFrame:
    """`per_unit` consecutive values a unit."""
    found = np.asarray(values, dtype=np.float64)
    return pl.DataFrame({"unit": [f"u{k // per_unit}" for k in range(len(found))], "value": found})


def clustered(chance: np.random.Generator, n_units: int, per_unit: int) -> Array:
    """Latencies whose users differ: exp of a user's part and the turn's."""
    user = np.repeat(chance.normal(0, 0.7, n_units), per_unit)
    return np.asarray(np.exp(user + chance.normal(0, 0.7, n_units * per_unit)))


def effect(found: Effect | NoEffect) -> Effect:
    assert isinstance(found, Effect), found
    return found


def test_the_median_of_a_normal_has_its_known_standard_error() -> None:
    chance = np.random.default_rng(1)
    a, b = chance.normal(0, 1, 20_000), chance.normal(1, 1, 20_000)
    found = effect(quantiles.difference(rows(a), rows(b), 0.5, 0.05))
    assert found.se == pytest.approx(math.sqrt(2 * math.pi / 2 / 20_000), rel=0.1)
    assert found.control == np.sort(a)[9_999]
    assert found.low < 1 < found.high


@pytest.mark.parametrize("q", [0.5, 0.95])
def test_intervals_of_clustered_observations_cover_as_often_as_they_say(q: float) -> None:
    chance = np.random.default_rng(2)
    covered = naive = 0
    for _ in range(200):
        a, b = clustered(chance, 120, 8), clustered(chance, 120, 8)
        found = effect(quantiles.difference(rows(a, 8), rows(b, 8), q, 0.05))
        covered += found.low <= 0 <= found.high
        ignored = effect(quantiles.difference(rows(a), rows(b), q, 0.05))
        naive += ignored.low <= 0 <= ignored.high
    assert covered / 200 >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / 200)
    assert naive / 200 < 0.88


def test_a_slower_tail_is_found_and_a_shift_moves_the_interval() -> None:
    chance = np.random.default_rng(3)
    a, b = clustered(chance, 400, 5), 1.5 * clustered(chance, 400, 5)
    found = effect(quantiles.difference(rows(a, 5), rows(b, 5), 0.95, 0.05))
    assert found.low > 0
    moved = effect(quantiles.difference(rows(a, 5), rows(b + 10, 5), 0.95, 0.05))
    assert moved.low == pytest.approx(found.low + 10, abs=1e-9)


def test_few_users_of_unequal_size_count_as_fewer() -> None:
    chance = np.random.default_rng(5)
    even = rows(clustered(chance, 40, 10), 10)
    size = pl.Series([280] + [10] * 12).to_numpy()
    uneven = even.with_columns(unit=pl.Series(np.repeat([f"u{k}" for k in range(13)], size)))
    found, other = (quantiles.difference(one, one, 0.5, 0.05) for one in (even, uneven))
    assert effect(found).df == pytest.approx(2 * 39)
    kish = 400**2 / (280**2 + 12 * 10**2)
    assert kish == pytest.approx(2.01, abs=0.01)
    assert effect(other).df == pytest.approx(2 * (kish - 1))


def test_missing_observations_are_left_out() -> None:
    values = np.random.default_rng(4).normal(0, 1, 400)
    whole = quantiles.difference(rows(values), rows(values + 1), 0.5, 0.05)
    gaps = pl.concat(
        [
            rows(values),
            pl.DataFrame({"unit": ["gone"], "value": [None]}, schema={"unit": pl.String(), "value": pl.Float64()}),
        ]
    )
    assert quantiles.difference(gaps, rows(values + 1), 0.5, 0.05) == whole


NONE = rows([])
SOME = rows(np.arange(100.0))


@pytest.mark.parametrize(
    ("control", "treatment", "q", "why"),
    [
        (NONE, NONE, 0.5, Why.NO_UNITS),
        (SOME, NONE, 0.5, Why.ONE_ARM),
        (rows([1.0, 2.0], 2), SOME, 0.5, Why.ONE_UNIT),
        (SOME, rows([1.0, math.nan, 2.0]), 0.5, Why.NOT_FINITE),
        (SOME, SOME, 0.99, Why.FEW_UNITS),
        (SOME, SOME.with_columns(unit=pl.when(pl.col("value") < 90).then(0).otherwise(1)), 0.5, Why.FEW_UNITS),
        (rows([5.0] * 90), rows([5.0] * 80), 0.5, Why.CONSTANT),
    ],
)
def test_what_has_no_quantile_says_why(control: pl.DataFrame, treatment: pl.DataFrame, q: float, why: Why) -> None:
    found = quantiles.difference(control, treatment, q, 0.05)
    assert isinstance(found, NoEffect)
    assert found.why is why


@pytest.mark.parametrize("q", [0.0, 1.0, 95.0, math.nan])
def test_a_quantile_is_a_share(q: float) -> None:
    with pytest.raises(InvalidInput, match="quantile"):
        quantiles.difference(SOME, SOME, q, 0.05)
