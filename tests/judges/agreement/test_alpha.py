"""Krippendorff's alpha: his own example, the `krippendorff` package, missing answers."""

from __future__ import annotations

import krippendorff
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from core.errors import InvalidInput
from evaluators.statistics.estimates import Lack, Unestimated
from judges.agreement.alpha import Level, krippendorff_alpha
from judges.agreement.tables import MISSING, IntArray
from tests.thorough import often

# Four observers, twelve units, answers 1 to 5, 0: none (Krippendorff 2011, Computing Krippendorff's Alpha-Reliability).
HIS = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3],
        [0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0],
    ]
)
RATINGS = st.integers(2, 4).flatmap(
    lambda k: hnp.arrays(np.int64, st.tuples(st.integers(2, 12), st.integers(2, 5)), elements=st.integers(-1, k - 1))
)


def number(found: float | Unestimated) -> float:
    assert not isinstance(found, Unestimated), found
    return found


@pytest.mark.parametrize(
    ("level", "published"), [(Level.NOMINAL, 0.743), (Level.ORDINAL, 0.815), (Level.INTERVAL, 0.849)]
)
def test_his_example_is_as_published(level: Level, published: float) -> None:
    assert number(krippendorff_alpha(HIS.T - 1, 5, level)) == pytest.approx(published, abs=5e-4)


@settings(deadline=None, max_examples=often(80, 20))
@given(RATINGS)
def test_it_equals_the_krippendorff_package(ratings: IntArray) -> None:
    k = 4
    theirs_in = np.where(ratings == MISSING, np.nan, ratings.astype(float)).T
    for level in Level:
        ours = krippendorff_alpha(ratings, k, level)
        if isinstance(ours, Unestimated):
            assert ours.reason in (Lack.NO_EXAMPLES, Lack.ONE_CLASS)
            continue
        theirs = krippendorff.alpha(
            reliability_data=theirs_in, level_of_measurement=level.value, value_domain=[0.0, 1.0, 2.0, 3.0]
        )
        assert ours == pytest.approx(theirs, abs=1e-9)


@settings(deadline=None, max_examples=often(40, 15))
@given(RATINGS, st.integers(0, 9))
def test_units_and_raters_may_come_in_any_order_and_single_answers_count_for_nothing(
    ratings: IntArray, seed: int
) -> None:
    k, rng = 4, np.random.default_rng(seed)
    before = krippendorff_alpha(ratings, k, Level.ORDINAL)
    assume(not isinstance(before, Unestimated))
    mixed = rng.permutation(rng.permutation(ratings, axis=0), axis=1)
    lonely = np.full((3, ratings.shape[1]), MISSING, dtype=np.int64)
    lonely[:, 0] = [0, 3, 1]
    for other in (mixed, np.vstack([ratings, lonely])):
        assert number(krippendorff_alpha(other, k, Level.ORDINAL)) == pytest.approx(number(before), abs=1e-9)
    renamed = np.where(ratings == MISSING, MISSING, rng.permutation(k)[ratings])
    nominal = krippendorff_alpha(ratings, k, Level.NOMINAL)
    assert number(krippendorff_alpha(renamed, k, Level.NOMINAL)) == pytest.approx(number(nominal), abs=1e-9)


def test_values_of_labels_may_be_given() -> None:
    ratings = np.array([[0, 1], [1, 1], [2, 2], [0, 0], [2, 1]])
    values = np.array([0.0, 1.0, 10.0])
    theirs = krippendorff.alpha(
        reliability_data=values[ratings].T, level_of_measurement="interval", value_domain=[0.0, 1.0, 10.0]
    )
    assert number(krippendorff_alpha(ratings, 3, Level.INTERVAL, values)) == pytest.approx(theirs, abs=1e-9)


def test_what_is_not_known_is_no_number() -> None:
    assert krippendorff_alpha(np.array([[0, MISSING], [MISSING, 1]]), 2, Level.NOMINAL) == Unestimated(
        reason=Lack.NO_EXAMPLES
    )
    assert krippendorff_alpha(np.array([[1, 1], [1, 1]]), 2, Level.NOMINAL) == Unestimated(reason=Lack.ONE_CLASS)
    with pytest.raises(InvalidInput):
        krippendorff_alpha(np.array([[0, 2]]), 2, Level.NOMINAL)
