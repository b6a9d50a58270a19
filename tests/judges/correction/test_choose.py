"""Which correction is used, what it says with it, and when there is none."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluators.statistics.estimates import Lack, Unestimated
from evaluators.statistics.rates import FloatArray
from judges.correction.choose import corrected
from judges.correction.records import Corrected, Judged, Labels, Method
from judges.correction.rogan import RightShares, rogan_gladen
from tests.judges.correction.worlds import at_random, judged, said

STORED = Path(__file__).resolve().parents[4] / "shared" / "data" / "tau2_judges" / "judge_verdicts_flat.csv"


def world(seed: int, n: int = 2000, k: int = 100, cell: tuple[float, float, float] = (0.8, 0.9, 0.7)) -> Judged:
    rng = np.random.default_rng(seed)
    truth, verdict = said(rng, n, *cell)
    return judged(truth, verdict, at_random(rng, n, k), k / n)


def told(found: Corrected | Unestimated) -> Corrected:
    assert isinstance(found, Corrected), found
    return found


def covers(make: Callable[[int], Judged], truth: float, runs: int, **asked: Any) -> float:
    found = [told(corrected(make(seed), **asked)).interval for seed in range(runs)]
    return sum(one.low <= truth <= one.high for one in found) / runs


def test_labels_of_these_targets_are_corrected_by_ppi_with_the_raw_mean_beside() -> None:
    given = world(1)
    found = told(corrected(given))
    assert (found.method, found.n_labels, found.n_judged) == (Method.PPI, 100, 2000)
    assert found.raw == pytest.approx(given.judge.mean())
    assert "same chance" in found.why
    assert found.interval.method == "ppi++_logit_t"
    assert found.interval.low < found.value < found.interval.high
    assert found.human is not None
    assert found.human.high - found.human.low > found.interval.high - found.interval.low
    assert found.effective_n > 100
    assert 0 < (found.lam or 0) < 1


def test_a_rare_class_gets_the_interval_that_knows_what_was_not_seen() -> None:
    found = told(corrected(world(3, k=50, cell=(0.97, 0.97, 0.7))))
    assert found.interval.method == "chain_beta"
    nothing_fails = world(3, k=30, cell=(1.0, 0.97, 0.7))
    found = told(corrected(nothing_fails))
    assert found.value == pytest.approx(1.0, abs=0.02)
    assert found.interval.high == 1.0
    assert 0.85 < found.interval.low < 0.99


@pytest.mark.parametrize("cell", [(0.8, 0.9, 0.7, 50), (0.97, 0.97, 0.7, 50), (0.5, 0.85, 0.85, 40)])
def test_the_interval_covers_the_truth_where_the_raw_mean_misses_it(cell: tuple[float, float, float, int]) -> None:
    rate, *errors, k = cell
    assert covers(lambda seed: world(seed, k=k, cell=(rate, errors[0], errors[1])), rate, 150) >= 0.88


def test_a_judge_that_is_always_right_and_one_that_says_one_thing() -> None:
    rng = np.random.default_rng(1)
    truth, _ = said(rng, 2000, 0.8, 1, 1)
    drawn = at_random(rng, 2000, 100)
    right = told(corrected(judged(truth, truth, drawn, 0.05), lam=1.0))
    assert right.value == pytest.approx(truth[~drawn].mean())
    assert right.interval.method == "chain_beta"  # that none of 100 was wrong is no proof that none ever is
    assert right.interval.high - right.interval.low > 0.04
    dull = told(corrected(judged(truth, np.ones(2000), drawn, 0.05)))
    assert dull.value == pytest.approx(truth[drawn].mean())
    assert dull.human is not None
    assert (dull.human_value, dull.human.low) == pytest.approx((dull.value, dull.interval.low), abs=1e-3)
    assert "hardly helps" in dull.note
    assert dull.raw == 1.0


def test_the_order_of_targets_does_not_matter() -> None:
    given, rng = world(5), np.random.default_rng(1)
    turned = rng.permutation(2000)
    other = Judged(**{name: getattr(given, name)[turned] for name in ("judge", "label", "p_judge", "p_human")})
    one, two = told(corrected(given)), told(corrected(other))
    assert (one.value, one.interval.low) == pytest.approx((two.value, two.interval.low), abs=1e-12)


def test_when_prevalence_shifts_rogan_gladen_stays_true_and_ppi_does_not() -> None:
    """Labels of a half-and-half set, asked about a population of which 80% pass (N = 10,000, 200 labels)."""
    shifted, mixed, covered = [], [], 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        old_truth, old_verdict = said(rng, 200, 0.5, 0.9, 0.7)
        _, verdict = said(rng, 10_000, 0.8, 0.9, 0.7)
        nobody = np.full(10_000, np.nan)
        now = Judged(judge=verdict, label=nobody, p_judge=np.ones(10_000), p_human=nobody)
        rogan = told(corrected(now, Labels(judge=old_verdict, label=old_truth)))
        assert rogan.method is Method.ROGAN_GLADEN
        shifted.append(rogan.value - 0.8)
        covered += rogan.interval.low <= 0.8 <= rogan.interval.high
        pooled = Judged(
            judge=np.concatenate([verdict, old_verdict]),
            label=np.concatenate([nobody, old_truth]),
            p_judge=np.ones(10_200),
            p_human=np.full(10_200, 200 / 10_200),
        )
        mixed.append(told(corrected(pooled)).value - 0.8)
    assert abs(np.mean(shifted)) < 0.02
    assert np.mean(mixed) < -0.1
    assert covered >= 0.9 * 150


def test_rogan_gladen_by_hand() -> None:
    found = rogan_gladen(0.78, 10_000, RightShares(q0=0.7, q1=0.9, m0=20, m1=80))
    assert not isinstance(found, Unestimated)
    assert found.value == pytest.approx((0.78 + 0.7 - 1) / 0.6)
    z2 = 1.959964**2
    p, q0, q1 = (7800 + z2 / 2) / (10_000 + z2), 15 / 22, 73 / 82
    theta = (p + q0 - 1) / (q0 + q1 - 1)
    a, b = q0 * (1 - q0) / 22, q1 * (1 - q1) / 82
    se = (p * (1 - p) / (10_000 + z2) + (1 - theta) ** 2 * a + theta**2 * b) ** 0.5 / (q0 + q1 - 1)
    middle = theta + 2 * z2 * (theta * b - (1 - theta) * a)
    assert found.se == pytest.approx(se, rel=1e-6)
    assert found.interval.low == pytest.approx(middle - 1.959964 * se, abs=1e-6)


def test_what_cannot_be_corrected_says_what_is_missing() -> None:
    given = world(1, k=6)
    few = corrected(given)
    assert few == Unestimated(
        reason=Lack.TOO_FEW, detail="6 labels were drawn from these targets with a known chance: label 4 more"
    )
    nobody = replace(given, label=np.full(2000, np.nan), p_human=np.full(2000, np.nan))
    rng = np.random.default_rng(1)
    truth, verdict = said(rng, 200, 0.8, 0.9, 0.7)

    def lack(of: Judged, labels: Labels | None, **asked: Any) -> Lack | None:
        found = corrected(of, labels, **asked)
        return found.reason if isinstance(found, Unestimated) else None

    assert lack(nobody, None) is Lack.TOO_FEW
    assert lack(nobody, Labels(judge=verdict, label=np.ones(200))) is Lack.ONE_CLASS
    assert lack(nobody, Labels(judge=verdict[:12], label=np.array([0.0] * 2 + [1] * 10))) is Lack.ONE_CLASS
    assert lack(nobody, Labels(judge=1 - truth, label=truth)) is Lack.NO_BETTER_THAN_CHANCE
    assert lack(nobody, Labels(judge=verdict * 0.5, label=truth)) is Lack.NOT_BINARY
    assert lack(nobody, Labels(judge=verdict, label=truth), method=Method.PPI) is Lack.TOO_FEW
    empty = np.array([])
    assert lack(Judged(judge=empty, label=empty, p_judge=empty, p_human=empty), None) is Lack.NO_EXAMPLES
    same = Judged(judge=np.full(100, 0.5), label=np.full(100, 0.5), p_judge=np.ones(100), p_human=np.full(100, 0.5))
    assert lack(same, None) is Lack.ZERO_VARIANCE


def test_labels_whose_chance_is_not_known_are_no_random_sample() -> None:
    given = world(1)
    unknown = replace(given, p_human=np.full(2000, np.nan))
    found = told(corrected(unknown))
    assert found.method is Method.ROGAN_GLADEN
    assert "not known with what chance" in found.why
    assert found.sensitivity == pytest.approx(0.9, abs=0.15)
    assert "errs here as often" in found.note


def test_labels_that_stand_for_a_part_of_what_was_judged_are_noted() -> None:
    given = world(1)
    found = told(corrected(replace(given, p_human=given.p_human * 4)))
    assert "stand for 25% of what was judged" in found.note


def test_grades_are_corrected_as_means() -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 5, 1000) / 4
    verdict = np.clip(truth + rng.integers(-1, 2, 1000) / 4, 0, 1)
    found = told(corrected(judged(truth, verdict, at_random(rng, 1000, 100), 0.1)))
    assert found.interval.low < truth.mean() < found.interval.high
    assert found.interval.method == "ppi++_logit_t"
    few = corrected(judged(truth, verdict, at_random(rng, 1000, 15), 0.015))
    assert isinstance(few, Unestimated)


@pytest.fixture(scope="module")
def tau2() -> dict[str, tuple[FloatArray, FloatArray]]:
    if not STORED.is_file():
        pytest.skip("the stored verdicts (tau2_judges) are not here")
    passing, failing = {"pass", "satisfied", "satisfactory", "compliant", "correct"}, {"fail", "failure", "unsatisfied"}
    found: dict[str, list[tuple[float, float]]] = {}
    with STORED.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            word = row["judge_verdict"].strip().lower()
            if word in passing | failing | {"unsatisfactory"}:
                pair = (float(row["tau2_success"] == "True"), float(word in passing))
                found.setdefault(row["judge_prompt"], []).append(pair)
    return {name: (np.array([a for a, _ in rows]), np.array([b for _, b in rows])) for name, rows in found.items()}


def test_forty_labels_correct_the_stored_judges_of_real_conversations(
    tau2: dict[str, tuple[FloatArray, FloatArray]],
) -> None:
    assert len(tau2) == 4
    for name, (truth, verdict) in tau2.items():

        def drawn(seed: int, truth: FloatArray = truth, verdict: FloatArray = verdict) -> Judged:
            rng = np.random.default_rng(seed)
            return judged(truth, verdict, at_random(rng, len(truth), 40), 40 / len(truth))

        assert covers(drawn, float(truth.mean()), 100, finite=True) >= 0.87, name
