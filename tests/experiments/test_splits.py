"""Who gets which variant: ramps keep units, slots exclude, a holdout holds for all experiments, overrides win."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from experiments.records import Arm, Definition
from experiments.splits import (
    Reason,
    arm_of,
    arms,
    covered_from,
    entrance,
    hash_of,
    override_of,
    placed,
    shares,
)
from tests.experiments.definitions import definition

UNITS: Final = [f"user-{n}" for n in range(400)]
SHARE = st.floats(0, 1)
WEIGHTS = st.lists(st.floats(0.01, 10), min_size=2, max_size=6)


def with_weights(weights: list[float], **given: object) -> Definition:
    """A definition of so many arms."""
    made = tuple(Arm(variant=f"v{n}", release=f"r{n}", weight=weight) for n, weight in enumerate(weights))
    return definition(arms=made, **given)


def enrolled(one: Definition, coverage: float = 1.0) -> dict[str, str]:
    """Unit -> variant of those that take part."""
    found = {unit: placed(one, coverage, unit) for unit in UNITS}
    return {unit: each.variant for unit, each in found.items() if each.variant is not None}


@given(WEIGHTS, SHARE, SHARE)
def test_a_ramp_moves_nobody_out_and_nobody_between_arms(weights: list[float], low: float, high: float) -> None:
    low, high = sorted((low, high))
    one = with_weights(weights)
    before, after = enrolled(one, low), enrolled(one, high)
    assert before.items() <= after.items()
    assert len(enrolled(one, 1.0)) == len(UNITS)
    assert not enrolled(one, 0.0)


@given(WEIGHTS, SHARE)
def test_a_unit_is_in_from_its_own_coverage_on(weights: list[float], coverage: float) -> None:
    one = with_weights(weights)
    for unit in UNITS[:50]:
        assert (placed(one, coverage, unit).variant is not None) is (covered_from(one, unit) < coverage)


@given(st.lists(SHARE, min_size=2, max_size=2, unique=True), WEIGHTS, SHARE)
def test_experiments_with_disjoint_slots_of_a_layer_never_share_a_unit(
    edges: list[float], weights: list[float], coverage: float
) -> None:
    first, second = sorted(edges)
    slots = ((0.0, first), (first, second), (second, 1.0))
    found = [
        enrolled(with_weights(weights, name=f"n{n}", version=n + 1, slot=slot), coverage).keys()
        for n, slot in enumerate(slots)
    ]
    assert sum(map(len, found)) == len(set().union(*found))
    if coverage == 1.0:
        assert sum(map(len, found)) == len(UNITS), "and together they have all of them"


@given(st.floats(0, 0.9), st.floats(0, 0.9))
def test_a_holdout_is_the_same_units_for_every_experiment(small: float, large: float) -> None:
    small, large = sorted((small, large))

    def held(name: str, share: float, layer: str) -> set[str]:
        one = definition(name=name, holdout=share, layer=layer)
        return {unit for unit in UNITS if placed(one, 1.0, unit).reason is Reason.HOLDOUT}

    assert held("a", large, "release") == held("b", large, "prompts")
    assert held("a", small, "release") <= held("b", large, "release")
    assert all(placed(definition(holdout=large, app="other"), 1.0, u).reason in Reason for u in UNITS[:3])


@given(st.sampled_from(["control", "treatment"]), SHARE, st.floats(0, 0.9))
def test_an_override_wins_over_everything_and_never_counts(variant: str, coverage: float, holdout: float) -> None:
    one = definition(holdout=holdout, slot=(0.5, 0.6))
    for unit in UNITS[:20]:
        found = placed(one, coverage, unit, tester=variant)
        assert (found.reason, found.variant, found.counts) == (Reason.OVERRIDE, variant, False)
        assert found.release == {"control": "v1", "treatment": "v2"}[variant]
        assert placed(one, coverage, unit, tester="gone") == placed(one, coverage, unit), "not a variant of this one"


def test_overrides_are_found_by_a_keyed_hash() -> None:
    overrides = {hash_of("key", "ann"): "treatment", hash_of("key", "bob"): None}
    assert override_of(overrides, "key", "ann") == "treatment"
    assert override_of(overrides, "key", "bob") is None, "placed by hash again"
    assert override_of(overrides, "another key", "ann") is None
    assert "ann" not in str(overrides)


@given(WEIGHTS)
def test_the_parts_of_arms_cover_everything_once_with_their_shares(weights: list[float]) -> None:
    one = with_weights(weights)
    found = list(arms(one).values())
    assert found[0].first == 0
    assert found[-1].last == (1 << 64) - 1
    assert all(left.last + 1 == right.first for left, right in pairwise(found))
    for part, share in zip(found, shares(one).values(), strict=True):
        assert abs((part.last + 1 - part.first) / (1 << 64) - share) < 1e-12
    for unit in UNITS[:20]:
        assert [name for name, part in arms(one).items() if part.has(unit)] == [arm_of(one, unit)]


def test_shares_in_a_hundred_thousand_units() -> None:
    """Each count within 4.5 standard deviations of its binomial (chance 7e-6 a count)."""
    one = with_weights([7, 2, 1], holdout=0.1, slot=(0.2, 0.7))
    n = 100_000
    counts = Counter(placed(one, 0.8, f"user-{k}").variant for k in range(n))
    for variant, weight in (("v0", 0.7), ("v1", 0.2), ("v2", 0.1)):
        p = 0.9 * 0.5 * 0.8 * weight
        assert abs(counts[variant] - n * p) < 4.5 * (n * p * (1 - p)) ** 0.5


def test_another_version_assigns_anew() -> None:
    """Of those in the treatment before, half are again: chi-square with 1 degree of freedom below 10.83 (p = .001)."""
    before, after = enrolled(definition()), enrolled(definition(version=2))
    counts = Counter((before[unit], after[unit]) for unit in UNITS)
    expected = len(UNITS) / 4
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < 10.83 + 5.99  # and the margins


def test_an_empty_part_has_nobody() -> None:
    assert entrance(definition(), 0.0)[2] is None
    assert {placed(definition(), 0.0, unit).reason for unit in UNITS} == {Reason.NOT_COVERED}
    assert {placed(replace(definition(), slot=(0.5, 0.5)), 1.0, unit).reason for unit in UNITS} == {Reason.OTHER_SLOT}
