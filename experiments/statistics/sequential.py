"""Looking more than once: group-sequential intervals up to a horizon, confidence sequences without one.

Both are intervals that cover the effect at all looks at once with chance 1 - alpha, so that looking costs nothing but
width. A group-sequential look has the boundary that Lan-DeMets spending leaves it (spending.py); its interval is the
repeated one of Jennison and Turnbull 1989 (JRSS B 51:305). The asymptotic confidence sequence is that of Waudby-Smith,
Arbour, Sinha, Kennedy, Ramdas 2024 (Annals of Statistics 52:2613), as a boundary for z after N units:

    c(N) = sqrt(2 (N rho^2 + 1) / (N rho^2) log(sqrt(N rho^2 + 1) / alpha)),
    rho^2 = (-2 log alpha + log(-2 log alpha + 1)) / N*,  narrowest near N* units.

Which of the two holds is registered with the experiment. Taking the narrower one afterwards, or group-sequential bounds
for a horizon that was chosen late, covers less than it says. A boundary is the normal's; with few units the interval
takes Student's t of the same tail probability (the significance-level approach, Jennison and Turnbull 2000, 3.8).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from experiments.records import Design
from experiments.statistics.cuped import adjusted_contrast
from experiments.statistics.effects import Contrast, check_alpha, contrast
from experiments.statistics.records import Effect, Moments, NoEffect
from experiments.statistics.spending import bounds

TUNED_TO: Final = 5_000  # units over both arms, where nothing was planned
_ALPHAS: Final = tuple(float(one) for one in np.geomspace(1e-7, 0.5, 48))


@dataclass(frozen=True, kw_only=True)
class Sequential:
    """One look at a sequential test.

    `effect` has the interval that holds at this look and all before it, `z` its statistic on the normal's scale,
    `boundary` what |z| has to exceed. `fraction`: of the horizon's units that came (None without a horizon). `crossed`:
    this look rejects. `spent`: the alpha was used up at an earlier look, the first at or beyond the horizon, so that
    this one decides nothing; its interval, of the last boundary, describes. `always_p`: p that may be looked at at
    every look: the least alpha at which this look rejects (for Holm and the like take the least over the looks so far;
    Liu, Anderson 2008, JASA 103:1621). What is 0.5 or more is told as 1 in a group-sequential design.
    """

    effect: Effect
    z: float
    boundary: float
    fraction: float | None
    crossed: bool
    always_p: float
    spent: bool = False


def looked_at(
    control: Moments,
    treatment: Moments,
    *,
    design: Design,
    alpha: float,
    horizon_units: int | None = None,
    looks: Sequence[float] = (),
    covariate: bool = False,
    binary: bool = False,
) -> Sequential | NoEffect:
    """The effect at this look, by the design that was registered.

    `looks`: information fractions (units so far by the horizon's) of the looks until now, the last one this look's;
    without any this is the first. Looks at which nothing had come in are passed over. `covariate`: adjust by CUPED.
    Without a horizon `horizon_units` may still say how many units were expected: the sequence is narrowest there.
    Raises InvalidInput for an alpha outside 0 to 1 and looks of which none has information.
    """
    check_alpha(alpha)
    found = adjusted_contrast(control, treatment) if covariate else contrast(control, treatment, binary=binary)
    if isinstance(found, NoEffect):
        return found
    match design:
        case Design.GROUP_SEQUENTIAL:
            units = control.n + treatment.n
            return at_look(found, alpha, looks or (units / (horizon_units or units),))
        case Design.CONFIDENCE_SEQUENCE:
            return anytime(found, alpha, horizon_units or TUNED_TO)


def at_look(found: Contrast, alpha: float, looks: Sequence[float]) -> Sequential:
    """A contrast at the last of these looks of a group-sequential test."""
    fractions, over = deciding(looks)
    boundary = bounds(fractions, alpha)[-1]
    return Sequential(
        effect=found.effect(boundary, 1 - alpha, "group_sequential"),
        z=found.z,
        boundary=boundary,
        fraction=looks[-1],
        crossed=not over and abs(found.z) > boundary,
        always_p=_repeated_p(abs(found.z), fractions),
        spent=over,
    )


def deciding(looks: Sequence[float]) -> tuple[tuple[float, ...], bool]:
    """The looks that spend alpha, each with new information, up to the first at or beyond 1; and whether the last look
    given came after that one."""
    taken: list[float] = []
    for one in looks:
        if taken and taken[-1] >= 1:
            return tuple(taken), looks[-1] > taken[-1]
        if one > 0 and (not taken or one > taken[-1] * (1 + 1e-12)):
            taken.append(one)
    return tuple(taken), False


def anytime(found: Contrast, alpha: float, tuned_to: int = TUNED_TO) -> Sequential:
    """A contrast at any moment of an asymptotic confidence sequence."""
    units = found.control.n + found.treatment.n
    boundary = anytime_boundary(units, alpha, tuned_to)
    scaled = units * _rho2(alpha, tuned_to)
    log_p = math.log(scaled + 1) / 2 - found.z**2 * scaled / (2 * (scaled + 1))
    return Sequential(
        effect=found.effect(boundary, 1 - alpha, "confidence_sequence"),
        z=found.z,
        boundary=boundary,
        fraction=None,
        crossed=abs(found.z) > boundary,
        always_p=math.exp(min(0.0, log_p)),
    )


def anytime_boundary(units: float, alpha: float, tuned_to: float = TUNED_TO) -> float:
    """c(N) of the module's formula, for |z| after so many units over both arms.

    Raises InvalidInput for an alpha that is none."""
    check_alpha(alpha)
    scaled = units * _rho2(alpha, tuned_to)
    return math.sqrt(2 * (scaled + 1) / scaled * (math.log(scaled + 1) / 2 - math.log(alpha)))


def _rho2(alpha: float, tuned_to: float) -> float:
    return float((-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / tuned_to)


def _repeated_p(z: float, fractions: tuple[float, ...]) -> float:
    """The least alpha whose boundary at the last look z reaches; boundaries between those of a grid are interpolated
    in log alpha."""
    rejects = bisect_left(_ALPHAS, True, key=lambda alpha: z >= bounds(fractions, alpha)[-1])
    if rejects == len(_ALPHAS):
        return 1.0
    if rejects == 0:
        return _ALPHAS[0]
    above, alpha = _ALPHAS[rejects - 1], _ALPHAS[rejects]
    wide, narrow = bounds(fractions, above)[-1], bounds(fractions, alpha)[-1]
    return float(above * (alpha / above) ** ((wide - z) / (wide - narrow)))
