"""Towards answers of the judge's own model family.

With labels of people it is a difference in differences: [P(judge chooses own) - P(people choose own)] minus the mean
of the same over the other families, so that a judge that is merely lenient shows none. Beside it the equal-opportunity
form of Wataoka et al. 2024 (arXiv:2410.21819): P(judge chooses own | people did) - P(judge chooses other | people did).
Without labels only the families' disagreement is known, which may be quality as well as bias; it is called that.
Chance errors move every rate towards the middle, of the best family most: a judge that is merely noisy lowers the
first form of a good family, not the second, so both are told. Intervals: bootstrap over prompts, percentiles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput
from evaluators.statistics.estimates import Estimate, Interval, Lack, Unestimated
from evaluators.statistics.rates import FloatArray

DRAWS: Final = 2_000
_ENOUGH: Final = 0.9  # of the draws have to give a number, or the interval is of a part of them


@dataclass(frozen=True, kw_only=True)
class SelfPreference:
    """`n_own` and `n_other` answers of the judge's own family and of the others. Without labels of people
    `preference` and `equal_opportunity` are unestimated and only `disagreement` is told: P(judge chooses own) minus
    the mean over the other families."""

    n_own: int
    n_other: int
    n_families: int
    labelled: bool
    preference: Estimate | Unestimated
    equal_opportunity: Estimate | Unestimated
    disagreement: Estimate | Unestimated


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Answers that were judged, one row each, all of shape (n,). `judge` and `human` are 1 where the answer was chosen
    or passed, 0 where not; `human` NaN where there is no label. Of a pair with an own answer only that answer is a
    row; of a pair of two other families both are."""

    prompt: NDArray[np.int64]
    family: NDArray[np.int64]
    judge: FloatArray
    human: FloatArray

    def __post_init__(self) -> None:
        shapes = {self.prompt.shape, self.family.shape, self.judge.shape, self.human.shape}
        if len(shapes) != 1 or self.prompt.ndim != 1:
            raise InvalidInput(f"columns of shapes {shapes}", field="judge")

    def rows(self, which: NDArray[np.int64] | NDArray[np.bool_]) -> Answers:
        """Some of the rows."""
        return Answers(
            prompt=self.prompt[which], family=self.family[which], judge=self.judge[which], human=self.human[which]
        )


def self_preference(answers: Answers, own: int, *, seed: int, level: float = 0.95) -> SelfPreference:
    """The preference of a judge of family `own`."""
    there = answers.rows(np.isfinite(answers.judge))
    labelled = there.rows(np.isfinite(there.human))
    n_own = int((there.family == own).sum())
    has_labels = bool(len(labelled.prompt))
    none = Unestimated(reason=Lack.NO_LABELS, detail="only the families' disagreement can be told")
    rng = np.random.default_rng(seed)
    return SelfPreference(
        n_own=n_own,
        n_other=len(there.family) - n_own,
        n_families=len(np.unique(there.family)),
        labelled=has_labels,
        preference=_interval(labelled, own, _difference, rng, level) if has_labels else none,
        equal_opportunity=_interval(labelled, own, _opportunity, rng, level) if has_labels else none,
        disagreement=_interval(there, own, _disagreement, rng, level),
    )


def _difference(answers: Answers, own: int) -> float:
    return _beside_others(answers.family, answers.judge - answers.human, own)


def _disagreement(answers: Answers, own: int) -> float:
    return _beside_others(answers.family, answers.judge, own)


def _opportunity(answers: Answers, own: int) -> float:
    deserved = answers.human == 1
    mine = answers.judge[deserved & (answers.family == own)]
    theirs = answers.judge[deserved & (answers.family != own)]
    return float(mine.mean() - theirs.mean()) if len(mine) and len(theirs) else float("nan")


def _beside_others(family: NDArray[np.int64], values: FloatArray, own: int) -> float:
    """The mean of the own family minus the mean over the other families' means."""
    families, at = np.unique(family, return_inverse=True)
    if own not in families or len(families) < 2:
        return float("nan")
    means = np.bincount(at, weights=values) / np.bincount(at)
    mine = families == own
    return float(means[mine][0] - means[~mine].mean())


def _interval(
    answers: Answers, own: int, statistic: Callable[[Answers, int], float], rng: np.random.Generator, level: float
) -> Estimate | Unestimated:
    """The statistic with its percentile interval over draws of prompts."""
    value = statistic(answers, own)
    if not np.isfinite(value):
        return Unestimated(reason=Lack.NO_EXAMPLES, detail="answers of the own family and of another are needed")
    prompts, at = np.unique(answers.prompt, return_inverse=True)
    n = len(prompts)
    if n < 2:
        return Estimate(value=float(value), n=n, se=None, interval=None, lack=Lack.ONE_EXAMPLE)
    order = np.argsort(at, kind="stable")
    ends = np.cumsum(np.bincount(at))
    parts = np.split(order, ends[:-1])
    draws = np.array(
        [
            statistic(answers.rows(np.concatenate([parts[one] for one in rng.integers(0, n, n)])), own)
            for _ in range(DRAWS)
        ]
    )
    draws = draws[np.isfinite(draws)]
    if len(draws) < _ENOUGH * DRAWS:
        return Estimate(value=float(value), n=n, se=None, interval=None, lack=Lack.TOO_FEW)
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    interval = Interval(low=float(low), high=float(high), level=level, method="bootstrap_prompts_percentile")
    return Estimate(value=float(value), n=n, se=float(draws.std(ddof=1)), interval=interval)
