"""What a comparison of this size could have seen, and how many examples would settle it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import scipy

from core.errors import InvalidInput
from evaluators.statistics.estimates import Lack, Unestimated

_MOST_ROOT: Final = 1e9


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Where the variance of paired differences comes from, in squared units of the score.

    Var(d) = between + within (1/k_baseline + 1/k_candidate): `between` (omega^2) is how much the true difference varies
    over examples, `within` (sigma_w^2) how much trials of one example vary.
    """

    between: float
    within: float


def spread(variance: float, within: float | None, k_baseline: float, k_candidate: float) -> Spread | Unestimated:
    """Splits the variance of d seen with k trials per example into its parts; `within` is pooled over both runs.

    Miller 2024 (arXiv:2411.00640), section 5. Unestimated without a `within`, which takes two trials of an example.
    """
    if within is None:
        return Unestimated(reason=Lack.ONE_TRIAL, detail="two trials of an example tell how much trials vary")
    return Spread(between=max(0.0, variance - within * (1 / k_baseline + 1 / k_candidate)), within=within)


def detectable(variance: float, n: int, alpha: float = 0.05, power: float = 0.8) -> float:
    """Least true difference that a one-sided test at `alpha` over n examples finds with this power.

    (z_(1-alpha) + z_(1-beta)) sqrt(Var(d) / n), in the score's unit. Raises InvalidInput for n < 1 or shares that are
    none.
    """
    _check(variance, n, alpha, power)
    return _z(alpha, power) * math.sqrt(variance / n)


def examples_needed(variance: float, delta: float, alpha: float = 0.05, power: float = 0.8) -> int:
    """Examples with which a one-sided test at `alpha` finds a true difference of `delta` with this power.

    n = (z_(1-alpha) + z_(1-beta))^2 Var(d) / delta^2, rounded up, at least 2. The same n makes the lower bound of an
    unchanged candidate lie above -delta with this power; 10^18 at most. Raises InvalidInput for a delta that is not
    above 0.
    """
    _check(variance, 1, alpha, power)
    if not 0 < delta < math.inf:
        raise InvalidInput(f"a difference to find is above 0, not {delta}", field="delta")
    root = min(_MOST_ROOT, _z(alpha, power) * math.sqrt(variance) / delta)  # squared last: 1e300 squared is no number
    return max(2, math.ceil(root**2 - 1e-9))


def _z(alpha: float, power: float) -> float:
    return float(scipy.stats.norm.isf(alpha) + scipy.stats.norm.ppf(power))


def _check(variance: float, n: int, alpha: float, power: float) -> None:
    if not 0 <= variance < math.inf:
        raise InvalidInput(f"a variance is 0 or more, not {variance}", field="variance")
    if n < 1:
        raise InvalidInput("at least one example", field="n")
    if not 0 < alpha < power < 1:
        raise InvalidInput(f"alpha {alpha} and power {power}: 0 < alpha < power < 1", field="alpha")
