"""Definitions, the series they name, and the bands they ask for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InvalidInput
from monitors.banding import arl0_of, band_of, expected_of, is_calibrated, point_arl0
from monitors.bands.ema import EmaBand
from monitors.bands.static import StaticBand
from monitors.defaults import DEFAULTS, default_of
from monitors.definition import BandKind, Definition
from monitors.records import Direction, Kind
from monitors.series import BUILT_IN, key_of, series_of
from monitors.slo import Counted, SloBand
from monitors.zero import ZeroBand

PLAIN: dict[str, Any] = {"app": "shop", "series": "resolution"}


def test_what_is_left_out_is_the_default_and_comes_back_from_json() -> None:
    found = Definition.from_json(PLAIN)
    assert (found.direction, found.step, found.band_kind) == (Direction.DOWN, "5m", BandKind.EMA)
    assert found.breaches_in_a_row == found.rules().for_points == 2
    assert Definition.from_json(found.as_json()) == found


@pytest.mark.parametrize("name", [*BUILT_IN, "score:loop_free", "tool_errors:search", "cluster:C-0001"])
def test_every_series_makes_a_monitor_with_a_band(name: str) -> None:
    definition = default_of(name, "shop")
    assert band_of(definition, 3)
    assert Definition.from_json(definition.as_json()) == definition


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"app": " "}, "app"),
        ({"series": "resolutoin"}, "series"),
        ({"series": "score:"}, "series"),
        ({"series": "mix:planets"}, "series"),
        ({"series": 7}, "series"),
        ({"step": "2m"}, "step"),
        ({"by": "planet"}, "by"),
        ({"series": "agreement:kind", "by": "release"}, "by"),
        ({"direction": "sideways"}, "direction"),
        ({"severity": "shout"}, "severity"),
        ({"no_data": "guess"}, "no_data"),
        ({"false_pages_per_week": 0}, "false_pages_per_week"),
        ({"false_pages_per_week": float("nan")}, "false_pages_per_week"),
        ({"false_pages_per_week": True}, "false_pages_per_week"),
        ({"for_points": 0}, "for_points"),
        ({"clear_points": 1.5}, "clear_points"),
        ({"late_s": 60}, "late_s"),
        ({"renotify_s": 5}, "renotify_s"),
        ({"channels": ["on call"]}, "channels"),
        ({"channels": "oncall"}, "channels"),
        ({"guard": "stop"}, "guard"),
        ({"guard": "hold", "by": "variant"}, "guard"),
        ({"band": "ema"}, "band"),
        ({"band": {"kind": "magic"}}, "band"),
        ({"band": {"kind": "ema", "alhpa": 0.1}}, "band"),
        ({"band": {"kind": "ema", "alpha": 2}}, "alpha"),
        ({"band": {"kind": "ema", "tz": "Mars/Olympus"}}, "tz"),
        ({"band": {"kind": "slo"}}, "band"),
        ({"band": {"kind": "static"}}, "band"),
        ({"band": {"kind": "static", "low": "x"}}, "band"),
        ({"band": {"kind": "static", "low": 0.5, "least_n": None}}, "band"),
        ({"series": "traffic", "band": {"kind": "distribution"}}, "band"),
        ({"series": "mix:release"}, "band"),
        ({"series": "mix:release", "band": {"kind": "distribution", "window_s": 0}}, "band"),
        ({"colour": "red"}, "colour"),
        ({"for_points": float("nan")}, "for_points"),
        ({"for_points": 10**15}, "for_points"),
        ({"clear_points": float("inf")}, "clear_points"),
        ({"renotify_s": 10**400}, "renotify_s"),
        ({"late_s": float("nan")}, "late_s"),
        ({"app": "a\nb"}, "app"),
        ({"owner": "\ud800"}, "owner"),
        ({"series": "score:\ud800"}, "series"),
        ({"by": "attribute:\0"}, "by"),
        ({"band": {"kind": "ema", "k": float("nan")}}, "band"),
        ({"band": {"kind": "ema", "warm_up": 10**20}}, "band"),
        ({"band": {"kind": "ema", "season": [1]}}, "band"),
        ({"series": "mix:release", "band": {"kind": "distribution", "window_s": float("nan")}}, "band"),
    ],
)
def test_what_cannot_be_names_its_field(wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        band_of(Definition.from_json({**PLAIN, **wrong}))
    assert raised.value.field == field


@pytest.mark.parametrize("more", [{"for_points": 500}, {"band": {"kind": "ema", "k": 1e9}, "for_points": 90}])
def test_however_many_in_a_row_are_asked_for_the_false_alarms_are_told(more: dict[str, Any]) -> None:
    definition = Definition.from_json({**PLAIN, **more})
    assert band_of(definition)
    found, _ = expected_of(definition, 1)
    assert found is not None
    assert 0 <= found <= definition.false_pages_per_week


def test_a_width_that_is_null_was_not_given() -> None:
    null = Definition.from_json({**PLAIN, "band": {"kind": "ema", "k": None}})
    assert is_calibrated(null)
    assert expected_of(null, 1) == expected_of(Definition.from_json(PLAIN), 1)


def test_the_budget_is_divided_over_series_and_points() -> None:
    one = Definition.from_json({**PLAIN, "false_pages_per_week": 0.5})
    assert arl0_of(one, 1) == pytest.approx(2016 / 0.5)
    assert arl0_of(one, 10) == pytest.approx(10 * 2016 / 0.5)
    narrow, wide = (band_of(one, n) for n in (1, 50))
    assert isinstance(narrow, EmaBand)
    assert isinstance(wide, EmaBand)
    assert narrow.k < wide.k


@settings(deadline=None)
@given(st.floats(400, 1e7), st.integers(2, 4))
def test_so_many_in_a_row_come_as_rarely_as_was_asked_for(arl0: float, in_a_row: int) -> None:
    single = point_arl0(arl0, in_a_row)
    p = 1 / single
    wait = (p**-in_a_row - 1) / (1 - p)
    assert single <= arl0
    assert wait == pytest.approx(arl0, rel=1e-6) or (single == 20 and wait >= arl0)


def test_bands_know_which_side_is_bad() -> None:
    slo = {"band": {"kind": "slo", "objective": 0.9}}
    good = band_of(Definition.from_json({**PLAIN, **slo}))
    bad = band_of(Definition.from_json({"app": "shop", "series": "error_rate", **slo}))
    assert isinstance(good, SloBand)
    assert isinstance(bad, SloBand)
    assert (good.counted, bad.counted) == (Counted.GOOD, Counted.BAD)
    zero = band_of(default_of("safety", "shop"))
    assert isinstance(zero, ZeroBand)
    assert zero.counted is Counted.GOOD


def test_a_mix_has_one_edge_the_chance_that_its_budget_allows() -> None:
    band = band_of(default_of("mix:release", "shop"))
    assert isinstance(band, StaticBand)
    assert band.high == pytest.approx(3.2253, abs=1e-4)  # log10 of 168 points a week / 0.1


def test_scores_are_of_the_kind_that_their_evaluator_says() -> None:
    kinds = {name: series_of(f"score:{name}").kind for name in ("loop_free", "trigram_support", "latency_ms", "mine")}
    assert kinds == {
        "loop_free": Kind.RATE, "trigram_support": Kind.LEVEL, "latency_ms": Kind.POSITIVE, "mine": Kind.LEVEL,
    }  # fmt: skip
    own = Definition.from_json({"app": "shop", "series": "score:mine", "kind": "rate", "direction": "down"})
    assert own.spec.kind is Kind.RATE
    assert series_of("score:pii_leak").bad is Direction.UP


def test_the_defaults_are_five_series_and_a_chart_of_the_first() -> None:
    names = ["resolution", "grounding", "p95_latency", "safety", "escalation", "resolution-drift"]
    assert list(DEFAULTS) == names
    assert [one.series for one in DEFAULTS.values()] == [*names[:5], "resolution"]
    assert key_of("resolution", "release", None) == "resolution{release=(none)}"
