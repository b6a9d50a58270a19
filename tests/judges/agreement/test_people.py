"""The human ceiling, and the alternative-annotator test against a reading of its paper in plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from evaluators.statistics.estimates import Lack, Unestimated
from judges.agreement.alternative import EPSILON, AlternativeTest, Annotators, alternative_test, benjamini_yekutieli
from judges.agreement.ceiling import Ceiling, human_ceiling
from judges.agreement.kappa import Weighting
from judges.agreement.tables import MISSING, IntArray
from tests.thorough import often


def people(seed: int, items: int, accuracy: tuple[float, ...], judge: float, k: int = 3) -> tuple[IntArray, IntArray]:
    """Ratings (items, people) and a judge's, each right with the chance given, else anything."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, items)

    def answers(right: float) -> IntArray:
        return np.where(rng.random(items) < right, truth, rng.integers(0, k, items)).astype(np.int64)

    return np.column_stack([answers(one) for one in accuracy]), answers(judge)


def reference(ratings: IntArray, judge: IntArray, ordinal: bool, epsilon: float) -> tuple[list[float], list[float]]:
    """rho_j and p_j, as the paper's section 3 reads, one item at a time."""

    def score(answer: int, others: list[int]) -> float:
        if ordinal:
            return -float(np.sqrt(np.mean([(answer - one) ** 2 for one in others])))
        return float(np.mean([answer == one for one in others]))

    rho, p = [], []
    for j in range(ratings.shape[1]):
        wins, losses = [], []
        for i in range(len(ratings)):
            others = [int(one) for h, one in enumerate(ratings[i]) if h != j and one != MISSING]
            if ratings[i, j] == MISSING or judge[i] == MISSING or not others:
                continue
            of_judge, of_person = score(int(judge[i]), others), score(int(ratings[i, j]), others)
            wins.append(of_judge >= of_person - 1e-12)
            losses.append(of_person >= of_judge - 1e-12)
        d = np.array(losses, dtype=float) - np.array(wins, dtype=float)
        rho.append(float(np.mean(wins)))
        p.append(float(stats.ttest_1samp(d, epsilon, alternative="less").pvalue))
    return rho, p


@pytest.mark.parametrize("ordinal", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_the_alternative_annotator_test_is_the_papers(ordinal: bool, seed: int) -> None:
    ratings, judge = people(seed, 60, (0.8, 0.7, 0.6, 0.75), 0.5 + 0.08 * seed, k=4)
    ratings[np.random.default_rng(seed).random(ratings.shape) < 0.15] = MISSING
    judge[:3] = MISSING
    found = alternative_test(ratings, judge, ordinal=ordinal, epsilon=0.15)
    assert isinstance(found, AlternativeTest)
    rho, p = reference(ratings, judge, ordinal, 0.15)
    assert [one.advantage for one in found.opponents] == pytest.approx(rho, abs=1e-12)
    assert [one.p for one in found.opponents] == pytest.approx(p, abs=1e-9)
    won = multipletests(p, 0.05, method="fdr_by")[0]
    assert [one.won for one in found.opponents] == won.tolist()
    assert found.winning_rate == pytest.approx(won.mean())
    assert found.passed == (won.mean() >= 0.5)
    assert found.advantage == pytest.approx(float(np.mean(rho)))


def test_a_judge_as_good_as_people_passes_and_one_that_guesses_does_not() -> None:
    ratings, good = people(1, 100, (0.8, 0.8, 0.8), 0.9)
    _, guess = people(2, 100, (0.8,), 0.0)
    passed = alternative_test(ratings, good, ordinal=False, epsilon=EPSILON[Annotators.SKILLED])
    failed = alternative_test(ratings, guess, ordinal=False, epsilon=EPSILON[Annotators.EXPERTS])
    assert isinstance(passed, AlternativeTest)
    assert isinstance(failed, AlternativeTest)
    assert passed.passed
    assert passed.winning_rate == 1.0
    assert not failed.passed
    assert failed.winning_rate == 0.0


def test_where_every_item_says_the_same_p_is_none_but_certain() -> None:
    ratings = np.tile(np.array([[0], [1]]), (20, 3))
    same = alternative_test(ratings, ratings[:, 0].copy(), ordinal=False, epsilon=0.1)
    assert isinstance(same, AlternativeTest)
    assert {one.p for one in same.opponents} == {0.0}
    other = alternative_test(ratings, 1 - ratings[:, 0], ordinal=False, epsilon=0.1)
    assert isinstance(other, AlternativeTest)
    assert {one.p for one in other.opponents} == {1.0}


def test_it_asks_for_three_people_with_thirty_items() -> None:
    ratings, judge = people(1, 40, (0.8, 0.8), 0.9)
    two = alternative_test(ratings, judge, ordinal=False, epsilon=0.1)
    assert isinstance(two, Unestimated)
    assert two.reason is Lack.FEW_ANNOTATORS
    ratings, judge = people(1, 29, (0.8, 0.8, 0.8), 0.9)
    short = alternative_test(ratings, judge, ordinal=False, epsilon=0.1)
    assert isinstance(short, Unestimated)
    assert short.reason is Lack.FEW_ITEMS
    ratings, judge = people(1, 60, (0.8, 0.8, 0.8, 0.8), 0.9)
    ratings[:40, 3] = MISSING
    without = alternative_test(ratings, judge, ordinal=False, epsilon=0.1)
    assert isinstance(without, AlternativeTest)
    assert (without.skipped, [one.annotator for one in without.opponents]) == ((3,), [0, 1, 2])


@settings(deadline=None, max_examples=often(60, 15))
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.sampled_from([0.05, 0.2]))
def test_benjamini_yekutieli_equals_statsmodels(p: list[float], q: float) -> None:
    corrected = multipletests(p, q, method="fdr_by")[1]
    if np.abs(corrected - q).min() > 1e-9:
        assert benjamini_yekutieli(p, q) == (corrected <= q).tolist()


