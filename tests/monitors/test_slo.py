"""Burn rates against the Site Reliability Workbook (chapter 5): detection, reset, budget; and little traffic."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InvalidInput
from monitors.alert_records import Rules, Severity, Verdict
from monitors.alerting import VERDICTS, verdicts
from monitors.records import Direction, Kind, Points, Status
from monitors.slo import PAIRS, Burns, Counted, Pair, SloBand, SloState, severities

NS = 10**9
MONTH_S = 30 * 86_400
A_MINUTE = 1000.0  # events, where traffic is to be no matter


def minute(at_s: float, share_bad: np.ndarray, n: float = A_MINUTE) -> Points:
    return Points.of(int(at_s * NS), 1 - share_bad, n=np.full(len(share_bad), n), kinds=Kind.RATE)


def healthy(band: SloBand, s: int, for_s: int) -> tuple[SloState, int]:
    """A state after a full long window without a bad event, and the time."""
    state, at = band.start(s), 0
    step = 60 if for_s <= 3600 else 360 if for_s <= 6 * 3600 else 1440
    while at < for_s:
        state, _ = band.step(state, minute(at, np.zeros(s), A_MINUTE * step / 60))
        at += step
    return state, at


def detected(band: SloBand, errors: np.ndarray, most_minutes: int) -> list[int | None]:
    """Minutes from the beginning of an outage, by its share of errors, until the band breaches."""
    state, begin = healthy(band, len(errors), max(one.long_s for one in band.pairs))
    found: list[int | None] = [None] * len(errors)
    for i in range(most_minutes):
        state, judged = band.step(state, minute(begin + 60 * i, errors))
        for row in np.flatnonzero(judged.breach):
            found[row] = found[row] or i + 1
        if all(found):
            break
    return found


@pytest.mark.parametrize(("pair", "spent"), [*zip(PAIRS, (0.02, 0.05, 0.10, 0.10), strict=True)])
def test_detection_time_and_spent_budget_are_those_of_the_workbook(pair: Pair, spent: float) -> None:
    """Time to fire: (1 - SLO) / error ratio * window * burn rate. Budget gone by then: burn rate * window / 30 d."""
    assert pair.spent(MONTH_S) == pytest.approx(spent)
    errors = np.array([1.0, 0.1, 0.02])
    band = SloBand(objective=0.999, step_s=60, pairs=(pair,), level=None)
    wanted = 0.001 / errors * pair.long_s / 60 * pair.factor
    for error, minutes, exact in zip(errors, detected(band, errors, 300), wanted, strict=True):
        assert minutes is not None
        assert exact * 59 / 60 <= minutes <= exact + 1  # a window is up to a cell shorter; a bucket is a minute
        gone = error * minutes * 60 / MONTH_S / 0.001
        assert spent * 59 / 60 <= gone <= spent + error * 60 / MONTH_S / 0.001


def test_the_first_rate_pages_within_a_minute_of_an_outage() -> None:
    """14.4 * .001 * 60 min = 52 s (workbook: an hour's window, 99.9%, everything fails)."""
    band = SloBand(objective=0.999, step_s=60)
    assert detected(band, np.array([1.0]), 5) == [1]


@pytest.mark.parametrize(("pair", "minutes"), [(PAIRS[0], 5), (PAIRS[1], 30), (PAIRS[2], 120), (PAIRS[3], 360)])
def test_it_resets_a_short_window_after_the_outage(pair: Pair, minutes: int) -> None:
    """The workbook: it ceases to fire five minutes later rather than one hour later."""
    band = SloBand(objective=0.999, step_s=60, pairs=(pair,), level=None)
    state, at = healthy(band, 1, pair.long_s)
    for _ in range(30):
        state, judged = band.step(state, minute(at, np.ones(1)))
        at += 60
    assert judged.breach[0] == -1
    rules, after = Rules(), 0
    while judged.breach[0]:
        state, judged = band.step(state, minute(at, np.zeros(1)))
        at, after = at + 60, after + 1
    assert minutes * 0.8 <= after <= minutes
    assert VERDICTS[verdicts(judged, Direction.DOWN, rules.clear_share)[0]] is Verdict.CALM


def test_one_window_alone_resets_after_58_minutes_and_never_sees_35_times() -> None:
    """The workbook's fourth iteration: 36 times over an hour resets 58 min after; 35 times is never told."""
    band = SloBand(objective=0.999, step_s=60, level=None, pairs=(
        Pair(factor=36, long_s=3600, short_s=3600, severity=Severity.PAGE),
    ))  # fmt: skip
    state, at = healthy(band, 1, 3600)
    history = []
    for i in range(70):
        state, judged = band.step(state, minute(at + 60 * i, np.full(1, float(i < 3))))
        history.append(bool(judged.breach[0]))
    assert history.index(True) == 2  # 2.16 min
    assert sum(history) == 58
    assert detected(band, np.array([0.035, 0.037]), 200) == [None, pytest.approx(59, abs=1)]


def test_it_says_how_long_the_budget_lasts() -> None:
    """Workbook, table of burn rates: 1000 times exhausts 30 days in 43 min."""
    band = SloBand(objective=0.999, step_s=60, pairs=PAIRS[:1], level=None)
    state, at = band.start(1), 0
    for at in range(0, 3600, 60):
        state, _ = band.step(state, minute(at, np.ones(1)))
    burns = band.burns(state)
    said = band.words(burns, 0)
    assert said is not None
    assert "1e+03 times" in said
    assert "lasts 43.2 min" in said
    assert "both above 14.4" in said


def test_pages_come_before_tickets_and_a_slow_burn_is_a_ticket() -> None:
    band = SloBand(objective=0.999, step_s=60)
    state, at = healthy(band, 2, 3 * 86_400)
    for i in range(240):
        state, judged = band.step(state, minute(at + 60 * i, np.array([1.0, 0.02])))
    burns = band.burns(state)
    assert band.severity(burns, 0) is Severity.PAGE
    state, at = healthy(band, 2, 3 * 86_400)
    for i in range(300):
        state, judged = band.step(state, minute(at + 600 * i, np.array([0.0, 0.0025]), A_MINUTE * 10))
    burns = band.burns(state)
    assert list(judged.breach) == [0, -1]
    assert [band.severity(burns, i) for i in range(2)] == [None, Severity.TICKET]
    assert list(severities(band, burns)) == [0, 1]
    assert band.words(burns, 0) is None


# --- little traffic -------------------------------------------------------------------------------------------------


def _one_window(n: float, bad: float, **kw: object) -> tuple[SloBand, Burns]:
    band = replace(SloBand(objective=0.999, step_s=60, pairs=PAIRS[:1]), **kw)  # type: ignore[arg-type]
    state, _ = band.step(band.start(1), minute(0, np.full(1, bad / n), n))
    return band, band.burns(state)


def test_one_failure_of_ten_pages_nobody_two_do() -> None:
    _, burns = _one_window(10, 1, level=None)
    assert burns.firing[0, 0]
    _, burns = _one_window(10, 1)
    assert burns.known[0, 0]
    assert not burns.firing[0, 0]
    _, burns = _one_window(10, 2)
    assert burns.firing[0, 0]
    # 2 of 10, one-sided 95%: 0.0368 (Clopper, Pearson 1934, their charts; any table of exact binomial limits)
    assert burns.bound[0, 0] == pytest.approx(36.8, abs=0.05)


def test_too_few_events_are_not_known() -> None:
    band, burns = _one_window(9, 9)
    assert not burns.known[0, 0]
    _, judged = band.step(band.start(1), minute(0, np.ones(1), 9))
    assert judged.status[0] == Status.WARMING_UP
    assert judged.breach[0] == 0
    assert judged.one(0).seen is None


@settings(max_examples=50)
@given(st.integers(10, 2000), st.integers(0, 2000))
def test_the_bound_fires_less_often_than_the_estimate_and_never_below_its_rate(n: int, bad: int) -> None:
    bad = min(bad, n)
    _, sure = _one_window(n, bad)
    _, plain = _one_window(n, bad, level=None)
    assert sure.firing[0, 0] <= plain.firing[0, 0]
    if sure.firing[0, 0]:
        assert sure.bound[0, 0] >= 14.4 - 1e-9
    elif plain.firing[0, 0]:
        assert sure.bound[0, 0] <= 14.4 + 1e-9


def test_an_objective_that_leaves_much_room_cannot_burn_fast() -> None:
    """At 87% the budget is 13%: everything failing burns 7.7 times, so that 14.4 is out of reach and 6 is not."""
    band = SloBand(objective=0.87)
    assert [band.can_never_fire(one) for one in band.pairs] == [True, False, False, False]
    with pytest.raises(InvalidInput, match=r"above 7\.69"):
        SloBand(objective=0.87, pairs=PAIRS[:1])


# --- the rings ------------------------------------------------------------------------------------------------------

moves = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 50), st.floats(0, 1)), min_size=1, max_size=40)


