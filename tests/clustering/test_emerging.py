"""Emerging failures: the test against scipy's distributions, what it finds, and what it must not."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from clustering.emerging.changed import changed, levels_of_all
from clustering.emerging.counting import born_since, counted
from clustering.emerging.dispersion import GRID, fit, split_likelihood
from clustering.emerging.looks import DAY_NS, HOUR_NS, MONDAY_NS, WEEK_NS, look, week_of_json
from clustering.emerging.predictive import Pair, lower_bound, tails, upper_bound
from clustering.emerging.records import Counts, Design, Kind, Untested
from clustering.emerging.testing import find
from core.errors import InvalidInput

PHI = 0.1


def pair(now: int, before: int, *, phi: float = 1e-9, periods: int = 4, length: float = 1.0) -> Pair:
    return Pair(
        now=now, before=before, exposure_now=100.0 * length, exposure=100.0 * periods, periods=float(periods),
        length_now=length, phi=np.array([phi]), weights=np.ones(1),
    )  # fmt: skip


def weeks(counts: NDArray[np.int64], *, exposure: NDArray[np.float64] | None = None, **also: Any) -> Counts:
    """Counts (K, m + 1), the last week now; all failing sessions of different users."""
    k, m = counts.shape[0], counts.shape[1] - 1
    of = np.full(m + 1, 1000.0) if exposure is None else exposure
    made = Counts(
        cluster_ids=tuple(f"C-{row}" for row in range(k)), now=counts[:, -1], exposure_now=np.full(k, of[-1]),
        history=counts[:, :-1], exposure=np.tile(of[:-1], (k, 1)), n_users=counts[:, -1],
        first_seen_ns=np.zeros(k, dtype=np.int64), born=np.zeros(k, dtype=np.bool_), length_now=np.ones(k),
    )  # fmt: skip
    return replace(made, **also)


def drawn(chance: np.random.Generator, mean: NDArray[np.float64], phi: float) -> NDArray[np.int64]:
    factor = chance.gamma(1 / phi, phi, mean.shape) if phi else 1.0
    return np.asarray(chance.poisson(mean * factor))


# --- the test ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("now", "before"), [(9, 12), (30, 80), (0, 5), (7, 0)])
def test_without_dispersion_it_is_the_binomial_of_the_c_test(now: int, before: int) -> None:
    upper, lower = tails(pair(now, before))
    assert upper == pytest.approx(stats.binom.sf(now - 1, now + before, 1 / 5), rel=1e-5)
    assert lower == pytest.approx(stats.binom.cdf(now, now + before, 1 / 5), rel=1e-5)


@pytest.mark.parametrize("now", [2_000, 20_500, 21_500, 30_000])
def test_many_failures_are_summed_in_blocks_as_exactly(now: int) -> None:
    upper, lower = tails(pair(now, 100_000 - now))
    assert upper == pytest.approx(stats.binom.sf(now - 1, 100_000, 1 / 5), rel=0.1, abs=1e-290)
    assert lower == pytest.approx(stats.binom.cdf(now, 100_000, 1 / 5), rel=0.1, abs=1e-290)
    of = stats.betabinom(100_000, 1 / PHI, 4 / PHI)
    assert tails(pair(now, 100_000 - now, phi=PHI))[0] == pytest.approx(of.sf(now - 1), rel=0.001)


@pytest.mark.parametrize(("now", "before"), [(9, 12), (60, 80), (0, 5), (7, 0)])
def test_with_dispersion_it_is_the_beta_binomial(now: int, before: int) -> None:
    upper, lower = tails(pair(now, before, phi=PHI))
    of = stats.betabinom(now + before, 1 / PHI, 4 / PHI)
    assert upper == pytest.approx(of.sf(now - 1), rel=1e-9)
    assert lower == pytest.approx(of.cdf(now), rel=1e-9)


def test_bounds_without_dispersion_are_those_of_clopper_and_pearson() -> None:
    # The share of now p = r e / (r e + E): r = p / (1 - p) * E / e, with p of Clopper, Pearson 1934 for 30 of 110.
    low, high = stats.binomtest(30, 110).proportion_ci(0.95, "exact")
    assert lower_bound(pair(30, 80), 0.025) == pytest.approx(4 * low / (1 - low), rel=1e-4)
    assert upper_bound(pair(30, 80), 0.025) == pytest.approx(4 * high / (1 - high), rel=1e-4)


def test_nothing_before_has_no_upper_bound_and_nothing_now_a_lower_bound_of_zero() -> None:
    assert upper_bound(pair(7, 0, phi=PHI), 0.025) is None
    assert lower_bound(pair(7, 0, phi=PHI), 0.025) > 1
    assert lower_bound(pair(0, 7, phi=PHI), 0.025) == 0
    assert tails(pair(0, 0)) == (1.0, 1.0)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 60), st.integers(0, 120), st.sampled_from([1e-5, 0.05, 1.0]), st.sampled_from([1.0, 0.3]))
def test_the_tails_share_only_the_count_itself_and_more_failures_are_rarer(
    now: int, before: int, phi: float, length: float
) -> None:
    upper, lower = tails(pair(now, before, phi=phi, length=length))
    assert 0 < upper <= 1
    assert 1 - 1e-9 <= upper + lower <= 2
    total = now + before
    if now < total:
        assert tails(pair(now + 1, before - 1, phi=phi, length=length))[0] <= upper
    assert tails(pair(now, before, phi=phi), 2.0)[0] >= tails(pair(now, before, phi=phi), 1.0)[0] - 1e-12


# --- dispersion -------------------------------------------------------------------------------------------------------


def test_the_likelihood_is_the_dirichlet_multinomial() -> None:
    history = np.array([[12, 30, 8, 25]])
    found = split_likelihood(history, np.ones((1, 4)))[0]
    for at in (20, 60, 80):
        of = stats.dirichlet_multinomial(np.full(4, 1 / GRID[at]), np.array(75))
        assert found[at] == pytest.approx(of.logpmf(history[0]), abs=1e-6)


def test_exposures_that_grow_with_traffic_are_no_dispersion() -> None:
    chance, exposure = np.random.default_rng(3), np.array([500.0, 1000.0, 2000.0, 4000.0])
    mean = np.tile(exposure / 50, (150, 1))
    calm = fit(drawn(chance, mean, 0.0), np.tile(exposure, (150, 1)), np.zeros(150, np.int64), np.zeros(150))
    rough = fit(drawn(chance, mean, PHI), np.tile(exposure, (150, 1)), np.zeros(150, np.int64), np.zeros(150))
    assert calm.shared.value < 0.02
    assert 0.08 < rough.shared.value < 0.14
    assert rough.shared.low < PHI < rough.shared.high


def test_clusters_that_grew_in_their_history_move_what_is_shared_little() -> None:
    counts = drawn(np.random.default_rng(4), np.full((150, 4), 20.0), 0.05)
    clean = fit(counts, np.ones((150, 4)), counts[:, 0], np.ones(150)).shared.value
    counts[:5, 2:] *= 8
    assert fit(counts, np.ones((150, 4)), counts[:, 0], np.ones(150)).shared.value < clean + 0.05


def test_drift_is_seen_by_holding_the_last_week_against_those_before() -> None:
    chance = np.random.default_rng(5)
    mean = 100 * np.exp(np.cumsum(chance.normal(0, 0.3, (200, 4)), axis=1))
    shared = fit(drawn(chance, mean, 0.0), np.ones((200, 4)), np.ones(200, np.int64), np.ones(200)).shared
    assert "last week" in shared.by
    assert shared.value > 0.06  # weeks as exchangeable would say .075 at most; the next is .17 away, the last was .14


# --- finding ----------------------------------------------------------------------------------------------------------


def test_planted_growth_is_found_and_told_with_both_numbers() -> None:
    mean = np.full((150, 5), 20.0)
    mean[:5, -1] *= 3
    found = find(weeks(drawn(np.random.default_rng(6), mean, 0.0)), Design())
    assert {one.cluster_id for one in found.findings} == {f"C-{row}" for row in range(5)}
    assert found.n_tested == found.n_clusters == 150
    for one in found.findings:
        assert one.kind is Kind.GROWING
        assert 1.5 < one.at_least < one.rate_ratio
        assert one.high is not None
        assert one.low < 3 < one.high
        assert one.rate_ratio == pytest.approx(one.n / one.expected)
        assert one.p_value <= one.q_value <= 0.05
        assert f"{one.n} failing sessions of {one.n_users} users" in one.text
    assert json.loads(json.dumps(found.as_json()))["findings"][0]["kind"] == "growing"


@pytest.mark.parametrize("phi", [0.0, PHI])
def test_of_quiet_weeks_few_show_anything(phi: float) -> None:
    chance = np.random.default_rng(7)
    told = [bool(find(weeks(drawn(chance, np.full((60, 5), 20.0), phi)), Design()).findings) for _ in range(40)]
    assert sum(told) <= 5  # at 5% more have a chance of .014, at its measured 3% of .002


def test_growth_of_traffic_is_no_growth_of_failures() -> None:
    exposure = np.array([1000.0, 1000, 1000, 1000, 5000])
    counts = drawn(np.random.default_rng(8), np.tile(exposure / 50, (60, 1)), 0.0)
    found = find(weeks(counts, exposure=exposure), Design())
    assert found.findings == ()
    assert found.overall_ratio == pytest.approx(1.0, abs=0.1)
    assert len(find(weeks(counts), Design()).findings) > 50  # the same counts, were traffic not five times as much


def test_one_user_alone_raises_nothing() -> None:
    counts = np.full((20, 5), 20)
    counts[0, -1] = 200
    alone = weeks(counts, n_users=np.where(np.arange(20) == 0, 4, 20))
    assert find(alone, Design()).findings == ()
    assert [one.cluster_id for one in find(weeks(counts), Design()).findings] == ["C-0"]


def test_growth_below_the_minimum_effect_raises_nothing_however_sure() -> None:
    counts = np.full((20, 5), 20_000)
    counts[0, -1] = 28_000
    assert find(weeks(counts), Design(min_ratio=1.5)).findings == ()
    assert [one.cluster_id for one in find(weeks(counts), Design(min_ratio=1.2)).findings] == ["C-0"]


def test_what_has_no_history_at_all_is_not_tested_and_a_first_failure_is_new() -> None:
    counts = np.full((20, 5), 20)
    counts[0] = [0, 0, 0, 0, 40]
    [one] = find(weeks(counts), Design()).findings
    assert (one.kind, one.high, one.n_before, one.expected) == (Kind.NEW, None, 0, 0.0)
    assert one.rate_ratio == pytest.approx(40.5 / 0.5 * 4)
    assert math.isfinite(one.low)
    counts[:, :-1] = 0
    young = find(weeks(counts, exposure=np.array([0.0, 0, 0, 0, 1000])), Design())
    assert (young.findings, young.n_tested, young.dispersion) == ((), 0, None)
    assert young.untested == {Untested.NO_HISTORY: 20}


def test_with_one_cluster_and_one_week_the_prior_keeps_it_from_being_sure() -> None:
    assert find(weeks(np.array([[20, 60]])), Design()).findings == ()
    assert len(find(weeks(np.array([[20, 2_000]])), Design()).findings) == 1


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(12)))
def test_the_order_of_clusters_does_not_matter(order: list[int]) -> None:
    counts = np.random.default_rng(9).poisson(20, (12, 5))
    counts[0, -1] = 90
    names = tuple(f"C-{row}" for row in order)
    plain, mixed = find(weeks(counts), Design()), find(weeks(counts[list(order)], cluster_ids=names), Design())
    assert [one.cluster_id for one in mixed.findings] == [one.cluster_id for one in plain.findings] == ["C-0"]
    assert mixed.findings[0].q_value == pytest.approx(plain.findings[0].q_value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"now": np.array([1, 2, 3])},
        {"now": np.array([-1, 2])},
        {"exposure_now": np.array([np.nan, 1.0])},
        {"exposure_now": np.array([0.0, 1.0])},
        {"length_now": np.array([0.0, 1.0])},
        {"cluster_ids": ("C-1", "C-1")},
        {"history": np.ones((2, 3), np.int64)},
    ],
)
def test_counts_that_are_none_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        weeks(np.full((2, 5), 20), **wrong)


@pytest.mark.parametrize("wrong", [{"fdr": 0.0}, {"min_ratio": 0.5}, {"level": 1.0}, {"min_users": -1}])
def test_rules_that_are_none_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        Design(**wrong)


# --- looks ------------------------------------------------------------------------------------------------------------


def test_the_looks_of_a_week_spend_no_more_than_all_of_its_error() -> None:
    week, spent = None, 0.0
    for hour in range(168):
        at = MONDAY_NS + 40 * WEEK_NS + hour * HOUR_NS
        for nightly in (hour % 24 == 3, False, False):
            taken = look(at + 60 * 10**9, week, nightly=nightly)
            spent, week = spent + taken.share, week_of_json(json.loads(json.dumps(taken.week.as_json())))
    assert spent == pytest.approx(1.0)
    assert look(MONDAY_NS + 41 * WEEK_NS, week, nightly=True).week.nights == {0}


def test_a_second_night_of_a_day_has_an_hours_share_and_a_second_of_an_hour_none() -> None:
    first = look(MONDAY_NS + DAY_NS, None, nightly=True)
    second = look(MONDAY_NS + DAY_NS, first.week, nightly=True)
    third = look(MONDAY_NS + DAY_NS, second.week, nightly=True)
    assert first.share > second.share > third.share == 0
    counts = np.full((20, 5), 20)
    counts[0, -1] = 200
    told = find(weeks(counts), Design(), share=0.0, before={"C-0": 0.3})
    assert (told.findings, told.least) == ((), {"C-0": 0.3})


def test_what_a_week_has_seen_is_kept_and_only_falls() -> None:
    counts = np.full((20, 5), 20)
    counts[0, -1] = 90
    first = find(weeks(counts), Design(), share=0.1)
    quiet = find(weeks(np.full((20, 5), 20)), Design(), share=0.1, before=first.least)
    assert quiet.least["C-0"] == first.least["C-0"] == pytest.approx(10 * first.findings[0].p_value)
    assert quiet.findings == ()  # nothing grew by the counts of this look


# --- counts -----------------------------------------------------------------------------------------------------------


def daily(rows: Sequence[tuple[str | None, str, int, int]]) -> pl.DataFrame:
    names = ("cluster_id", "day", "n_failed", "n_known")
    return pl.DataFrame(
        rows, schema=dict(zip(names, (pl.String, pl.String, pl.Int64, pl.Int64), strict=True)), orient="row"
    )


def test_days_become_periods_and_the_whole_app_is_the_exposure() -> None:
    rows = daily([
        ("C-1", "2026-03-08", 5, 9), (None, "2026-03-08", 1, 40), ("C-1", "2026-03-02", 2, 3),
        ("C-1", "2026-03-09", 7, 9), ("C-1", "2026-03-01", 4, 8), (None, "2026-02-22", 0, 30),
        ("C-2", "2026-02-15", 3, 6), ("C-2", "2026-02-01", 9, 9),
    ])  # fmt: skip
    told = counted(rows, end=date(2026, 3, 9), n_users={"C-1": 6}, first_seen_ns={"C-1": 1, "C-2": 2}, n_periods=3)
    assert told.cluster_ids == ("C-1", "C-2")
    assert told.now.tolist() == [7, 0]
    assert told.exposure_now.tolist() == [52, 52]
    assert told.history.tolist() == [[0, 0, 4], [3, 0, 0]]
    assert told.exposure.tolist() == [[6, 30, 8], [6, 30, 8]]
    assert told.n_users.tolist() == [6, 0]


def test_a_cluster_is_not_held_against_days_before_it_was_looked_for() -> None:
    days = [f"2026-03-{day:02d}" for day in range(1, 29)]
    rows = daily([("C-1", day, 3, 3) for day in days[14:]] + [(None, day, 0, 50) for day in days])
    asked: dict[str, Any] = {
        "n_users": {"C-1": 9},
        "first_seen_ns": {"C-1": 0},
        "n_periods": 3,
        "end": date(2026, 3, 29),
    }
    week_old = {"C-1": (date(2026, 3, 15), date(2026, 3, 22))}
    assert counted(rows, **asked, found_in=week_old).exposure.tolist() == [[0, 0, 371]]
    fresh = counted(rows, **asked, found_in={"C-1": (date(2026, 3, 20), date(2026, 3, 27))})
    assert find(fresh, Design()).untested == {Untested.NO_HISTORY: 1}


def test_what_was_found_today_is_counted_by_what_came_after() -> None:
    start, found = 30 * DAY_NS, 37 * DAY_NS
    at = [
        *range(2 * DAY_NS, 30 * DAY_NS, HOUR_NS),
        *range(start, found, HOUR_NS),
        *range(found, found + DAY_NS, HOUR_NS),
    ]
    sessions = pl.DataFrame({
        "at_ns": at, "failed": [True] * len(at), "inside": [one >= start for one in at],
        "user": [one // HOUR_NS for one in at],
    })  # fmt: skip
    one = born_since("C-9", sessions, found_ns=(start, found), until_ns=found + DAY_NS)
    assert (one.now, one.exposure_now, one.n_users) == (24, 24.0, 24)
    assert (one.history, one.exposure) == ([0, 0, 0, 0], [168.0] * 4)
    assert one.length_now == pytest.approx(1 / 7)
    assert one.first_seen_ns == start
    rows = daily([("C-1", f"1970-01-{day:02d}", 1, 2) for day in range(4, 32)] + [("C-1", "1970-02-06", 1, 2)])
    told = counted(rows, end=date(1970, 2, 8), n_users={}, first_seen_ns={"C-1": 0, "C-9": 0}, born=[one])
    assert told.cluster_ids == ("C-1", "C-9")
    assert [(each.cluster_id, each.kind) for each in find(told, Design()).findings] == [("C-9", Kind.NEW)]
    with pytest.raises(InvalidInput):
        counted(rows, end=date(1970, 2, 8), n_users={}, first_seen_ns={}, born=[one], n_periods=2)


# --- what changed -----------------------------------------------------------------------------------------------------


def test_the_release_that_rose_is_named_first_with_its_shares() -> None:
    ids = [str(one) for one in range(300)]
    before = pl.DataFrame({"session_id": ids[:80], "cluster_id": ["C-1"] * 80})
    now = pl.DataFrame({
        "session_id": ids[80:], "cluster_id": ["C-1"] * 60 + ["C-2"] * 100 + [None] * 60,
        "failed": [True] * 60 + [False] * 100 + [None] * 60,
    })  # fmt: skip
    model = ["m" if one % 2 else "n" for one in range(300)]
    new = {*range(2), *range(80, 136), *range(140, 190)}  # of the release: 2 of 80, 56 of 60, 50 of 160
    levels = pl.DataFrame({
        "session_id": [str(one) for one in range(300)] * 2,
        "kind": ["release"] * 300 + ["model"] * 300,
        "name": ["2.4" if one in new else "2.3" for one in range(300)] + model,
        "at_ns": [one * HOUR_NS for one in range(300)] * 2,
    })  # fmt: skip
    every = levels_of_all(now, before, levels)
    [first] = changed(*every.of("C-1"))
    assert (first.kind, first.name, first.at_ns) == ("release", "2.4", 0)
    assert (first.share_before, first.share_after, first.share_rest) == (2 / 80, 56 / 60, 50 / 160)
    assert first.log_odds == pytest.approx(math.log(56.5 * 78.5 / (4.5 * 2.5)))
    assert 0 < first.low < first.log_odds < first.high
    assert "release 2.4: 93% of the failing sessions, 2% before; 31% of the app's others now" in first.text
    counts, totals = every.of("C-2")  # nothing of it failed; C-1's are among its rest
    assert counts.filter(pl.col("name") == "2.4").select("before", "after", "rest").rows() == [(0, 0, 56)]
    assert totals["release"] == (0, 0, 120)
    assert changed(*every.of("C-3")) == ()


def test_without_a_before_the_rest_is_what_it_is_held_against() -> None:
    levels = pl.DataFrame(
        {"kind": ["tool"], "name": ["refund"], "before": [1], "after": [30], "rest": [20], "at_ns": [None]}
    )
    [one] = changed(levels, {"tool": (1, 30, 400)})
    assert one.share_before is None
    assert one.low > 0
    assert changed(levels, {"tool": (1, 30, 3)}) == ()
    assert changed(levels, {}) == ()
