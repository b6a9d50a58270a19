"""With itself: how often the same judge, asked the same again, answers something else."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from evaluators.statistics.estimates import Estimate, Lack, Unestimated
from evaluators.statistics.rates import mean_of, wilson


@dataclass(frozen=True, kw_only=True)
class SelfConsistency:
    """`flip_rate`: the chance that two askings of one target differ, a target counting once; `ever`: the share of
    targets of which any two differ. `n` are the targets with two verdicts or more."""

    n: int
    n_missing: int
    flip_rate: Estimate | Unestimated
    ever: Estimate | Unestimated


def self_consistency(repeats: Sequence[Sequence[Hashable | None]], level: float = 0.95) -> SelfConsistency:
    """`repeats`: for each target the verdicts of its askings; None is a missing verdict, which is left out and counted.

    Where every target has exactly two, the flip rate is a binomial rate and has Wilson's interval.
    """
    told = [[one for one in each if one is not None] for each in repeats]
    n_missing = sum(map(len, repeats)) - sum(map(len, told))
    several = [each for each in told if len(each) > 1]
    if not several:
        none = Unestimated(reason=Lack.NO_EXAMPLES, detail="no target was asked twice")
        return SelfConsistency(n=0, n_missing=n_missing, flip_rate=none, ever=none)
    shares = np.array([np.mean([a != b for a, b in combinations(each, 2)]) for each in several])
    ever = _rate(int((shares > 0).sum()), len(several), level)
    plain = all(len(each) == 2 for each in several)
    return SelfConsistency(
        n=len(several), n_missing=n_missing, flip_rate=ever if plain else mean_of(shares, level), ever=ever
    )


def _rate(count: int, n: int, level: float) -> Estimate:
    value = count / n
    return Estimate(value=value, n=n, se=float(np.sqrt(value * (1 - value) / n)), interval=wilson(count, n, level))