@settings(max_examples=60)
@given(moves, st.sampled_from([60, 300, 900]))
def test_the_windows_are_sums_over_time_whatever_gaps_there_are(
    some: list[tuple[int, int, float]], step_s: int
) -> None:
    band = SloBand(objective=0.99, step_s=step_s, pairs=PAIRS[:2], min_events=1)
    state, at = band.start(1), 0
    told: list[tuple[int, int, float]] = []
    for skip, n, share in some:
        at += (skip + 1) * step_s
        point = Points.of(at * NS, [1 - share], n=[float(n)], kinds=Kind.RATE)
        state, judged = band.step(state, point)
        told.append((at, n, n * share))
        assert (judged.status[0] == Status.OK) <= (sum(one[1] for one in told) > 0)
    burns = band.burns(state)
    for p, pair in enumerate(band.pairs):
        cell = step_s * max(1, pair.short_s // 5 // step_s)
        first = (at // cell - max(1, round(pair.long_s / cell)) + 1) * cell
        inside = [one for one in told if one[0] >= first]
        n, bad = sum(one[1] for one in inside), sum(one[2] for one in inside)
        assert burns.n[0, p] == pytest.approx(n)
        if n:
            assert burns.long[0, p] == pytest.approx(bad / n / 0.01)
        else:
            assert np.isnan(burns.long[0, p])


@settings(max_examples=40)
@given(moves)
def test_a_state_is_its_json_and_series_do_not_touch_each_other(some: list[tuple[int, int, float]]) -> None:
    band = SloBand(objective=0.99, step_s=60, pairs=PAIRS[:2])
    state, alone, at = band.start(2), band.start(1), 0
    for skip, n, share in some:
        at += (skip + 1) * 60
        both = Points.of(at * NS, [1 - share, 0.5], n=[float(n), 7.0], kinds=Kind.RATE)
        state = SloState.from_json(json.loads(json.dumps(band.step(state, both)[0].as_json())))
        alone, _ = band.step(alone, both.taken(np.array([0])))
    assert json.dumps(state.taken(np.array([0])).as_json()) == json.dumps(alone.as_json())
    joined = alone.joined(state.taken(np.array([1])))
    assert json.dumps(joined.as_json()) == json.dumps(state.as_json())


def test_what_is_no_share_of_events_is_no_event() -> None:
    band = SloBand(objective=0.99, step_s=60, pairs=PAIRS[:1], min_events=1)
    points = Points.of(0, [np.nan, 0.5, 0.5, 1.5, 0.5], n=[10, np.nan, 0, 10, np.inf], kinds=Kind.LEVEL)
    state, judged = band.step(band.start(5), points)
    assert list(judged.status) == [Status.MISSING] * 5
    assert state.events.sum() == 0


def test_a_minute_that_comes_again_or_a_clock_set_back_counts_nothing() -> None:
    band = SloBand(objective=0.99, step_s=60, pairs=PAIRS[:1], min_events=1)
    state, _ = band.step(band.start(1), minute(600, np.ones(1)))
    for at in (600, 0):
        again, judged = band.step(state, minute(at, np.ones(1)))
        assert judged.status[0] == Status.MISSING
        assert json.dumps(again.as_json()) == json.dumps(state.as_json())


def test_a_gap_of_a_week_empties_every_window() -> None:
    band = SloBand(objective=0.99, step_s=60)
    state, _ = band.step(band.start(1), minute(0, np.ones(1)))
    missing = Points.of(7 * 86_400 * NS, [np.nan], n=[np.nan], kinds=Kind.RATE)
    state, judged = band.step(state, missing)
    assert state.events.sum() == 0
    assert judged.status[0] == Status.MISSING


def test_a_series_of_bad_events_breaches_upwards() -> None:
    band = SloBand(objective=0.99, step_s=60, pairs=PAIRS[:1], counted=Counted.BAD)
    _, judged = band.step(band.start(1), Points.of(0, [0.5], n=[100.0], kinds=Kind.RATE))
    one = judged.one(0)
    assert (one.breach, one.low) == (1, None)
    assert one.high == pytest.approx(0.144)
    assert one.seen == pytest.approx(0.5)


@pytest.mark.parametrize(
    "wrong",
    [{"objective": 1.0}, {"objective": 0.0}, {"objective": float("nan")}, {"min_events": 0}, {"step_s": 0},
     {"level": 1.0}, {"level": 0.1}, {"period_s": 86_400}],
)  # fmt: skip
def test_objectives_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidInput):
        replace(SloBand(objective=0.999), **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"factor": 0.0}, {"factor": float("inf")}, {"short_s": 7200}, {"short_s": 0}])
def test_pairs_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidInput):
        replace(PAIRS[0], **wrong)  # type: ignore[arg-type]
