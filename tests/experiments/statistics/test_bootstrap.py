"""The wild cluster bootstrap: error rate with few clusters, agreement with the t where both hold, bad input."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from numpy.typing import ArrayLike

from core.errors import InvalidInput
from experiments.statistics.bootstrap import wild, wild_p
from experiments.statistics.effects import difference
from experiments.statistics.records import Effect, NoEffect, Why
from tests.experiments.statistics.sampled import sums


def rows(y: ArrayLike, s: ArrayLike | None = None) -> pl.DataFrame:
    of_y = np.asarray(y, dtype=np.float64)
    return pl.DataFrame({"y": of_y, "s": np.ones_like(of_y) if s is None else np.asarray(s, dtype=np.float64)})


def draw(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def effect(found: Effect | NoEffect) -> Effect:
    assert isinstance(found, Effect), found
    return found


def test_with_many_normal_units_it_is_the_t_interval() -> None:
    chance = draw(1)
    a, b = chance.normal(0, 1, 150), chance.normal(0.3, 1, 150)
    found = effect(wild(rows(a), rows(b), alpha=0.05, chance=draw(), draws=3999))
    welch = effect(difference(sums(a), sums(b), alpha=0.05))
    assert (found.estimate, found.se) == pytest.approx((welch.estimate, welch.se), abs=1e-12)
    assert (found.low, found.high) == pytest.approx((welch.low, welch.high), abs=0.02)
    assert found.p_value == pytest.approx(welch.p_value, abs=0.01)


def test_twenty_users_an_arm_are_rejected_as_often_as_alpha_says() -> None:
    chance, rejected, n_rounds = draw(2), 0, 400
    for number in range(n_rounds):
        s = chance.poisson(4, 40) + 1
        y = chance.binomial(s, 1 / (1 + np.exp(-chance.normal(1, 1, 40))))
        p = wild_p(rows(y[:20], s[:20]), rows(y[20:], s[20:]), chance=draw(number), draws=199)
        assert not isinstance(p, NoEffect)
        rejected += p <= 0.05
    assert rejected / n_rounds <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / n_rounds)
    assert rejected > 0


def test_the_interval_holds_what_is_not_rejected() -> None:
    a, b = draw(3).exponential(1, 12), draw(4).exponential(2, 9)
    found = effect(wild(rows(a), rows(b), alpha=0.1, chance=draw()))
    for inside, null in ((True, found.low + 1e-3), (False, found.low - 1e-2), (True, found.high - 1e-3)):
        moved = effect(wild(rows(a), rows(b - null), alpha=0.1, chance=draw()))
        assert (moved.p_value is not None and moved.p_value > 0.1) is inside


def test_the_same_chance_gives_the_same_answer() -> None:
    a, b = draw(5).normal(0, 1, 10), draw(6).normal(1, 1, 10)
    assert wild(rows(a), rows(b), alpha=0.05, chance=draw(7)) == wild(rows(a), rows(b), alpha=0.05, chance=draw(7))


@pytest.mark.parametrize(
    ("control", "treatment", "why"),
    [
        (rows([]), rows([]), Why.NO_UNITS),
        (rows([1, 2, 3]), rows([]), Why.ONE_ARM),
        (rows([1, 2, 3], [0, 0, 0]), rows([1, 2]), Why.ONE_ARM),
        (rows([1, 2, 3, 4]), rows([1, 2, 3, 4, 5]), Why.FEW_UNITS),
        (rows([1.0, math.nan, 2, 3, 4]), rows([1, 2, 3, 4, 5]), Why.NOT_FINITE),
        (rows([2, 4, 2, 4, 6], [1, 2, 1, 2, 3]), rows([2] * 6), Why.CONSTANT),
    ],
)
def test_what_cannot_be_resampled_says_why(control: pl.DataFrame, treatment: pl.DataFrame, why: Why) -> None:
    found = wild(control, treatment, alpha=0.05, chance=draw())
    assert isinstance(found, NoEffect)
    assert found.why is why


def test_too_few_draws_are_refused() -> None:
    with pytest.raises(InvalidInput, match="99"):
        wild(rows([1, 2, 3, 4, 5]), rows([2, 3, 4, 5, 6]), alpha=0.05, chance=draw(), draws=10)
