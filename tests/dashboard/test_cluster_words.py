"""What the pages say of clusters in words and places: pure, and never a number that is not known."""

from __future__ import annotations

import math

import pytest

from dashboard.parts import cluster_map
from dashboard.parts import cluster_words as words

FAILING = {
    "failure_rate": 0.4,
    "failure_low": 0.3,
    "failure_high": 0.5,
    "rest_rate": 0.1,
    "n_failed": 40,
    "n_known": 100,
    "n_sessions": 120,
    "rest_n_known": 900,
    "rest_n_sessions": 1000,
    "fails_more": True,
}


def test_failures_beyond_the_rest_are_counted_on_the_sessions_whose_end_is_known() -> None:
    assert words.beyond(FAILING) == pytest.approx(30)
    assert words.worse(FAILING)
    assert words.note(FAILING) == "about 30 failures more than in as many other sessions"


def test_what_is_not_known_stays_unknown_and_is_never_zero() -> None:
    blank = {
        "failure_rate": None,
        "failure_low": None,
        "failure_high": None,
        "rest_rate": 0.1,
        "n_failed": 0,
        "n_known": 0,
    }
    assert words.beyond(blank) is None
    assert not words.worse(blank)
    assert words.failing(blank) == "not known how they ended"
    assert words.percent(None) == words.percent(math.nan) == words.times(None) == "–"
    assert words.q_value(None) == "q not known"


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"rate_ratio": 3.14, "low": 1.92, "high": 4.81}, "×3.1 (×1.9 to ×4.8)"),
        ({"rate_ratio": 3.14, "low": 1.92, "high": None}, "×3.1 (at least ×1.9)"),
        ({"rate_ratio": 0.42, "low": None, "high": None}, "×0.42"),
        ({"rate_ratio": math.inf, "low": 12.0, "high": math.inf}, "×∞ (at least ×12.0)"),
    ],
)
def test_a_ratio_is_told_with_its_interval(found: dict[str, float], said: str) -> None:
    assert words.ratio(found) == said


def test_a_rate_of_few_sessions_says_so_and_has_no_colour_of_health() -> None:
    few = FAILING | {
        "rest_rate": 1.0,
        "rest_n_known": 4,
        "rest_n_sessions": 956,
        "rest_scarce": True,
        "fails_more": None,
    }
    assert words.known_of(few) == "known of 100 of 120 sessions"
    assert words.rest_known_of(few) == "known of 4 of 956 sessions"
    assert words.of_known(few, "rest_n_known", "rest_n_sessions") == "4 of 956"
    assert not words.worse(few)
    assert words.note(few) == ""
    assert words.failure_rate(None) == "not known"
    assert words.failure_rate(1.0) == "100.0%"


def test_the_map_gives_a_rate_of_few_sessions_no_colour() -> None:
    legend = cluster_map._rate_legend([None, 0.4], 0.4, "#888888")
    assert [one["name"] for one in legend] == ["0.0% fail", "20.0% fail", "40.0% fail", "known of too few"]
    assert [one["name"] for one in cluster_map._rate_legend([None], 1.0, "#888888")] == ["known of too few"]


def test_small_shares_and_q_values_keep_a_digit() -> None:
    assert words.percent(0.0004) == "0.04%"
    assert words.q_value(0.0123) == "q 0.012"
    assert words.q_value(0.00005) == "q 0.00005"
    assert words.q_value(1e-9) == "q < 0.000001"


def test_the_map_keeps_its_shape_and_leaves_far_points_to_zooming() -> None:
    x, y = [0.0, 10.0, *[5.0] * 998, 9_000.0], [0.0, 20.0, *[10.0] * 998, 10.0]
    places = cluster_map.placed(x, y)
    (x0, y0), (x1, y1) = places[0], places[1]
    assert (y0 - y1) == pytest.approx(2 * (x1 - x0))  # one scale, y downwards
    assert cluster_map.box(places)[2] < places[-1][0]
    assert cluster_map.placed([], []) == []
    assert cluster_map.placed([3.0], [4.0]) == [(0.0, 0.0)]


def test_clusters_near_each_other_get_different_hues() -> None:
    centre = [(0.0, 0.0), (1.0, 0.0), (2.0, 0.0), (100.0, 0.0)]
    near = cluster_map.hues(centre[:3], 3)
    assert sorted(near) == [0, 1, 2]
    assert cluster_map.hues(centre, 3)[3] == near[0]  # that whose bearer is farthest


@pytest.mark.parametrize(
    "told", [None, 3, "", "{}", '{"points": "x"}', '{"serial": 1, "stamp": "a", "points": [null]}']
)
def test_what_a_browser_sends_may_be_anything(told: object) -> None:
    assert cluster_map.read(told) is None


def test_how_long_new_sessions_waited_is_said_where_one_was_placed() -> None:
    assert words.lag({"lag_ms": 12_000.0}) == "New sessions placed within 12.0 s of their end."
    assert words.trend_said([{"day": "2026-09-21", "n": 9, "n_failed": 2, "n_known": 4}]) == (
        "9 sessions, 2 failed of 4 that are known, in the 1 day shown"
    )
    assert words.lag({"lag_ms": None}) == words.lag({}) == ""
