"""PPI++ against ppi-python, by hand, and under unequal chances."""

from __future__ import annotations

import numpy as np
import ppi_py
import pytest

from core.errors import InvalidInput
from evaluators.statistics.rates import FloatArray
from judges.correction.ppi import PpiMean, logit, ppi_mean, tuned, two_phase_mean, wald
from judges.correction.records import Judged
from tests.judges.correction.worlds import at_random, judged, said

Given = tuple[FloatArray, FloatArray, FloatArray]


def given(seed: int, n: int, others: int, graded: bool = False) -> Given:
    rng = np.random.default_rng(seed)
    truth, verdict = said(rng, n + others, 0.8, 0.9, 0.7)
    if graded:
        truth, verdict = (np.clip(one * 0.7 + rng.random(n + others) * 0.3, 0, 1) for one in (truth, verdict))
    return truth[:n], verdict[:n], verdict[n:]


GIVEN = [(1, 40, 400, False), (2, 100, 10_000, False), (3, 7, 3, False), (4, 60, 500, True), (5, 200, 200, True)]


@pytest.mark.parametrize("lam", [None, 0.0, 0.4, 1.0])
@pytest.mark.parametrize(("seed", "n", "others", "graded"), GIVEN)
def test_point_and_interval_are_those_of_ppi_python(
    seed: int, n: int, others: int, graded: bool, lam: float | None
) -> None:
    label, judge, unlabelled = given(seed, n, others, graded)
    found = ppi_mean(label, judge, unlabelled, lam)
    assert found.value == pytest.approx(
        ppi_py.ppi_mean_pointestimate(label, judge, unlabelled, lam=lam).item(), abs=1e-9
    )
    for level in (0.9, 0.95):
        low, high = ppi_py.ppi_mean_ci(label, judge, unlabelled, alpha=1 - level, lam=lam)
        ends = wald(found, level)
        assert (ends.low, ends.high) == pytest.approx((low.item(), high.item()), abs=1e-9)


@pytest.mark.parametrize(("seed", "n", "others", "graded"), GIVEN)
def test_two_phases_with_equal_chances_are_the_same_estimate(seed: int, n: int, others: int, graded: bool) -> None:
    label, judge, unlabelled = given(seed, n, others, graded)
    whole = n + others
    known = Judged(
        judge=np.concatenate([judge, unlabelled]),
        label=np.concatenate([label, np.full(others, np.nan)]),
        p_judge=np.full(whole, 0.2),
        p_human=np.full(whole, n / whole),
    )
    lam = 0.5
    found, same = two_phase_mean(known, lam * whole / others), ppi_mean(label, judge, unlabelled, lam)
    assert found.value == pytest.approx(same.value, abs=1e-12)
    if n >= 40:
        assert found.variance == pytest.approx(same.variance, rel=0.1)  # another estimate of the same
    assert found.n == pytest.approx(n)


def test_a_judge_that_is_right_leaves_nothing_to_rectify() -> None:
    rng = np.random.default_rng(1)
    truth, _ = said(rng, 1000, 0.7, 1, 1)
    found = ppi_mean(truth[:100], truth[:100], truth[100:], 1.0)
    assert found.value == truth[100:].mean()
    assert found.variance == pytest.approx(truth[100:].var() / 900)  # of the judge's mean alone


def test_a_judge_that_says_one_thing_is_not_heard() -> None:
    label = np.array([1.0, 0, 1, 1, 0, 1, 1, 1, 0, 1])
    found = ppi_mean(label, np.ones(10), np.ones(500))
    assert found.value == pytest.approx(0.7)
    assert found.lam == 0.0
    assert found.variance == pytest.approx(0.7 * 0.3 / 10)


def test_a_judge_that_is_worse_than_chance_is_not_heard() -> None:
    rng = np.random.default_rng(1)
    truth, verdict = said(rng, 500, 0.5, 0.2, 0.2)
    assert tuned(truth[:100], verdict[:100], verdict[100:]) == 0.0


