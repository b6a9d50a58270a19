"""CUPED: what units did before the experiment takes out of the variance what it explains.

Deng, Xu, Kohavi, Walker 2013 (WSDM, section 3): Y - theta (X - mean X), theta = Cov(X, Y) / Var(X), leaves 1 - rho^2 of
the variance and does not move the estimate's mean, as the covariate comes from before the assignment. A unit without a
past gets the mean and an indicator: over sums, the regression on x (0 where there is none) and w (1 where there is one)
spans the same columns. Of a ratio the adjusted variable is (Y - M S) / mean(S). theta is one for both arms, from all
units together, as gbstats and tea-tasting have it; the part of the effect that this lets into it moves the estimate by
a share of the order of 1 / n.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from experiments.statistics.effects import (
    RESOLVED,
    ArmMean,
    Contrast,
    check_alpha,
    contrast,
    effective_units,
    of_arms,
    spread,
    unfit,
    z_of,
)
from experiments.statistics.records import Effect, Moments, NoEffect, Why

Array = NDArray[np.float64]

_COLLINEAR: Final = 1e-8  # of a covariate's square that the others leave: nothing of its own


@dataclass(frozen=True, kw_only=True)
class _Products:
    """Of an arm, centred and summed over units: the adjusted variable's square, its products with the covariates, the
    covariates' own, their means; and the covariate's squares before centring."""

    left: float
    with_covariates: Array
    covariates: Array
    means: Array
    covariate_squares: float


def adjusted(control: Moments, treatment: Moments, *, alpha: float) -> Effect | NoEffect:
    """Treatment - control with the covariate's part taken out, two-sided at 1 - alpha, at one look fixed before.

    Where the covariate says nothing (constant in both arms) the effect is the unadjusted one, as its method says.
    Raises InvalidInput for an alpha outside 0 to 1.
    """
    check_alpha(alpha)
    found = adjusted_contrast(control, treatment)
    return found if isinstance(found, NoEffect) else found.effect(z_of(alpha), 1 - alpha)


def adjusted_contrast(control: Moments, treatment: Moments) -> Contrast | NoEffect:
    """As `adjusted`, before a level is chosen."""
    lack = unfit(control, treatment)
    if lack is not None:
        return lack
    plain = contrast(control, treatment)
    joint = _products(control + treatment)
    told = _telling(joint)
    if isinstance(plain, NoEffect) or not told:
        return plain
    theta: Array = np.linalg.solve(joint.covariates[np.ix_(told, told)], joint.with_covariates[told]).astype(np.float64)
    products = [_products(control), _products(treatment)]
    gap = float(theta @ (products[1].means - products[0].means)[told])
    arms = [_arm(arm, one, theta, told) for arm, one in zip((control, treatment), products, strict=True)]
    if arms[0].variance + arms[1].variance == 0:
        return NoEffect(
            why=Why.CONSTANT,
            text="The covariate explains the outcome entirely: nothing is left to weigh. Look at whether it was taken "
            "from before the exposure.",
        )
    moved = of_arms(arms[0], arms[1], method="cuped_delta_welch_t")
    whole = replace(arms[1], mean=arms[1].mean - gap)
    return Contrast(
        control=arms[0],
        treatment=whole,
        estimate=whole.mean - arms[0].mean,
        se=moved.se,
        df=moved.df,
        method=moved.method,
    )


def reduction(control: Moments, treatment: Moments) -> float | None:
    """The share of the difference's variance that the covariate takes out; None where either has no effect."""
    plain, less = contrast(control, treatment), adjusted_contrast(control, treatment)
    if isinstance(plain, NoEffect) or isinstance(less, NoEffect):
        return None
    return 1 - (less.se / plain.se) ** 2


def _products(arm: Moments) -> _Products:
    n, mean, per_unit = arm.n, arm.y / arm.s, arm.s / arm.n
    left = spread(arm) / per_unit**2
    with_x = (arm.xy - mean * arm.xs) / per_unit  # sum of (Y - M S) is 0, so that no mean is taken off
    with_w = (arm.wy - mean * arm.ws) / per_unit
    xx, xw, ww = arm.xx - arm.x**2 / n, arm.x - arm.x * arm.w / n, arm.w - arm.w**2 / n
    return _Products(
        left=left,
        with_covariates=np.array([with_x, with_w]),
        covariates=np.array([[xx, xw], [xw, ww]]),
        means=np.array([arm.x / n, arm.w / n]),
        covariate_squares=arm.xx,
    )


def _telling(joint: _Products) -> list[int]:
    """Which covariates vary; the indicator only where units with and without a past are there."""
    (xx, xw), (_, ww) = joint.covariates.tolist()
    if not joint.covariate_squares > 0 or xx <= RESOLVED * joint.covariate_squares:
        return []
    return [0, 1] if ww > 0.5 and ww - xw * xw / xx > _COLLINEAR * ww else [0]


def _arm(arm: Moments, own: _Products, theta: Array, told: list[int]) -> ArmMean:
    with_covariates, covariates = own.with_covariates[told], own.covariates[np.ix_(told, told)]
    left = own.left - 2 * float(theta @ with_covariates) + float(theta @ covariates @ theta)
    variance = max(0.0, left) if left > RESOLVED * own.left else 0.0
    effective = effective_units(arm)
    return ArmMean(
        mean=arm.y / arm.s, variance=variance * effective / (effective - 1) / arm.n**2, n=arm.n, effective=effective
    )
