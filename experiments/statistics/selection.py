"""What an estimate is worth after the test that chose to stop on it: an experiment that ends because it crossed a
boundary shows more than there is, and the earlier the more.

Looks are ordered by stage: crossing upward at an earlier look is the stronger evidence, crossing downward the weaker
(Tsiatis, Rosner, Mehta 1984, Biometrics 40:797). P(as strong or stronger | drift) grows with the drift; where it is one
half lies the median-unbiased estimate, where it is alpha/2 and 1 - alpha/2 an interval that allows for the stopping.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import scipy

from core.errors import InvalidInput
from experiments.statistics.drift import mean_at_crossing, tails
from experiments.statistics.effects import check_alpha

_FARTHEST: Final = 60.0


@dataclass(frozen=True, kw_only=True)
class Selected:
    """What stays of an estimate, in the metric's unit.

    `estimate` as it was at the look; `median_unbiased` is as often too high as too low; `low`, `high` around it at
    1 - alpha. `exaggeration`: by how much experiments that stop in this way at this look overstate, on average, an
    effect of the size of `median_unbiased` (1.2: by a fifth); None where they do not cross. `text` says so in words.
    """

    estimate: float
    median_unbiased: float
    low: float
    high: float
    exaggeration: float | None
    text: str


def selected(
    fractions: Sequence[float], boundaries: Sequence[float], *, z: float, estimate: float, alpha: float
) -> Selected:
    """The estimate where a test ended, after looks with these information fractions and boundaries (|z|).

    `z` is the statistic at the last of them. For a confidence sequence the fractions are units by any fixed number.
    Raises InvalidInput where there is not one boundary per look, a z of 0 goes with an estimate that is not, or an
    alpha is none.
    """
    check_alpha(alpha)
    looks, limits = tuple(fractions), tuple(boundaries)
    if not looks or len(looks) != len(limits):
        raise InvalidInput("one boundary for each look", field="boundaries")
    if z == 0:
        return _shown(estimate, estimate, (estimate, estimate), None, looks)
    scale = estimate / z * math.sqrt(looks[-1])  # what one unit of drift is in the metric: z / sqrt(t) estimates drift
    if not math.isfinite(scale) or scale <= 0:
        raise InvalidInput("z and the estimate point the same way", field="z")
    middle, low, high = (_drift(looks, limits, z, one) for one in (0.5, alpha / 2, 1 - alpha / 2))
    exaggeration = None
    if abs(z) > limits[-1] and middle * z > 0:
        _, mean = mean_at_crossing(looks, limits, abs(middle))
        exaggeration = mean / abs(middle)
    return _shown(estimate, middle * scale, (low * scale, high * scale), exaggeration, looks)


def _drift(looks: tuple[float, ...], limits: tuple[float, ...], z: float, chance: float) -> float:
    """The drift at which what was seen, or stronger evidence for an increase, has this chance."""

    def stronger(drift: float) -> float:
        found = 0.0
        for k in range(1, len(looks)):
            found += tails(looks[:k], limits[: k - 1], limits[k - 1], drift)[0]
        return found + _above(looks, limits[:-1], z, drift) - chance

    edge = _FARTHEST / math.sqrt(looks[-1])
    low, high = z / math.sqrt(looks[-1]) - edge, z / math.sqrt(looks[-1]) + edge
    return float(scipy.optimize.brentq(stronger, low, high, xtol=1e-9))


def _above(looks: tuple[float, ...], limits: tuple[float, ...], z: float, drift: float) -> float:
    """P(came to the last look and z_k >= z)."""
    if z >= 0:
        return tails(looks, limits, z, drift)[0]
    everything = sum(tails(looks, limits, 0.0, drift))
    return everything - tails(looks, limits, -z, drift)[1]


def _shown(
    estimate: float, middle: float, ends: tuple[float, float], exaggeration: float | None, looks: tuple[float, ...]
) -> Selected:
    text = "It ran to its end: the estimate needs no correction for stopping."
    if len(looks) > 1 and exaggeration is None:
        text = "It did not stop on this estimate; looking at it moves it little."
    if exaggeration is not None and (len(looks) > 1 or exaggeration > 1.005):
        text = (
            f"Stopped because it crossed, which favours lucky looks: experiments that end here show on average "
            f"{exaggeration:.2f} times what is there. Allowing for it the effect is {middle:.3g} rather than "
            f"{estimate:.3g}, {ends[0]:.3g} to {ends[1]:.3g}. Plan with that."
        )
    return Selected(
        estimate=estimate, median_unbiased=middle, low=ends[0], high=ends[1], exaggeration=exaggeration, text=text
    )
