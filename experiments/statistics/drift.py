"""Chances of a sequential test when there is an effect: power, expected length, and where estimates end up.

With drift theta, z_k sqrt(t_k) is Brownian motion plus theta t_k, theta the mean of z at t = 1. Where a path may go on
does not depend on theta, so the density of paths that went on is the one without an effect times
exp(theta x - theta^2 t / 2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from core.errors import InvalidInput
from experiments.statistics.effects import z_of
from experiments.statistics.spending import carried, normal_density, panels, too_near

_FAR = 9.0  # standard deviations beyond which a density is nothing


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """Per look, the chance to cross there first: `up` above the boundary, `down` below its negative."""

    fractions: tuple[float, ...]
    up: tuple[float, ...]
    down: tuple[float, ...]

    @property
    def power(self) -> float:
        """The chance to cross at any look, either way."""
        return math.fsum((*self.up, *self.down))

    @property
    def expected_fraction(self) -> float:
        """Mean information at the end: that of the crossing look, the last one's where none crosses."""
        stopped = [one + two for one, two in zip(self.up, self.down, strict=True)]
        went_on = max(0.0, 1 - math.fsum(stopped))
        return math.fsum(t * p for t, p in zip(self.fractions, stopped, strict=True)) + went_on * self.fractions[-1]


def crossing(fractions: Sequence[float], boundaries: Sequence[float], drift: float) -> Crossing:
    """When paths with this drift cross `boundaries` (|z|) at the information fractions.

    Raises InvalidInput where there is not one boundary per look.
    """
    if len(fractions) != len(boundaries) or not fractions:
        raise InvalidInput("one boundary for each look", field="boundaries")
    looks, limits = tuple(fractions), tuple(boundaries)
    up, down = [], []
    for k in range(1, len(looks) + 1):
        above, below = tails(looks[:k], limits[: k - 1], limits[k - 1], drift)
        up.append(above)
        down.append(below)
    return Crossing(fractions=looks, up=tuple(up), down=tuple(down))


def tails(fractions: tuple[float, ...], boundaries: tuple[float, ...], z: float, drift: float) -> tuple[float, float]:
    """P(z_k >= z) and P(z_k <= -z) at the last look, having crossed none of `boundaries` at the looks before it.

    A look too near to the one before is passed over: (0, 0).
    """
    t = fractions[-1]
    edge = z * math.sqrt(t)
    if len(fractions) == 1:
        sd, mean = math.sqrt(t), drift * t
        return float(scipy.special.ndtr((mean - edge) / sd)), float(scipy.special.ndtr((-edge - mean) / sd))
    if too_near(fractions):
        return 0.0, 0.0
    points, mass = carried(fractions, boundaries)
    step = t - fractions[-2]
    sd, mean = math.sqrt(step), drift * step
    tilted = mass * np.exp(drift * points - drift * drift * fractions[-2] / 2)
    above = tilted @ scipy.special.ndtr((points + mean - edge) / sd)
    below = tilted @ scipy.special.ndtr((-edge - points - mean) / sd)
    return float(above), float(below)


def mean_at_crossing(fractions: tuple[float, ...], boundaries: tuple[float, ...], drift: float) -> tuple[float, float]:
    """Of paths that cross upward first at the last look: their chance, and the mean of z sqrt(t) / t there, which is
    what estimates the drift. `boundaries` has one for each look."""
    t = fractions[-1]
    edge = boundaries[-1] * math.sqrt(t)
    points, weights = panels(edge, edge + _FAR * math.sqrt(t) + max(0.0, drift) * t, 60)
    if len(fractions) == 1:
        density = normal_density(points - drift * t, t)
    elif too_near(fractions):
        return 0.0, 0.0
    else:
        before, mass = carried(fractions, boundaries[:-1])
        step = t - fractions[-2]
        tilted = mass * np.exp(drift * before - drift * drift * fractions[-2] / 2)
        density = normal_density(points[:, None] - before[None, :] - drift * step, step) @ tilted
    chance = float(weights @ density)
    return chance, float((weights * density) @ points) / t / chance if chance > 0 else 0.0


def drift_for(power: float, fractions: Sequence[float], boundaries: Sequence[float]) -> float:
    """The drift above 0 at which the test crosses with this chance. Raises InvalidInput for a power it always has."""
    if not crossing(fractions, boundaries, 0.0).power < power < 1:
        raise InvalidInput(f"a power lies between alpha and 1, not {power}", field="power")
    most = z_of(0.05) + 12.0
    while crossing(fractions, boundaries, most).power < power:
        most *= 2
    return float(
        scipy.optimize.brentq(lambda one: crossing(fractions, boundaries, one).power - power, 0.0, most, xtol=1e-9)
    )
