"""What no series should be and every series is one day: each band's answer to it is defined."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InvalidInput
from monitors.bands.charts import CusumBand, EwmaBand
from monitors.bands.ema import EmaBand
from monitors.bands.novelty import NoveltyBand
from monitors.bands.seasonal import Season
from monitors.bands.stabilise import increments
from monitors.bands.static import StaticBand
from monitors.records import Band, Judged, Judgement, Kind, Points, Status

STEP_NS = 1200 * 10**9
DAY = 72
REFERENCE = EmaBand(alpha=0.02, k=4.0, adopt_after=60)
BANDS: dict[str, Band[Any]] = {
    "ema": EmaBand(alpha=0.1, k=4.3),
    "ema, seasonal": EmaBand(alpha=0.1, k=4.3, season=Season(step_s=1200, warm_up_hours=24)),
    "ewma": EwmaBand(reference=REFERENCE),
    "cusum": CusumBand(reference=REFERENCE),
    "novelty": NoveltyBand(quiet=12),
    "static": StaticBand(low=2.0, high=18.0),
}
EACH = pytest.mark.parametrize("band", BANDS.values(), ids=BANDS)
LEARNING = pytest.mark.parametrize("band", [BANDS[one] for one in BANDS if one != "static"], ids=list(BANDS)[:-1])


def run(
    band: Band[Any], values: Iterable[float], *, at: Iterable[int] | None = None, state: Any = None
) -> tuple[Any, list[Judgement]]:
    """One series; `at` in steps."""
    told = []
    state = band.start(1) if state is None else state
    given_values = list(values)
    for t, x in zip(range(len(given_values)) if at is None else at, given_values, strict=True):
        state, judged = band.step(state, Points.of(t * STEP_NS, [x]))
        told.append(judged.one(0))
    return state, told


def noise(n: int, seed: int = 1) -> list[float]:
    return np.random.default_rng(seed).normal(10, 1, n).tolist()  # type: ignore[no-any-return]


def same(one: Any, other: Any) -> bool:
    """Two states, bit for bit."""
    return json.dumps(one.as_json()) == json.dumps(other.as_json())


@EACH
def test_a_constant_series_never_breaches_and_then_a_change_does(band: Band[Any]) -> None:
    state, told = run(band, [7.0] * 3 * DAY)
    assert {one.breach for one in told} == {0}
    assert told[-1].status is Status.OK
    last = run(band, [7.0 + 1e-12], at=[3 * DAY], state=state)[1][0]
    assert last.breach == 0
    after = run(band, [20.0] * 12, at=range(3 * DAY, 3 * DAY + 12), state=state)[1]
    assert max(one.breach for one in after) == 1


@EACH
def test_one_point_is_no_verdict_and_no_error(band: Band[Any]) -> None:
    state, (only,) = run(band, [7.0])
    if not isinstance(band, StaticBand):
        assert only.status is Status.WARMING_UP
    assert (only.breach, only.z) == (0, None)
    assert type(state).from_json(json.loads(json.dumps(state.as_json()))).as_json() == state.as_json()


@EACH
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_missing_and_changes_nothing(band: Band[Any], bad: float) -> None:
    before, _ = run(band, noise(3 * DAY))
    after, (told,) = run(band, [bad], at=[3 * DAY], state=before)
    assert told == Judgement(status=Status.MISSING, breach=0, z=None, expected=told.expected, low=told.low,
                             high=told.high, seen=None)  # fmt: skip
    follow = noise(40, seed=2)
    at = range(3 * DAY + 1, 3 * DAY + 41)
    assert run(band, follow, at=at, state=after)[1] == run(band, follow, at=at, state=before)[1]


@LEARNING
def test_a_series_of_nothing_is_missing_for_ever(band: Band[Any]) -> None:
    state, told = run(band, [math.nan] * 100)
    assert {one.status for one in told} == {Status.MISSING}
    assert all(one.breach == 0 and one.z is None for one in told)
    _, later = run(band, noise(2), at=[500, 501], state=state)
    assert [one.status for one in later] == [Status.WARMING_UP] * 2


@EACH
def test_a_gap_of_a_week_leaves_the_band_where_it_was(band: Band[Any]) -> None:
    """It goes on with what it knows: an agent that comes back worse after a week off is not a new agent."""
    state, told = run(band, noise(3 * DAY))
    at = range(10 * DAY, 10 * DAY + 40)
    _, calm = run(band, noise(40, seed=3), at=at, state=state)
    assert sum(one.breach != 0 for one in calm) <= 1
    assert all(one.status is Status.OK for one in calm)
    _, worse = run(band, [25.0] * 12, at=range(10 * DAY, 10 * DAY + 12), state=state)
    assert max(one.breach for one in worse) == 1
    assert told[-1].status is Status.OK


@EACH
def test_a_minute_that_comes_twice_or_late_counts_once(band: Band[Any]) -> None:
    """The one that came first holds; a late point is for the look that steps its window again, not for the band."""
    values = noise(2 * DAY)
    at = list(range(2 * DAY))
    state, _ = run(band, values)
    doubled = [x for x in values for _ in range(2)]
    twice, told = run(band, doubled, at=[t for t in at for _ in range(2)])
    assert same(twice, state)
    assert {one.status for one in told[1::2]} == {Status.MISSING}
    late, (judged,) = run(band, [1e9], at=[2 * DAY - 50], state=state)
    assert judged.status is Status.MISSING
    assert same(late, state)


@EACH
def test_points_out_of_order_are_those_that_were_in_order(band: Band[Any]) -> None:
    at = [0, 1, 2, 5, 3, 4, 6, 7, 7, 6, 8]
    kept = [0, 1, 2, 5, 6, 7, 8]
    values = noise(9)
    assert same(run(band, [values[t] for t in at], at=at)[0], run(band, [values[t] for t in kept], at=kept)[0])


@EACH
def test_after_a_clock_set_back_it_waits_until_time_goes_on(band: Band[Any]) -> None:
    state, _ = run(band, noise(3 * DAY))
    back = range(3 * DAY - 12, 3 * DAY + 5)
    _, told = run(band, noise(17, seed=4), at=back, state=state)
    assert [one.status for one in told[:12]] == [Status.MISSING] * 12
    assert all(one.status is Status.OK for one in told[12:])


@EACH
def test_a_state_that_was_kept_goes_on_as_if_it_had_not_been(band: Band[Any]) -> None:
    """The same points give the same judgements, from any checkpoint on, bit for bit: replay."""
    values = [*noise(3 * DAY), *[20.0] * 20, *noise(60, seed=5)]
    whole, told = run(band, values)
    half, _ = run(band, values[: 3 * DAY + 10])
    kept = type(half).from_json(json.loads(json.dumps(half.as_json())))
    rest, told_again = run(band, values[3 * DAY + 10 :], at=range(3 * DAY + 10, len(values)), state=kept)
    assert told_again == told[3 * DAY + 10 :]
    assert same(rest, whole)


@EACH
def test_a_state_of_another_band_is_refused(band: Band[Any]) -> None:
    state = band.start(2)
    told = state.as_json()
    other = BANDS["static" if not isinstance(band, StaticBand) else "novelty"].start(2)
    with pytest.raises(InvalidInput):
        type(other).from_json(told)
    with pytest.raises(InvalidInput):
        type(state).from_json({**told, "more": told.get("at_ns", {})})


@EACH
def test_series_come_in_and_go_without_the_others_noticing(band: Band[Any]) -> None:
    values = np.random.default_rng(6).normal(10, 1, (200, 3))
    state, alone = band.start(2), band.start(1)
    judged: list[Judged] = []
    for t in range(200):
        if t == 90:
            state = state.joined(band.start(1))
        if t == 150:
            state = state.taken(np.array([2, 0]))
        rows = [0, 1] if t < 90 else [0, 1, 2] if t < 150 else [2, 0]
        state, now = band.step(state, Points.of(t * STEP_NS, values[t, rows]))
        judged.append(now)
        if t >= 90:
            alone, only = band.step(alone, Points.of(t * STEP_NS, values[t, 2:]))
            assert only.one(0) == now.one(rows.index(2))
    assert len(judged) == 200


def test_a_counter_that_is_reset_counts_from_zero_and_no_event_is_lost() -> None:
    totals = np.array([100.0, 130.0, np.nan, 190.0, 20.0, 20.0, 50.0])
    told = increments(totals)
    np.testing.assert_array_equal(told, [np.nan, 30.0, np.nan, 60.0, 20.0, 0.0, 30.0])
    assert np.isnan(increments(np.full(3, np.nan))).all()


def test_a_reset_is_no_breach_of_the_counted_events() -> None:
    chance = np.random.default_rng(7)
    totals = np.cumsum(chance.poisson(50, 400)).astype(float)
    totals[250:] -= totals[249]
    band, told = EmaBand(alpha=0.05, k=4.5), []
    state = band.start(1)
    for t, x in enumerate(increments(totals)):
        state, judged = band.step(state, Points.of(t * STEP_NS, [x], kinds=Kind.COUNT))
        told.append(judged.one(0))
    assert {one.breach for one in told} == {0}
    assert told[0].status is Status.MISSING


def test_values_that_their_kind_cannot_be_are_missing() -> None:
    points = Points.of(
        0, [1.2, -0.1, 0.5, 0.5, 0.0, -3.0, -1.0, 0.0], n=[9, 9, 0, 9, 9, 9, 9, 9],
        kinds=[Kind.RATE] * 4 + [Kind.POSITIVE] * 2 + [Kind.COUNT] * 2,
    )  # fmt: skip
    assert points.present.tolist() == [False, False, False, True, False, False, False, True]
    with pytest.raises(InvalidInput):
        Points.of(0, [1.0, 2.0], n=[1.0])


@settings(max_examples=15, deadline=None)
@given(
    name=st.sampled_from(list(BANDS)),
    kind=st.sampled_from(list(Kind)),
    values=st.lists(st.floats() | st.sampled_from([0.0, 1.0, 1e308, -1e308, 5e-324]), min_size=60, max_size=90),
    n=st.sampled_from([None, 1.0, 1e9]),
)
def test_whatever_comes_numbers_come_out_or_none_and_the_state_can_be_kept(
    name: str, kind: Kind, values: list[float], n: float | None
) -> None:
    band = BANDS[name]
    state: Any = band.start(1)
    with np.errstate(over="ignore", invalid="ignore"):
        for t, x in enumerate(values):
            behind = None if n is None else [n]
            state, judged = band.step(state, Points.of(t * 3 * STEP_NS, [x], n=behind, kinds=kind))
            told = judged.one(0)
            assert told.breach in (-1, 0, 1)
            assert told.status is not Status.MISSING or told.breach == 0
            assert told.breach == 0 or told.status in (Status.OK, Status.SHIFT_ADOPTED)
    assert same(type(state).from_json(json.loads(json.dumps(state.as_json()))), state)
