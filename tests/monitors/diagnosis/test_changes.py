"""What chance brings by itself is no change: bursts, weekends, sessions that go astray."""

from __future__ import annotations

import numpy as np
import polars as pl

from core.clock import NS_PER_S
from monitors.diagnosis.changes import change_of
from monitors.diagnosis.records import Course
from monitors.records import Kind
from monitors.service_diagnosis import typical_changes

STEP_NS = 300 * NS_PER_S
MONDAY_NS = 1_700_438_400 * NS_PER_S  # 20 November 2023, UTC
DAY = 288


def course(kind: Kind, x: np.ndarray, n: np.ndarray | None = None) -> Course:
    at = MONDAY_NS + np.arange(len(x)) * STEP_NS
    return Course(series="one", kind=kind, at_ns=at, x=x, n=np.full(len(x), np.nan) if n is None else n)


def z_since(one: Course, first: int) -> float:
    end = int(one.at_ns[-1]) + STEP_NS
    found = change_of(one, onset_ns=int(one.at_ns[first]), now_ns=end).z
    assert found is not None
    return found


def test_a_burst_such_as_comes_every_few_hours_is_no_change() -> None:
    rng = np.random.default_rng(3)
    n = np.full(7 * DAY + 12, 20.0)
    x = rng.binomial(20, 0.02, len(n)) / 20
    x[rng.choice(7 * DAY, 60, replace=False)] = 0.8
    x[-6] = 0.8
    assert abs(z_since(course(Kind.RATE, x, n), 7 * DAY)) < 3
    x[-8:] = 0.8  # and several at once are
    assert z_since(course(Kind.RATE, x, n), 7 * DAY) > 6


def traffic(rng: np.random.Generator, days: list[float], since: float) -> Course:
    by_day = np.concatenate([np.repeat(days, DAY), np.full(12, since)])
    return course(Kind.COUNT, rng.poisson(200 * by_day).astype(float))


def test_a_sunday_after_a_week_with_one_day_off_is_no_lost_traffic() -> None:
    rng = np.random.default_rng(4)
    week = [0.6, 1.0, 1.05, 1.1, 1.05, 1.0, 0.65]  # from a Sunday to a Saturday
    assert abs(z_since(traffic(rng, week, 0.6), 7 * DAY)) < 3
    assert z_since(traffic(rng, week, 0.1), 7 * DAY) < -4


def test_one_bad_day_does_not_hide_the_next() -> None:
    rng = np.random.default_rng(5)
    rate = np.concatenate([np.full(4 * DAY, 0.87), np.full(DAY, 0.78), np.full(2 * DAY, 0.87), np.full(12, 0.78)])
    n = np.full(len(rate), 100.0)
    x = rng.binomial(100, rate) / 100
    assert z_since(course(Kind.RATE, x, n), 7 * DAY) < -2.5  # of -9 without that day


def shapes(before: dict[float, float], since: dict[float, float]) -> pl.DataFrame:
    """Sessions of two clusters by their turns, one tool call each turn; of the second cluster half as many."""
    rows = [
        {"since": late, "split": split, "n_turns": turns, "n_calls": turns, "n": n * part}
        for late, counts in ((False, before), (True, since))
        for split, part in (("C-1", 1.0), ("C-2", 0.5))
        for turns, n in counts.items()
    ]
    return pl.DataFrame(rows)


def test_the_typical_session_is_told_from_the_few_that_go_astray() -> None:
    before = {1.0: 20_000.0, 2.0: 40_000.0, 3.0: 20_000.0, 30.0: 100.0}
    astray = {1.0: 200.0, 2.0: 400.0, 3.0: 200.0, 30.0: 20.0}
    turns, calls = typical_changes(shapes(before, astray))
    assert (turns.series, calls.series) == ("turns:within", "tool_calls:within")
    assert turns.z is not None
    assert turns.effect is not None
    assert 0 < turns.effect < 0.05  # their mean is 0.68 turns more
    shorter = {1.0: 260.0, 2.0: 380.0, 3.0: 160.0, 30.0: 20.0}
    moved = typical_changes(shapes(before, shorter))[0]
    assert moved.z is not None
    assert moved.z < -3


def test_an_app_without_clusters_has_no_typical_session() -> None:
    frame = shapes({1.0: 10.0}, {1.0: 10.0}).with_columns(split=pl.lit(None, pl.String))
    assert typical_changes(frame) == []
