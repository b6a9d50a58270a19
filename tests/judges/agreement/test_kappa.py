"""Kappa, its weights and error, AC1: hand-worked tables, other libraries, what must not change them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import cohens_kappa

from core.errors import InvalidInput
from evaluators.statistics.estimates import Lack, Unestimated
from judges.agreement.kappa import (
    Weighting,
    agreement_weights,
    bias_index,
    cohen_kappa,
    gwet_ac,
    kappa_se,
    prevalence_index,
)
from judges.agreement.tables import MISSING, Table, of_counts, table
from tests.thorough import often

COUNTS = st.integers(2, 5).flatmap(
    lambda k: st.lists(st.lists(st.integers(0, 30), min_size=k, max_size=k), min_size=k, max_size=k)
)


def number(found: float | Unestimated) -> float:
    assert not isinstance(found, Unestimated), found
    return found


def counted(rows: list[list[int]]) -> Table:
    return of_counts(np.array(rows, dtype=np.int64))


def defined(rows: list[list[int]]) -> bool:
    return not isinstance(cohen_kappa(counted(rows)), Unestimated)


def test_the_table_of_two_readers_is_as_worked_by_hand() -> None:
    of = counted([[20, 5], [10, 15]])  # p_o = .7, p_e = .5 * .6 + .5 * .4 = .5
    assert number(cohen_kappa(of)) == pytest.approx(0.4, abs=1e-12)
    assert number(kappa_se(of)) == pytest.approx(0.1269960629, abs=1e-10)
    assert number(bias_index(of)) == pytest.approx(-0.1, abs=1e-12)  # the judge says the last label 5 times less of 50
    assert number(prevalence_index(of)) == pytest.approx(0.1, abs=1e-12)


def test_the_paradox_kappa_is_negative_where_almost_all_agree() -> None:
    of = counted([[118, 5], [2, 0]])  # Gwet 2008: 94.4% agree, kappa -.0234, AC1 .9408
    assert number(cohen_kappa(of)) == pytest.approx(-0.0234, abs=5e-5)
    assert number(gwet_ac(of)) == pytest.approx(0.9408, abs=5e-5)


def test_weighted_kappa_of_three_classes_is_as_worked_by_hand() -> None:
    of = counted([[4, 1, 0], [1, 2, 1], [0, 0, 1]])  # rows 5, 4, 1; columns 5, 3, 2 of 10
    # linear: p_o = (7 + .5 * 3) / 10 = .85; p_e = (25 + 12 + 2 + .5 * (15 + 20 + 8 + 3)) / 100 = .62
    assert number(cohen_kappa(of, Weighting.LINEAR)) == pytest.approx(0.23 / 0.38, abs=1e-12)
    # quadratic: p_o = (7 + .75 * 3) / 10 = .925; p_e = (39 + .75 * 46) / 100 = .735
    assert number(cohen_kappa(of, Weighting.QUADRATIC)) == pytest.approx(0.19 / 0.265, abs=1e-12)


def test_ac2_with_nominal_weights_is_ac1_and_with_two_labels_all_weights_are_nominal() -> None:
    for weighting in Weighting:
        assert agreement_weights(2, weighting).tolist() == [[1.0, 0.0], [0.0, 1.0]]
    # K = 3, linear: T_w = 3 + 4 * .5 = 5, pi = (.5, .35, .15), sum pi (1 - pi) = .605, p_e = 5 / 6 * .605
    of = counted([[4, 1, 0], [1, 2, 1], [0, 0, 1]])
    by_chance = 5 / 6 * 0.605
    assert number(gwet_ac(of, Weighting.LINEAR)) == pytest.approx((0.85 - by_chance) / (1 - by_chance), abs=1e-12)


@settings(deadline=None, max_examples=often(60, 15))
@given(COUNTS)
def test_kappa_equals_scikit_learn(rows: list[list[int]]) -> None:
    assume(defined(rows))
    of, k = counted(rows), len(rows)
    pairs = [(i, j) for i in range(k) for j in range(k) for _ in range(rows[i][j])]
    for weighting, name in (
        (Weighting.NOMINAL, None),
        (Weighting.LINEAR, "linear"),
        (Weighting.QUADRATIC, "quadratic"),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = cohen_kappa_score(*zip(*pairs, strict=True), labels=list(range(k)), weights=name)
        assert number(cohen_kappa(of, weighting)) == pytest.approx(theirs, abs=1e-9)


@settings(deadline=None, max_examples=often(60, 15))
@given(COUNTS)
def test_kappa_and_its_error_equal_statsmodels(rows: list[list[int]]) -> None:
    assume(defined(rows))
    for weighting, name in ((Weighting.NOMINAL, None), (Weighting.LINEAR, "ca"), (Weighting.QUADRATIC, "fc")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = cohens_kappa(np.array(rows), wt=name)
        assert number(cohen_kappa(counted(rows), weighting)) == pytest.approx(theirs.kappa, abs=1e-9)
        variance = theirs.var_kappa
        assert number(kappa_se(counted(rows), weighting)) ** 2 == pytest.approx(max(0.0, variance), abs=1e-9)


@settings(deadline=None, max_examples=often(40, 15))
@given(COUNTS, st.randoms(use_true_random=False))
def test_neither_the_order_of_items_nor_of_labels_matters(rows: list[list[int]], chance: object) -> None:
    assume(defined(rows))
    k = len(rows)
    pairs = np.array([(i, j) for i in range(k) for j in range(k) for _ in range(rows[i][j])], dtype=np.int64)
    rng = np.random.default_rng(len(pairs))
    mixed = rng.permutation(pairs)
    assert table(mixed[:, 0], mixed[:, 1], k).counts.tolist() == rows
    other = rng.permutation(k)
    renamed = table(other[pairs[:, 0]], other[pairs[:, 1]], k)
    for of in (cohen_kappa, gwet_ac, kappa_se):
        assert number(of(renamed)) == pytest.approx(number(of(counted(rows))), abs=1e-9)
    swapped = table(pairs[:, 1], pairs[:, 0], k)
    assert number(cohen_kappa(swapped)) == pytest.approx(number(cohen_kappa(counted(rows))), abs=1e-9)


def test_a_missing_answer_is_in_no_cell() -> None:
    of = table(np.array([0, 1, 1, 0, MISSING]), np.array([0, MISSING, 1, 1, 0]), 2)
    assert of.counts.tolist() == [[1, 1], [0, 1]]
    assert of.n == 3


def test_weights_that_are_equal_change_nothing_and_others_count_as_so_many_items() -> None:
    label, verdict = np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 0])
    bare, even = table(label, verdict, 2), table(label, verdict, 2, np.full(5, 7.0))
    assert not even.weighted
    assert np.allclose(even.mass, bare.mass)
    assert even.n_effective == pytest.approx(5)
    heavy = table(label, verdict, 2, np.array([3.0, 1, 1, 1, 1]))
    thrice = table(np.append(label, [0, 0]), np.append(verdict, [0, 0]), 2)
    assert number(cohen_kappa(heavy)) == pytest.approx(number(cohen_kappa(thrice)), abs=1e-12)
    assert heavy.weighted
    assert heavy.n_effective == pytest.approx(49 / 13)


def test_what_is_not_known_is_no_number() -> None:
    one_class = counted([[9, 0], [0, 0]])
    assert cohen_kappa(one_class) == Unestimated(reason=Lack.ONE_CLASS)
    assert kappa_se(one_class) == Unestimated(reason=Lack.ONE_CLASS)
    assert number(gwet_ac(one_class)) == 1.0
    assert cohen_kappa(counted([[0, 0], [0, 0]])) == Unestimated(reason=Lack.NO_EXAMPLES)
    bias = bias_index(counted([[1, 0, 0], [0, 1, 0], [0, 0, 1]]))
    assert isinstance(bias, Unestimated)
    assert bias.reason is Lack.NOT_BINARY


@pytest.mark.parametrize(
    ("label", "verdict", "k", "weight"),
    [
        ([0, 2], [0, 1], 2, None),
        ([0, 1], [0, -2], 2, None),
        ([0, 1], [0], 2, None),
        ([0], [0], 1, None),
        ([0, 1], [0, 1], 2, [1.0, 0.0]),
        ([0, 1], [0, 1], 2, [1.0, float("nan")]),
    ],
)
def test_what_is_no_table_is_refused(label: list[int], verdict: list[int], k: int, weight: list[float] | None) -> None:
    with pytest.raises(InvalidInput):
        table(np.array(label), np.array(verdict), k, None if weight is None else np.array(weight))
    with pytest.raises(InvalidInput):
        of_counts(np.array([[1, 2, 3], [1, 2, 3]]))
