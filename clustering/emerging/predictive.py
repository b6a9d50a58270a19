"""How likely a cluster's count is, given all its failures now and before, if its rate is what it was.

Of X now and H before, X + H = n given, the rate cancels: where both are Poisson, X is binomial (the C-test;
Przyborowski, Wilenski 1940, Biometrika 31:313); where both are negative binomial with one dispersion and equal
exposures, it is beta-binomial with 1 / phi and m / phi, the exact test of Robinson, Smyth 2008 (Biostatistics 9:321).
So one test serves both, without a switch between them, and there is no rate to estimate from few weeks. With unequal
exposures, or against a ratio other than 1, a little of the rate stays; it is set to its estimate from n. What is not
known of phi is summed over: the answer is the predictive probability of Gamma-Poisson counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import optimize, special

from clustering.emerging.dispersion import GRID
from clustering.emerging.records import Counts, Floats

LEAST: Final = 1e-300
_LIGHT: Final = 1e-4  # nodes of phi that weigh less are left out
_FARTHEST: Final = 1e6
_SUMMED: Final = 4_096  # up to so many failures each count is summed by itself


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A cluster's failing sessions now and before, with exposures, and what is known of its phi.

    `periods`: (sum of exposures)^2 / sum of squares, the number of equal periods `before` is worth. `phi`, `weights`
    (S,), weights adding to 1.
    """

    now: int
    before: int
    exposure_now: float
    exposure: float
    periods: float
    length_now: float
    phi: Floats
    weights: Floats

    @property
    def ratio(self) -> float:
        """Rate now by rate before; with 1/2 added to both counts where before is 0, but for 0 now."""
        if self.now == 0:
            return 0.0
        add = 0.0 if self.before else 0.5
        return (self.now + add) / self.exposure_now / ((self.before + add) / self.exposure)


def pair_of(counts: Counts, weights: Floats, at: int) -> Pair:
    """The pair of the cluster at this place; `weights` (K, J) over the dispersion's grid."""
    exposure = counts.exposure[at]
    phi, kept = _merged(weights[at])
    return Pair(
        now=int(counts.now[at]),
        before=int(counts.history[at].sum()),
        exposure_now=float(counts.exposure_now[at]),
        exposure=float(exposure.sum()),
        periods=float(exposure.sum() ** 2 / (exposure**2).sum()),
        length_now=float(counts.length_now[at]),
        phi=phi,
        weights=kept,
    )


def _merged(weights: Floats) -> tuple[Floats, Floats]:
    """Three neighbours of the grid as one at their mean: tails are smooth in phi, and it is three times as fast."""
    by_three, grid = weights.reshape(-1, 3), GRID.reshape(-1, 3)
    together = by_three.sum(axis=1)
    kept = together > _LIGHT
    phi = (by_three * grid).sum(axis=1)[kept] / together[kept]
    return np.asarray(phi), np.asarray(together[kept] / together[kept].sum())


def tails(pair: Pair, ratio: float = 1.0) -> tuple[float, float]:
    """P(X >= now) and P(X <= now) given X + H, were the rate now `ratio` times the rate before; at least 1e-300.

    Extra variation of a time shorter than a period is taken to be larger by as much (`length_now`): that is how it
    is where days vary independently, and on the safe side where they do not.
    """
    n = pair.now + pair.before
    if n == 0:
        return 1.0, 1.0
    rate = _rate(pair, ratio)
    size_now, size_before = pair.length_now / pair.phi[:, None], pair.periods / pair.phi[:, None]
    counts, widths = _blocks(n, pair.now)
    logs = _log_terms(counts, rate * ratio * pair.exposure_now, size_now)
    logs += _log_terms((n - counts)[::-1], rate * pair.exposure, size_before)[:, ::-1]
    chances = np.exp(logs - logs.max(axis=1, keepdims=True)) * widths
    over = (chances * (pair.weights / chances.sum(axis=1))[:, None]).sum(axis=0)
    upper, lower = float(over[counts >= pair.now].sum()), float(over[counts <= pair.now].sum())
    return max(LEAST, min(1.0, upper)), max(LEAST, min(1.0, lower))


def _rate(pair: Pair, ratio: float) -> Floats:
    """The rate before if now's is `ratio` times as high, (S, 1): the mean of both weighed by 1 / variance.

    Weighed by exposure instead, now would count too much where it has more traffic than a period before.
    """
    pooled = (pair.now + pair.before) / (ratio * pair.exposure_now + pair.exposure)
    now = 1 / (1 / (pooled * ratio * pair.exposure_now) + pair.phi / pair.length_now)
    before = 1 / (1 / (pooled * pair.exposure) + pair.phi / pair.periods)
    rates = now * pair.now / (ratio * pair.exposure_now) + before * pair.before / pair.exposure
    return np.asarray(rates / (now + before))[:, None]


def _blocks(n: int, now: int) -> tuple[Floats, Floats]:
    """The counts 0 to n, each of width 1; of many, blocks around their middle, `now` a block by itself.

    Blocks are a tenth of a binomial standard deviation wide (even steps of arcsin sqrt(x / n)), within which
    probabilities are nearly linear.
    """
    if n <= _SUMMED:
        return np.arange(n + 1.0), np.ones(n + 1)
    steps = np.linspace(0, np.pi / 2, int(10 * np.pi * np.sqrt(n)))
    edges = np.union1d(np.round((n + 1) * np.sin(steps) ** 2), [0, now, now + 1, n + 1])
    return (edges[:-1] + edges[1:] - 1) / 2, np.diff(edges)


def _log_terms(counts: Floats, mean: Floats, size: Floats) -> Floats:
    """Log of the negative binomial probabilities of rising `counts`, but for what those have in common, (S, counts).

    Gamma(size + x) / Gamma(size) is size (size + 1) ... (size + x - 1): where no count is left out, sums of logarithms,
    a fifth of the time of log-gammas.
    """
    if len(counts) == counts[-1] + 1:
        rising = np.zeros((len(size), len(counts)))
        np.cumsum(np.log(size + counts[:-1]), axis=1, out=rising[:, 1:])
    else:
        rising = special.gammaln(size + counts)
    return np.asarray(rising - special.gammaln(counts + 1) + counts * np.log(mean / (mean + size)))


def lower_bound(pair: Pair, alpha: float) -> float:
    """The ratio at which a count this high or higher has the chance `alpha`: the one-sided bound; 0 where now is 0."""
    if pair.now == 0:
        return 0.0
    return _solved(lambda ratio: tails(pair, ratio)[0] - alpha, pair.ratio)


def upper_bound(pair: Pair, alpha: float) -> float | None:
    """The ratio at which a count this low or lower has the chance `alpha`; None where before is 0: there is none."""
    if pair.before == 0:
        return None
    return _solved(lambda ratio: alpha - tails(pair, ratio)[1], pair.ratio)


def _solved(rising: Callable[[float], float], near: float) -> float:
    """Where a rising function of a ratio crosses 0, looked for around `near` and at most a millionfold away."""
    low = high = max(near, 1e-6)
    while rising(low) > 0 and low > near / _FARTHEST:
        low /= 2
    while rising(high) < 0 and high < near * _FARTHEST:
        high *= 2
    if rising(low) * rising(high) > 0:
        return low if rising(low) > 0 else high
    return math.exp(optimize.brentq(lambda log: rising(math.exp(log)), math.log(low), math.log(high), xtol=1e-6))
