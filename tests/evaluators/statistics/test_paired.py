"""Paired differences: McNemar, sign flips, t, their intervals, and what cannot be told."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as reference

from core.errors import InvalidInput
from evaluators.statistics import mcnemar
from evaluators.statistics.bounded import gaffke_harm, gaffke_lower, gaffke_upper
from evaluators.statistics.estimates import Lack, Unestimated
from evaluators.statistics.paired import Paired, Test, paired
from evaluators.statistics.rates import FloatArray, rule_of_three
from evaluators.statistics.signflip import sign_flip
from tests.thorough import often

SHARE = (0.0, 1.0)


def compared(baseline: FloatArray, candidate: FloatArray, **how: object) -> Paired:
    """The comparison of scores from 0 to 1; fails when there is none."""
    rest = {"one_trial": False, "bounds": SHARE, **how}
    found = paired(baseline, candidate, **rest)  # type: ignore[arg-type]
    assert isinstance(found, Paired)
    return found


def rates(gained: int, lost: int, both: int = 5, neither: int = 5) -> tuple[FloatArray, FloatArray]:
    """0/1 answers of two runs."""
    table = [(0, 1)] * gained + [(1, 0)] * lost + [(1, 1)] * both + [(0, 0)] * neither
    pairs = np.array(table, dtype=np.float64)
    return pairs[:, 0], pairs[:, 1]


@pytest.mark.parametrize(("gained", "lost"), [(0, 1), (1, 0), (3, 7), (7, 3), (6, 6), (37, 8), (400, 350), (0, 60)])
def test_mcnemar_is_that_of_statsmodels(gained: int, lost: int) -> None:
    expected = reference([[9, lost], [gained, 4]], exact=True).pvalue
    assert mcnemar.exact_two_sided(gained, lost) == pytest.approx(expected, abs=1e-12)
    found = compared(*rates(gained, lost), one_trial=True)
    assert found.p_two_sided == pytest.approx(expected, abs=1e-12)
    assert found.test is Test.MCNEMAR_EXACT
    assert found.p_harm == pytest.approx(stats.binomtest(lost, gained + lost, alternative="greater").pvalue, abs=1e-12)


def test_tangos_interval_is_the_published_one() -> None:
    """1 and 7 discordant pairs of 21: Fagerland, Lydersen, Laake 2014 (Stat Med 33:2850)."""
    found = mcnemar.tango(1, 7, 21)
    assert (found.low, found.high) == pytest.approx((-0.517, -0.026), abs=5e-4)


@pytest.mark.parametrize(("gained", "lost", "n"), [(0, 0, 50), (0, 50, 50), (50, 0, 50), (2, 0, 3), (11, 30, 200)])
def test_the_ends_of_tangos_interval_are_where_its_test_gives_way(gained: int, lost: int, n: int) -> None:
    found = mcnemar.tango(gained, lost, n, 0.9)
    assert -1 <= found.low <= (gained - lost) / n <= found.high <= 1
    z = stats.norm.isf(0.05)
    if found.low > -1:
        assert mcnemar.tango_z(gained, lost, n, found.low) == pytest.approx(z, abs=1e-6)
    if found.high < 1:
        assert mcnemar.tango_z(gained, lost, n, found.high) == pytest.approx(-z, abs=1e-6)


def test_tangos_z_without_a_difference_is_mcnemars() -> None:
    assert mcnemar.tango_z(12, 30, 100, 0.0) == pytest.approx((12 - 30) / np.sqrt(42), abs=1e-12)


def test_sign_flips_by_hand() -> None:
    """Of the 8 sums of +-.5 +-.25 +-.25 the observed -1 is the least: 1/8; on two sides 2/8."""
    found = sign_flip(np.array([-0.5, -0.25, 0.0, -0.25]))
    assert (found.harm, found.two_sided, found.exact) == (1 / 8, 2 / 8, True)


def test_exact_sign_flips_are_those_of_scipy() -> None:
    rng = np.random.default_rng(3)
    d = rng.normal(-0.3, 1, 11)
    expected = stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=10_000)
    assert sign_flip(d).two_sided == pytest.approx(expected.pvalue, abs=1e-12)


def test_seeded_sign_flips_are_near_the_exact_ones() -> None:
    rng = np.random.default_rng(4)
    d = rng.integers(-4, 4, 40) / 4
    distribution = {0: 1.0}
    for one in np.abs(d * 4).astype(int):
        after: dict[int, float] = {}
        for total, chance in distribution.items():
            for sign in (-1, 1):
                after[total + sign * int(one)] = after.get(total + sign * int(one), 0.0) + chance / 2
        distribution = after
    exact = sum(chance for total, chance in distribution.items() if total <= round(d.sum() * 4))
    found = sign_flip(d)
    assert not found.exact
    assert found.harm == pytest.approx(exact, abs=4 * np.sqrt(exact / 20_000))


def test_many_examples_are_tested_by_t() -> None:
    rng = np.random.default_rng(5)
    before, after = rng.normal(900, 200, 300), rng.normal(930, 200, 300)
    found = compared(before, after, bounds=None)
    expected = stats.ttest_rel(after, before)
    assert found.test is Test.PAIRED_T
    assert found.p_two_sided == pytest.approx(expected.pvalue, abs=1e-12)
    assert found.p_harm == pytest.approx(stats.ttest_rel(after, before, alternative="less").pvalue, abs=1e-12)
    interval = expected.confidence_interval(0.95)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((interval.low, interval.high), abs=1e-9)


@pytest.mark.parametrize(
    ("differing", "bounds", "one_trial", "test", "interval"),
    [
        (12, SHARE, False, Test.SIGN_FLIP_EXACT, "gaffke"),
        (12, None, False, Test.SIGN_FLIP_EXACT, "paired_t"),
        (40, SHARE, False, Test.SIGN_FLIP_SEEDED, "paired_t"),
        (150, SHARE, False, Test.PAIRED_T, "paired_t"),
        (50, SHARE, True, Test.MCNEMAR_EXACT, "tango_score"),
    ],
)
def test_the_rule_names_its_method(
    differing: int, bounds: tuple[float, float] | None, one_trial: bool, test: Test, interval: str
) -> None:
    before = np.ones(200)
    after = before.copy()
    after[:differing] -= 1.0 if one_trial else np.linspace(0.25, 0.5, differing)
    found = compared(before, after, bounds=bounds, one_trial=one_trial)
    assert found.test is test
    assert found.interval is not None
    assert found.interval.method == interval


def test_gaffkes_bound_of_yes_and_no_is_clopper_pearsons() -> None:
    values = np.array([1.0] * 92 + [0.0] * 8)
    expected = stats.binomtest(92, 100).proportion_ci(0.9, method="exact")
    assert gaffke_lower(values, 0.0, 0.05) == pytest.approx(expected.low, abs=2e-3)
    assert gaffke_upper(values, 1.0, 0.05) == pytest.approx(expected.high, abs=2e-3)


def test_without_any_difference_the_bound_is_the_rule_of_three() -> None:
    found = compared(np.ones(150), np.ones(150))
    assert (found.difference, found.p_two_sided, found.p_harm, found.se) == (0.0, None, None, None)
    assert found.lack is Lack.ALL_TIES
    assert found.lower == pytest.approx(-rule_of_three(150), abs=1e-12)
    assert found.interval is not None
    assert found.interval.low < 0 < found.interval.high


def test_gaffkes_p_is_where_its_bound_reaches_the_slack() -> None:
    d = np.array([0.0] * 60 + [-0.5] * 6)
    p = gaffke_harm(d, 1.0, 0.01)
    assert gaffke_upper(d, 1.0, p) == pytest.approx(-0.01, abs=2e-3)
    assert gaffke_harm(np.full(5, -0.5), 1.0, 0.0) == pytest.approx((1 - 1 / 3) ** 5)
    assert gaffke_harm(np.zeros(5), 1.0, 0.1) == 1.0


def test_few_examples_that_differ_make_no_short_interval() -> None:
    """Where a loss is rare and whole, the t bound is far too short: 2% of examples lost, 100 seen, margin 2 points."""
    rng = np.random.default_rng(6)
    passes = t_passes = 0
    for _ in range(400):
        d = -(rng.random(100) < 0.02).astype(np.float64)
        found = compared(np.ones(100), 1 + d)
        assert found.lower is not None
        passes += found.lower > -0.02
        t_passes += d.mean() - stats.t.isf(0.05, 99) * d.std(ddof=1) / 10 > -0.02
    assert passes <= 0.05 * 400
    assert t_passes > 0.1 * 400


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_examples_are_no_p_of_one(n: int) -> None:
    found = paired(np.zeros(n), np.ones(n), one_trial=True, bounds=SHARE)
    if n == 0:
        assert found == Unestimated(reason=Lack.NO_EXAMPLES)
    else:
        assert isinstance(found, Paired)
        assert (found.p_two_sided, found.interval, found.se, found.lack) == (None, None, None, Lack.ONE_EXAMPLE)


def test_nan_is_no_difference() -> None:
    found = paired(np.array([1.0, np.nan]), np.ones(2), one_trial=True, bounds=SHARE)
    assert found == Unestimated(reason=Lack.NOT_FINITE)


def test_a_shift_without_variance_has_a_p_and_no_interval() -> None:
    found = compared(np.arange(30.0), np.arange(30.0) - 5, bounds=None)
    assert found.p_harm == 2.0**-30
    assert (found.interval, found.lower, found.lack) == (None, None, Lack.ZERO_VARIANCE)


@pytest.mark.parametrize(
    "wrong",
    [
        {"candidate": np.zeros(3)},
        {"alpha": 0.0},
        {"alpha": float("nan")},
        {"slack": -0.1},
        {"candidate": np.full(4, 1.5)},
    ],
)
def test_what_cannot_be_compared_is_refused(wrong: dict[str, object]) -> None:
    how = {"baseline": np.zeros(4), "candidate": np.ones(4), "one_trial": False, "bounds": SHARE, **wrong}
    with pytest.raises(InvalidInput):
        paired(**how)  # type: ignore[arg-type]


MEANS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])),
    min_size=2,
    max_size=60,
)


@settings(max_examples=often(40, 15), deadline=None)
@given(MEANS, st.sampled_from([0.0, 0.03]), st.booleans())
def test_swapping_the_runs_turns_the_signs(pairs: list[tuple[float, float]], slack: float, known: bool) -> None:
    before, after = np.array(pairs).T
    bounds = SHARE if known else None
    one, other = (compared(*both, slack=slack, bounds=bounds) for both in ((before, after), (after, before)))
    assert one.difference == -other.difference
    assert (one.n_better, one.n_worse, one.p_two_sided) == (other.n_worse, other.n_better, other.p_two_sided)
    if one.lower is not None:
        assert other.upper == pytest.approx(-one.lower, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(MEANS, st.randoms(use_true_random=False))
def test_the_order_of_examples_does_not_matter(pairs: list[tuple[float, float]], random: object) -> None:
    before, after = np.array(pairs).T
    order = np.random.default_rng(len(pairs)).permutation(len(pairs))
    one, other = compared(before, after), compared(before[order], after[order])
    for name in ("difference", "p_two_sided", "p_harm", "lower", "upper"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), abs=1e-12)


def test_every_sign_is_flipped_once() -> None:
    weights = np.array([0.1, 0.7, 1.9])
    sums = [float(np.dot(signs, weights)) for signs in itertools.product((-1, 1), repeat=3)]
    assert sign_flip(weights * np.array([-1, 1, -1])).harm == sum(one <= -1.3 + 1e-12 for one in sums) / 8
