"""The alternative-annotator test: may the judge stand in for one of the people who annotate?

Each person j is left out in turn. On every item that j and another person annotated, judge and j are scored by their
likeness to the people who remain: the share of them that say the same (nominal), or minus the root of the mean squared
difference (ordinal). With W_f = 1 where the judge scores at least as high as j, and W_h = 1 where j does so:

    rho_j = mean W_f, d = W_h - W_f,  H0: mean d >= epsilon,  one-sided t test, p_j

Persons whose H0 is rejected at q = 5% by Benjamini-Yekutieli are won; the judge passes when it wins half of them or
more. epsilon is what a judge's cheapness is worth: .2 against experts, .15 against skilled people, .1 against a crowd.
Calderon, Reichart, Dror 2025 (ACL, arXiv:2501.10970), section 3; Benjamini, Yekutieli 2001 (Ann Statist 29:1165).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import scipy

from evaluators.statistics.estimates import Lack, Unestimated
from judges.agreement.tables import MISSING, FloatArray, IntArray

Q: Final = 0.05
LEAST_ITEMS: Final = 30  # of each person, for the t test
LEAST_PEOPLE: Final = 3
WINS: Final = 0.5


class Annotators(StrEnum):
    """Who the people are, which sets epsilon. To be chosen before the test is seen."""

    EXPERTS = "experts"
    SKILLED = "skilled"
    CROWD = "crowd"


EPSILON: Final = {Annotators.EXPERTS: 0.2, Annotators.SKILLED: 0.15, Annotators.CROWD: 0.1}


@dataclass(frozen=True, kw_only=True)
class Opponent:
    """The judge against one person: `advantage` is rho_j, `p` of H0, `won` after the correction for all."""

    annotator: int
    n: int
    advantage: float
    p: float
    won: bool


@dataclass(frozen=True, kw_only=True)
class AlternativeTest:
    """The winning rate, the mean advantage, and whether the judge passes. `n_dropped` items had too few people or no
    verdict; `skipped` persons had fewer than LEAST_ITEMS items."""

    epsilon: float
    winning_rate: float
    advantage: float
    passed: bool
    opponents: tuple[Opponent, ...]
    n_dropped: int
    skipped: tuple[int, ...]


def alternative_test(
    ratings: IntArray, judge: IntArray, *, ordinal: bool, epsilon: float, values: FloatArray | None = None
) -> AlternativeTest | Unestimated:
    """The test on codes `ratings` of shape (items, annotators) and `judge` of shape (items,), MISSING where not there.

    `values` are the labels' numbers where ordinal, by default the codes. Unestimated with fewer than LEAST_PEOPLE
    people, or fewer than that of LEAST_ITEMS items each.
    """
    kept = ((ratings != MISSING).sum(axis=1) >= 2) & (judge != MISSING)
    n_items = (ratings[kept] != MISSING).sum(axis=0)
    people = int((n_items > 0).sum())
    if people < LEAST_PEOPLE:
        return Unestimated(reason=Lack.FEW_ANNOTATORS, detail=f"{people} of {LEAST_PEOPLE} people")
    able = [int(j) for j in np.flatnonzero(n_items >= LEAST_ITEMS)]
    if len(able) < LEAST_PEOPLE:
        detail = f"{len(able)} of {LEAST_PEOPLE} people have {LEAST_ITEMS} items"
        return Unestimated(reason=Lack.FEW_ITEMS, detail=detail)
    numbers = _numbers(ratings[kept], values)
    verdicts = _numbers(judge[kept], values)
    found = [_against(numbers, verdicts, j, ordinal, epsilon) for j in able]
    won = benjamini_yekutieli([p for _, _, p in found], Q)
    opponents = tuple(
        Opponent(annotator=j, n=n, advantage=rho, p=p, won=one)
        for j, (n, rho, p), one in zip(able, found, won, strict=True)
    )
    rate = sum(won) / len(won)
    return AlternativeTest(
        epsilon=epsilon,
        winning_rate=rate,
        advantage=float(np.mean([one.advantage for one in opponents])),
        passed=rate >= WINS,
        opponents=opponents,
        n_dropped=int((~kept).sum()),
        skipped=tuple(int(j) for j in np.flatnonzero((n_items > 0) & (n_items < LEAST_ITEMS))),
    )


def benjamini_yekutieli(p: Sequence[float], q: float) -> list[bool]:
    """Which of m hypotheses are rejected: all up to the largest i with p_(i) <= i q / (m (1 + 1/2 + ... + 1/m)).

    The expected share of false rejections is at most q under any dependence.
    """
    m = len(p)
    order = sorted(range(m), key=p.__getitem__)
    harmonic = sum(1 / i for i in range(1, m + 1))
    last = max((i for i in range(1, m + 1) if p[order[i - 1]] <= i * q / (m * harmonic)), default=0)
    rejected = set(order[:last])
    return [index in rejected for index in range(m)]


def _against(
    numbers: FloatArray, verdicts: FloatArray, j: int, ordinal: bool, epsilon: float
) -> tuple[int, float, float]:
    """Items, rho_j and p_j of judge against person j."""
    rows = np.flatnonzero(~np.isnan(numbers[:, j]))
    others = np.delete(numbers[rows], j, axis=1)
    of_judge = _likeness(verdicts[rows], others, ordinal)
    of_person = _likeness(numbers[rows, j], others, ordinal)
    judge_wins, person_wins = of_judge >= of_person, of_person >= of_judge
    d = person_wins.astype(np.float64) - judge_wins
    return len(rows), float(judge_wins.mean()), _p_below(d, epsilon)


def _likeness(answers: FloatArray, others: FloatArray, ordinal: bool) -> FloatArray:
    """Likeness of answers (n,) to those of others (n, people - 1), NaN where one did not answer; rounded, so that equal
    likeness is equal."""
    off = others - answers[:, None]
    with np.errstate(invalid="ignore"):
        likeness = -np.sqrt(np.nanmean(off**2, axis=1)) if ordinal else _share_same(off)
    return np.round(likeness, 12)


def _share_same(off: FloatArray) -> FloatArray:
    there = ~np.isnan(off)
    return np.asarray(((off == 0) & there).sum(axis=1) / there.sum(axis=1))


def _p_below(d: FloatArray, epsilon: float) -> float:
    """p of H0: mean >= epsilon. Where every item says the same, the t statistic is infinite: p is 0 or 1."""
    n, mean = len(d), float(d.mean())
    variance = (float((d**2).sum()) - float(d.sum()) ** 2 / n) / (n - 1)  # whole numbers: the same in any order
    if variance == 0:
        return 0.0 if mean < epsilon else 1.0
    return float(scipy.stats.t.cdf((mean - epsilon) / math.sqrt(variance / n), n - 1))


def _numbers(codes: IntArray, values: FloatArray | None) -> FloatArray:
    """Codes as numbers, NaN where MISSING."""
    numbers = codes.astype(np.float64) if values is None else values[np.maximum(codes, 0)]
    return np.where(codes == MISSING, np.nan, numbers)
