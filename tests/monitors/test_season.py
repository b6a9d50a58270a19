"""Hours of the week: learned, shrunk to the hour of the day, by whose clock, and over the change of clocks."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from core.errors import InvalidInput
from monitors.bands.ema import EmaBand
from monitors.bands.seasonal import Season
from monitors.calibration import k_for
from monitors.records import Points, Status

HOUR_NS = 3600 * 10**9
WEEK = 168
MONDAY = int(datetime(2026, 3, 9, tzinfo=UTC).timestamp()) // 3600  # Berlin's clocks change on the 29th, 1 h UTC
K = k_for(0.05, 370.0)


def height(hour: int, tz: str) -> float:
    local = datetime.fromtimestamp(hour * 3600, ZoneInfo(tz))
    return float(3 * np.sin(2 * np.pi * (local.hour - 8) / 24) - 2 * (local.weekday() >= 5))


def run(
    season: Season | None, weeks: int, *, s: int = 120, tz: str = "UTC", lost: float = 0.0, k: float = K
) -> tuple[np.ndarray, np.ndarray]:
    """By hour: breaches and judged points, of series in which nothing happens but the season."""
    band, chance = EmaBand(alpha=0.05, k=k, season=season), np.random.default_rng(1)
    state = band.start(s)
    breaches, judged_points = np.zeros(weeks * WEEK), np.zeros(weeks * WEEK)
    for t in range(weeks * WEEK):
        x = chance.normal(10 + height(MONDAY + t, tz), 1.0, s)
        x = np.where(chance.random(s) < lost, np.nan, x)
        state, judged = band.step(state, Points.of((MONDAY + t) * HOUR_NS, x))
        breaches[t] = (judged.breach != 0).sum()
        judged_points[t] = (judged.status % 3 == Status.OK).sum()
    return breaches, judged_points


def times_chosen(breaches: np.ndarray, points: np.ndarray, hours: slice) -> float:
    return float(breaches[hours].sum() / points[hours].sum() * 370.0)


def test_with_a_daily_and_weekly_season_it_alarms_as_seldom_as_without() -> None:
    """At most one and a half times as often as chosen from the fourth week on, a twentieth of the hours missing."""
    breaches, points = run(Season(step_s=3600), 6, lost=0.05)
    assert times_chosen(breaches, points, slice(3 * WEEK, None)) < 1.5
    assert points[:48].sum() == 0


def test_without_the_season_the_band_is_as_wide_as_the_day() -> None:
    """It seldom fires, and misses a fall of five sigma that the seasonal one sees."""
    chance = np.random.default_rng(2)
    for season, sees in ((Season(step_s=3600), True), (None, False)):
        band = EmaBand(alpha=0.05, k=K, season=season)
        state = band.start(60)
        for t in range(4 * WEEK):
            x = chance.normal(10 + height(MONDAY + t, "UTC"), 1.0, 60)
            state, _ = band.step(state, Points.of((MONDAY + t) * HOUR_NS, x))
        t = 4 * WEEK + 14  # Monday, at the height of the day
        hits = np.zeros(60, dtype=bool)
        for later in range(3):
            x = chance.normal(10 + height(MONDAY + t + later, "UTC") - 5.0, 1.0, 60)
            state, judged = band.step(state, Points.of((MONDAY + t + later) * HOUR_NS, x))
            hits |= judged.breach < 0
        assert (hits.mean() > 0.8) == sees


def test_over_the_change_of_clocks_a_zone_keeps_the_hours_of_its_people() -> None:
    """The week after the clocks changed, of series that go by Berlin's: the zone named, and by UTC, an hour off.

    An hour off is at most .8 sigma of this season, which the moving mean takes up: neither alarms half as much again.
    """
    after = slice(3 * WEEK - 23, None)
    named = times_chosen(*run(Season(step_s=3600, tz="Europe/Berlin"), 4, tz="Europe/Berlin"), after)
    by_utc = times_chosen(*run(Season(step_s=3600), 4, tz="Europe/Berlin"), after)
    assert named < 1.5
    assert by_utc < 1.5


@pytest.mark.parametrize(
    ("moment", "cell"),
    [
        (datetime(2026, 3, 29, 0, tzinfo=UTC), 6 * 24 + 1),
        (datetime(2026, 3, 29, 1, tzinfo=UTC), 6 * 24 + 3),  # two o'clock is not
        (datetime(2026, 10, 25, 0, tzinfo=UTC), 6 * 24 + 2),
        (datetime(2026, 10, 25, 1, tzinfo=UTC), 6 * 24 + 2),  # and here twice
        (datetime(2026, 10, 25, 2, tzinfo=UTC), 6 * 24 + 3),
    ],
)
def test_an_hour_that_is_twice_or_never_has_the_place_of_its_clock(moment: datetime, cell: int) -> None:
    hour = int(moment.timestamp()) // 3600
    assert Season(tz="Europe/Berlin").cell(hour) == cell
    assert Season().cell(hour) == moment.weekday() * 24 + moment.hour


def test_until_days_are_seen_to_differ_the_hour_of_the_day_speaks() -> None:
    """After one week of hours that are alike on each day, Sunday's 12 o'clock is what all days' were."""
    season = Season(step_s=3600)
    state = season.start(1)
    chance = np.random.default_rng(3)
    values = 10 + 3 * np.sin(2 * np.pi * np.arange(WEEK) / 24) + chance.normal(0, 0.5, WEEK)
    for t in range(WEEK + 13):
        state = season.turned(state, (MONDAY + t) * HOUR_NS, np.ones(1, dtype=bool))
        state = season.gathered(state, values[[t % WEEK]], np.ones(1, dtype=bool))
    effect, known, ready = season.effect(state, (MONDAY + WEEK + 12) * HOUR_NS)
    of_days = values[12::24]
    assert known[0]
    assert ready[0]
    own, usual = of_days[0], of_days.mean()
    assert abs(effect[0] - usual) < 0.6 * abs(own - usual) + 0.3
    assert abs(effect[0] - usual) < abs(own - usual) + 1e-9 or abs(own - usual) < 0.1


def test_an_hour_that_was_never_seen_is_not_judged() -> None:
    """An agent that works from nine to five: the first night point has nothing to be compared with."""
    band = EmaBand(alpha=0.1, k=4.3, season=Season(step_s=3600, warm_up_hours=30))
    state = band.start(1)
    for day in range(14):
        for hour in range(9, 17):
            state, judged = band.step(state, Points.of((MONDAY + day * 24 + hour) * HOUR_NS, [10.0 + hour + day % 2]))
    assert judged.one(0).status is Status.OK
    state, night = band.step(state, Points.of((MONDAY + 14 * 24 + 3) * HOUR_NS, [0.0]))
    assert (night.one(0).status, night.one(0).breach) == (Status.WARMING_UP, 0)
    _, morning = band.step(state, Points.of((MONDAY + 14 * 24 + 9) * HOUR_NS, [19.0]))
    assert morning.one(0).status is Status.OK


def test_what_is_no_season_is_refused() -> None:
    for wrong in ({"step_s": 0}, {"step_s": 7200}, {"memory": 0}, {"warm_up_hours": 0}, {"first_shrinkage": 0.0},
                  {"tz": "Mars/Olympus"}, {"tz": "../etc/passwd"}, {"tz": ""}):  # fmt: skip
        with pytest.raises(InvalidInput):
            Season(**wrong)
