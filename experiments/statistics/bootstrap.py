"""Below 50 units an arm: the wild cluster bootstrap of the difference of two ratios, its null imposed.

Cameron, Gelbach, Miller 2008 (REStat 90:414): residuals of whole clusters under the null get random signs, and the
statistic of the delta method is compared with its own distribution so drawn. Signs and sizes are Webb's six points
(2023, Canadian Journal of Economics 56:839), as two signs give too few draws with few clusters. The interval holds the
values that are not rejected.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.errors import InvalidInput
from experiments.statistics.effects import check_alpha
from experiments.statistics.records import Effect, NoEffect, Why

Array = NDArray[np.float64]

WORTH_BELOW: Final = 50  # units in the smaller arm
LEAST_UNITS: Final = 5
DRAWS: Final = 1_999
_WEBB: Final = np.array([-math.sqrt(1.5), -1.0, -math.sqrt(0.5), math.sqrt(0.5), 1.0, math.sqrt(1.5)])


@dataclass(frozen=True, kw_only=True)
class _Clusters:
    """Units of both arms: sums y, counts s, whether treated, all of shape (units,), and weights (units, draws)."""

    y: Array
    s: Array
    treated: NDArray[np.bool_]
    weights: Array


def wild(
    control_rows: pl.DataFrame,
    treatment_rows: pl.DataFrame,
    *,
    alpha: float,
    chance: np.random.Generator,
    draws: int = DRAWS,
) -> Effect | NoEffect:
    """Treatment - control at one look, by unit rows with the columns y and s; units whose s is 0 are missing.

    `se` is the delta method's; the interval need not be symmetric. Raises InvalidInput for an alpha outside 0 to 1, or
    fewer than 99 draws.
    """
    check_alpha(alpha)
    clusters = _clusters(control_rows, treatment_rows, chance, draws)
    if isinstance(clusters, NoEffect):
        return clusters
    estimate, spread = _observed(clusters)
    arms = [(clusters.y[arm], clusters.s[arm]) for arm in (~clusters.treated, clusters.treated)]
    means = [float(y.sum() / s.sum()) for y, s in arms]
    return Effect(
        control=means[0], treatment=means[1], n_control=len(arms[0][0]), n_treatment=len(arms[1][0]),
        estimate=estimate, se=spread, level=1 - alpha, method="wild_cluster_bootstrap",
        low=_end(clusters, estimate, spread, alpha, -1), high=_end(clusters, estimate, spread, alpha, 1),
        p_value=_p(clusters, estimate, spread, 0.0),
    )  # fmt: skip


def wild_p(
    control_rows: pl.DataFrame, treatment_rows: pl.DataFrame, *, chance: np.random.Generator, draws: int = DRAWS
) -> float | NoEffect:
    """The p-value of `wild` alone, for a small part of the work."""
    clusters = _clusters(control_rows, treatment_rows, chance, draws)
    return clusters if isinstance(clusters, NoEffect) else _p(clusters, *_observed(clusters), 0.0)


def _clusters(
    control_rows: pl.DataFrame, treatment_rows: pl.DataFrame, chance: np.random.Generator, draws: int
) -> _Clusters | NoEffect:
    if draws < 99:
        raise InvalidInput("at least 99 draws", field="draws")
    seen = [
        rows.filter(pl.col("s") > 0).select(pl.col("y", "s").cast(pl.Float64()))
        for rows in (control_rows, treatment_rows)
    ]
    lack = _unfit(seen[0], seen[1])
    if lack is not None:
        return lack
    both = pl.concat(seen)
    clusters = _Clusters(
        y=both["y"].to_numpy(),
        s=both["s"].to_numpy(),
        treated=np.arange(both.height) >= seen[0].height,
        weights=chance.choice(_WEBB, (both.height, draws)),
    )
    if not _observed(clusters)[1] > 1e-9 * (1e-300 + float(np.abs(clusters.y).max())):
        return NoEffect(why=Why.CONSTANT, text="All units of both arms say the same: nothing to weigh.")
    return clusters


def _observed(clusters: _Clusters) -> tuple[float, float]:
    difference, se = _statistic(clusters.y[:, None], clusters)
    return float(difference[0]), float(se[0])


def _unfit(control: pl.DataFrame, treatment: pl.DataFrame) -> NoEffect | None:
    if control.is_empty() and treatment.is_empty():
        return NoEffect(why=Why.NO_UNITS, text="No unit with an outcome in either arm yet. Wait for traffic.")
    if control.is_empty() or treatment.is_empty():
        return NoEffect(why=Why.ONE_ARM, text="One arm has no unit with an outcome, so there is nothing to compare.")
    if not all(np.isfinite(arm.to_numpy()).all() for arm in (control, treatment)):
        return NoEffect(why=Why.NOT_FINITE, text="An outcome is NaN or infinite. Leave such rows out as missing.")
    if min(control.height, treatment.height) < LEAST_UNITS:
        return NoEffect(
            why=Why.FEW_UNITS,
            text=f"{control.height} and {treatment.height} units: the bootstrap needs {LEAST_UNITS} an arm.",
        )
    return None


def _statistic(y: Array, clusters: _Clusters) -> tuple[Array, Array]:
    """Difference of the arms' ratios and its delta-method standard error; y of shape (units, draws)."""
    means, variances = [], []
    for arm in (~clusters.treated, clusters.treated):
        own, s, n = y[arm], clusters.s[arm], int(arm.sum())
        mean = own.sum(axis=0) / s.sum()
        left = own - mean * s[:, None]
        means.append(mean)
        variances.append((left**2).sum(axis=0) * n / (n - 1) / s.sum() ** 2)
    return means[1] - means[0], np.sqrt(variances[0] + variances[1])


def _p(clusters: _Clusters, estimate: float, se: float, null: float) -> float:
    """Two-sided p of a difference of `null`: (1 + draws at least as far) / (1 + draws)."""
    shifted = clusters.y - null * clusters.s * clusters.treated
    mean = shifted.sum() / clusters.s.sum()
    fitted = mean * clusters.s
    drawn, se_drawn = _statistic(fitted[:, None] + clusters.weights * (shifted - fitted)[:, None], clusters)
    far = np.abs(drawn) >= abs(estimate - null) / se * se_drawn * (1 - 1e-12)
    return float((1 + np.count_nonzero(far)) / (1 + len(drawn)))


def _end(clusters: _Clusters, estimate: float, se: float, alpha: float, side: int) -> float:
    """The farthest value on a side that is not rejected at alpha, by doubling and halving."""
    inside, outside = 0.0, 2.0
    while _p(clusters, estimate, se, estimate + side * outside * se) > alpha:
        inside, outside = outside, 2 * outside
        if outside > 1e6:  # so few units that hardly anything is rejected
            break
    for _ in range(20):
        middle = (inside + outside) / 2
        kept = _p(clusters, estimate, se, estimate + side * middle * se) > alpha
        inside, outside = (middle, outside) if kept else (inside, middle)
    return estimate + side * outside * se
