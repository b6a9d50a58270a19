"""Maturity: what enters a block, when, and once; thresholds from the baseline's past."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInput
from experiments.canary.maturity import (
    Cohort,
    Outcome,
    block_of,
    exceeding,
    next_cohort,
    threshold_of,
    units_moved,
)

SECOND = 1_000_000_000


def session(unit: str, began_s: float, score: float | None, *, candidate: bool = True, weight: float = 1.0) -> Outcome:
    began = round(began_s * SECOND)
    return Outcome(unit=unit, candidate=candidate, began_at_ns=began, score=score, observations=weight)


def counted(outcomes: list[Outcome], from_s: int, until_s: int, *, zero: bool = False) -> tuple[float, ...]:
    cohort = Cohort(from_ns=from_s * SECOND, until_ns=until_s * SECOND)
    one = block_of(outcomes, cohort, until_s * SECOND, zero_tolerance=zero)
    return (one.n_candidate, one.failures_candidate, one.n_baseline, one.failures_baseline,
            one.n_missing_candidate, one.n_missing_baseline)  # fmt: skip


def test_only_what_is_old_enough_enters() -> None:
    assert next_cohort(0, 100 * SECOND, 60) == Cohort(from_ns=0, until_ns=40 * SECOND)
    assert next_cohort(40 * SECOND, 100 * SECOND, 60) is None
    young = [session("a", 10, 1), session("b", 40, 1), session("c", 39, 0, candidate=False)]
    assert counted(young, 0, 40) == (1, 1, 1, 0, 0, 0)


def test_a_unit_enters_once_with_the_mean_of_its_sessions() -> None:
    its = [session("a", 5, 1), session("a", 8, 0), session("a", 50, 1)]
    assert counted(its, 0, 40)[:2] == (1, 0.5)
    assert counted(its, 40, 80)[:2] == (0, 0)


def test_sessions_weigh_by_their_observations() -> None:
    assert counted([session("a", 5, 1, weight=3), session("a", 6, 0, weight=1)], 0, 40)[:2] == (1, 0.75)


def test_a_unit_that_a_ramp_moves_stays_what_it_was_first() -> None:
    moved = [session("a", 5, 0, candidate=False), session("a", 9, 1), session("b", 9, 1)]
    assert counted(moved, 0, 40)[:4] == (1, 1, 1, 0)
    assert units_moved(moved) == {"candidate": 0, "baseline": 1}


def test_missing_outcomes_are_counted_apart() -> None:
    lost = [session("a", 5, None), session("b", 5, None), session("b", 6, 1), session("c", 5, None, candidate=False)]
    assert counted(lost, 0, 40) == (1, 1, 0, 0, 1, 1)


def test_under_zero_tolerance_one_violation_makes_the_unit_one() -> None:
    assert counted([session("a", 5, 0), session("a", 6, 0.01)], 0, 40, zero=True)[:2] == (1, 1)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 99), st.booleans()), max_size=30), st.integers(1, 99))
def test_whatever_the_cuts_each_unit_is_counted_once(rows: list[tuple[int, int, bool]], cut: int) -> None:
    outcomes = [session(f"u{unit}", at, 1, candidate=arm) for unit, at, arm in rows]
    parts = [counted(outcomes, 0, cut), counted(outcomes, cut, 100)]
    assert sum(one[0] + one[2] for one in parts) == len({unit for unit, _, _ in rows})


def test_a_score_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidInput, match="a failure score is 7"):
        counted([session("a", 5, 7)], 0, 40)


def test_late_failures_do_not_flatter_a_young_candidate() -> None:
    """Successes are known at once, failures 30 minutes later; a candidate that fails twice as often looks the same to
    who counts what is there, and does not to who waits."""
    rng = np.random.default_rng(5)
    failed = {True: rng.random(4000) < 0.10, False: rng.random(4000) < 0.05}
    began = np.sort(rng.uniform(0, 3600, 4000))
    now, delay = 3600, 1800
    seen = [
        session(f"{arm}{i}", at, float(bad), candidate=arm)
        for arm in (True, False)
        for i, (at, bad) in enumerate(zip(began, failed[arm], strict=True))
        if not bad or at + delay <= now
    ]
    mature = next_cohort(0, now * SECOND, delay)
    assert mature is not None
    n_c, f_c, n_b, f_b, *_ = counted(seen, 0, mature.until_ns // SECOND)
    assert f_c / n_c == pytest.approx(0.10, abs=0.02)
    assert f_b / n_b == pytest.approx(0.05, abs=0.015)


def test_a_threshold_is_what_a_share_of_the_past_did_not_exceed() -> None:
    past = [float(one) for one in range(1, 101)]
    assert threshold_of(past, 0.95) == 95
    assert exceeding([94.0, 95.0, 96.0, 200.0], 95.0) == 0.5
    assert threshold_of([3.0], 0.95) == 3
    assert threshold_of([], 0.95) is None
    assert exceeding([], 95.0) is None
    with pytest.raises(InvalidInput, match="share"):
        threshold_of(past, 1.0)


def test_an_age_below_nothing_is_refused() -> None:
    with pytest.raises(InvalidInput, match="mature_s is -1"):
        next_cohort(0, 1, -1)
