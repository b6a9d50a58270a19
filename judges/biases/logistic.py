"""Logistic regression by maximum likelihood, with standard errors that are robust to clusters.

Newton's method (iteratively reweighted least squares; McCullagh, Nelder 1989, section 4.4). An outcome may be a half,
as where two orders of a pair chose differently: the likelihood is then a quasi-likelihood, and the robust errors are
the ones to use. Clusters: Liang, Zeger 1986, with the factor G/(G-1) * (n-1)/(n-k) that statsmodels uses too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy
from numpy.typing import NDArray

from core.errors import InvalidInput
from evaluators.statistics.estimates import Estimate, Interval, Lack, Unestimated
from evaluators.statistics.rates import FloatArray

_STEPS: Final = 50
_FAR: Final = 30.0  # a linear predictor beyond this is a chance of 0 or 1: the data are separated
_CLOSE: Final = 1e-12


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Coefficients of shape (k,) and their covariance (k, k), over `n` rows in `n_clusters` clusters."""

    coefficients: FloatArray
    covariance: FloatArray
    n: int
    n_clusters: int | None

    def estimate(self, which: int, level: float = 0.95) -> Estimate:
        """One coefficient, on the scale of log odds, with its Wald interval."""
        return self.combination(np.eye(len(self.coefficients))[which], level)

    def combination(self, weights: FloatArray, level: float = 0.95) -> Estimate:
        """The weighted sum of the coefficients with its Wald interval."""
        value = float(weights @ self.coefficients)
        se = math.sqrt(max(0.0, float(weights @ self.covariance @ weights)))
        half = float(scipy.stats.norm.isf((1 - level) / 2)) * se
        method = "wald_logit" if self.n_clusters is None else "wald_logit_cluster_robust"
        interval = Interval(low=value - half, high=value + half, level=level, method=method)
        return Estimate(value=value, n=self.n, se=se, interval=interval)

    def chance(self, weights: FloatArray, level: float = 0.95) -> Estimate:
        """The chance at one place of the model: its interval is that of the log odds, carried over."""
        found = self.combination(weights, level)
        assert found.interval is not None
        assert found.se is not None
        low, high = float(scipy.special.expit(found.interval.low)), float(scipy.special.expit(found.interval.high))
        value = float(scipy.special.expit(found.value))
        interval = Interval(low=low, high=high, level=level, method=found.interval.method)
        return Estimate(value=value, n=self.n, se=found.se * value * (1 - value), interval=interval)


def fit_logistic(
    outcome: FloatArray, design: FloatArray, clusters: NDArray[np.int64] | None = None
) -> Fit | Unestimated:
    """`outcome` of shape (n,) in 0 to 1, `design` (n, k) with its constant, `clusters` (n,) the number of each row's.

    Unestimated where the data are separated (a coefficient would be infinite) or a column repeats others. Raises
    InvalidInput for shapes that do not fit and outcomes outside 0 to 1.
    """
    n, k = _check(outcome, design, clusters)
    if not n:
        return Unestimated(reason=Lack.NO_EXAMPLES)
    if not (np.isfinite(outcome).all() and np.isfinite(design).all()):
        return Unestimated(reason=Lack.NOT_FINITE)
    if np.linalg.matrix_rank(design) < k:
        return Unestimated(reason=Lack.COLLINEAR, detail="a column of the model is a sum of the others")
    at = np.zeros(k)
    for _ in range(_STEPS):
        chance = scipy.special.expit(design @ at)
        information = (design * (chance * (1 - chance))[:, None]).T @ design
        if not np.isfinite(information).all() or np.linalg.cond(information) > 1e14:
            return Unestimated(reason=Lack.SEPARATED)
        step = np.linalg.solve(information, design.T @ (outcome - chance))
        at = at + step
        if np.abs(design @ at).max() > _FAR:
            return Unestimated(reason=Lack.SEPARATED, detail="a part of the rows has one outcome only")
        if np.abs(step).max() < _CLOSE * (1 + np.abs(at).max()):
            return _fitted(outcome, design, at, clusters)
    return Unestimated(reason=Lack.SEPARATED, detail=f"no solution in {_STEPS} steps")


def _fitted(outcome: FloatArray, design: FloatArray, at: FloatArray, clusters: NDArray[np.int64] | None) -> Fit:
    chance = scipy.special.expit(design @ at)
    information = (design * (chance * (1 - chance))[:, None]).T @ design
    bread = np.asarray(np.linalg.inv(information), dtype=np.float64)
    n, k = design.shape
    if clusters is None:
        return Fit(coefficients=at, covariance=bread, n=n, n_clusters=None)
    _, which = np.unique(clusters, return_inverse=True)
    n_clusters = int(which.max()) + 1
    scores = np.zeros((n_clusters, k))
    np.add.at(scores, which, design * (outcome - chance)[:, None])
    factor = n_clusters / max(1, n_clusters - 1) * (n - 1) / max(1, n - k)
    covariance = np.asarray(factor * bread @ (scores.T @ scores) @ bread, dtype=np.float64)
    return Fit(coefficients=at, covariance=covariance, n=n, n_clusters=n_clusters)


def _check(outcome: FloatArray, design: FloatArray, clusters: NDArray[np.int64] | None) -> tuple[int, int]:
    if design.ndim != 2 or outcome.shape != (design.shape[0],):
        raise InvalidInput(f"outcomes of shape {outcome.shape} for a design of shape {design.shape}", field="outcome")
    if clusters is not None and clusters.shape != outcome.shape:
        raise InvalidInput(f"clusters of shape {clusters.shape} for {len(outcome)} outcomes", field="clusters")
    if ((outcome < 0) | (outcome > 1)).any():
        raise InvalidInput("outcomes lie between 0 and 1", field="outcome")
    return design.shape
