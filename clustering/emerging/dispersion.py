"""How much weeks differ more than chance: one dispersion for all clusters, learned from their histories.

A cluster's weeks are negative binomial, mean rate x exposure and variance mean + phi mean^2. Given their sum the weeks
of one cluster tell of phi and nothing of its rate (conditional likelihood: Robinson, Smyth 2008, Biostatistics 9:321;
with equal exposures exactly the Dirichlet-multinomial). Clusters' own log phi lie around a shared one with a standard
deviation of 0, 1/2 or 1, or, one in 2,000, anywhere: a cluster that grew once in its history moves what is shared by
little. All of it is summed over a grid, so what is not known of phi stays in the prediction instead of being set to an
estimate.

Now takes no part: a failure that grows now cannot hide itself by raising phi; but with one week of history there is
nothing else to learn from, and then each cluster's phi is told by the others, of which one in twenty may be outlying.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import special, stats

from clustering.emerging.records import Dispersion, Floats, Ints

GRID: Final[Floats] = np.geomspace(1e-5, 10.0, 96)
PRIOR_MEDIAN: Final = 0.1  # log-logistic: with nothing to learn from, phi is below .01 in 9% and above 1 in 9%
SPREADS: Final = (0.0, 0.5, 1.0)
SPREAD_PRIOR: Final = (1 / 3, 1 / 3, 1 / 3)  # weighing 0 more gains 1% of power and errs where clusters do differ
OUTLYING: Final = 0.0005
OUTLYING_NOW: Final = 0.05  # where the counts may hold what grows now


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What is known of phi: `weights` (K, J) of each value of `GRID` for each cluster, rows adding to 1, and what they
    share."""

    weights: Floats
    shared: Dispersion


def fit(history: Ints, exposure: Floats, now: Ints, exposure_now: Floats) -> Fitted:
    """Learned from `history` and `exposure` (K, m), periods without exposure left out.

    Weeks taken as exchangeable tell most. But rates drift, and then the next week is farther from the weeks before it
    than these are from one another; so phi is also learned from the newest week against those before it, just what now
    will be held against, and the larger of the two counts. With fewer than two periods the only pair is `now` (K,)
    against history.
    """
    if not (np.count_nonzero(exposure, axis=1) >= 2).any():
        pair = split_likelihood(np.column_stack([history.sum(axis=1), now]), _pair(exposure, exposure_now))
        return _fitted(pair, own=False, by="one period of history against now")
    weeks = _fitted(split_likelihood(history, exposure), own=True, by="weeks of history")
    if exposure.shape[1] < 3:
        return weeks
    newest = np.column_stack([history[:, :-1].sum(axis=1), history[:, -1]])
    last = split_likelihood(newest, _pair(exposure[:, :-1], exposure[:, -1]), _squares(exposure))
    rehearsed = _fitted(last, own=True, by="the last week of history against those before")
    return max(weeks, rehearsed, key=lambda one: one.shared.value)


def split_likelihood(counts: Ints, exposure: Floats, squares: Floats | None = None) -> Floats:
    """Log probability of each cluster's counts (K, m) given their sum, of shape (K, J) over GRID.

    The sum of negative binomials is taken as the one of the same mean and variance, which is exact where exposures are
    equal. `squares` (K, m): the sum of squared exposures of the periods a column adds up, where it adds up several.
    """
    squares = exposure**2 if squares is None else squares
    total, whole = counts.sum(axis=1), exposure.sum(axis=1)
    rate = np.divide(total, whole, out=np.zeros(len(total)), where=whole > 0)
    sizes = np.divide(exposure**2, squares, out=np.ones_like(exposure), where=squares > 0)
    all_squares = squares.sum(axis=1)
    size = np.divide(whole**2, all_squares, out=np.ones_like(whole), where=all_squares > 0)
    parts = _log_nb(counts[:, :, None], (rate[:, None] * exposure)[:, :, None], sizes[:, :, None] / GRID)
    return np.asarray(parts.sum(axis=1) - _log_nb(total[:, None], (rate * whole)[:, None], size[:, None] / GRID))


def _log_nb(count: Ints, mean: Floats, size: Floats) -> Floats:
    """Log probability of a count of this mean and variance mean + mean^2 / size."""
    ways = special.gammaln(size + count) - special.gammaln(size) - special.gammaln(count + 1)
    return np.asarray(ways + special.xlogy(count, mean / (mean + size)) - size * np.log1p(mean / size))


def _pair(exposure: Floats, newest: Floats) -> Floats:
    return np.column_stack([exposure.sum(axis=1), newest])


def _squares(exposure: Floats) -> Floats:
    return np.column_stack([(exposure[:, :-1] ** 2).sum(axis=1), exposure[:, -1] ** 2])


def _fitted(likelihood: Floats, *, own: bool, by: str) -> Fitted:
    """`own` False: the likelihood holds what is to be tested, so each cluster's phi is told by the others alone."""
    scaled = np.exp(likelihood - likelihood.max(axis=1, keepdims=True))
    kernels = [_kernel(spread) for spread in SPREADS]
    share = OUTLYING if own else OUTLYING_NOW
    mixed = [(1 - share) * kernel + share * _normal(0.0, 1.0) for kernel in kernels]
    marginal = np.stack([scaled @ kernel.T for kernel in mixed])  # (spreads, K, J): of each cluster, were this shared
    log_posterior = np.log(marginal).sum(axis=1) + np.log(SPREAD_PRIOR)[:, None] + np.log(_prior())
    posterior = np.exp(log_posterior - log_posterior.max())
    posterior /= posterior.sum()
    if own:
        weights = scaled * sum((posterior[s] / marginal[s]) @ mixed[s] for s in range(len(SPREADS)))
    else:
        without = log_posterior[:, None, :] - np.log(marginal)
        others = np.exp(without - without.max(axis=(0, 2), keepdims=True))
        weights = np.asarray(sum(others[s] @ kernels[s] for s in range(len(SPREADS))))
    weights /= weights.sum(axis=1, keepdims=True)
    return Fitted(weights=np.asarray(weights), shared=_told(posterior, by))


def _kernel(spread: float) -> Floats:
    """(J, J): of a shared phi (row) the chance of a cluster's own (column)."""
    if spread == 0:
        return np.eye(len(GRID))
    rows = np.exp(-0.5 * ((np.log(GRID)[None, :] - np.log(GRID)[:, None]) / spread) ** 2)
    return np.asarray(rows / rows.sum(axis=1, keepdims=True))


def _normal(middle: float, spread: float) -> Floats:
    found = stats.norm.pdf(np.log(GRID), middle, spread)
    return np.asarray(found / found.sum())


def _prior() -> Floats:
    below = GRID / (GRID + PRIOR_MEDIAN)
    return np.asarray(below * (1 - below))  # the density over log phi: the grid is even there


def _told(posterior: Floats, by: str) -> Dispersion:
    over = posterior.sum(axis=0)
    until = np.cumsum(over)
    low, high = (float(GRID[min(int(np.searchsorted(until, at)), len(GRID) - 1)]) for at in (0.025, 0.975))
    spread = float(posterior.sum(axis=1) @ np.array(SPREADS))
    return Dispersion(value=float(over @ GRID), low=low, high=high, spread=spread, by=by)