def test_the_order_of_targets_does_not_matter() -> None:
    rng = np.random.default_rng(3)
    truth, verdict = said(rng, 600, 0.8, 0.9, 0.7)
    known = judged(truth, verdict, at_random(rng, 600, 80), 80 / 600)
    turned = rng.permutation(600)
    names = ("judge", "label", "p_judge", "p_human")
    other = Judged(**{name: getattr(known, name)[turned] for name in names})
    found, again = two_phase_mean(known), two_phase_mean(other)
    assert (found.value, found.lam, found.variance) == pytest.approx((again.value, again.lam, again.variance))


def test_labels_that_were_drawn_by_verdict_are_weighed_and_the_plain_mean_is_not_the_rate() -> None:
    values, plain, covered = [], [], 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        truth, verdict = said(rng, 2000, 0.8, 0.9, 0.7)
        chance = np.where(verdict == 0, 0.15, 0.02)  # fails are looked at more often
        drawn = rng.random(2000) < chance
        known = judged(truth, verdict, drawn, chance)
        found = two_phase_mean(known)
        ends = logit(found)
        assert ends is not None
        covered += ends.low <= 0.8 <= ends.high
        values.append(found.value)
        plain.append(truth[drawn].mean())
    assert np.mean(values) == pytest.approx(0.8, abs=0.01)  # 200 means of standard deviation 0.04
    assert np.mean(plain) < 0.65
    assert covered >= 180


def test_targets_that_were_judged_with_unequal_chances_are_weighed_too() -> None:
    values = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        truth, verdict = said(rng, 4000, 0.8, 0.9, 0.7)
        p_judge = np.where(truth == 1, 0.1, 0.4)  # as if failures came from a segment that is judged more
        p_human = np.where(verdict == 0, 0.3, 0.1)
        was = rng.random(4000) < p_judge
        drawn = was & (rng.random(4000) < p_human)
        known = Judged(
            judge=verdict[was],
            label=np.where(drawn, truth, np.nan)[was],
            p_judge=p_judge[was],
            p_human=np.where(drawn, p_human, np.nan)[was],
        )
        values.append(two_phase_mean(known).value)
    assert np.mean(values) == pytest.approx(0.8, abs=0.012)


def test_asking_about_these_targets_alone_leaves_only_the_labels_error() -> None:
    rng = np.random.default_rng(5)
    truth, verdict = said(rng, 120, 0.7, 0.9, 0.7)
    label, judge, others = truth[:60], verdict[:60], verdict[60:]
    of_more, of_these = ppi_mean(label, judge, others), ppi_mean(label, judge, others, finite=True)
    assert of_these.value == of_more.value
    assert of_these.variance < 0.7 * of_more.variance
    everything = ppi_mean(truth, verdict, verdict[:0], finite=True)
    assert (everything.value, everything.variance) == (truth.mean(), 0.0)
    drawn = at_random(rng, 120, 60)
    assert two_phase_mean(judged(truth, verdict, drawn, 0.5), finite=True).variance < of_more.variance


def test_a_scale_of_log_odds_stays_between_0_and_1_and_knows_when_it_cannot() -> None:
    ends = logit(PpiMean(value=0.97, lam=0.5, variance=0.0004, n=50))
    assert ends is not None
    assert 0.8 < ends.low < 0.97 < ends.high < 1
    for value, variance, n in ((1.0, 0.1, 50), (0.5, 0.0, 50), (-0.1, 0.1, 50), (0.5, 0.1, 1)):
        assert logit(PpiMean(value=value, lam=0.0, variance=variance, n=n)) is None


def test_what_is_no_sample_is_refused() -> None:
    with pytest.raises(InvalidInput):
        ppi_mean(np.array([]), np.array([]), np.ones(3))
    with pytest.raises(InvalidInput):
        ppi_mean(np.ones(2), np.ones(3), np.ones(3))
    one, nan = np.ones(2), np.full(2, np.nan)
    with pytest.raises(InvalidInput):
        two_phase_mean(Judged(judge=one, label=nan, p_judge=one, p_human=nan))
    for wrong in (
        {"judge": np.array([1.0, 1.5])},
        {"label": np.array([1.0, -1])},
        {"p_judge": np.array([1.0, 0])},
        {"p_human": np.array([1.0, 2])},
        {"judge": np.ones(3)},
        {"judge": np.array([1.0, np.nan])},
    ):
        with pytest.raises(InvalidInput):
            Judged(**{"judge": one, "label": one, "p_judge": one, "p_human": one, **wrong})
