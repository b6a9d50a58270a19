"""Boundaries of group-sequential tests: alpha spent as information comes, by Lan and DeMets.

Under no effect z_k sqrt(t_k) is Brownian motion seen at the information fractions t_k. Each look may spend what the
spending function has gained since the last one; its boundary follows from the density of paths that crossed none before
(Armitage, McPherson, Rowe 1969, JRSS A 132:235; Lan, DeMets 1983, Biometrika 70:659). Looks need not be planned: only
the horizon is. Densities live on panels of Gauss-Legendre points as narrow as 1.5 of the kernel's standard deviations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, Literal

import numpy as np
import scipy
from numpy.typing import NDArray

from core.errors import InvalidInput
from experiments.statistics.effects import check_alpha

Spending = Literal["obf", "obf_total", "pocock"]
Array = NDArray[np.float64]

MOST_LOOKS: Final = 366
LEAST_SPENT: Final = 1e-9  # a look may spend so much, so that its boundary (6.1 at most) is a number to be shown
_LIMIT: Final = 8.0
_MOST_PANELS: Final = 400
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)


def spent(fraction: float, alpha: float, kind: Spending = "obf") -> float:
    """Two-sided alpha that may be used up at an information fraction; all of it from 1 on.

    obf: 4 - 4 Phi(z_(alpha/4) / sqrt(t)), which is Lan and DeMets' alpha*_1 of alpha/2 on either side, as in the
    published tables. obf_total: 2 - 2 Phi(z_(alpha/2) / sqrt(t)), the same formula over both sides at once, which
    spends more of it early. pocock: alpha log(1 + (e - 1) t).
    """
    t = min(1.0, max(0.0, fraction))
    if t <= 0:
        return 0.0
    match kind:
        case "obf":
            return float(4 * scipy.special.ndtr(scipy.special.ndtri(alpha / 4) / math.sqrt(t)))
        case "obf_total":
            return float(2 * scipy.special.ndtr(scipy.special.ndtri(alpha / 2) / math.sqrt(t)))
        case "pocock":
            return alpha * math.log1p((math.e - 1) * t)


def bounds(fractions: Sequence[float], alpha: float, kind: Spending = "obf") -> tuple[float, ...]:
    """|z| at which each look rejects, for increasing information fractions above 0; what is above 1 is spent as 1.

    Each look spends at least 1e-9 while something is left, and all looks together no more than alpha. A look that adds
    so little that the density cannot be carried there (under 0.05% of what was known) is bounded by its own spend
    alone, which is on the safe side. Raises InvalidInput for fractions that do not increase, for looks after the one
    that spent everything, and for an alpha that is none.
    """
    check_alpha(alpha)
    rising = all(0 <= one < two for one, two in zip((0.0, *fractions), fractions, strict=False))
    if not fractions or not rising or not math.isfinite(fractions[-1]):
        raise InvalidInput("information fractions are above 0 and increase from look to look", field="fractions")
    if len(fractions) > MOST_LOOKS:
        raise InvalidInput(f"{len(fractions)} looks; at most {MOST_LOOKS}", field="fractions")
    if len(fractions) > 1 and fractions[-2] >= 1:
        raise InvalidInput("alpha is used up at the first look at or beyond 1: no look follows it", field="fractions")
    found: tuple[float, ...] = ()
    for k in range(1, len(fractions) + 1):  # from the first on, so that every prefix is taken from the cache
        found = _bounds(tuple(fractions[:k]), alpha, kind)
    return found


@lru_cache(maxsize=20_000)
def _bounds(fractions: tuple[float, ...], alpha: float, kind: Spending) -> tuple[float, ...]:
    earlier = _bounds(fractions[:-1], alpha, kind) if len(fractions) > 1 else ()
    gain = _gain(fractions, alpha, kind)
    alone = float(-scipy.special.ndtri(gain / 2))
    if not earlier:
        return (alone,)
    if too_near(fractions):
        return (*earlier, alone)
    points, mass = carried(fractions, earlier)
    root_t, sd = math.sqrt(fractions[-1]), math.sqrt(fractions[-1] - fractions[-2])

    def over(bound: float) -> float:
        """log of the chance to cross here first, less what may be spent."""
        tails = scipy.special.ndtr((points - bound * root_t) / sd) + scipy.special.ndtr((-points - bound * root_t) / sd)
        return math.log(max(1e-300, float(mass @ tails))) - math.log(gain)

    return (*earlier, float(scipy.optimize.brentq(over, 0.0, _LIMIT, xtol=1e-12)) if over(0.0) > 0 else 0.0)


@lru_cache(maxsize=20_000)
def _cumulated(fractions: tuple[float, ...], alpha: float, kind: Spending) -> float:
    earlier = _cumulated(fractions[:-1], alpha, kind) if len(fractions) > 1 else 0.0
    if fractions[-1] >= 1:
        return alpha
    return min(alpha * (1 - 1e-6), max(spent(fractions[-1], alpha, kind), earlier + LEAST_SPENT))


def _gain(fractions: tuple[float, ...], alpha: float, kind: Spending) -> float:
    earlier = _cumulated(fractions[:-1], alpha, kind) if len(fractions) > 1 else 0.0
    return max(1e-15, _cumulated(fractions, alpha, kind) - earlier)


def too_near(fractions: tuple[float, ...]) -> bool:
    """Whether the last of at least two looks adds too little information for the density to be carried to it."""
    return _n_panels(fractions[-2], _LIMIT, fractions[-1] - fractions[-2]) > _MOST_PANELS


@lru_cache(maxsize=1_500)
def carried(fractions: tuple[float, ...], boundaries: tuple[float, ...]) -> tuple[Array, Array]:
    """Where Brownian motion stands at fractions[-2] if it crossed none of `boundaries`, one for each look but the last.

    Points on the scale z sqrt(t) and the mass (density times weight) at each, arrays of shape (points,), fine enough
    for the step to fractions[-1]. Their sum is the chance of coming so far.
    """
    t, bound = fractions[-2], boundaries[-1]
    steps = [fractions[-1] - t, t - fractions[-3] if len(fractions) > 2 else t]
    edge = bound * math.sqrt(t)
    n_panels = min(_MOST_PANELS, max(8, _n_panels(t, bound, min(steps))))
    points, weights = panels(-edge, edge, n_panels)
    if len(boundaries) == 1:
        return points, weights * normal_density(points, t)
    if too_near(fractions[:-1]):  # this look is passed over: its paths are not taken out, which is on the safe side
        return carried((*fractions[:-2], fractions[-1]), boundaries[:-1])
    before, mass = carried(fractions[:-1], boundaries[:-1])
    return points, weights * (normal_density(points[:, None] - before[None, :], steps[1]) @ mass)


def panels(low: float, high: float, n_panels: int) -> tuple[Array, Array]:
    """Points and weights of Gauss-Legendre's rule of 8 points on each of n panels."""
    edges = np.linspace(low, high, n_panels + 1)
    half = np.diff(edges)[:, None] / 2
    return (edges[:-1, None] + half * (1 + _NODES)).ravel(), (half * _WEIGHTS).ravel()


def normal_density(x: Array, variance: float) -> Array:
    """Density of N(0, variance)."""
    return np.asarray(np.exp(-x * x / (2 * variance)) / math.sqrt(2 * math.pi * variance))


def _n_panels(t: float, bound: float, step: float) -> int:
    return math.ceil(2 * bound * math.sqrt(t) / (1.5 * math.sqrt(step)))
