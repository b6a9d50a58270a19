"""How far people agree with each other: the ceiling of what can be asked of a judge, and the judge's distance to it.

Compared is like with like. A label that several people made together is steadier than any one of them, so a judge's
kappa with that label may lie above the kappa of two people without the judge being any better. Here the judge's kappa
is the mean of its kappas with each single person, on the same items.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np

from evaluators.statistics.estimates import Lack, Unestimated
from judges.agreement.alpha import Level, alphas, coincidences
from judges.agreement.intervals import Coefficient, Resampled, bca_coefficient
from judges.agreement.kappa import Weighting, agreement_weights, kappas
from judges.agreement.tables import MISSING, FloatArray, IntArray

RESAMPLES: Final = 2_000


@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """Agreement among people on items that two or more of them answered, resampled by item (BCa).

    `kappa` is the mean of the pairs' kappas, each weighted by the items that the pair shares; pairs whose kappa is not
    defined do not count. `judge_kappa` is the same mean of judge and each person, on the items of those that the judge
    answered too; `judge_minus_people` the difference of the two on these items.
    """

    n_items: int
    n_annotators: int
    n_pairs: int
    kappa: Coefficient
    alpha: Coefficient
    judge_kappa: Coefficient
    judge_minus_people: Coefficient


def human_ceiling(
    ratings: IntArray, judge: IntArray, k: int, weighting: Weighting, *, seed: int, resamples: int = RESAMPLES
) -> Ceiling | Unestimated:
    """The ceiling of codes `ratings` of shape (items, annotators), and `judge` of shape (items,), MISSING where not
    there. Unestimated where no item has two answers of people."""
    several = (ratings != MISSING).sum(axis=1) >= 2
    if not several.any():
        return Unestimated(reason=Lack.FEW_ANNOTATORS, detail="no item has the answers of two people")
    people, people_counts = _patterns(ratings[several])
    judged = several & (judge != MISSING)
    both, both_counts = _patterns(np.column_stack([judge[judged], ratings[judged]]))
    pairs = _pairs(people)
    with_judge = [(0, 1 + person) for person in range(ratings.shape[1])]
    weights = agreement_weights(k, weighting)
    judge_mean = mean_kappa(both, with_judge, k, weights)
    people_mean = mean_kappa(both, [(1 + a, 1 + b) for a, b in pairs], k, weights)

    def bca(counts: IntArray, statistic: Resampled) -> Coefficient:
        return bca_coefficient(counts, statistic, seed=seed, resamples=resamples)

    return Ceiling(
        n_items=int(several.sum()),
        n_annotators=int((people != MISSING).any(axis=0).sum()),
        n_pairs=len(pairs),
        kappa=bca(people_counts, mean_kappa(people, pairs, k, weights)),
        alpha=bca(people_counts, alpha_of(people, k, level_of(weighting))),
        judge_kappa=bca(both_counts, judge_mean),
        judge_minus_people=bca(both_counts, lambda times: judge_mean(times) - people_mean(times)),
    )


def level_of(weighting: Weighting) -> Level:
    """What a scale that is weighted so is for alpha."""
    return Level.NOMINAL if weighting is Weighting.NOMINAL else Level.ORDINAL


def mean_kappa(patterns: IntArray, pairs: list[tuple[int, int]], k: int, weights: FloatArray) -> Resampled:
    """The mean kappa of pairs of columns, as a function of how often each pattern is there, (B, patterns) -> (B,)."""
    cells = [(a, b, *_cells(patterns[:, a], patterns[:, b], k)) for a, b in pairs]

    def of(times: FloatArray) -> FloatArray:
        total, shared = np.zeros(len(times)), np.zeros(len(times))
        for _, _, rows, at in cells:
            tables = (times[:, rows] @ at).reshape(-1, k, k)
            kappa, n = kappas(tables, weights), tables.sum(axis=(1, 2))
            known = np.isfinite(kappa)
            total += np.where(known, kappa * n, 0.0)
            shared += np.where(known, n, 0.0)
        return np.asarray(np.divide(total, shared, out=np.full(len(times), np.nan), where=shared > 0))

    return of


def alpha_of(patterns: IntArray, k: int, level: Level, weight: FloatArray | None = None) -> Resampled:
    """Alpha as a function of how often each pattern is there, (B, patterns) -> (B,). `weight` of shape (patterns,)
    counts a unit of that pattern so often."""
    each = coincidences(patterns, k).reshape(len(patterns), k * k)
    each = each if weight is None else each * weight[:, None]
    return lambda times: alphas((times @ each).reshape(-1, k, k), level)


def _patterns(ratings: IntArray) -> tuple[IntArray, IntArray]:
    """Rows that differ, and how often each is there: items with the same answers are one pattern."""
    if not len(ratings):
        return ratings, np.zeros(0, dtype=np.int64)
    found, times = np.unique(ratings, axis=0, return_counts=True)
    return found, times.astype(np.int64)


def _pairs(ratings: IntArray) -> list[tuple[int, int]]:
    """Pairs of annotators who share an item."""
    there = (ratings != MISSING).astype(np.int64)
    shared = there.T @ there
    return [(a, b) for a, b in combinations(range(ratings.shape[1]), 2) if shared[a, b]]


def _cells(first: IntArray, second: IntArray, k: int) -> tuple[IntArray, FloatArray]:
    """Rows that both answered, shape (m,), and the cell of each as ones and zeros, shape (m, k * k)."""
    rows = np.flatnonzero((first != MISSING) & (second != MISSING))
    at = np.zeros((len(rows), k * k))
    at[np.arange(len(rows)), first[rows] * k + second[rows]] = 1.0
    return rows, at
