"""The confidence sequence of a live chart, and judge drift told apart from product drift."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import InvalidInput
from evaluators.statistics.rates import FloatArray
from judges.correction.drift import Detected, Drift, Range, judge_drift, product_drift, which
from judges.correction.sequence import FIRST_LABELS, confidence_sequence, increments
from tests.judges.correction.worlds import said

Drawn = tuple[FloatArray, FloatArray, FloatArray, FloatArray]
DAYS, A_DAY = 40, 200


def drawn(rng: np.random.Generator, rates: tuple[float, float], theta: FloatArray, right: tuple[float, float]) -> Drawn:
    """Judge, label and both chances of one target after the other, judged and labelled at these rates."""
    p_judge, p_human = rates
    n = len(theta)
    truth = (rng.random(n) < theta).astype(np.float64)
    verdict = np.where(rng.random(n) < np.where(truth == 1, *right), truth, 1 - truth)
    was = rng.random(n) < p_judge
    seen = was & (rng.random(n) < p_human)
    told = np.where(was, verdict, np.nan), np.where(seen, truth, np.nan)
    return *told, np.full(n, p_judge), np.full(n, p_human)


def counted(label: FloatArray) -> FloatArray:
    found: FloatArray = np.cumsum(~np.isnan(label), axis=-1).astype(np.float64)
    return found


@pytest.mark.parametrize("rates", [(1.0, 0.05), (0.5, 0.1), (0.2, 0.2), (0.1, 0.5)])
def test_it_holds_at_all_looks_at_once_at_any_rate_of_judging_and_labelling(rates: tuple[float, float]) -> None:
    held = 0
    for seed in range(60):
        given = drawn(np.random.default_rng(seed), rates, np.full(DAYS * A_DAY, 0.8), (0.9, 0.8))
        told = confidence_sequence(increments(*given), counted(given[1]))
        looks = slice(A_DAY - 1, None, A_DAY)
        held += not ((told.low[looks] > 0.8) | (told.high[looks] < 0.8)).any()
    assert held >= 51  # of 60 at 95%; 10 or more misses have a chance of 0.1%


def test_where_the_rate_moves_it_holds_the_rate_so_far() -> None:
    theta = np.linspace(0.9, 0.6, DAYS * A_DAY)
    so_far = np.cumsum(theta) / np.arange(1, len(theta) + 1)
    held = 0
    for seed in range(40):
        given = drawn(np.random.default_rng(seed), (0.5, 0.2), theta, (0.9, 0.8))
        told = confidence_sequence(increments(*given), counted(given[1]))
        held += not ((told.low > so_far) | (told.high < so_far)).any()
    assert held >= 33


def test_the_judge_makes_it_narrower_and_a_useless_judge_not_wider() -> None:
    given = drawn(np.random.default_rng(1), (1.0, 0.05), np.full(10_000, 0.8), (0.95, 0.9))
    widths = []
    for judge in (given[0], np.zeros(10_000), np.random.default_rng(2).integers(0, 2, 10_000).astype(np.float64)):
        told = confidence_sequence(increments(judge, *given[1:]), counted(given[1]))
        widths.append(float(told.high[-1] - told.low[-1]))
    ours, human_only, useless = widths
    assert ours**2 < human_only**2 / 1.5
    assert useless < 1.02 * human_only


def test_nothing_that_comes_later_changes_what_a_target_was_worth() -> None:
    given = drawn(np.random.default_rng(1), (0.5, 0.3), np.full(500, 0.8), (0.9, 0.8))
    whole, part = increments(*given), increments(*(one[:200] for one in given))
    assert whole[:200] == pytest.approx(part, abs=1e-12)


def test_before_enough_labels_there_is_no_interval() -> None:
    given = drawn(np.random.default_rng(1), (1.0, 0.1), np.full(1000, 0.8), (0.9, 0.8))
    labels = counted(given[1])
    told = confidence_sequence(increments(*given), labels)
    assert np.isnan(told.low[labels < FIRST_LABELS]).all()
    assert not np.isnan(told.low[labels >= FIRST_LABELS]).any()
    assert ((told.low[labels >= FIRST_LABELS] >= 0) & (told.high[labels >= FIRST_LABELS] <= 1)).all()


def test_equal_weights_are_none_and_unequal_chances_of_judging_are_weighed() -> None:
    given = drawn(np.random.default_rng(1), (1.0, 0.2), np.full(2000, 0.8), (0.9, 0.8))
    x, labels = increments(*given), counted(given[1])
    plain, same = confidence_sequence(x, labels), confidence_sequence(x, labels, weights=np.full(2000, 5.0))
    assert same.low[-1] == pytest.approx(plain.low[-1], abs=1e-9)
    rng = np.random.default_rng(3)
    truth, verdict = said(rng, 30_000, 0.8, 0.9, 0.8)
    chance = np.where(truth == 1, 0.1, 0.5)
    was = rng.random(30_000) < chance
    seen = was & (rng.random(30_000) < 0.2)
    label = np.where(seen, truth, np.nan)[was]
    n = int(was.sum())
    x = increments(verdict[was], label, np.ones(n), np.full(n, 0.2))
    told = confidence_sequence(x, counted(label), weights=1 / chance[was])
    assert told.low[-1] < 0.8 < told.high[-1]
    assert confidence_sequence(x, counted(label)).high[-1] < 0.7  # of what was judged, most are failures


def test_what_is_no_stream_is_refused() -> None:
    one, nan = np.ones(3), np.full(3, np.nan)
    with pytest.raises(InvalidInput):
        increments(nan, one, one, one)
    with pytest.raises(InvalidInput):
        increments(one, one, one, np.zeros(3))
    with pytest.raises(InvalidInput):
        confidence_sequence(one, one, level=1.0)
    with pytest.raises(InvalidInput):
        product_drift(one, np.zeros(3, dtype=int), Range(low=0, high=1), 0.0)
    with pytest.raises(InvalidInput, match="beyond the bounds"):
        product_drift(one * 30, np.zeros(3, dtype=int), Range(low=0.8, high=0.8), 0.5)
    with pytest.raises(InvalidInput):
        judge_drift(one, one, -one, np.zeros(3, dtype=int), Range(low=0, high=1), Range(low=0, high=1))


# --- drift ----------------------------------------------------------------------------------------------------------

P_HUMAN = 0.1


def detected(seed: int, theta: FloatArray, right: FloatArray) -> tuple[Detected, Detected]:
    """Both detectors over DAYS of A_DAY targets; `theta` and `right` (sensitivity) are of shape (DAYS,)."""
    rng = np.random.default_rng(seed)
    day = np.repeat(np.arange(DAYS), A_DAY)
    truth = (rng.random(len(day)) < theta[day]).astype(np.float64)
    verdict = np.where(rng.random(len(day)) < np.where(truth == 1, right[day], 0.8), truth, 1 - truth)
    seen = rng.random(len(day)) < P_HUMAN
    label, one = np.where(seen, truth, np.nan), np.ones(len(day))
    x = increments(verdict, label, one, np.full(len(day), P_HUMAN))
    product = product_drift(x, day, Range(low=0.85, high=0.85), P_HUMAN, arl=200)
    weight = one[seen] / P_HUMAN
    known = Range(low=0.9, high=0.9), Range(low=0.2, high=0.2)
    return product, judge_drift(verdict[seen], truth[seen], weight, day[seen], *known, arl=200)


def both(runs: int, theta: FloatArray, right: FloatArray) -> list[Drift]:
    return [which(*detected(seed, theta, right)) for seed in range(runs)]


STILL, LATER = np.ones(DAYS), np.arange(DAYS) >= 10


def test_a_judge_that_got_stricter_is_not_blamed_on_the_product() -> None:
    found = both(20, 0.85 * STILL, np.where(LATER, 0.75, 0.9))
    assert found.count(Drift.JUDGE) >= 16


def test_a_product_that_got_worse_is_not_blamed_on_the_judge() -> None:
    found = both(20, np.where(LATER, 0.65, 0.85), 0.9 * STILL)
    assert found.count(Drift.PRODUCT) >= 16


def test_both_may_change_and_nothing_may() -> None:
    assert both(10, np.where(LATER, 0.6, 0.85), np.where(LATER, 0.7, 0.9)).count(Drift.BOTH) >= 8
    assert both(20, 0.85 * STILL, 0.9 * STILL).count(Drift.NOTHING) >= 13  # 40 days of an ARL of 200, twice


def test_the_mean_evidence_after_d_days_without_a_change_is_d_at_most() -> None:
    of = [detected(seed, 0.85 * STILL, 0.9 * STILL) for seed in range(60)]
    for side in range(2):
        first = np.array([one[side].evidence[4] for one in of])
        assert first.mean() - 4 * first.std() / np.sqrt(len(first)) <= 5


def test_a_baseline_that_is_only_known_to_lie_in_a_range_takes_more_to_leave() -> None:
    x = np.full(600, 0.7)
    day = np.repeat(np.arange(30), 20)
    sharp = product_drift(x, day, Range(low=0.85, high=0.85), 0.5)
    wide = product_drift(x, day, Range(low=0.75, high=0.95), 0.5)
    inside = product_drift(x, day, Range(low=0.65, high=0.95), 0.5)
    assert sharp.at is not None
    assert wide.at is not None
    assert sharp.at < wide.at
    assert inside.at is None
    empty, whole = np.array([]), Range(low=0, high=1)
    nothing = judge_drift(empty, empty, empty, np.array([], dtype=int), whole, whole)
    assert (nothing.at, len(nothing.evidence)) == (None, 0)