def test_the_ceiling_tells_a_judge_like_people_from_one_below_them() -> None:
    ratings, alike = people(3, 250, (0.85, 0.85, 0.85), 0.85)
    _, below = people(3, 250, (0.85, 0.85, 0.85), 0.85)
    below[::2] = np.random.default_rng(0).integers(0, 3, len(below[::2]))
    first = human_ceiling(ratings, alike, 3, Weighting.NOMINAL, seed=0, resamples=500)
    second = human_ceiling(ratings, below, 3, Weighting.NOMINAL, seed=0, resamples=500)
    assert isinstance(first, Ceiling)
    assert isinstance(second, Ceiling)
    assert first.kappa == second.kappa  # of people alone
    for one in (first, second):
        gap = one.judge_minus_people.value
        assert gap is not None
        assert one.judge_kappa.value is not None
        assert one.kappa.value is not None
        assert gap == pytest.approx(one.judge_kappa.value - one.kappa.value, abs=1e-12)
    assert first.judge_minus_people.lower is not None
    assert first.judge_minus_people.upper is not None
    assert first.judge_minus_people.lower < 0 < first.judge_minus_people.upper
    assert second.judge_minus_people.upper is not None
    assert second.judge_minus_people.upper < 0


def test_the_order_of_items_and_people_does_not_move_the_ceiling() -> None:
    ratings, judge = people(5, 80, (0.9, 0.8, 0.7), 0.8)
    ratings[np.random.default_rng(1).random(ratings.shape) < 0.2] = MISSING
    mixed = np.random.default_rng(2).permutation(80)
    first = human_ceiling(ratings, judge, 3, Weighting.QUADRATIC, seed=0, resamples=300)
    assert human_ceiling(ratings[mixed], judge[mixed], 3, Weighting.QUADRATIC, seed=0, resamples=300) == first
    turned = human_ceiling(ratings[:, ::-1], judge, 3, Weighting.QUADRATIC, seed=0, resamples=300)
    assert isinstance(first, Ceiling)
    assert isinstance(turned, Ceiling)
    assert turned.kappa.value == pytest.approx(first.kappa.value, abs=1e-12)
    assert turned.alpha.value == pytest.approx(first.alpha.value, abs=1e-12)


def test_one_persons_answers_are_no_ceiling() -> None:
    ratings = np.array([[0, MISSING], [MISSING, 1], [1, MISSING]])
    found = human_ceiling(ratings, np.array([0, 1, 1]), 2, Weighting.NOMINAL, seed=0)
    assert isinstance(found, Unestimated)
    assert found.reason is Lack.FEW_ANNOTATORS
