"""Silences: once, every week by the clock on the wall through its changes, and none that goes on for ever."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.clock import NS_PER_S, to_ns
from core.errors import InvalidInput
from core.windows import Window
from monitors.alert_records import Severity
from monitors.silences import DAYS, MOST_IN_FORCE, Matcher, Silence, Subject, Weekly, checked, silenced, stretches

DAY_NS = 86_400 * NS_PER_S
SUBJECT = Subject(app="shop", monitor="resolution", series="resolution/v2", severity=Severity.PAGE)
BERLIN = Weekly(days=("sun",), start="02:00", end="04:00", zone="Europe/Berlin")


def utc(text: str) -> int:
    return to_ns(datetime.fromisoformat(text).replace(tzinfo=UTC))


def silence(start: str, end: str, weekly: Weekly | None = None, name: str = "S-1", **kw: object) -> Silence:
    plain = Silence(
        silence_id=name, matcher=Matcher(monitor="resolution"), start_ns=utc(start), end_ns=utc(end), why="deploy",
        weekly=weekly,
    )  # fmt: skip
    return replace(plain, **kw)  # type: ignore[arg-type]


def shown(window: Window) -> tuple[str, str]:
    start, end = (
        f"{datetime.fromtimestamp(ns / NS_PER_S, UTC):%m-%d %H:%M}" for ns in (window.start_ns, window.end_ns)
    )
    return start, end


def test_a_silence_is_half_open_and_can_be_ended() -> None:
    one = silence("2026-11-22T10:00", "2026-11-22T12:00")
    assert not one.active(one.start_ns - 1)
    assert one.active(one.start_ns)
    assert not one.active(one.end_ns)
    ended = replace(one, ended_ns=utc("2026-11-22T11:00"))
    assert not ended.active(utc("2026-11-22T11:30"))
    assert [w.end_ns for w in ended.windows(Window(start_ns=0, end_ns=2**62))] == [utc("2026-11-22T11:00")]


@pytest.mark.parametrize(
    ("matcher", "meant"),
    [
        (Matcher(), True), (Matcher(app="shop"), True), (Matcher(app="other"), False),
        (Matcher(monitor="resolution", severity=Severity.TICKET), False),
        (Matcher(app="shop", monitor="resolution", series="resolution/v2", severity=Severity.PAGE), True),
        (Matcher(series="resolution"), False),
    ],
)  # fmt: skip
def test_every_part_that_is_named_has_to_match(matcher: Matcher, meant: bool) -> None:
    assert matcher.matches(SUBJECT) is meant


def test_of_several_the_one_that_lasts_longest_is_named() -> None:
    some = [
        silence("2026-11-22T10:00", f"2026-11-22T{end}:00", name=f"S-{i}") for i, end in enumerate((12, 14, 13))
    ]  # fmt: skip
    found = silenced(some, SUBJECT, utc("2026-11-22T11:00"))
    assert found is not None
    assert found.silence_id == "S-1"
    assert silenced(some, replace(SUBJECT, monitor="latency"), utc("2026-11-22T11:00")) is None
    assert silenced(some, SUBJECT, utc("2026-11-22T15:00")) is None


# --- every week, and daylight saving --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weekly", "day", "wanted"),
    [
        (BERLIN, "2026-03-22", ("03-22 01:00", "03-22 03:00")),
        # 29 March 2026: the clock goes from 2 to 3; 2:00 is the moment of the change, 4:00 one hour later
        (BERLIN, "2026-03-29", ("03-29 01:00", "03-29 02:00")),
        # 25 October 2026: from 3 back to 2; the first 2:00 to 4:00 are three hours
        (BERLIN, "2026-10-25", ("10-25 00:00", "10-25 03:00")),
        (replace(BERLIN, start="02:15", end="02:45"), "2026-03-29", None),  # an hour that does not come
        (replace(BERLIN, start="01:30", end="02:30"), "2026-03-29", ("03-29 00:30", "03-29 01:00")),
        (replace(BERLIN, start="02:15", end="02:45"), "2026-10-25", ("10-25 00:15", "10-25 01:45")),  # both times
        (replace(BERLIN, start="23:00", end="03:30"), "2026-03-29", ("03-29 21:00", "03-30 01:30")),
        (Weekly(days=("sun",), start="02:00", end="04:00"), "2026-03-29", ("03-29 02:00", "03-29 04:00")),
        # half an hour of daylight saving, 4 October 2026
        (replace(BERLIN, zone="Australia/Lord_Howe"), "2026-10-04", ("10-03 15:30", "10-03 17:00")),
        # Samoa had no 30 December 2011
        (Weekly(days=("fri",), start="02:00", end="04:00", zone="Pacific/Apia"), "2011-12-30", None),
    ],
)
def test_a_window_is_by_the_clock_on_the_wall(weekly: Weekly, day: str, wanted: tuple[str, str] | None) -> None:
    found = weekly.on(datetime.fromisoformat(day).date())
    assert (found and shown(found)) == wanted


def test_windows_of_a_year_come_every_week_at_the_same_time_of_the_wall() -> None:
    year = silence("2026-01-01T00:00", "2027-01-01T00:00", BERLIN)
    found = [shown(one) for one in year.windows(Window(start_ns=year.start_ns, end_ns=year.end_ns))]
    assert len(found) == 52
    assert len({one for _, one in found}) == 52
    summer = [one for one in found if one[0].endswith("00:00")]
    assert len(summer) == 30  # from 5 April to 25 October


def test_one_over_midnight_is_found_from_both_days() -> None:
    nightly = Weekly(days=DAYS, start="23:00", end="01:00", zone="America/New_York")
    one = silence("2026-11-01T00:00", "2026-12-01T00:00", nightly)
    assert one.active(utc("2026-11-23T04:30"))  # 23:30
    assert one.active(utc("2026-11-23T05:30"))  # 0:30
    assert not one.active(utc("2026-11-23T06:00"))


zones = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"])
clocks = st.builds(lambda h, m: f"{h:02}:{m:02}", st.integers(0, 23), st.sampled_from([0, 15, 30]))


@settings(max_examples=60)
@given(zones, st.sets(st.sampled_from(DAYS), min_size=1, max_size=3), clocks, st.integers(1, 20), st.integers(0, 364))
def test_it_is_silent_when_the_wall_says_so(zone: str, days: set[str], start: str, hours: int, day: int) -> None:
    """Beside the hours in which a clock is changed, a look at the wall tells the same."""
    begin = int(start[:2]) * 60 + int(start[3:])
    last = (begin + hours * 60) % 1440
    weekly = Weekly(days=tuple(days), start=start, end=f"{last // 60:02}:{last % 60:02}", zone=zone)
    one = silence("2026-01-01T00:00", "2027-01-01T00:00", weekly)
    for step in range(0, 24 * 60, 45):
        ns = utc("2026-01-01T00:00") + day * DAY_NS + step * 60 * NS_PER_S
        wall = datetime.fromtimestamp(ns / 1e9, ZoneInfo(zone))
        if wall.utcoffset() != datetime.fromtimestamp(ns / 1e9 - 86_400, ZoneInfo(zone)).utcoffset():
            continue  # the day of a change
        minutes = wall.hour * 60 + wall.minute
        today, yesterday = DAYS[wall.weekday()] in days, DAYS[wall.weekday() - 1] in days
        over_midnight = begin + hours * 60 >= 1440
        if over_midnight:
            silent = (today and minutes >= begin) or (yesterday and minutes < last)
        else:
            silent = today and begin <= minutes < last
        assert one.active(ns) is silent
        found = one.windows(Window(start_ns=ns, end_ns=ns + 1))
        assert bool(found) is silent


# --- none for ever --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"days": ()}, {"days": ("sun", "sun")}, {"days": ("sunday",)}, {"start": "2:00"}, {"start": "24:00"},
        {"end": "02:60"}, {"end": "02:00"}, {"zone": "Europe/Atlantis"}, {"zone": "../../etc/passwd"}, {"zone": ""},
        {"days": DAYS, "start": "02:00", "end": "01:00"},  # silent for 23 of 24 hours
        {"days": DAYS, "start": "00:00", "end": "22:30"},
    ],
)  # fmt: skip
def test_windows_that_make_no_sense_or_hardly_end_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        replace(BERLIN, **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        {"end_ns": utc("2026-11-22T10:00")}, {"end_ns": utc("2026-12-23T10:00")}, {"why": "  "},
        {"weekly": BERLIN, "end_ns": utc("2027-12-01T00:00")},
    ],
)  # fmt: skip
def test_silences_without_end_or_reason_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        silence("2026-11-22T10:00", "2026-11-22T12:00", **wrong)  # type: ignore[arg-type]


def test_silences_one_after_the_other_are_one() -> None:
    first = silence("2026-11-01T00:00", "2026-11-28T00:00")
    second = silence("2026-11-28T00:00", "2026-12-10T00:00", name="S-2")
    with pytest.raises(InvalidInput, match="with S-1 nothing would be heard from 2026-11-01 00:00 to 2026-12-10"):
        checked(second, [first])
    assert checked(replace(second, start_ns=utc("2026-11-28T02:00")), [first])
    assert checked(replace(second, matcher=Matcher(monitor="latency")), [first])
    assert checked(second, [replace(first, ended_ns=utc("2026-11-20T00:00"))])


def test_of_a_silence_that_is_wider_or_narrower_what_both_mean_counts() -> None:
    first = silence("2026-11-01T00:00", "2026-11-28T00:00", matcher=Matcher(app="shop"))
    second = silence("2026-11-28T00:00", "2026-12-10T00:00", name="S-2")
    for one, other in ((first, second), (second, first)):
        with pytest.raises(InvalidInput, match="nothing would be heard"):
            checked(one, [other])
    assert Matcher(app="a").both(Matcher(app="b")) is None


def test_no_more_silences_than_can_be_held_against_each_other() -> None:
    some = [
        silence("2026-09-21 10:00", "2026-09-21 12:00", name=f"S-{n}", matcher=Matcher(monitor=f"m{n}"))
        for n in range(MOST_IN_FORCE)
    ]
    one_more = silence("2026-09-21 11:00", "2026-09-21 12:00", name="S-more", matcher=Matcher(monitor="more"))
    with pytest.raises(InvalidInput, match="200 silences are in force"):
        checked(one_more, some)
    assert checked(one_more, some[1:]) is one_more
    later = silence("2026-09-21 12:00", "2026-09-21 13:00", name="S-later", matcher=Matcher(monitor="more"))
    assert checked(later, some) is later


def test_two_weekly_silences_that_take_turns_for_ever_are_refused() -> None:
    days = Weekly(days=DAYS, start="08:00", end="20:00")
    nights = Weekly(days=DAYS, start="20:00", end="08:00")
    first = silence("2026-01-01T00:00", "2026-12-31T00:00", days)
    with pytest.raises(InvalidInput, match="nothing would be heard"):
        checked(silence("2026-01-01T00:00", "2026-12-31T00:00", nights, name="S-2"), [first])
    gap = replace(nights, start="20:15")
    assert checked(silence("2026-01-01T00:00", "2026-12-31T00:00", gap, name="S-2"), [first])


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(1, 30)), max_size=12))
def test_stretches_are_the_same_times_and_do_not_touch(some: list[tuple[int, int]]) -> None:
    found = stretches([Window(start_ns=a, end_ns=a + n) for a, n in some])
    for at in range(132):
        assert any(w.contains(at) for w in found) == any(a <= at < a + n for a, n in some)
    assert all(a.end_ns < b.start_ns for a, b in pairwise(found))
