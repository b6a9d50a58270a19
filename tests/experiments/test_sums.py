"""Sums: they add, in any order, by any split of the units; a unit without an observation is counted alone."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from core.errors import InvalidInput
from experiments import sums
from experiments.statistics.records import Moments
from tests.experiments.looked import drawn, summed

whole = some.integers(-50, 50).map(float)
units = some.lists(
    some.tuples(some.sampled_from("ab"), some.integers(1, 3), whole, some.integers(0, 3).map(float), whole),
    min_size=1,
    max_size=40,
)


def rows_of(drawn_units: list[tuple[str, int, float, float, float]]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "unit": [str(place) for place in range(len(drawn_units))],
            "variant": [one[0] for one in drawn_units],
            "day": [dt.date(2026, 11, one[1]) for one in drawn_units],
            "metric": ["m"] * len(drawn_units),
            "y": [one[2] for one in drawn_units],
            "s": [one[3] for one in drawn_units],
            "x": [one[4] for one in drawn_units],
            "tier": ["free" if place % 2 else "pro" for place in range(len(drawn_units))],
        }
    )


@settings(deadline=None, max_examples=15)
@given(units, some.integers(0, 40))
def test_sums_of_parts_are_the_sums_of_all(drawn_units: list[tuple[str, int, float, float, float]], cut: int) -> None:
    rows = rows_of(drawn_units)
    together = sums.of_units(rows, ["tier"])
    parts = sums.added(sums.of_units(rows[:cut], ["tier"]), sums.of_units(rows[cut:], ["tier"]))
    assert together.equals(parts)
    assert sums.of_units(rows.reverse(), ["tier"]).equals(together)


@settings(deadline=None, max_examples=15)
@given(units)
def test_levels_add_up_to_all_and_days_to_the_last(drawn_units: list[tuple[str, int, float, float, float]]) -> None:
    frame = sums.of_units(rows_of(drawn_units), ["tier"])
    for variant in "ab":
        every = sums.moments(frame, "m", variant=variant)
        assert sum(sums.by_level(frame, "m", "tier", variant).values(), Moments()) == every
        days = [dt.date(2026, 11, one) for one in (1, 2, 3)]
        path = sums.until_days(frame, "m", variant, days)
        assert path[-1] == every
        assert path[0] == sums.moments(frame, "m", variant=variant, until=days[0])
    observed = [one for one in drawn_units if one[3] > 0]
    both = sums.moments(frame, "m")
    assert (both.n, both.n_missing) == (len(observed), len(drawn_units) - len(observed))
    assert both.sy == sum(one[2] * one[3] for one in observed)


def test_all_strata_at_once_have_joined_levels() -> None:
    rows = drawn(50).with_columns(topic=pl.lit("refund"))
    frame = sums.of_units(rows, ["tier", "topic"])
    assert set(sums.by_level(frame, "resolution", sums.JOINED, "control")) == {"free · refund", "pro · refund"}
    assert sums.attributes_of(frame) == ["tier", "topic", "*"]
    assert sums.attributes_of(summed(drawn(50))) == ["tier"]


def test_a_unit_of_unknown_level_has_one_of_its_own() -> None:
    rows = drawn(4).with_columns(tier=pl.lit(None, pl.String))
    assert "(none)" in sums.by_level(sums.of_units(rows, ["tier"]), "resolution", "tier", "control")


def test_nothing_adds_up_to_zeroes() -> None:
    assert sums.moments(sums.no_sums(), "m") == Moments()
    assert sums.added().is_empty()


def test_a_frame_that_is_none_of_sums_is_refused() -> None:
    with pytest.raises(InvalidInput, match="n_missing"):
        sums.added(pl.DataFrame({"metric": ["m"]}))
