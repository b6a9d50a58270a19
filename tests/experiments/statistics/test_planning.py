"""Plans: sizes and power against statsmodels and published figures, each inflation, and what is no plan."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import power_proportions_2indep, samplesize_proportions_2indep_onetail

from core.errors import InvalidInput
from experiments.records import Design
from experiments.statistics.drift import crossing
from experiments.statistics.effects import z_of
from experiments.statistics.planning import (
    Wanted,
    detectable,
    plan,
    power_at,
    power_curve,
    sequential_factor,
    smallest_effect,
)
from experiments.statistics.spending import bounds

ONE_LOOK = Wanted(baseline=0.70, mde=0.0343, design=None)


def test_two_rates_take_what_statsmodels_says() -> None:
    found = plan(ONE_LOOK)
    theirs = samplesize_proportions_2indep_onetail(0.0343, 0.70, 0.8, ratio=1, alpha=0.05, alternative="two-sided")
    assert found.n_control - 1 < theirs <= found.n_control
    assert found.n_control in (2705, 2706)
    power = power_proportions_2indep(0.0343, 0.70, found.n_control, ratio=1, alpha=0.05).power
    assert found.power == pytest.approx(power, abs=1e-9)


@pytest.mark.parametrize("effect", [0.05, -0.2, 0.5])
def test_power_of_means_is_statsmodels_one(effect: float) -> None:
    wanted = Wanted(baseline=5.0, mde=effect, kind="mean", sd=2.0, design=None)
    ours = power_at(wanted, 1400, effect)
    assert ours == pytest.approx(NormalIndPower().power(abs(effect) / 2.0, 700, 0.05, ratio=1), abs=1e-9)


@pytest.mark.parametrize("effect", [0.01, -0.05, 0.1])
def test_power_of_rates_with_an_uneven_split_is_statsmodels_one(effect: float) -> None:
    wanted = replace(ONE_LOOK, split=0.2)
    # their first sample is the treatment here: 300 with four times as many in the control
    theirs = power_proportions_2indep(effect, 0.70, 300, ratio=4, alpha=0.05).power
    assert power_at(wanted, 1500, effect) == pytest.approx(theirs, abs=1e-9)


def test_2800_an_arm_find_three_and_a_half_points_four_times_in_five() -> None:
    assert power_at(ONE_LOOK, 5600, 0.0343) == pytest.approx(0.814, abs=0.004)


@pytest.mark.parametrize("design", list(Design))
@pytest.mark.parametrize("looks", [1, 14, 56])
def test_looking_costs_what_keeps_the_power(design: Design, looks: int) -> None:
    wanted = replace(ONE_LOOK, design=design)
    factor = sequential_factor(design, looks, 0.05, 0.8)
    units = round(2 * 2705 * factor)
    assert power_at(wanted, units, wanted.mde, looks) == pytest.approx(0.8, abs=0.003)
    assert 1 - 1e-5 <= factor < (1.06 if design is Design.GROUP_SEQUENTIAL else 1.92)


def test_every_inflation_is_named_and_multiplies() -> None:
    wanted = Wanted(
        baseline=0.86, mde=0.03, users_per_day=300, sessions_per_user=2.3, icc=0.3, rho=0.5, n_metrics=2
    )  # fmt: skip
    found = plan(wanted)
    by_name = {one.name: one.factor for one in found.inflations}
    assert by_name["sessions of one user"] == pytest.approx(1 + 1.3 * 0.3)
    assert by_name["cuped"] == pytest.approx(0.75)
    assert by_name["several metrics"] > 1.1
    assert 1 < by_name["looking"] < 1.06
    assert found.power == pytest.approx(0.8, abs=0.004)
    assert found.sessions == pytest.approx(found.units * 2.3, abs=1)
    assert found.days == -(-found.units // 300)
    assert found.looks == found.days
    assert found.expected_units < found.units


def test_an_assumed_correlation_is_said() -> None:
    assert "assumed" in plan(Wanted(baseline=0.86, mde=0.03, sessions_per_user=2.3)).notes[0]


def test_the_curve_rises_from_alpha_through_the_wanted_power() -> None:
    found = plan(replace(ONE_LOOK, design=Design.GROUP_SEQUENTIAL))
    powers = [power for _, power in found.curve]
    assert powers == sorted(powers)
    assert powers[0] == pytest.approx(0.05, abs=1e-6)
    assert min(found.curve, key=lambda one: abs(one[0] - 0.0343))[1] == pytest.approx(found.power, abs=1e-9)
    assert power_curve(replace(ONE_LOOK, baseline=0.98, mde=0.015), 4000)[-1][0] < 0.02  # no rate above 1


def test_the_smallest_effect_is_the_plan_read_backward() -> None:
    found = plan(ONE_LOOK)
    assert smallest_effect(replace(ONE_LOOK, mde=0.001), found.units) == pytest.approx(0.0343, abs=1e-5)
    downward = smallest_effect(replace(ONE_LOOK, mde=-0.5), found.units)
    assert -0.037 < downward < -0.0343
    assert detectable(0.01, alpha=0.05) == pytest.approx(0.028016, abs=1e-5)


def test_the_power_of_all_looks_is_more_than_that_of_the_last() -> None:
    fractions = tuple((one + 1) / 28 for one in range(28))
    found = crossing(fractions, bounds(fractions, 0.05), z_of(0.05) + 0.893)  # a fixed look has .814
    assert found.power == pytest.approx(0.7955, abs=5e-4)
    assert found.expected_fraction == pytest.approx(0.743, abs=5e-3)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"mde": 0.0}, "mde"),
        ({"users_per_day": 1e-300}, "users_per_day"),
        ({"sessions_per_user": 2.0, "sessions_cv": 1e200}, "sessions_cv"),
        ({"alpha": 1e-300}, "alpha"),
        ({"kind": "mean", "sd": 1.0, "mde": 1e-200}, "mde"),
        ({"kind": "mean", "sd": 1e-300}, "sd"),
        ({"mde": 0.31}, "mde"),
        ({"baseline": 1.0}, "mde"),
        ({"baseline": float("nan")}, "plan"),
        ({"kind": "mean"}, "sd"),
        ({"kind": "mean", "sd": 0.0}, "sd"),
        ({"alpha": 0.0}, "alpha"),
        ({"power": 0.01}, "power"),
        ({"split": 1.0}, "split"),
        ({"sessions_per_user": 0.5}, "sessions_per_user"),
        ({"icc": 1.5}, "icc"),
        ({"rho": 1.0}, "rho"),
        ({"users_per_day": 0.0}, "users_per_day"),
        ({"n_metrics": 0}, "n_metrics"),
        ({"mde": 1e-9}, "mde"),
    ],
)
def test_what_is_no_plan_names_its_field(changed: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        plan(replace(ONE_LOOK, **changed))
    assert refused.value.field == field


def test_units_that_find_nothing_are_refused() -> None:
    with pytest.raises(InvalidInput, match="no effect"):
        smallest_effect(replace(ONE_LOOK, baseline=0.95), 10)
