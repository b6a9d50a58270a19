"""Strata: what is put together, the same mix for both arms, and reversals that are told rightly."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from experiments.statistics import simpson, strata
from experiments.statistics.effects import Contrast
from experiments.statistics.records import Moments, NoEffect, Why
from experiments.statistics.simpson import Paradox, Simpson
from tests.experiments.statistics.stratified import KIDNEY, UCB, Counts, arms, yes_no

Z = 1.959963984540054


def detected(counts: Counts) -> Simpson:
    found = strata.collapse(*arms(counts))
    assert isinstance(found, strata.Strata)
    stratified = strata.post_stratified(found)
    assert isinstance(stratified, Contrast)
    return simpson.detect(found, stratified, z=Z)


def test_kidney_stones_reverse_in_every_level() -> None:
    found = detected(KIDNEY)
    assert found.paradox is Paradox.REVERSED
    assert found.pooled == pytest.approx(273 / 350 - 289 / 350)
    wanted = (357 * (81 / 87 - 234 / 270) + 343 * (192 / 263 - 55 / 80)) / 700
    assert found.stratified == pytest.approx(wanted, rel=1e-12)
    assert set(found.against) == {"small", "large"}
    assert found.smd > 1


def test_berkeley_reverses_but_not_in_every_department() -> None:
    found = detected(UCB)
    assert found.paradox is Paradox.REVERSED
    assert found.pooled == pytest.approx(1198 / 2691 - 557 / 1835)
    assert found.stratified < 0
    assert set(found.against) == {"A", "B", "D", "F"}  # in C and E men are admitted more often, as over all


def test_no_paradox_where_mixes_are_equal() -> None:
    found = detected({"a": (50, 100, 60, 100), "b": (20, 100, 25, 100)})
    assert found.paradox is Paradox.NONE
    assert found.mix == pytest.approx(0, abs=1e-15)
    assert found.effect == pytest.approx(found.pooled)


def test_a_mix_that_differs_by_chance_is_not_flagged() -> None:
    """SMD .2 in 40 units is what chance does; in 40,000 it is not."""
    assert detected({"a": (5, 10, 5, 12), "b": (5, 10, 5, 10)}).smd > 0
    small = detected({"a": (5, 11, 7, 15), "b": (9, 19, 7, 15)})
    assert small.smd > simpson.IMBALANCED
    assert small.paradox is Paradox.NONE
    large = detected({"a": (5_000, 11_000, 7_000, 15_000), "b": (9_000, 19_000, 7_100, 15_000)})
    assert large.paradox is Paradox.IMBALANCED


levels = some.lists(
    some.tuples(some.integers(0, 50), some.integers(10, 90), some.integers(0, 50), some.integers(10, 90)),
    min_size=2,
    max_size=7,
)


@settings(deadline=None)
@given(levels)
def test_difference_is_mix_and_effect(drawn: list[tuple[int, int, int, int]]) -> None:
    """Kitagawa's identity, exact; and swapping the arms turns every part's sign."""
    counts = {str(place): (min(a, m), m, min(b, n), n) for place, (a, m, b, n) in enumerate(drawn)}
    swapped = {level: (one[2], one[3], one[0], one[1]) for level, one in counts.items()}
    found, back = (strata.collapse(*arms(one)) for one in (counts, swapped))
    assert isinstance(found, strata.Strata)
    assert isinstance(back, strata.Strata)
    mix, effect = simpson.decomposed(_table(found))
    y0, n0 = sum(one[0] for one in counts.values()), sum(one[1] for one in counts.values())
    y1, n1 = sum(one[2] for one in counts.values()), sum(one[3] for one in counts.values())
    assert mix + effect == pytest.approx(y1 / n1 - y0 / n0, abs=1e-12)
    assert simpson.decomposed(_table(back)) == pytest.approx((-mix, -effect), abs=1e-12)


def _table(found: strata.Strata) -> tuple[simpson.MixLine, ...]:
    s0, s1 = sum(one.control.s for one in found.strata), sum(one.treatment.s for one in found.strata)
    return tuple(
        simpson.MixLine(
            level=one.level,
            share_control=one.control.s / s0,
            share_treatment=one.treatment.s / s1,
            control=one.control.y / one.control.s,
            treatment=one.treatment.y / one.treatment.s,
        )
        for one in found.strata
    )


def test_post_stratified_variance_is_the_formula() -> None:
    found = strata.collapse(*arms(KIDNEY))
    assert isinstance(found, strata.Strata)
    contrast = strata.post_stratified(found)
    assert isinstance(contrast, Contrast)

    def part(weight: float, y: int, n: int) -> float:
        return weight**2 * (y / n) * (1 - y / n) / (n - 1)

    cells = [part(357 / 700, 81, 87), part(357 / 700, 234, 270), part(343 / 700, 192, 263), part(343 / 700, 55, 80)]
    assert contrast.se == pytest.approx(math.sqrt(sum(cells)), rel=1e-12)


def test_small_strata_are_put_together() -> None:
    control, treatment = arms({"a": (50, 100, 60, 100), "b": (3, 6, 2, 7), "c": (1, 5, 2, 6), "d": (0, 1, 0, 0)})
    found = strata.collapse(control, treatment)
    assert isinstance(found, strata.Strata)
    assert [one.level for one in found.strata] == ["a", strata.REST]
    assert set(found.collapsed) == {"b", "c", "d"}
    assert sum(one.weight for one in found.strata) == pytest.approx(1)
    assert sum(one.control.n for one in found.strata) == 112


def test_a_stratum_with_one_session_joins_another() -> None:
    found = strata.collapse(*arms({"a": (50, 100, 60, 100), "b": (20, 40, 20, 40), "lone": (1, 1, 0, 0)}))
    assert isinstance(found, strata.Strata)
    assert [one.level for one in found.strata] == ["a", strata.REST]


def test_one_stratum_alone_cannot_stratify() -> None:
    found = strata.collapse(*arms({"a": (50, 100, 60, 100), "lone": (1, 1, 0, 0)}))
    assert isinstance(found, NoEffect)
    assert found.why is Why.FEW_UNITS
    assert isinstance(strata.collapse({}, {}), NoEffect)


def test_the_forest_keeps_every_level_and_says_why_one_has_no_effect() -> None:
    lines = strata.forest(*arms({"a": (50, 100, 60, 100), "lone": (1, 1, 0, 0)}), alpha=0.05, binary=True)
    assert [one.level for one in lines] == ["a", "lone"]
    lone = lines[1].effect
    assert isinstance(lone, NoEffect)
    assert lone.why is Why.ONE_UNIT


def test_constant_outcomes_have_no_stratified_effect() -> None:
    same = {"a": yes_no(50, 50), "b": yes_no(20, 20)}
    found = strata.collapse(same, same)
    assert isinstance(found, strata.Strata)
    told = strata.post_stratified(found)
    assert isinstance(told, NoEffect)
    assert told.why is Why.CONSTANT


def test_not_finite_sums_are_named() -> None:
    bad = {"a": Moments(n=20, y=math.nan, s=20, yy=1, ss=20, sy=1), "b": yes_no(10, 20)}
    found = strata.collapse(bad, {"a": yes_no(10, 20), "b": yes_no(10, 20)})
    assert isinstance(found, strata.Strata)
    told = strata.post_stratified(found)
    assert isinstance(told, NoEffect)
    assert told.why is Why.NOT_FINITE
