"""EWMA and CUSUM charts: they find a drift that no point shows, hold their reference, and come back."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from core.errors import InvalidInput
from monitors.bands.charts import CusumBand, EwmaBand
from monitors.bands.ema import EmaBand
from monitors.calibration import k_for
from monitors.chart_lengths import cusum_arl, ewma_arl, ewma_limit
from monitors.records import Direction, Judged, Kind, Points, Status

STEP_NS = 300 * 10**9
REFERENCE = EmaBand(alpha=0.01, k=4.0, adopt_after=100)
CHARTS = (EwmaBand(reference=REFERENCE), CusumBand(reference=REFERENCE))
BOTH = pytest.mark.parametrize("band", CHARTS, ids=["ewma", "cusum"])


def run(
    band: EwmaBand | CusumBand, values: np.ndarray, kind: Kind = Kind.LEVEL, n: float | None = None
) -> list[Judged]:
    """values is (points, series)."""
    state, told = band.start(values.shape[1]), []
    for t, x in enumerate(values):
        behind = None if n is None else np.full(len(x), n)
        state, judged = band.step(state, Points.of(t * STEP_NS, x, n=behind, kinds=kind))  # type: ignore[arg-type]
        told.append(judged)
    return told


def noise(points: int, series: int, seed: int, mean: float = 10.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1.0, (points, series))


@BOTH
@pytest.mark.parametrize("shift", [1.0, -1.0])
def test_a_drift_of_one_sigma_is_found_as_soon_as_the_chart_should(band: EwmaBand | CusumBand, shift: float) -> None:
    """Ten points on average from rest, where a 3 sigma rule takes 44; from wherever a chart stands a bit less.

    With a reference of 100 points, one in a hundred begins so far off on the other side that it follows first.
    """
    told = run(band, np.concatenate([noise(300, 400, 1), noise(60, 400, 2, mean=10 + shift)]))[300:]
    hits = np.stack([one.breach == np.sign(shift) for one in told])
    found = hits.any(axis=0)
    assert found.mean() > 0.98
    delay = float((hits[:, found].argmax(axis=0) + 1).mean())
    at_rest = ewma_arl(0.1, 2.814, 1.0) if isinstance(band, EwmaBand) else cusum_arl(0.5, 5.0, 1.0)
    assert 0.8 * at_rest < delay < 1.15 * at_rest


@BOTH
def test_in_control_it_alarms_about_as_seldom_as_it_should(band: EwmaBand | CusumBand) -> None:
    """First breaches in 250 points of a chart whose run length is 465 or 500: 40% of series, as in a memoryless law."""
    told = run(band, noise(550, 400, 3))[300:]
    share = float(np.stack([one.breach != 0 for one in told]).any(axis=0).mean())
    assert 0.28 < share < 0.50


@BOTH
def test_no_verdict_while_the_reference_warms_up(band: EwmaBand | CusumBand) -> None:
    told = run(band, noise(302, 1, 4))
    assert [one.one(0).status for one in told[:300]] == [Status.WARMING_UP] * 300
    assert told[299].one(0).z is None
    assert told[300].one(0).status is Status.OK
    assert told[300].one(0).seen is not None


@BOTH
def test_a_level_that_stays_is_adopted_and_the_chart_begins_anew(band: EwmaBand | CusumBand) -> None:
    told = run(band, np.concatenate([noise(400, 20, 5), noise(300, 20, 6, mean=12.0)]))[400:]
    adopted = np.stack([one.status == Status.SHIFT_ADOPTED for one in told])
    assert (adopted.sum(axis=0) == 1).all()
    assert (np.abs(adopted.argmax(axis=0) - 105) < 15).all()
    assert float(np.mean(np.stack([one.breach != 0 for one in told[200:]]))) < 0.05
    assert told[-1].expected == pytest.approx(np.full(20, 12.0), abs=0.4)


@BOTH
def test_while_it_breaches_the_reference_stays_and_afterwards_it_is_soon_quiet(band: EwmaBand | CusumBand) -> None:
    told = run(band, np.concatenate([noise(400, 50, 7), noise(60, 50, 8, mean=12.0), noise(60, 50, 9)]))
    assert np.abs(told[455].expected - told[412].expected).max() < 0.02
    assert (told[455].breach == 1).all()
    back = np.stack([one.breach for one in told[490:]])
    assert (np.abs(back) > 0).mean() < 0.05


def test_a_series_that_wanders_a_little_has_hardly_more_false_alarms_than_were_asked_for() -> None:
    """A tenth of its variance lasts an hour. By the law of independent points there were six times as many."""
    chance, wanted = np.random.default_rng(11), 1000
    values, slow, keep = noise(8000, 60, 12), np.zeros(60), math.exp(-1 / 12)
    for x in values:
        slow = keep * slow + chance.normal(0, math.sqrt(0.1 * (1 - keep**2)), 60)
        x += slow
    told = run(EwmaBand(limit=ewma_limit(0.1, wanted, Direction.BOTH)), values)[5000:]
    beyond = np.stack([one.breach != 0 for one in told])
    begins = (beyond[3:] & ~(beyond[2:-1] | beyond[1:-2] | beyond[:-3])).sum()
    asked = beyond.size / wanted
    assert 0.4 * asked < begins < 1.6 * asked


@BOTH
def test_one_outlier_is_no_drift(band: EwmaBand | CusumBand) -> None:
    values = noise(400, 50, 10)
    quiet = run(band, values)
    values[350] = 1e9
    told = run(band, values)
    before = np.stack([one.breach != 0 for one in quiet[350:]]).any(axis=0)
    after = np.stack([one.breach != 0 for one in told[350:353]]).any(axis=0)
    assert (after & ~before).mean() < 0.35
    assert not np.isnan(told[-1].expected).any()
    assert np.abs(told[-1].expected - quiet[-1].expected).max() < 0.1


@BOTH
@pytest.mark.parametrize("kind", [Kind.LEVEL, Kind.RATE, Kind.POSITIVE])
def test_what_is_shown_is_beyond_what_is_shown_as_edge_exactly_when_it_breaches(
    band: EwmaBand | CusumBand, kind: Kind
) -> None:
    chance = np.random.default_rng(11)
    values = chance.normal(10, 1, (600, 8))
    if kind is Kind.RATE:
        values = chance.binomial(500, np.where(np.arange(600) < 450, 0.8, 0.7)[:, None], (600, 8)) / 500
    if kind is Kind.POSITIVE:
        values = np.exp(chance.normal(5, 0.3, (600, 8)) + 0.4 * (np.arange(600) > 450)[:, None])
    told = run(band, values, kind, 500.0 if kind is Kind.RATE else None)
    breaches = 0
    for judged in told[300:]:
        known = (judged.status == Status.OK) | (judged.status == Status.SHIFT_ADOPTED)
        beyond = (judged.seen > judged.high).astype(int) - (judged.seen < judged.low).astype(int)
        assert (beyond[known] == judged.breach[known]).all()
        assert (judged.low[known] < judged.expected[known]).all()
        assert (judged.expected[known] < judged.high[known]).all()
        breaches += int((judged.breach != 0).sum())
    assert breaches > (0 if kind is Kind.LEVEL else 400)


def test_one_side_alone_breaches_if_asked_for() -> None:
    values = np.concatenate([noise(400, 10, 12), noise(40, 10, 13, mean=12.0)])
    for band in CHARTS:
        told = run(replace(band, direction=Direction.DOWN), values)
        assert not any((one.breach > 0).any() for one in told)


def test_a_slow_slope_is_found_by_the_charts_and_not_by_the_spike_rule() -> None:
    """A fifth of a sigma each hundred points: no point is strange, the band follows, the charts have a long memory."""
    values = noise(1200, 40, 14) + np.maximum(np.arange(1200) - 400, 0)[:, None] * 0.004
    reference = EmaBand(alpha=0.0025, k=4.0, adopt_after=288)
    charts = (EwmaBand(limit=3.3, reference=reference), CusumBand(h=7.3, reference=replace(reference, warm_up=1200)))
    spike = EmaBand(alpha=0.05, k=k_for(0.05, 2016))
    state, n_spikes = spike.start(40), np.zeros(40)
    for t, x in enumerate(values):
        state, judged = spike.step(state, Points.of(t * STEP_NS, x))
        n_spikes += (t >= 400) & (judged.breach > 0)
    longer = np.concatenate([noise(1000, 40, 15), values])
    found = np.stack([one.breach > 0 for one in run(charts[0], longer)[1400:]]).any(axis=0)
    assert found.mean() > 0.95
    assert (n_spikes > 0).mean() < 0.6


def test_the_chart_has_the_deviation_that_its_impulse_response_says() -> None:
    """Of z = x - mean, through the recursion itself: one point of 1 among zeros, squares summed."""
    band = EwmaBand(reference=replace(REFERENCE, alpha=0.02))
    mean, value, squares = 0.0, 0.0, 0.0
    for t in range(4000):
        x = 1.0 if t == 0 else 0.0
        value += band.lam * (x - mean - value)
        mean += 0.02 * (x - mean)
        squares += value * value
    assert band.deviation == pytest.approx(math.sqrt(squares), rel=1e-9)
    known = EwmaBand(reference=replace(REFERENCE, alpha=1e-9, warm_up=4 * 10**9))
    assert known.deviation == pytest.approx(math.sqrt(0.1 / 1.9), rel=1e-6)


def test_what_is_no_chart_is_refused() -> None:
    for wrong in ({"lam": 0.0}, {"lam": 1.5}, {"limit": 0.0}, {"limit": math.nan}, {"lam": 0.004}):
        with pytest.raises(InvalidInput):
            EwmaBand(**wrong)  # type: ignore[arg-type]
    for wrong in ({"k": -0.1}, {"h": 0.0}, {"h": math.inf}):
        with pytest.raises(InvalidInput):
            CusumBand(**wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput):
        CusumBand(reference=EmaBand(alpha=0.1))
