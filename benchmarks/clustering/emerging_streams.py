"""Weeks of failing sessions of many clusters, quiet or with planted growth, and the rules others use on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from clustering.emerging.records import Counts
from evaluators.statistics.multiplicity import benjamini_hochberg

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

GROWTH: Final = 3.0


@dataclass(frozen=True, kw_only=True)
class World:
    """`clusters` with `base` failing sessions a week (`varied`: exponential around it), `weeks` of history, dispersion
    `phi`; `own`: sd of each cluster's own log phi; `drift`: sd of a week's step of the log rate; `traffic`: now's
    sessions by a week's; `planted`: the share of clusters that grow threefold now."""

    clusters: int = 150
    base: float = 20.0
    varied: bool = False
    weeks: int = 4
    phi: float = 0.0
    own: float = 0.0
    drift: float = 0.0
    traffic: float = 1.0
    planted: float = 0.05


def stream(world: World, chance: np.random.Generator, *, quiet: bool) -> tuple[Counts, Flags]:
    """One history with its now, and which clusters grew."""
    k, m = world.clusters, world.weeks
    base = np.maximum(0.5, chance.exponential(world.base, k)) if world.varied else np.full(k, world.base)
    grew = np.zeros(k, dtype=np.bool_)
    if not quiet:
        grew[chance.permutation(k)[: max(1, round(world.planted * k))]] = True
    mean = np.repeat(base[:, None], m + 1, axis=1)
    mean = mean * np.exp(np.cumsum(chance.normal(0, world.drift, (k, m + 1)), axis=1)) if world.drift else mean
    mean[:, -1] *= world.traffic * np.where(grew, GROWTH, 1.0)
    phi = world.phi * np.exp(chance.normal(0, world.own, k)) if world.own else np.full(k, world.phi)
    return counts_of(overdispersed(mean, phi[:, None], chance), np.append(np.ones(m), world.traffic)), grew


def overdispersed(mean: Floats, phi: Floats, chance: np.random.Generator) -> Ints:
    """Gamma-Poisson counts, variance mean + phi mean^2; Poisson where phi is 0."""
    shape = 1 / np.maximum(phi, 1e-9)
    factor = np.where(phi > 0, chance.gamma(np.broadcast_to(shape, mean.shape)) / shape, 1.0)
    return np.asarray(chance.poisson(mean * factor))


def counts_of(counts: Ints, exposure: Floats) -> Counts:
    """Of weeks (K, m + 1), the last of them now; each failing session another user's."""
    k = len(counts)
    return Counts(
        cluster_ids=tuple(f"C-{one:04d}" for one in range(k)),
        now=counts[:, -1],
        exposure_now=np.full(k, exposure[-1]),
        history=counts[:, :-1],
        exposure=np.tile(exposure[:-1], (k, 1)),
        n_users=counts[:, -1],
        first_seen_ns=np.zeros(k, dtype=np.int64),
        born=np.zeros(k, dtype=np.bool_),
        length_now=np.ones(k),
    )


# --- the rules of others, all with exposure ---------------------------------------------------------------------------


def twice(counts: Counts) -> Flags:
    """More than twice the mean week of last month."""
    return np.asarray(counts.now / counts.exposure_now > 2 * counts.history.sum(axis=1) / counts.exposure.sum(axis=1))


def three_sd(counts: Counts) -> Flags:
    """More than the mean of the weeks and three of their standard deviations."""
    rates = counts.history / counts.exposure
    if rates.shape[1] < 2:
        return np.zeros(len(rates), dtype=np.bool_)
    return np.asarray(counts.now / counts.exposure_now > rates.mean(axis=1) + 3 * rates.std(axis=1, ddof=1))


def c_test(counts: Counts) -> Flags:
    """The Poisson C-test with Benjamini-Hochberg at .05, lower bound of the ratio above 1.5, five users."""
    before, whole = counts.history.sum(axis=1), counts.exposure.sum(axis=1)
    n = counts.now + before
    p = stats.binom.sf(counts.now - 1, n, counts.exposure_now / (counts.exposure_now + whole))
    far = stats.binom.sf(counts.now - 1, n, 1.5 * counts.exposure_now / (1.5 * counts.exposure_now + whole)) < 0.05
    q = np.array(benjamini_hochberg(p.tolist()))
    return np.asarray((q <= 0.05) & far & (counts.n_users >= 5))
