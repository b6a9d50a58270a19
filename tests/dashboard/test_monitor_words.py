"""Monitors in words, without a page: units, bands, what hurts most first, what a change changes."""

from __future__ import annotations

from typing import Any

import pytest

from dashboard.parts import monitor_words as words


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (0.7123, "share", "71.2%"),
        (2400.0, "ms", "2.4 s"),
        (0.0123, "usd", "$0.0123"),
        (-0.5, "usd", "-$0.5000"),
        (34_120.0, "tokens", "34.1k"),
        (2.5, "count", "2.5"),
        (0.83333, "", "0.833"),
        (None, "share", "–"),
        (float("nan"), "ms", "–"),
    ],
)
def test_a_value_is_said_in_the_unit_of_its_series(value: float | None, unit: str, said: str) -> None:
    assert words.value(value, unit) == said


def test_a_band_with_one_side_says_which() -> None:
    assert words.band({"low": 0.841, "high": 0.91}, "share") == "84.1% to 91.0%"
    assert words.band({"low": None, "high": 2400.0}, "ms") == "up to 2.4 s"
    assert words.band({"low": 0.5, "high": None}, "share") == "from 50.0%"
    assert words.band({"low": 1.0, "high": 1.0}, "share") == "100.0%"
    assert words.band({}, "share") == "–"


def monitor(name: str, health: str, **given: Any) -> dict[str, Any]:
    definition = {"severity": given.pop("severity", "page")}
    series = [{"z": given.pop("z", 0.0)}]
    return {"name": name, "app": "shop", "health": health, "definition": definition, "series": series, **given}


def test_what_hurts_most_stands_first() -> None:
    found = words.worst_first(
        [
            monitor("off", "off"),
            monitor("calm", "ok", z=0.2),
            monitor("near", "ok", z=-2.9),
            monitor("mute", "firing", silenced={"why": "deploy"}, z=-9.0),
            monitor("ticket", "firing", severity="ticket", z=-8.0),
            monitor("page", "firing", z=-4.0),
            monitor("unknown", "no_data"),
            monitor("soon", "pending"),
        ]
    )
    assert [one["name"] for one in found] == ["page", "ticket", "mute", "soon", "unknown", "near", "calm", "off"]


def test_a_silenced_monitor_says_both() -> None:
    assert words.states(monitor("a", "firing", silenced={"why": "deploy"})) == ["firing", "silenced"]
    assert words.states(monitor("a", "no_data")) == ["no data"]
    assert words.states(monitor("a", "of_a_later_server")) == ["of a later server"]


def test_a_change_says_each_field_before_and_after() -> None:
    before: dict[str, Any] = {
        "series": "resolution",
        "band": {"kind": "ema"},
        "for_points": None,
        "channels": [],
        "renotify_s": 14400,
    }
    after = {**before, "band": {"kind": "ema", "k": 4.0}, "for_points": 3, "channels": ["oncall"], "renotify_s": None}
    assert words.changes(before, after) == [
        ("Band", "moving mean ± k sigma", "moving mean ± k sigma (k 4.0)"),
        ("Breaches in a row to fire", "the band's own", "3"),
        ("Told again after", "4 h 00 m", "never"),
        ("Channels", "nobody", "oncall"),
    ]
    assert words.changes(before, dict(before)) == []


def test_how_many_false_pages_is_said_so_that_one_can_picture_it() -> None:
    assert words.weekly(0.1) == "0.1 a week (one in 10 weeks)"
    assert words.weekly(2.0) == "2 a week"
    assert words.weekly(None) == "not known"


def test_when_it_fires_names_the_side_and_the_bands_own_number() -> None:
    assert words.when({"direction": "down", "band": {"kind": "ema"}}) == "2 points in a row below its band"
    assert words.when({"direction": "up", "band": {"kind": "zero"}}) == "1 point above its band"
    assert words.when({"direction": "both", "for_points": 3}) == "3 points in a row on either side of its band"
