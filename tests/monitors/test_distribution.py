"""Distances of distributions: as others compute them, right about chance, and silent about what they cannot know."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, energy_distance, ks_2samp

from core.errors import InvalidInput
from monitors.distribution import Asked, Measure, NotKnown, Shift, energy, ks, psi, psi_of_kinds

ASKED = Asked(level=0.05)


def known(found: Shift | NotKnown) -> Shift:
    assert isinstance(found, Shift), found
    return found


def draws(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_ks_is_that_of_scipy() -> None:
    chance = draws(1)
    before, after = chance.normal(size=400), chance.normal(0.2, 1.0, size=150)
    found, theirs = known(ks(before, after, ASKED)), ks_2samp(before, after, method="asymp")
    assert found.distance == pytest.approx(theirs.statistic, abs=1e-12)
    assert found.p == pytest.approx(theirs.pvalue, rel=1e-9)


def test_psi_is_its_formula_and_its_law_that_of_chi_square() -> None:
    found = known(psi_of_kinds({"a": 500, "b": 300, "c": 200}, {"a": 200, "b": 200, "c": 100}, ASKED))
    before, after = np.array([500.5, 300.5, 200.5]) / 1001.5, np.array([200.5, 200.5, 100.5]) / 501.5
    expected = sum((p - q) * math.log(p / q) for p, q in zip(before, after, strict=True))
    assert found.distance == pytest.approx(expected, rel=1e-12)
    assert found.p == pytest.approx(chi2.sf(expected / (1 / 1000 + 1 / 500), 2), rel=1e-12)
    assert found.usual == pytest.approx(5.991464547 * (1 / 1000 + 1 / 500), rel=1e-9)


def test_the_energy_distance_of_one_dimension_is_that_of_scipy() -> None:
    chance = draws(2)
    before, after = chance.normal(size=60), chance.normal(0.8, 1.0, size=45)
    found = known(energy(before[:, None], after[:, None], ASKED, chance))
    between = 2 * np.abs(before[:, None] - after[None, :]).mean()
    assert found.distance * between == pytest.approx(energy_distance(before, after) ** 2, rel=1e-9)


@pytest.mark.parametrize(("measure", "least", "most"), [("ks", 0.01, 0.11), ("psi", 0.01, 0.11), ("few", 0.0, 0.05)])
def test_the_null_is_passed_as_often_as_asked(measure: str, least: float, most: float) -> None:
    """Of 150 pairs that are alike some 7 pass the 5%; of six-point scales KS passes fewer, as it says."""
    chance, passed = draws(3), 0
    for _ in range(150):
        before, after = chance.normal(size=300), chance.normal(size=120)
        if measure == "few":
            before, after = np.clip(np.round(before), -2, 3), np.clip(np.round(after), -2, 3)
        passed += known((psi if measure == "psi" else ks)(before, after, ASKED)).p <= 0.05
    assert least <= passed / 150 <= most


def test_permuted_vectors_pass_as_often_as_asked_and_shifted_ones_nearly_always() -> None:
    chance = draws(4)
    alike = [known(energy(chance.normal(size=(40, 5)), chance.normal(size=(30, 5)), ASKED, chance)) for _ in range(150)]
    apart = [
        known(energy(chance.normal(size=(40, 5)), chance.normal(0.6, 1, size=(30, 5)), ASKED, chance))
        for _ in range(30)
    ]
    assert 1 <= sum(one.drifted for one in alike) <= 16
    assert sum(one.drifted for one in apart) >= 28
    assert all(one.usual is not None and one.distance > one.usual for one in apart if one.drifted)


def test_a_great_sample_finds_what_nobody_cares_for_and_the_least_distance_says_so() -> None:
    chance = draws(5)
    before, after = chance.normal(size=200_000), chance.normal(0.02, 1, size=200_000)
    assert known(ks(before, after, ASKED)).drifted
    found = known(ks(before, after, Asked(level=0.05, least=0.1)))
    assert found.p < 1e-6
    assert not found.drifted
    assert "as before: ks 0.0" in found.words


def test_of_equal_values_each_is_a_cell_and_a_constant_that_changed_has_drifted() -> None:
    assert isinstance(psi(np.full(100, 3.0), np.full(100, 3.0), ASKED), NotKnown)
    assert known(psi(np.full(100, 3.0), np.full(100, 4.0), ASKED)).drifted
    heavy = np.concatenate([np.zeros(900), draws(6).normal(size=100)])
    assert known(psi(heavy, heavy, ASKED)).distance == pytest.approx(0.0, abs=1e-12)
    assert known(ks(np.full(100, 3.0), np.full(100, 3.0), ASKED)).p == 1.0


def test_rare_kinds_count_together_and_a_kind_that_vanished_is_found() -> None:
    before = {"refund": 700, "order": 290, **{f"rare {i}": 1 for i in range(10)}}
    assert not known(psi_of_kinds(before, {"refund": 70, "order": 30}, ASKED)).drifted
    assert known(psi_of_kinds(before, {"refund": 100}, ASKED)).drifted
    assert isinstance(psi_of_kinds({"refund": 900}, {"refund": 90}, ASKED), NotKnown)
    with pytest.raises(InvalidInput):
        psi_of_kinds({"refund": -1}, {"refund": 90}, ASKED)


def test_too_few_or_no_numbers_are_not_known_and_say_why() -> None:
    few = ks(np.arange(500.0), np.arange(29.0), ASKED)
    assert isinstance(few, NotKnown)
    assert few.reason == "29 values now and 500 in the reference window; 30 of each are needed"
    assert isinstance(psi(np.full(100, np.nan), np.arange(100.0), ASKED), NotKnown)
    same = np.ones((50, 3))
    assert isinstance(energy(same, same, ASKED, draws(7)), NotKnown)
    mixed = np.concatenate([np.arange(100.0), [np.nan, np.inf]])
    assert known(ks(mixed, np.arange(100.0), ASKED)).n_missing == 2


def test_what_is_no_level_and_vectors_of_two_lengths_are_refused() -> None:
    for wrong in (0.0, 1.0, math.nan):
        with pytest.raises(InvalidInput):
            Asked(level=wrong)
    with pytest.raises(InvalidInput):
        Asked(level=0.05, least=-1.0)
    with pytest.raises(InvalidInput):
        energy(np.ones((40, 3)), np.ones((40, 4)), ASKED, draws(8))


def test_the_same_chance_gives_the_same_finding() -> None:
    before, after = draws(9).normal(size=(1500, 4)), draws(10).normal(size=(1200, 4))
    first, second = (known(energy(before, after, ASKED, draws(11), at_most=200)) for _ in range(2))
    assert first == second
    assert (first.n_reference, first.n_now) == (200, 200)


@settings(max_examples=60, deadline=None)
@given(
    before=st.lists(st.floats(-1e9, 1e9) | st.sampled_from([0.0, math.nan]), min_size=30, max_size=60),
    after=st.lists(st.floats(-1e9, 1e9) | st.sampled_from([0.0, math.nan]), min_size=30, max_size=60),
)
def test_whatever_the_values_p_is_a_chance_and_the_order_of_the_sides_does_not_matter(
    before: list[float], after: list[float]
) -> None:
    for measure in (ks, psi):
        found = measure(np.array(before), np.array(after), ASKED)
        turned = measure(np.array(after), np.array(before), ASKED)
        if isinstance(found, NotKnown):
            assert found.reason
            continue
        assert 0 <= found.p <= 1
        assert found.distance >= 0
        assert found.distance == pytest.approx(known(turned).distance, rel=1e-9, abs=1e-12)
        assert found.measure in (Measure.KS, Measure.PSI)
