"""Zero tolerance: one is enough, none in n tells an upper bound."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInput
from monitors.records import Kind, Points, Status
from monitors.slo import Counted
from monitors.zero import ZeroBand, ZeroState, upper_bound

NS = 60 * 10**9


def test_one_bad_event_is_a_breach_at_once_whatever_is_behind_it() -> None:
    band = ZeroBand()
    points = Points.of(NS, [0.0, 1e-6, 3.0, np.nan, 0.5], n=[9, 1e6, np.nan, 5, 2], kinds=[
        Kind.RATE, Kind.RATE, Kind.COUNT, Kind.RATE, Kind.RATE,
    ])  # fmt: skip
    state, judged = band.step(band.start(5), points)
    assert list(judged.breach) == [0, 1, 1, 0, 1]
    assert list(judged.status) == [Status.OK] * 3 + [Status.MISSING, Status.OK]
    assert list(state.n_clean) == [9, 0, 0, 0, 0]
    one = judged.one(0)
    assert (one.expected, one.low, one.high, one.seen, one.z) == (0.0, None, 0.0, 0.0, None)


def test_a_series_of_good_events_breaches_downwards_and_only_where_it_is_a_share() -> None:
    band = ZeroBand(counted=Counted.GOOD)
    points = Points.of(NS, [1.0, 0.99, 1.0], n=[10, 100, 5], kinds=[Kind.RATE, Kind.RATE, Kind.LEVEL])
    _, judged = band.step(band.start(3), points)
    assert list(judged.breach) == [0, -1, 0]
    assert list(judged.status) == [Status.OK, Status.OK, Status.MISSING]


@given(st.lists(st.tuples(st.integers(0, 50), st.sampled_from([0.0, 0.0, 0.2, float("nan")])), max_size=30))
def test_clean_events_are_counted_once_and_start_anew_after_a_bad_one(some: list[tuple[int, float]]) -> None:
    band, clean, newest = ZeroBand(), 0, -1
    state = band.start(1)
    for at, x in some:
        points = Points.of(at * NS, [x], n=[10.0], kinds=Kind.RATE)
        state = ZeroState.from_json(json.loads(json.dumps(state.as_json())))
        state, judged = band.step(state, points)
        if at > newest:
            clean = 0 if x > 0 else clean + 10 * (x == 0)
        assert judged.breach[0] == (at > newest and x > 0)
        newest = max(newest, at)
        assert state.n_clean[0] == clean


def test_none_in_n_leaves_three_in_n() -> None:
    """Hanley, Lippman-Hand, JAMA 1983: 3/n; exact for n = 30, 9.5%."""
    assert upper_bound(30) == pytest.approx(0.0950, abs=5e-5)
    bound = upper_bound(100_000)
    assert bound is not None
    assert bound * 100_000 == pytest.approx(3, rel=0.002)
    assert upper_bound(0) is None
    with pytest.raises(InvalidInput):
        upper_bound(10, 1.0)
