"""Looks: boundaries against published tables, what is spent, and that intervals hold at all looks at once."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from core.errors import InvalidInput
from experiments.records import Design
from experiments.statistics.drift import crossing, drift_for
from experiments.statistics.effects import z_of
from experiments.statistics.records import Moments, NoEffect, Why
from experiments.statistics.sequential import Sequential, anytime_boundary, deciding, looked_at
from experiments.statistics.spending import Spending, bounds, spent
from tests.experiments.statistics.sampled import sums

FIVE = (0.2, 0.4, 0.6, 0.8, 1.0)


def even(n_looks: int) -> tuple[float, ...]:
    return tuple(k / n_looks for k in range(1, n_looks + 1))


def look(found: Sequential | NoEffect) -> Sequential:
    assert isinstance(found, Sequential), found
    return found


@pytest.mark.parametrize(
    ("kind", "published"),
    [  # five equal looks, two-sided 0.05: Reboussin, DeMets, Kim, Lan 2000 (Controlled Clinical Trials 21:190)
        ("obf", (4.877, 3.357, 2.680, 2.290, 2.031)),
        ("pocock", (2.438, 2.427, 2.410, 2.397, 2.386)),
    ],
)
def test_spending_bounds_are_the_published_ones(kind: Spending, published: tuple[float, ...]) -> None:
    assert bounds(FIVE, 0.05, kind) == pytest.approx(published, abs=6e-4)


@pytest.mark.parametrize(
    ("limits", "alpha"),
    [  # Jennison, Turnbull 2000, tables 2.1 and 2.3: constants of Pocock and of O'Brien and Fleming
        ([2.413] * 5, 0.05),
        ([2.040 * math.sqrt(5 / k) for k in range(1, 6)], 0.05),  # 4.56 3.23 2.63 2.28 2.04
        ([2.555] * 10, 0.05),
        ([2.087 * math.sqrt(10 / k) for k in range(1, 11)], 0.05),
        ([2.986] * 5, 0.01),
        ([2.609 * math.sqrt(4 / k) for k in range(1, 5)], 0.01),
        ([2.621 * math.sqrt(5 / k) for k in range(1, 6)], 0.01),
    ],
)
def test_classic_constant_boundaries_cross_with_their_alpha(limits: list[float], alpha: float) -> None:
    assert crossing(even(len(limits)), limits, 0.0).power == pytest.approx(alpha, abs=2e-4)


@pytest.mark.parametrize("n_looks", [1, 7, 14, 28, 56])
def test_all_looks_together_spend_exactly_alpha(n_looks: int) -> None:
    found = crossing(even(n_looks), bounds(even(n_looks), 0.05), 0.0)
    assert found.power == pytest.approx(0.05, abs=1e-9)
    half = (n_looks + 1) // 2
    assert math.fsum((*found.up[:half], *found.down[:half])) == pytest.approx(spent(half / n_looks, 0.05), abs=1e-7)


def test_crossing_agrees_with_drawn_paths() -> None:
    fractions, drift = (0.1, 0.35, 0.4, 0.9, 1.0), 2.5
    limits = bounds(fractions, 0.05)
    chance = np.random.default_rng(3)
    steps = np.diff((0.0, *fractions))
    paths = np.cumsum(chance.normal(drift * steps, np.sqrt(steps), (200_000, 5)), axis=1)
    crossed = paths >= np.array(limits) * np.sqrt(fractions)
    first = np.where(crossed.any(axis=1), crossed.argmax(axis=1), -1)
    shares = [(first == k).mean() for k in range(5)]
    assert crossing(fractions, limits, drift).up == pytest.approx(shares, abs=4 * 0.5 / math.sqrt(200_000))


def test_drift_for_a_power_has_it() -> None:
    limits = bounds(even(14), 0.05)
    assert crossing(even(14), limits, drift_for(0.8, even(14), limits)).power == pytest.approx(0.8, abs=1e-7)
    assert drift_for(0.8, (1.0,), (z_of(0.05),)) == pytest.approx(stats.norm.isf(0.025) + stats.norm.ppf(0.8), abs=1e-4)


@settings(max_examples=25, deadline=None)
@given(gaps=st.lists(st.floats(1e-5, 0.4), min_size=1, max_size=12), alpha=st.sampled_from([0.001, 0.05, 0.2]))
def test_whenever_one_looks_no_more_than_alpha_is_spent(gaps: list[float], alpha: float) -> None:
    fractions = tuple(np.cumsum(gaps))
    first_over = next((k for k, one in enumerate(fractions) if one >= 1), len(fractions) - 1)
    looks = fractions[: first_over + 1]
    found = crossing(looks, bounds(looks, alpha), 0.0).power
    assert found <= alpha * (1 + 1e-6)


@pytest.mark.parametrize("fractions", [(), (0.5, 0.5), (0.5, 0.4), (0.0, 1.0), (0.5, math.nan), (0.9, 1.0, 1.1)])
def test_looks_that_are_none_are_refused(fractions: tuple[float, ...]) -> None:
    with pytest.raises(InvalidInput):
        bounds(fractions, 0.05)


def drawn(n: int, effect: float, seed: int = 0) -> tuple[Moments, Moments]:
    chance = np.random.default_rng(seed)
    return sums(chance.normal(0, 1, n)), sums(chance.normal(effect, 1, n))


def at(n: int, effect: float, looks: tuple[float, ...]) -> Sequential:
    control, treatment = drawn(n, effect)
    return look(
        looked_at(control, treatment, design=Design.GROUP_SEQUENTIAL, alpha=0.05, horizon_units=2000, looks=looks)
    )


def test_an_interval_excludes_nothing_exactly_when_the_boundary_is_crossed() -> None:
    for effect in np.linspace(-0.4, 0.4, 17):
        found = at(400, float(effect), (0.2, 0.4))
        assert found.crossed is (not found.effect.low <= 0 <= found.effect.high)
        assert found.crossed is (found.always_p <= 0.05)


def test_always_p_is_the_alpha_that_just_rejects() -> None:
    control, treatment = drawn(400, 0.25)
    found = look(looked_at(control, treatment, design=Design.GROUP_SEQUENTIAL, alpha=0.05, looks=(0.2, 0.4)))
    assert bounds((0.2, 0.4), found.always_p)[-1] == pytest.approx(abs(found.z), abs=5e-3)


def test_at_a_single_look_a_horizon_tests_as_a_fixed_test() -> None:
    found = at(1000, 0.1, (1.0,))
    assert found.boundary == pytest.approx(z_of(0.05), abs=1e-12)
    assert found.always_p == pytest.approx(found.effect.p_value or 0, rel=0.02)


def test_looks_without_new_units_spend_nothing() -> None:
    assert at(400, 0.1, (0.0, 0.2, 0.2, 0.4, 0.4)).boundary == at(400, 0.1, (0.2, 0.4)).boundary


def test_a_horizon_that_is_overrun_decides_once_and_then_no_more() -> None:
    deciding_look, later = at(1100, 0.5, (0.5, 1.1)), at(1200, 0.5, (0.5, 1.1, 1.2))
    assert deciding_look.crossed
    assert not deciding_look.spent
    assert later.spent
    assert not later.crossed
    assert later.boundary == deciding_look.boundary
    assert deciding((0.5, 1.1, 1.2)) == ((0.5, 1.1), True)


def test_the_sequence_is_the_published_formula_and_its_p_inverts_it() -> None:
    n, alpha, tuned_to = 820, 0.05, 5000
    rho = math.sqrt((-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / tuned_to)
    half = math.sqrt(2 * (n * rho**2 + 1) / (n * rho) ** 2 * math.log(math.sqrt(n * rho**2 + 1) / alpha))
    assert anytime_boundary(n, alpha, tuned_to) == pytest.approx(half * math.sqrt(n), abs=1e-12)
    found = [
        look(looked_at(*drawn(410, effect), design=Design.CONFIDENCE_SEQUENCE, alpha=alpha))
        for effect in (0.0, 0.15, 0.25, 0.3)
    ]
    assert [one.always_p <= alpha for one in found] == [one.crossed for one in found]
    assert {one.crossed for one in found} == {True, False}


def test_a_sequence_is_narrowest_for_what_it_was_tuned_to() -> None:
    assert anytime_boundary(1000, 0.05, 1000) < anytime_boundary(1000, 0.05, 100_000)
    assert anytime_boundary(100_000, 0.05, 100_000) < anytime_boundary(100_000, 0.05, 1000)


@pytest.mark.parametrize("design", list(Design))
def test_with_few_units_the_interval_takes_students_t(design: Design) -> None:
    control, treatment = sums([1.0, 2.0, 4.0]), sums([2.0, 3.0, 7.0])
    found = look(looked_at(control, treatment, design=design, alpha=0.05, horizon_units=100))
    assert found.effect.high - found.effect.estimate > 1.5 * found.boundary * found.effect.se
    assert math.isfinite(found.effect.high)


@pytest.mark.parametrize("design", list(Design))
def test_what_has_no_effect_has_none_at_any_look(design: Design) -> None:
    found = looked_at(sums([1.0, 2.0]), Moments(), design=design, alpha=0.05, horizon_units=10)
    assert isinstance(found, NoEffect)
    assert found.why is Why.ONE_ARM


def test_rare_events_keep_their_score_interval_at_the_boundary() -> None:
    control, treatment = sums(np.zeros(500)), sums(np.zeros(500))
    found = look(
        looked_at(
            control,
            treatment,
            design=Design.GROUP_SEQUENTIAL,
            alpha=0.05,
            horizon_units=2000,
            looks=(0.5,),
            binary=True,
        )
    )
    assert found.z == 0
    assert 0 < found.effect.high < 0.03
