"""Three states against a bar, and how many labels would settle it."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import InvalidInput
from evaluators.statistics.estimates import Estimate, Lack, Unestimated
from judges.agreement.certificate import MOST_LABELS, Standing, certify, labels_to_settle
from judges.agreement.intervals import Coefficient, posterior_coefficient
from judges.agreement.kappa import kappas
from judges.agreement.tables import FloatArray, Table, of_counts


def kappa(tables: FloatArray) -> FloatArray:
    return kappas(tables, np.eye(tables.shape[-1]))


def of_two(kappa: float, prevalence: float, n: int) -> Table:
    """A table of n items with this kappa, both raters using the labels alike."""
    share = np.array([1 - prevalence, prevalence])
    mass = n * (kappa * np.diag(share) + (1 - kappa) * np.outer(share, share))
    return Table(counts=np.rint(mass).astype(np.int64), mass=mass, squares=mass)


def known(lower: float, value: float, upper: float) -> Coefficient:
    return Coefficient(estimate=Estimate(value=value, n=50, se=0.1, interval=None), lower=lower, upper=upper)


@pytest.mark.parametrize(
    ("lower", "upper", "standing"),
    [
        (0.70, 0.90, Standing.CERTIFIED),  # reaching the bar is enough
        (0.699, 0.90, Standing.UNDETERMINED),
        (0.40, 0.70, Standing.UNDETERMINED),
        (0.40, 0.699, Standing.FAILED),
    ],
)
def test_three_states(lower: float, upper: float, standing: Standing) -> None:
    found = certify(known(lower, (lower + upper) / 2, upper), 50, 0.7, needed=170)
    assert found.standing is standing
    assert f"{0.7:g}" in found.reason
    assert found.labels_more == (120 if standing is Standing.UNDETERMINED else None)
    assert ("120 labels more" in found.reason) == (standing is Standing.UNDETERMINED)


def test_a_point_estimate_above_the_bar_is_not_enough() -> None:
    of = of_counts(np.array([[22, 3], [3, 22]]))  # kappa .76 of 50 items
    found = certify(posterior_coefficient(of, kappa, seed=0), of.n, 0.7)
    assert found.value == pytest.approx(0.76)
    assert found.standing is Standing.UNDETERMINED


def test_without_a_number_or_bounds_it_is_undetermined() -> None:
    none = certify(Coefficient(estimate=Unestimated(reason=Lack.ONE_CLASS)), 50, 0.7)
    assert (none.standing, none.value) == (Standing.UNDETERMINED, None)
    assert "one_class" in none.reason
    bare = Coefficient(estimate=Estimate(value=1.0, n=9, se=None, interval=None, lack=Lack.ZERO_VARIANCE))
    assert certify(bare, 9, 0.7).standing is Standing.UNDETERMINED
    with pytest.raises(InvalidInput):
        certify(bare, 9, 1.0)


@pytest.mark.parametrize(("true", "prevalence", "limit"), [(0.75, 0.5, 1083), (0.75, 0.8, 1735), (0.8, 0.5, 223)])
def test_labels_needed_approach_the_large_sample_formula_from_above(true: float, prevalence: float, limit: int) -> None:
    """((1.645 + .842) sd / (kappa - .7))^2; the interval that covers is wider than that at small n."""
    needed = labels_to_settle(of_two(true, prevalence, 40), kappa, 0.7, 0)
    assert isinstance(needed, int)
    assert 0.95 * limit < needed < 1.45 * limit


def test_with_the_labels_it_asks_for_it_is_settled_in_four_of_five_cases() -> None:
    of = of_two(0.85, 0.8, 50)
    needed = labels_to_settle(of, kappa, 0.7, 0)
    assert isinstance(needed, int)
    rng = np.random.default_rng(11)
    drawn = rng.multinomial(needed, (of.mass / of.mass.sum()).ravel(), size=400).reshape(-1, 2, 2)
    settled = [certify(posterior_coefficient(of_counts(one), kappa, seed=0, draws=1_000), needed, 0.7) for one in drawn]
    share = sum(one.standing is Standing.CERTIFIED for one in settled) / len(settled)
    assert 0.73 < share < 0.9  # .8, as the number is known to a tenth


def test_labels_needed_are_the_same_each_time_and_none_where_the_bar_is_too_near() -> None:
    of = of_two(0.8, 0.5, 60)
    assert labels_to_settle(of, kappa, 0.7, 3) == labels_to_settle(of, kappa, 0.7, 3)
    near = labels_to_settle(of_two(0.7001, 0.5, 60), kappa, 0.7, 0)
    assert isinstance(near, Unestimated)
    assert near.reason is Lack.NEAR_THE_BAR
    assert "would not settle it" in certify(known(0.6, 0.7001, 0.8), 60, 0.7, near).reason
    below = labels_to_settle(of_two(0.6, 0.5, 60), kappa, 0.7, 0)
    assert isinstance(below, int)
    assert 60 < below < MOST_LABELS
    empty = labels_to_settle(of_counts(np.zeros((2, 2), dtype=np.int64)), kappa, 0.7, 0)
    assert empty == Unestimated(reason=Lack.NO_EXAMPLES)
