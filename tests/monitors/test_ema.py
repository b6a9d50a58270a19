"""The spike rule: what it is compared with, what it learns, what it holds, and when a level is the new one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from core.errors import InvalidInput
from monitors.bands.ema import EmaBand, EmaState
from monitors.bands.seasonal import Season
from monitors.calibration import Estimator, k_for
from monitors.records import Direction, Judged, Judgement, Kind, Points, Status

STEP_NS = 300 * 10**9
BAND = EmaBand(alpha=0.1, k=4.3)


def fed(
    band: EmaBand, values: Sequence[float] | np.ndarray, *, n: float | None = None, kind: Kind = Kind.LEVEL
) -> tuple[EmaState, list[Judgement]]:
    """The judgements of one series, point by point."""
    state, told = band.start(1), []
    for t, x in enumerate(values):
        points = Points.of(t * STEP_NS, [x], n=None if n is None else [n], kinds=kind)
        state, judged = band.step(state, points)
        told.append(judged.one(0))
    return state, told


def noise(n: int, seed: int = 1, mean: float = 10.0, sigma: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, sigma, n)


def test_the_first_points_are_a_mean_and_a_variance_without_bias() -> None:
    """After t points the mean is their weighted mean, weights (1 - alpha)^age over their sum: no trace of a zero."""
    values = noise(20)
    state, _ = fed(BAND, values)
    weights = 0.9 ** np.arange(19, -1, -1)
    assert state.mean[0] == pytest.approx((weights * values).sum() / weights.sum(), rel=1e-12)
    assert fed(BAND, values[:1])[0].mean[0] == values[0]
    band, chance = EmaBand(alpha=0.05), np.random.default_rng(1)
    many = band.start(2000)
    for t in range(12):
        many, _ = band.step(many, Points.of(t * STEP_NS, chance.normal(10, 1, 2000)))
    # of 12 points with weights like these the variance about their moving mean
    assert many.spread.mean() == pytest.approx(1.0, abs=0.12)


def test_no_verdict_before_thirty_points_and_three_over_alpha() -> None:
    assert (EmaBand(alpha=0.3).points_before, EmaBand(alpha=0.02).points_before) == (30, 150)
    _, told = fed(BAND, [*noise(30), 1e6])
    assert [one.status for one in told[:30]] == [Status.WARMING_UP] * 30
    assert all(one.z is None and one.low is None for one in told[:30])
    assert (told[30].status, told[30].breach) == (Status.OK, 1)


def test_a_lone_outlier_moves_the_band_no_more_than_its_edge() -> None:
    values = noise(100)
    edge = fed(BAND, values)[0]
    far, _ = fed(BAND, [*values, 1e9])
    sigma = math.sqrt(edge.spread[0])
    assert far.mean[0] - edge.mean[0] == pytest.approx(0.1 * 4.3 * sigma, rel=1e-3)
    assert math.sqrt(far.spread[0]) < 1.7 * sigma


def test_a_level_that_lasts_is_held_off_then_adopted_and_said_once() -> None:
    band = replace(BAND, adopt_after=40)
    values = np.concatenate([noise(200), noise(120, seed=2, mean=30.0)])
    state, told = fed(band, values)
    after = told[200:]
    assert all(one.breach == 1 for one in after[:40])
    assert [i for i, one in enumerate(after) if one.status is Status.SHIFT_ADOPTED] == [39]
    assert sum(one.breach != 0 for one in after[40:]) <= 2
    assert 28 < state.mean[0] < 32
    # until then the band stayed where it was, and no wider
    assert after[38].expected == pytest.approx(after[1].expected, abs=1e-9)


def test_a_shift_that_ends_before_it_lasted_changes_nothing() -> None:
    band = replace(BAND, adopt_after=40)
    values = np.concatenate([noise(200), noise(30, seed=2, mean=30.0), noise(100, seed=3)])
    _, told = fed(band, values)
    assert all(one.status is Status.OK for one in told[200:])
    assert sum(one.breach != 0 for one in told[232:]) == 0


def test_only_the_side_that_was_asked_for_breaches_but_both_shift() -> None:
    down = replace(BAND, direction=Direction.DOWN, adopt_after=30)
    values = np.concatenate([noise(100), noise(40, seed=2, mean=30.0), [0.0]])
    state, told = fed(down, values)
    assert sum(one.breach for one in told[:-1]) == 0
    assert Status.SHIFT_ADOPTED in {one.status for one in told}
    assert told[-1].breach == -1
    assert state.mean[0] > 25


def test_a_rate_is_compared_by_how_many_are_behind_it() -> None:
    """70% instead of 87%: of ten sessions it is nothing, of five hundred it is."""
    chance = np.random.default_rng(4)
    values = chance.binomial(400, 0.87, 300) / 400
    state, _ = fed(EmaBand(alpha=0.02, k=4.0), values, n=400, kind=Kind.RATE)
    band = EmaBand(alpha=0.02, k=4.0)
    ten, many = (
        band.step(state, Points.of(300 * STEP_NS, [0.7], n=[n], kinds=Kind.RATE))[1].one(0) for n in (10.0, 500.0)
    )
    assert (ten.breach, many.breach) == (0, -1)
    assert many.z is not None
    assert ten.z is not None
    assert many.z < -6 < -2 < ten.z
    assert many.expected == pytest.approx(0.87, abs=0.01)
    assert many.low is not None
    assert ten.low is not None
    assert ten.low < 0.5 < many.low < 0.83


def test_of_a_quiet_rate_sigma_is_no_less_than_most_of_what_counting_brings() -> None:
    """A simulator that answers .9 to the digit has no spread; the next real point would be a breach for ever."""
    _, told = fed(EmaBand(alpha=0.1, k=4.0), [0.9] * 100, n=200, kind=Kind.RATE)
    assert told[-1].low is not None
    assert told[-1].low < 0.9 - 2 * math.sqrt(0.9 * 0.1 / 200)


def test_the_first_point_is_apart_from_nothing_and_widens_no_band() -> None:
    band, chance, s = EmaBand(alpha=0.02, k=3.0), np.random.default_rng(8), 200
    state = band.start(s)
    for t in range(160):
        rates = chance.binomial(200, 0.85, s) / 200
        state, judged = band.step(state, Points.of(t * STEP_NS, rates, n=np.full(s, 200.0), kinds=Kind.RATE))
    of_counting = (0.85 * 0.15) ** (1 / 3) / 200
    assert float(np.median(state.between)) < 0.2 * of_counting
    widths = judged.high - judged.low
    assert float(np.median(widths)) == pytest.approx(6 * math.sqrt(0.85 * 0.15 / 200), rel=0.05)


def test_days_that_differ_beside_what_counting_brings_widen_the_band() -> None:
    chance = np.random.default_rng(5)
    shares = np.clip(chance.normal(0.8, 0.05, 600), 0, 1)
    values = chance.binomial(2000, shares) / 2000
    state, told = fed(EmaBand(alpha=0.02, k=3.0), values, n=2000, kind=Kind.RATE)
    assert state.between[0] > 5 * 0.16 ** (1 / 3) / 2000
    assert sum(one.breach != 0 for one in told) <= 12


@pytest.mark.parametrize("kind", [Kind.POSITIVE, Kind.COUNT])
def test_latency_cost_and_counts_stay_possible(kind: Kind) -> None:
    chance = np.random.default_rng(6)
    values = chance.poisson(2.0, 300).astype(float) if kind is Kind.COUNT else np.exp(chance.normal(5, 1, 300))
    _, told = fed(EmaBand(alpha=0.05, k=4.0), values, kind=kind)
    judged = [one for one in told if one.low is not None]
    assert all(one.low >= 0 and one.high > one.expected >= one.low for one in judged)  # type: ignore[operator]
    assert max(one.high or 0.0 for one in judged) < 1e6


def test_the_absolute_deviation_is_moved_less_by_outliers_inside_the_band() -> None:
    chance = np.random.default_rng(7)
    values = chance.normal(0, 1, 400)
    values[50::20] = 6.0
    wide, robust = (
        fed(EmaBand(alpha=0.05, k=8.0, estimator=one), values)[1][-1]
        for one in (Estimator.VARIANCE, Estimator.ABSOLUTE)
    )
    assert robust.high - robust.low < 0.95 * (wide.high - wide.low)  # type: ignore[operator]


def test_series_do_not_touch_each_other() -> None:
    values = np.stack([noise(120, seed=8), noise(120, seed=9, mean=-5), np.full(120, 3.0)])
    values[1, 60:] = 50.0
    band = replace(BAND, season=Season(step_s=300), adopt_after=30)
    together: list[Judged] = []
    state = band.start(3)
    for t in range(120):
        state, judged = band.step(state, Points.of(t * STEP_NS, values[:, t]))
        together.append(judged)
    for row in range(3):
        _, alone = fed(band, values[row])
        assert [one.one(row) for one in together] == alone


def test_what_is_no_band_is_refused() -> None:
    for wrong in (
        {"alpha": 0.0}, {"alpha": 1.0}, {"k": 0.0}, {"k": math.nan}, {"k": math.inf}, {"warm_up": 29},
        {"alpha": 0.01, "warm_up": 299}, {"adopt_after": 1}, {"floor": 0.0}, {"floor_relative": -1.0},
    ):  # fmt: skip
        with pytest.raises(InvalidInput):
            EmaBand(**wrong)


def test_a_calibrated_band_fires_as_seldom_as_chosen() -> None:
    """300 series of 1,200 points at one in 370: 973 breaches are chosen, and 10% of that is four standard errors."""
    band = EmaBand(alpha=0.1, k=k_for(0.1, 370.0))
    chance, state, breaches, points = np.random.default_rng(10), band.start(300), 0, 0
    for t in range(1230):
        state, judged = band.step(state, Points.of(t * STEP_NS, chance.standard_normal(300)))
        breaches += int((judged.breach != 0).sum())
        points += int((judged.status != Status.WARMING_UP).sum())
    assert points / breaches == pytest.approx(370.0, rel=0.10)
