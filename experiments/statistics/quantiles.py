"""The difference of a quantile (p95 of latency) between two arms whose observations come in clusters, the units.

The share F of observations at or below the quantile is a ratio metric, so its standard error counts units by the delta
method; the quantiles at F - z se and F + z se bound the arm's quantile (the outer interval of Liu, Sun, Varshney, Xu
2019, arXiv:1903.08762), and half their distance over z, at 95%, is its standard error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.errors import InvalidInput
from experiments.statistics.effects import (
    LEAST,
    ArmMean,
    Contrast,
    arm_mean,
    check_alpha,
    effective_units,
    lopsided,
    of_arms,
    z_of,
)
from experiments.statistics.records import Effect, Moments, NoEffect, Why

METHOD: Final = "quantile_outer_welch_t"


@dataclass(frozen=True, kw_only=True)
class _Arm:
    """Observations sorted, and of each the number of its unit."""

    values: NDArray[np.float64]
    unit: NDArray[np.int64]
    n: int


def difference(control_rows: pl.DataFrame, treatment_rows: pl.DataFrame, q: float, alpha: float) -> Effect | NoEffect:
    """Quantile `q` (0 to 1) of the treatment's observations less the control's, two-sided at 1 - alpha.

    Rows have the columns unit and value, one per observation; nulls are missing. Raises InvalidInput for a q or alpha
    outside 0 to 1.
    """
    check_alpha(alpha)
    found = contrast(control_rows, treatment_rows, q)
    return found if isinstance(found, NoEffect) else found.effect(z_of(alpha), 1 - alpha)


def contrast(control_rows: pl.DataFrame, treatment_rows: pl.DataFrame, q: float) -> Contrast | NoEffect:
    """As `difference`, before a level is chosen; sequential.at_look and sequential.anytime take it."""
    if not 0 < q < 1:
        raise InvalidInput(f"a quantile lies between 0 and 1, not {q}", field="quantile")
    arms = [_arm(rows) for rows in (control_rows, treatment_rows)]
    lack = _unfit(arms[0], arms[1])
    if lack is not None:
        return lack
    means = [_quantile(arm, q, name) for arm, name in zip(arms, ("control", "treatment"), strict=True)]
    for one in means:
        if isinstance(one, NoEffect):
            return one
    control, treatment = (one for one in means if isinstance(one, ArmMean))
    if control.variance == 0 and treatment.variance == 0:
        return NoEffect(
            why=Why.CONSTANT,
            text=f"Around the quantile {q:g} all observations of both arms are one value: it cannot be told how far it "
            "would move. A mean, or a finer measurement, can.",
        )
    return of_arms(control, treatment, method=METHOD)


def _arm(rows: pl.DataFrame) -> _Arm:
    seen = rows.select("unit", pl.col("value").cast(pl.Float64())).drop_nulls("value").sort("value")
    unit = seen["unit"].rank("dense").to_numpy().astype(np.int64) - 1
    return _Arm(values=seen["value"].to_numpy(), unit=unit, n=int(unit.max()) + 1 if len(unit) else 0)


def _unfit(control: _Arm, treatment: _Arm) -> NoEffect | None:
    if not control.n and not treatment.n:
        return NoEffect(why=Why.NO_UNITS, text="No observation in either arm yet. Wait for traffic.")
    for arm, name in ((control, "control"), (treatment, "treatment")):
        if not arm.n:
            return NoEffect(
                why=Why.ONE_ARM,
                text=f"No observation in the {name}, so there is nothing to compare. Look at the assignment.",
            )
        if not np.isfinite(arm.values).all():
            return NoEffect(
                why=Why.NOT_FINITE,
                text=f"An observation of the {name} is NaN or infinite. Find the rows and leave them out as missing.",
            )
        if arm.n == 1:
            return NoEffect(why=Why.ONE_UNIT, text=f"One unit in the {name}: how much units differ cannot be told.")
    return None


def _quantile(arm: _Arm, q: float, name: str) -> ArmMean | NoEffect:
    at = _value_at(arm, q)
    share = _share(arm, at)
    if effective_units(share) < LEAST:
        return lopsided(name, arm.n, effective_units(share))
    counted = arm_mean(share)
    se = math.sqrt(counted.variance)
    binomial = math.sqrt(q * (1 - q) / len(arm.values))
    se = se or binomial  # each unit has exactly the share: chance, or ties
    z = z_of(0.05)
    low, high = q - z * se, q + z * se
    if low * len(arm.values) < 1 or (1 - high) * len(arm.values) < 1:
        return NoEffect(
            why=Why.FEW_UNITS,
            text=f"{len(arm.values)} observations of {arm.n} units are too few for an interval of the quantile {q:g}. "
            "Wait for more, or look at a quantile nearer to the middle.",
        )
    wide = (_value_at(arm, high) - _value_at(arm, low)) / (2 * z)
    return replace(counted, mean=at, variance=wide**2)


def _share(arm: _Arm, at: float) -> Moments:
    """Sums of the observations at or below a value, by unit."""
    y = np.bincount(arm.unit, weights=arm.values <= at, minlength=arm.n)
    s = np.bincount(arm.unit, minlength=arm.n).astype(np.float64)
    return Moments(
        n=arm.n, y=float(y.sum()), s=float(s.sum()), yy=float(y @ y), ss=float(s @ s), sy=float(s @ y)
    )  # fmt: skip


def _value_at(arm: _Arm, q: float) -> float:
    """The least value that a share q of the observations does not exceed."""
    return float(arm.values[max(0, math.ceil(q * len(arm.values) - 1e-9) - 1)])
