"""Ticks of durations, windows of time and changes since the window before: worked examples."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from dashboard import human
from dashboard.parts import window
from dashboard.parts.axes import duration_axis, duration_tick
from dashboard.parts.change import SAME, figure, share_figure

NOW = datetime(2026, 11, 21, 6, 0, tzinfo=UTC)


def test_ticks_are_1_2_5_in_human_units() -> None:
    found = duration_axis([120, None, 4_000])
    assert found is not None
    assert found[1] == ["100 ms", "200 ms", "500 ms", "1 s", "2 s", "5 s"]


def test_values_close_together_get_ticks_around_them() -> None:
    found = duration_axis([900, 1_100])
    assert found is not None
    assert found[1] == ["500 ms", "1 s", "2 s"]


def test_nothing_measured_has_no_axis() -> None:
    assert duration_axis([None, 0.0, math.nan]) is None


@pytest.mark.parametrize(
    ("ms", "text"), [(0.5, "0.5 ms"), (200, "200 ms"), (50_000, "50 s"), (120_000, "2 min"), (7_200_000, "2 h")]
)
def test_a_tick_reads_as_a_person_says_it(ms: float, text: str) -> None:
    assert duration_tick(ms) == text


@given(some.lists(some.floats(min_value=1e-4, max_value=1e12), min_size=1))
def test_every_value_is_inside_the_axis(values: list[float]) -> None:
    found = duration_axis(values)
    assert found is not None
    places, texts, (low, high) = found
    assert 1 <= len(places) <= 6
    assert len(texts) == len(places) == len(set(texts))
    assert low <= math.log10(min(values)) <= math.log10(max(values)) <= high


def test_a_window_and_the_one_before_it() -> None:
    day = window.relative("24h")
    assert day.bounds(NOW) == (NOW - timedelta(hours=24), NOW)
    assert day.before(NOW) == {"start": "2026-11-19T06:00:00Z", "end": "2026-11-20T06:00:00Z"}
    assert day.before_words == "the 24 hours before"
    assert window.relative("3650d").before(NOW) is None
    fixed = window.between(NOW - timedelta(hours=2), NOW)
    assert fixed.before(NOW + timedelta(days=9)) == {"start": "2026-11-21T02:00:00Z", "end": "2026-11-21T04:00:00Z"}


@pytest.mark.parametrize("since", ["90d", "3d", "48h", "2w", "custom"])
def test_lengths_that_the_pages_can_show(since: str) -> None:
    assert window.known(since)


@pytest.mark.parametrize("since", [None, "", "banana", "0d", "-3d", "99999d", "3 d", "1e3h", "3d\n"])
def test_lengths_that_they_cannot(since: str | None) -> None:
    assert not window.known(since)


def test_words_of_windows() -> None:
    assert (window.title("3d"), window.title("1h"), window.title("1w")) == ("Last 3 days", "Last hour", "Last week")
    assert window.relative("2w").words == "in the last 2 weeks"


def test_changes_are_relative_and_silent_without_a_before() -> None:
    more = figure("Turns", 120, 100, human.count)
    assert (more.value, more.change, more.direction, more.judged) == ("120", "20%", "up", "off")
    assert figure("Turns", 50, 100, human.count).direction == "down"
    assert {figure("Turns", now, 100, human.count).color for now in (50, 100, 120)} == {"gray"}
    slower, faster = (figure("p95", now, 100, human.duration, judged="inverse") for now in (120, 50))
    assert (slower.color, faster.color) == ("red", "green")
    assert figure("Turns", 1_500, 100, human.count).change == "15×"
    assert figure("Turns", 100, 100, human.count).change == SAME
    assert figure("Turns", 0, 0, human.count).change == SAME
    assert figure("Turns", 5, 0, human.count).change is None
    assert figure("Turns", 5, None, human.count).change is None
    assert figure("Cost", None, 5, human.usd).value == human.UNKNOWN


def test_a_share_changes_in_points() -> None:
    worse = share_figure("Errors", (5, 100), (2, 100))
    assert (worse.value, worse.change, worse.direction, worse.judged) == ("5.0%", "3.0 pts", "up", "inverse")
    assert (worse.color, share_figure("Errors", (2, 100), (5, 100)).color) == ("red", "green")
    assert share_figure("Errors", (5, 100), (0, 0)).change is None
    assert share_figure("Errors", (5, 100), None).change is None


def test_zones_are_named_with_their_offset() -> None:
    assert human.zone_name(human.zone("Europe/Berlin"), NOW.astimezone(human.zone("Europe/Berlin"))) == (
        "Europe/Berlin (UTC+1)"
    )
    assert human.zone_name(human.zone(None), NOW) == "UTC"
    newfoundland = human.zone("America/St_Johns")
    assert human.offset(NOW.astimezone(newfoundland)) == "UTC-3:30"


@pytest.mark.parametrize(("since", "words"), [("2y", "in the last 2 years"), ("1y", "in the last year")])
def test_a_window_may_be_years(since: str, words: str) -> None:
    assert window.known(since)
    assert window.relative(window.ALIASES.get(since, since)).words == words
    assert not window.known("11y")
    assert window.relative(window.ALIASES["all"]).endless
