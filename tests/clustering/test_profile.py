"""Profiles: intervals against statsmodels and scipy, users who come often, and what is not known."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from clustering.profile import (
    Measure,
    Spec,
    attributes,
    figures,
    mean_of,
    median_of,
    ratio_of,
    share_of,
    wrong_at,
)
from core.errors import InvalidInput


def alone(n: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.arange(n)


def sessions(n: int, **columns: object) -> pl.DataFrame:
    return pl.DataFrame({"session_id": [f"s{one}" for one in range(n)], **columns})


@pytest.mark.parametrize(("yes", "n"), [(7, 40), (1, 9), (20, 25)])
def test_a_share_of_independent_sessions_has_wilsons_interval(yes: int, n: int) -> None:
    told = share_of(np.arange(n) < yes, alone(n))
    low, high = proportion_confint(yes, n, method="wilson")
    assert list(told) == pytest.approx([yes / n, low, high])


def test_a_user_with_all_sessions_counts_once() -> None:
    told = share_of(np.ones(1000, dtype=np.bool_), np.zeros(1000, dtype=np.int64))
    assert (told.value, told.high) == (1.0, 1.0)
    assert told.low == pytest.approx(1 / (1 + stats.norm.isf(0.025) ** 2))
    halves = share_of(np.arange(100) % 2 == 0, np.arange(100) % 4)  # four users, each always the same
    few = share_of(np.arange(4) % 2 == 0, alone(4))
    assert halves.low is not None
    assert few.low is not None
    assert 0 < halves.low < few.low  # 100 sessions of four users tell no more than four


def test_a_mean_of_independent_sessions_has_students_interval() -> None:
    values = np.random.default_rng(1).lognormal(0, 1, 50)
    told = mean_of(values, alone(50))
    low, high = stats.t.interval(0.95, 49, values.mean(), stats.sem(values))
    assert list(told) == pytest.approx([values.mean(), low, high])
    assert mean_of(values, np.zeros(50, dtype=np.int64)).low is None


def test_a_mean_of_users_is_their_ratio_of_totals() -> None:
    values, users = np.array([1.0, 2, 3, 10, 12]), np.array([0, 0, 0, 1, 1])
    told = mean_of(values, users)
    residuals = np.array([6 - 3 * 5.6, 22 - 2 * 5.6])
    se = math.sqrt(2 * (residuals**2).sum()) / 5  # Kish 1965, section 6.3: g / (g - 1) = 2, over n^2
    assert told.high is not None
    assert (told.high - 5.6) / stats.t.isf(0.025, 1) == pytest.approx(se)


def test_a_median_has_an_interval_that_holds_it_as_often_as_it_says() -> None:
    chance = np.random.default_rng(2)
    hits = []
    for _ in range(400):
        told = median_of(chance.exponential(1.0, 60), alone(60))
        assert told.low is not None
        assert told.high is not None
        hits.append(told.low <= math.log(2) <= told.high)
    assert 0.92 <= np.mean(hits) <= 1.0
    assert median_of(np.arange(5.0), alone(5)) == (2.0, None, None)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=40))
def test_an_interval_holds_its_share_and_lies_within_0_and_1(rows: list[tuple[bool, int]]) -> None:
    told = share_of(np.array([yes for yes, _ in rows]), np.array([user for _, user in rows]))
    assert told.low is not None
    assert told.high is not None
    assert told.value is not None
    assert 0 <= told.low <= told.value <= told.high <= 1


def test_ratios_are_those_of_scipy() -> None:
    known = stats.contingency.relative_risk(30, 100, 20, 300)
    told = ratio_of(30, 100, 20, 300)
    low, high = known.confidence_interval(0.95)
    assert list(told) == pytest.approx([known.relative_risk, low, high])
    zero = ratio_of(5, 10, 0, 300)
    assert zero.value == pytest.approx(5.5 / 10.5 / (0.5 / 300.5))
    assert zero.low is not None
    assert zero.low > 1
    assert ratio_of(5, 10, 0, 0) == (None, None, None)


def test_figures_stand_beside_the_rest_and_say_what_is_not_known() -> None:
    frame = sessions(
        60,
        user_id=[f"u{one}" if one % 3 else None for one in range(60)],
        failed=[True] * 15 + [False] * 5 + [None] * 10 + [False] * 30,
        cost_usd=[0.5] * 10 + [1.5] * 10 + [0.1, 0.3] * 20,
        duration_ms=[None] * 20 + [float(one) for one in range(40)],
    )
    labels = np.repeat(np.array([0, 1, -1], dtype=np.int32), 20)
    told = figures(frame, labels, [
        Spec(name="failure rate", column="failed", measure=Measure.SHARE, unit="share"),
        Spec(name="cost", column="cost_usd", measure=Measure.MEAN, unit="usd"),
        Spec(name="duration", column="duration_ms", measure=Measure.MEDIAN, unit="ms"),
        Spec(name="escalated", column="escalated", measure=Measure.SHARE, unit="share"),
    ])  # fmt: skip
    assert set(told) == {0, 1}
    failure, cost, duration = told[0]
    assert (failure.value, failure.rest) == (0.75, 0.0)
    assert failure.low is not None
    assert failure.rest_high is not None
    assert failure.low > failure.rest_high
    assert [cost.value, cost.rest] == pytest.approx([1.0, 0.2])
    assert (duration.value, duration.rest, duration.note) == (None, 19.5, "not known of any session")
    assert told[1][0].value == 0.0
    with pytest.raises(InvalidInput):
        figures(frame, labels[:3])


def test_levels_are_shares_of_the_sessions_in_which_they_are_known() -> None:
    frame = sessions(30)
    labels = np.repeat(np.array([0, -1], dtype=np.int32), [10, 20])
    levels = pl.DataFrame({
        "session_id": [f"s{one}" for one in range(24)] + ["s0", "s1"],
        "attribute": ["release"] * 24 + ["tool"] * 2,
        "level": ["2.4"] * 8 + ["2.3"] * 16 + ["refund"] * 2,
    })  # fmt: skip
    told = attributes(frame["session_id"].to_list(), labels, levels)[0]
    assert [(one.attribute, one.level, one.n, one.share, one.share_rest) for one in told] == [
        ("release", "2.4", 8, 0.8, 0.0), ("release", "2.3", 2, 0.2, 1.0), ("tool", "refund", 2, 1.0, None),
    ]  # fmt: skip
    assert told[2].ratio is None
    assert told[0].low is not None
    assert told[0].low > 1


def test_where_it_goes_wrong_most_is_what_others_do_right() -> None:
    frame = sessions(200)
    labels = np.repeat(np.array([0, -1], dtype=np.int32), [40, 160])
    rows = [(one, "tool", "refund") for one in range(30)] + [(one, "tool", "search") for one in range(0, 200, 2)]
    rows += [(one, "span", "answer") for one in range(35)] + [(one, "span", "answer") for one in range(60, 80)]
    places = pl.DataFrame(
        [(f"s{one}", kind, name) for one, kind, name in rows], schema=["session_id", "attribute", "level"], orient="row"
    )
    told = wrong_at(frame["session_id"].to_list(), labels, places)[0]
    assert [(one.level, one.n, one.share) for one in told] == [("refund", 30, 0.75), ("answer", 35, 0.875)]
    assert told[1].share_rest == 20 / 160
    assert wrong_at(frame["session_id"].to_list(), labels, places.clear()) == {0: []}
