"""Units drawn without and with an effect, summed until each look: what the benchmarks of experiments look at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import special

from experiments.statistics import quantiles
from experiments.statistics.cuped import adjusted_contrast
from experiments.statistics.effects import FEW, contrast
from experiments.statistics.records import Moments, NoEffect

Array = NDArray[np.float64]
Units = tuple[Array, Array, Array]  # y, s, x of each unit
Draw = Callable[[np.random.Generator, int, float], Units]

N_PER_ARM: Final = 2_800
EVEN: Final = (N_PER_ARM, N_PER_ARM)
AT_ONCE: Final = 200  # experiments in one array
P0: Final = 0.70
MDE: Final = 0.0343  # found with .814 by one look at 2,800 an arm


def share(chance: np.random.Generator, n: int, effect: float) -> Units:
    """One yes or no a unit."""
    return (chance.random(n) < P0 + effect).astype(np.float64), np.ones(n), np.zeros(n)


def rare(chance: np.random.Generator, n: int, effect: float) -> Units:
    """One yes or no a unit, yes in one of 200."""
    return (chance.random(n) < 0.005 + effect).astype(np.float64), np.ones(n), np.zeros(n)


def skewed(chance: np.random.Generator, n: int, effect: float) -> Units:
    """A cost: lognormal with sigma 1, skewness 6."""
    return chance.lognormal(0.0, 1.0, n) + effect, np.ones(n), np.zeros(n)


def sessions(chance: np.random.Generator, n: int, effect: float) -> Units:
    """Yes or no of the sessions of users who differ: about 2.3 a user, user effect of sd 1 on the logit."""
    s = chance.poisson(1.3, n) + 1
    y = chance.binomial(s, 1 / (1 + np.exp(-0.85 - effect - chance.normal(0, 1, n))))
    return y.astype(np.float64), s.astype(np.float64), np.zeros(n)


def adjusted(chance: np.random.Generator, n: int, effect: float) -> Units:
    """A mean with a covariate that explains half of its variance; a fifth of the units have none."""
    x = chance.normal(0, 1, n)
    y = effect + x + chance.normal(0, 1, n)
    x[chance.random(n) < 0.2] = np.nan
    return y, np.ones(n), x


DRAWS: Final[dict[str, Draw]] = {
    "share": share, "rare": rare, "skewed": skewed, "sessions": sessions, "adjusted": adjusted,
}  # fmt: skip
FAST: Final = frozenset({"share", "skewed", "sessions"})
BINARY: Final = frozenset({"share", "rare", "sessions"})


def summed(units: Units, n_looks: int) -> list[Moments]:
    """The sums of an arm's units at each of n equally spaced looks."""
    y, s, raw = units
    w = (~np.isnan(raw)).astype(np.float64) if np.any(raw) else np.zeros_like(raw)
    x = np.nan_to_num(raw)
    columns = np.stack([y, s, x, y * y, s * s, x * x, s * y, x * y, x * s, w, w * y, w * s])
    ends = [round(len(y) * (look + 1) / n_looks) for look in range(n_looks)]
    until = np.add.reduceat(columns, [0, *ends[:-1]], axis=1).cumsum(axis=1)
    return [Moments(n=n, n_missing=0, **dict(zip(NAMES, until[:, k].tolist(), strict=True))) for k, n in
            enumerate(ends)]  # fmt: skip


NAMES: Final = ("y", "s", "x", "yy", "ss", "xx", "sy", "xy", "xs", "w", "wy", "ws")


def z_at_looks(kind: str, control: list[Moments], treatment: list[Moments]) -> Array:
    """z of the product's own contrast at each look; 0 where it says that there is no effect yet."""
    found = np.zeros(len(control))
    for look, (one, two) in enumerate(zip(control, treatment, strict=True)):
        told = adjusted_contrast(one, two) if kind == "adjusted" else contrast(one, two, binary=kind in BINARY)
        found[look] = 0.0 if isinstance(told, NoEffect) else told.z
    return found


def fast_paths(
    chance: np.random.Generator,
    kind: str,
    reps: int,
    n_looks: int,
    effect: float = 0.0,
    sizes: tuple[int, int] = EVEN,
) -> Array:
    """As `paths`, of kinds that need neither the score interval nor a covariate: the formulas of effects.py over arrays
    of experiments, which a test holds to the product's contrasts."""
    found = []
    for batch in [AT_ONCE] * (reps // AT_ONCE) + [reps % AT_ONCE] * (reps % AT_ONCE > 0):
        means, variances, dfs = zip(
            *(
                _means(DRAWS[kind](chance, n * batch, shift), batch, n_looks)
                for n, shift in zip(sizes, (0.0, effect), strict=True)
            ),
            strict=True,
        )
        whole = variances[0] + variances[1]
        df = whole**2 / (variances[0] ** 2 / dfs[0] + variances[1] ** 2 / dfs[1])
        t = (means[1] - means[0]) / np.sqrt(whole)
        found.append(-np.sign(t) * special.ndtri(np.maximum(special.stdtr(df, -np.abs(t)), 1e-300)))
    return np.concatenate(found)


def _means(units: Units, reps: int, n_looks: int) -> tuple[Array, Array, Array]:
    """Of an arm of so many experiments the mean, its variance and degrees of freedom until each look."""
    y, s = (one.reshape(reps, -1) for one in units[:2])
    n = np.array([round(y.shape[1] * (look + 1) / n_looks) for look in range(n_looks)])
    of_y, of_s, yy, ss, sy = (one.cumsum(axis=1)[:, n - 1] for one in (y, s, y * y, s * s, s * y))
    mean = of_y / of_s
    kish = of_s**2 / ss
    effective = np.where(kish < FEW, np.minimum(kish, n), n)
    left = yy - 2 * mean * sy + mean * mean * ss
    return mean, left * effective / (effective - 1) / of_s**2, effective - 1


def latencies(chance: np.random.Generator, n: int, n_looks: int) -> list[pl.DataFrame]:
    """Observations of n users until each look: about 2.3 each, lognormal, half of its variance the user's."""
    s = chance.poisson(1.3, n) + 1
    unit = np.repeat(np.arange(n), s)
    value = np.exp(np.repeat(chance.normal(0, 0.7, n), s) + chance.normal(0, 0.7, len(unit)))
    rows = pl.DataFrame({"unit": unit, "value": value})
    ends = s.cumsum()[[round(n * (look + 1) / n_looks) - 1 for look in range(n_looks)]]
    return [rows.head(int(end)) for end in ends]


def paths_of_p95(chance: np.random.Generator, reps: int, n_looks: int) -> Array:
    """As `paths`, of the 95th percentile of latencies."""
    found = np.zeros((reps, n_looks))
    for rep in range(reps):
        arms = [latencies(chance, N_PER_ARM, n_looks) for _ in range(2)]
        for look, (one, two) in enumerate(zip(*arms, strict=True)):
            told = quantiles.contrast(one, two, 0.95)
            found[rep, look] = 0.0 if isinstance(told, NoEffect) else told.z
    return found


def paths(
    chance: np.random.Generator,
    kind: str,
    reps: int,
    n_looks: int,
    effect: float = 0.0,
    sizes: tuple[int, int] = EVEN,
) -> Array:
    """z at each look of experiments with so many units in control and treatment, of shape (reps, looks)."""
    draw = DRAWS[kind]

    def arm(n: int, shift: float) -> list[Moments]:
        return summed(draw(chance, n, shift), n_looks)

    return np.stack([z_at_looks(kind, arm(sizes[0], 0.0), arm(sizes[1], effect)) for _ in range(reps)])
