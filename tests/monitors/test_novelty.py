"""Range novelty: news are what no range has held, each told once, and nothing on the first day."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from core.errors import InvalidInput
from monitors.bands.novelty import NoveltyBand
from monitors.records import Direction, Judgement, Kind, Points, Status

STEP_NS = 1800 * 10**9
DAY = 48
BAND = NoveltyBand(window=8, quiet=24, memory=28 * DAY, cells=24)


def fed(band: NoveltyBand, values: np.ndarray, kind: Kind = Kind.LEVEL, n: float | None = None) -> list[Judgement]:
    state, told = band.start(1), []
    for t, x in enumerate(values):
        state, judged = band.step(state, Points.of(t * STEP_NS, [x], n=None if n is None else [n], kinds=kind))
        told.append(judged.one(0))
    return told


def wave(days: int, seed: int = 1, sigma: float = 1.0) -> np.ndarray:
    t = np.arange(days * DAY)
    return 50 + 20 * np.sin(2 * np.pi * t / DAY) + np.random.default_rng(seed).normal(0, sigma, len(t))


def breaches(told: list[Judgement]) -> list[int]:
    return [i for i, one in enumerate(told) if one.breach]


def test_a_value_beyond_all_before_is_news_once_and_then_known() -> None:
    values = wave(8)
    values[4 * DAY + 30] = 150.0
    values[6 * DAY + 30] = 149.0
    told = fed(BAND, values)
    assert 4 * DAY + 30 in breaches(told)
    assert 6 * DAY + 30 not in breaches(told)
    assert told[4 * DAY + 30].breach == 1
    assert told[4 * DAY + 30].seen == pytest.approx(150.0)


def test_a_value_that_is_usual_at_another_time_of_day_is_news_by_its_residual() -> None:
    values = wave(6)
    night = 5 * DAY + 3 * DAY // 4  # the trough, at 30
    values[night] = 65.0
    told = fed(BAND, values)
    assert values.min() < 65.0 < values.max()
    assert night in breaches(told)
    assert told[night].expected == pytest.approx(30.0, abs=4.0)


def test_a_drift_that_no_value_shows_is_found_by_the_mean_of_the_window() -> None:
    chance = np.random.default_rng(2)
    values = chance.normal(50, 5, 15 * DAY)
    values[12 * DAY : 12 * DAY + 20] = chance.normal(59, 2, 20)
    told = fed(BAND, values)
    assert values[12 * DAY : 12 * DAY + 20].max() < values[: 12 * DAY].max()
    first = [i for i in breaches(told) if i >= 12 * DAY]
    assert first
    assert first[0] < 12 * DAY + 20


def test_after_a_breach_it_rests_for_so_many_points() -> None:
    values = wave(6)
    values[4 * DAY :] += 200 + np.arange(2 * DAY) * 10
    told = breaches(fed(BAND, values))
    apart = np.diff([i for i in told if i >= 4 * DAY])
    assert len(apart)
    assert (apart > BAND.quiet).all()


def test_the_first_day_is_for_learning() -> None:
    values = wave(1)
    values[40] = 1e6
    told = fed(BAND, values)
    assert breaches(told) == []
    assert {one.status for one in told} == {Status.WARMING_UP}


def test_an_old_range_is_forgotten() -> None:
    """What was seen once is news again when everything since has kept away from it for one to two memories."""
    band = NoveltyBand(window=8, quiet=24, memory=2 * DAY, cells=24)
    values = np.random.default_rng(3).normal(50, 1, 12 * DAY)
    values[[3 * DAY // 2, 3 * DAY, 11 * DAY]] = 90.0
    told = breaches(fed(band, values))
    assert 3 * DAY // 2 in told
    assert 3 * DAY not in told
    assert 11 * DAY in told


def test_only_the_side_that_was_asked_for() -> None:
    values = wave(6)
    values[4 * DAY] = 500.0
    values[5 * DAY] = -500.0
    down, up = (fed(replace(BAND, direction=one), values) for one in (Direction.DOWN, Direction.UP))
    assert (down[4 * DAY].breach, down[5 * DAY].breach) == (0, -1)
    assert (up[4 * DAY].breach, up[5 * DAY].breach) == (1, 0)


def test_a_rate_of_few_is_no_news_for_counting_alone() -> None:
    chance = np.random.default_rng(4)
    values = chance.binomial(400, 0.9, 6 * DAY) / 400
    told = breaches(fed(BAND, values, Kind.RATE, 400.0))
    assert len(told) <= 1
    values[5 * DAY : 5 * DAY + 10] = 0.5
    assert 5 * DAY in breaches(fed(BAND, values, Kind.RATE, 400.0))


def test_what_is_no_band_is_refused() -> None:
    for wrong in ({"threshold": 0.0}, {"threshold": float("nan")}, {"window": 1}, {"warm_up": 1}, {"quiet": -1},
                  {"memory": 29}, {"cells": 0}, {"cells": 1441}, {"visits": 0}):  # fmt: skip
        with pytest.raises(InvalidInput):
            NoveltyBand(**wrong)
