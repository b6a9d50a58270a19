"""Grown or only continued: a cluster's share of the sessions since the last run against its share in the last run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from clustering.lineage_records import Matching
from evaluators.statistics.multiplicity import benjamini_hochberg

# Below so many clusters their scatter says too little: a variance of .1 mean^2 is assumed for each of the two counts.
ENOUGH_TO_ESTIMATE: Final = 10
ASSUMED: Final = 0.2
_MEDIAN_CHI2: Final = float(special.chdtri(1, 0.5))  # of one degree of freedom: .4549


class Counted(NamedTuple):
    """`new` sessions of `new_of` since the last run, after `old` of `old_of` in it: sets without a common session."""

    new: int
    new_of: int
    old: int
    old_of: int


@dataclass(frozen=True, kw_only=True)
class Growth:
    """`ratio` of the shares; `q_value` among all clusters asked; `grown`, by the bars of Matching."""

    ratio: float
    q_value: float
    grown: bool


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Answers in the order asked, None where there is nothing to compare; and the dispersion allowed for."""

    growth: tuple[Growth | None, ...]
    dispersion: float


def compared(asked: Sequence[Counted | None], params: Matching) -> Compared:
    """One-sided tests of all clusters of a run at once.

    With d = ln((new + .5) / new_of) - ln((old + .5) / old_of), its Poisson variance v = 1 / (new + .5) + 1 / (old + .5)
    (Gart 1966, Biometrika 53:611, for the halves) and the dispersion w shared by all clusters, p = Phi(-d / sqrt(v +
    w)); q by Benjamini and Hochberg. Grown: q <= alpha, ratio >= least_growth, and at least least_shared new sessions.
    """
    places = [at for at, one in enumerate(asked) if one is not None and one.new_of > 0 and one.old_of > 0]
    counts = np.array([asked[at] for at in places], dtype=np.float64).reshape(-1, 4)
    d = np.log((counts[:, 0] + 0.5) / counts[:, 1]) - np.log((counts[:, 2] + 0.5) / counts[:, 3])
    v = 1 / (counts[:, 0] + 0.5) + 1 / (counts[:, 2] + 0.5)
    w = dispersion(d, v)
    q = benjamini_hochberg([float(p) for p in special.ndtr(-d / np.sqrt(v + w))])
    growth: list[Growth | None] = [None] * len(asked)
    for at, ratio, q_value, new in zip(places, np.exp(d), q, counts[:, 0], strict=True):
        grown = q_value <= params.alpha and ratio >= params.least_growth and new >= params.least_shared
        growth[at] = Growth(ratio=float(ratio), q_value=q_value, grown=bool(grown))
    return Compared(growth=tuple(growth), dispersion=w)


def dispersion(d: NDArray[np.float64], v: NDArray[np.float64]) -> float:
    """The variance of log ratios beyond their own v: the w >= 0 at which the median of (d - median d)^2 / (v + w) is
    that of chi-square with one degree of freedom.

    By medians, so that the few that really grow do not hide themselves: 5% of all make the scatter look an eighth
    larger, 15% a half.
    It also holds what borders that move from run to run add. Fewer than ten ratios: ASSUMED.
    """
    if len(d) < ENOUGH_TO_ESTIMATE:
        return ASSUMED
    squares = (d - np.median(d)) ** 2

    def beyond(w: float) -> float:
        return float(np.median(squares / (v + w))) - _MEDIAN_CHI2

    if beyond(0.0) <= 0:
        return 0.0
    most = float(squares.max()) / _MEDIAN_CHI2 + 1.0
    return float(optimize.brentq(beyond, 0.0, most)) if math.isfinite(most) else ASSUMED
