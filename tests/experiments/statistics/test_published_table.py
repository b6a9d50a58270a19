"""What repeated looking costs, against the table that another program simulated (20,000 experiments of 2 x 2,800 units
with rates .70 and .7343, looked at 28 times). Ours is exact by recursion; theirs has its Monte Carlo error."""

from __future__ import annotations

import math

import pytest

from experiments.statistics.drift import crossing
from experiments.statistics.effects import z_of
from experiments.statistics.sequential import anytime_boundary
from experiments.statistics.spending import bounds

N, REPS = 2_800, 20_000
DRIFT = 0.0343 / math.sqrt((0.7 * 0.3 + 0.7343 * 0.2657) / N)
LOOKS = tuple((one + 1) / 28 for one in range(28))
LIMITS = {
    "bonferroni": (z_of(0.05 / 28),) * 28,
    "spending of both sides": bounds(LOOKS, 0.05, "obf_total"),
    "pocock": bounds(LOOKS, 0.05, "pocock"),
    "confidence sequence": tuple(anytime_boundary(2 * N * one, 0.05) for one in LOOKS),
}


def error(rate: float) -> float:
    """Three Monte Carlo standard errors of theirs, and half of the last digit they give."""
    return 3 * math.sqrt(rate * (1 - rate) / REPS) + 0.0005


def test_one_look_has_the_power_that_the_others_are_measured_against() -> None:
    assert crossing((1.0,), (z_of(0.05),), DRIFT).power == pytest.approx(0.814, abs=error(0.814))


@pytest.mark.parametrize(("n_looks", "rate"), [(7, 0.160), (14, 0.224), (28, 0.278), (56, 0.342)])
def test_naive_looking_finds_winners_in_nothing(n_looks: int, rate: float) -> None:
    fractions = tuple((one + 1) / n_looks for one in range(n_looks))
    found = crossing(fractions, (z_of(0.05),) * n_looks, 0.0).power
    assert found == pytest.approx(rate, abs=error(rate) + 0.004)  # with 50 units a look z is not yet normal


@pytest.mark.parametrize(
    ("method", "type_one", "power", "units", "units_at_twice"),
    [
        ("bonferroni", 0.017, 0.499, 0.79, 0.31),
        ("spending of both sides", 0.0515, 0.788, 0.72, 0.37),
        ("pocock", 0.050, 0.711, 0.66, 0.25),
        ("confidence sequence", 0.011, 0.523, 0.80, 0.34),
    ],
)
def test_methods_that_hold_have_the_power_and_length_of_the_table(
    method: str, type_one: float, power: float, units: float, units_at_twice: float
) -> None:
    without, planned, double = (crossing(LOOKS, LIMITS[method], drift) for drift in (0.0, DRIFT, 2 * DRIFT))
    assert without.power == pytest.approx(type_one, abs=error(type_one) + 0.001)
    assert planned.power == pytest.approx(power, abs=error(power) + 0.003)
    assert planned.expected_fraction == pytest.approx(units, abs=0.011)
    assert double.expected_fraction == pytest.approx(units_at_twice, abs=0.011)


@pytest.mark.parametrize("n_looks", [7, 14, 28, 56])
def test_the_design_that_is_used_keeps_alpha_and_loses_two_points_of_power(n_looks: int) -> None:
    fractions = tuple((one + 1) / n_looks for one in range(n_looks))
    limits = bounds(fractions, 0.05)
    assert crossing(fractions, limits, 0.0).power == pytest.approx(0.05, abs=1e-9)
    assert crossing(fractions, limits, DRIFT).power >= 0.78
