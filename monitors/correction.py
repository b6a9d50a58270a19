"""A judge's rate as its known errors correct it. Pure.

Rogan and Gladen (American Journal of Epidemiology 1978): with sensitivity q1 and specificity q0, what people would say
is (p + q0 - 1) / (q0 + q1 - 1). The error of a corrected rate is larger by the divisor, so that fewer observations are
behind it: n (q0 + q1 - 1)^2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

LEAST_YOUDEN: Final = 0.1  # a judge that knows less tells nothing, and is left as it is


@dataclass(frozen=True, kw_only=True)
class Correction:
    """How often a judge is right about what people pass (sensitivity), and about what they fail (specificity)."""

    sensitivity: float
    specificity: float

    @property
    def youden(self) -> float:
        """What its word is worth: 1 is all, 0 nothing."""
        return self.sensitivity + self.specificity - 1


def corrected(told: pl.DataFrame, by: Correction) -> pl.DataFrame:
    """The rates `x` of `n` as they would be without the judge's errors, within 0 and 1."""
    if by.youden < LEAST_YOUDEN:
        return told
    x = ((pl.col("x") + by.specificity - 1) / by.youden).clip(0.0, 1.0)
    return told.with_columns(x=x, n=pl.col("n") * by.youden**2)


def correction_of(report: Mapping[str, Any], passing: str) -> Correction | None:
    """What a calibration's report says of a judge of two labels, one of which is `passing`; None where it says nothing
    of it."""
    labels = report.get("agreement", {}).get("by_label", [])
    found = next((one for one in labels if one.get("label") == passing), None)
    if found is None or len(labels) != 2:
        return None
    sensitivity, specificity = (_value(found.get(name)) for name in ("sensitivity", "specificity"))
    if sensitivity is None or specificity is None:
        return None
    return Correction(sensitivity=sensitivity, specificity=specificity)


def _value(estimate: Any) -> float | None:
    found = estimate.get("value") if isinstance(estimate, Mapping) else estimate
    return float(found) if isinstance(found, int | float) and 0 <= found <= 1 else None
