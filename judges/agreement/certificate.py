"""Three states of a judge against a bar: certified, failed, or undetermined with the labels that would settle it.

By one-sided 95% bounds: a judge whose agreement lies below the bar is certified in 5% of cases at most, one above it
failed in 5% at most, as far as the bounds cover. A point estimate against the bar is no rule: at 50 labels it passes a
judge of true kappa .6 in 18 to 28% of cases.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from core.errors import InvalidInput
from evaluators.statistics.estimates import Lack, Unestimated
from judges.agreement.intervals import LEVEL, PRIOR_MASS, Coefficient
from judges.agreement.kappa import Statistic
from judges.agreement.tables import Table

BAR: Final = 0.7
POWER: Final = 0.8
MOST_LABELS: Final = 100_000  # more than that is "too near to the bar"
TABLES: Final = 200  # drawn for one answer
SETTLING_DRAWS: Final = 500  # of each table's posterior


class Standing(StrEnum):
    """What a judge's agreement with people allows."""

    CERTIFIED = "certified"
    FAILED = "failed"
    UNDETERMINED = "undetermined"


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """A standing with both numbers. `lower` and `upper` are one-sided 95% bounds of the coefficient.

    `labels_more` is how many labels more would probably settle it (80%, if the proportions stay), of the undetermined;
    None where it is settled, not known, or the estimate is too near to the bar; `reason` says which.
    """

    standing: Standing
    bar: float
    value: float | None
    lower: float | None
    upper: float | None
    n: int
    labels_more: int | None
    reason: str


def certify(of: Coefficient, n: int, bar: float, needed: int | Unestimated | None = None) -> Certificate:
    """The standing of a coefficient of n labelled items against a bar (-1 to 1).

    `needed` is what labels_to_settle says, in all; it is told of the undetermined only. Without an estimate or bounds a
    judge is undetermined. Raises InvalidInput for a bar that is none.
    """
    if not -1 < bar < 1:
        raise InvalidInput(f"a bar lies between -1 and 1, not {bar}", field="bar")
    standing, reason = _standing(of, bar)
    labels_more = None
    if standing is Standing.UNDETERMINED and isinstance(needed, int):
        labels_more = max(needed - n, 1)
        reason += f"; about {labels_more} labels more would settle it"
    if standing is Standing.UNDETERMINED and isinstance(needed, Unestimated) and needed.reason is Lack.NEAR_THE_BAR:
        reason += f"; the estimate {of.value:.3f} is so near to it that {MOST_LABELS} labels would not settle it"
    return Certificate(
        standing=standing,
        bar=bar,
        value=of.value,
        lower=of.lower,
        upper=of.upper,
        n=n,
        labels_more=labels_more,
        reason=reason,
    )


def _standing(of: Coefficient, bar: float) -> tuple[Standing, str]:
    if isinstance(of.estimate, Unestimated):
        return Standing.UNDETERMINED, f"there is no estimate: {of.estimate.reason.value}"
    if of.lower is None or of.upper is None:
        lack = of.estimate.lack or Lack.ZERO_VARIANCE
        return Standing.UNDETERMINED, f"the estimate has no bounds: {lack.value}"
    if of.lower >= bar:
        return Standing.CERTIFIED, f"the 95% lower bound {of.lower:.3f} reaches the bar {bar:g}"
    if of.upper < bar:
        return Standing.FAILED, f"the 95% upper bound {of.upper:.3f} lies below the bar {bar:g}"
    return Standing.UNDETERMINED, f"the bar {bar:g} lies between the 95% bounds {of.lower:.3f} and {of.upper:.3f}"


def labels_to_settle(of: Table, statistic: Statistic, bar: float, seed: int) -> int | Unestimated:
    """How many labels in all, sampled as these were, would settle it with a chance of POWER, if the table's proportions
    are the true ones.

    Tables of n items are drawn from these proportions, and counted is in how many the posterior's bound lies beyond the
    bar; sought is the least n at which POWER of them do, to about a tenth, deterministic in `seed`. For large n that is
    ((z_.95 + z_.80) sd / (kappa - bar))^2 items of deviation sd each. Unestimated where there is no estimate, and where
    it lies so near to the bar that more than MOST_LABELS would be needed.
    """
    value = float(statistic(of.mass)) if of.n else math.nan
    if not math.isfinite(value):
        return Unestimated(reason=Lack.ONE_CLASS if of.n else Lack.NO_EXAMPLES)

    def settled(n: int) -> bool:
        return _share_settled(of, n / of.n, statistic, bar, value >= bar, seed) >= POWER

    low, high = of.n, of.n + max(1, of.n // 8)
    while not settled(high):
        if high >= MOST_LABELS:
            return Unestimated(reason=Lack.NEAR_THE_BAR, detail=f"{value:.4f} against {bar:g}")
        low, high = high, min(2 * high, MOST_LABELS)
    while high - low > max(1, high // 50):
        middle = (low + high) // 2
        low, high = (low, middle) if settled(middle) else (middle, high)
    return high


def _share_settled(of: Table, by: float, statistic: Statistic, bar: float, above: bool, seed: int) -> float:
    """Share of tables of `by` times as many items whose bound lies above the bar, or below it (bounds of
    judges/agreement/intervals.py)."""
    rng = np.random.default_rng(seed)
    worth, unit = of.worth(), of.unit()
    cells = (worth / worth.sum()).ravel()
    seen = rng.multinomial(round(worth.sum() * by), cells, size=TABLES).reshape(TABLES, 1, of.k, of.k)
    drawn = rng.standard_gamma(seen + PRIOR_MASS / of.k**2, size=(TABLES, SETTLING_DRAWS, of.k, of.k)) * unit
    told = np.quantile(statistic(drawn), 1 - LEVEL if above else (1 + LEVEL) / 2, axis=1)
    return float((told >= bar).mean() if above else (told < bar).mean())
