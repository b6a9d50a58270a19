"""Whether the values of now are distributed as those of a reference window: three distances, each with its own null.

A distance alone says nothing: two samples of one distribution are always some way apart, the farther the fewer they
are. So each distance comes with the one that chance alone passes once in 1 / level looks, and with the chance of one as
great; it has drifted when it is beyond both that and `least`, the smallest distance that anybody would care for. Values
of one user are no independent draws: give one value for each session or user, not each span.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import scipy
from numpy.typing import NDArray

from core.errors import InvalidInput
from monitors.records import Floats

# Fewer than that on either side cannot say.
FEWEST: Final = 30
# A cell expects that many in the smaller sample, or is taken together with its neighbour (Cochran 1954).
_EXPECTED: Final = 5.0
# Distinct values up to which each is a cell of its own.
_KINDS: Final = 20
# Of vectors: so many of each side are compared, and a p is settled when so many chance distances were as great.
_AT_MOST: Final = 1000
_EXCEEDING: Final = 10
_BATCH: Final = 200

Vectors = NDArray[np.float64]


class Measure(StrEnum):
    """How far apart two distributions are."""

    KS = "ks"
    """The greatest difference of the shares below a value, 0 to 1."""
    PSI = "psi"
    """Population stability index: the symmetric divergence of the shares of cells."""
    ENERGY = "energy"
    """Of vectors: the energy distance over twice the mean distance between the samples, 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class Shift:
    """What was found."""

    measure: Measure
    distance: float
    usual: float | None
    """The distance that chance passes once in 1 / level looks; None where it was not worth drawing so often."""
    p: float
    """The chance of such a distance where nothing has changed."""
    n_reference: int
    n_now: int
    level: float
    least: float
    n_missing: int = 0
    """Values of either side that are no numbers, left out."""

    @property
    def drifted(self) -> bool:
        """More than chance does, and more than is worth nothing."""
        return self.p <= self.level and self.distance >= self.least

    @property
    def words(self) -> str:
        """The finding with its numbers."""
        chance = (
            "" if self.usual is None else f", chance stays below {self.usual:.3f} but once in {1 / self.level:,.0f}"
        )
        verdict = "drifted" if self.drifted else "as before"
        sizes = f"{self.n_now:,} now against {self.n_reference:,}"
        return f"{verdict}: {self.measure} {self.distance:.3f} (least {self.least:g}{chance}), p {self.p:.2g}, {sizes}"


@dataclass(frozen=True, kw_only=True)
class NotKnown:
    """It cannot be said, and why."""

    measure: Measure
    reason: str
    n_reference: int
    n_now: int


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is a drift: p at most `level`, and a distance of `least` at least.

    Looked at each hour, a level of 1 / 2,000 is one false page in twelve weeks: see monitors/budget.py.
    """

    level: float
    least: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise InvalidInput(f"a level of {self.level} is no chance above 0 and below 1", field="level")
        if not 0 <= self.least < math.inf:
            raise InvalidInput(f"a least distance of {self.least}", field="least")


def ks(reference: Floats, now: Floats, asked: Asked) -> Shift | NotKnown:
    """Kolmogorov and Smirnov's two-sample distance, by the law of one sample of n m / (n + m).

    Where many values are equal the law is too careful: p is greater than it should be, and `psi` is the better measure.
    """
    before, after, n_missing = _numbers(reference, now)
    unknown = _too_few(Measure.KS, len(before), len(after))
    if unknown is not None:
        return unknown
    at = np.concatenate([before, after])
    below = [np.searchsorted(np.sort(one), at, side="right") / len(one) for one in (before, after)]
    worth = len(before) * len(after) / (len(before) + len(after))
    distance = float(np.max(np.abs(below[0] - below[1])))
    whole = max(round(worth), 1)
    return Shift(
        measure=Measure.KS, distance=distance, usual=float(scipy.stats.kstwo.isf(asked.level, whole)),
        p=float(scipy.stats.kstwo.sf(distance, whole)), n_reference=len(before), n_now=len(after), level=asked.level,
        least=asked.least, n_missing=n_missing,
    )  # fmt: skip


def psi(reference: Floats, now: Floats, asked: Asked, *, cells: int = 10) -> Shift | NotKnown:
    """The index over cells of equal shares of both samples together; each value its own cell where there are few."""
    before, after, n_missing = _numbers(reference, now)
    unknown = _too_few(Measure.PSI, len(before), len(after))
    if unknown is not None:
        return unknown
    if cells < 2:
        raise InvalidInput(f"{cells} cells tell nothing apart", field="cells")
    both = np.concatenate([before, after])
    kinds = np.unique(both)
    edges = kinds if len(kinds) <= _KINDS else np.unique(np.quantile(both, np.arange(1, cells) / cells))
    counts = [np.bincount(np.searchsorted(edges, one), minlength=len(edges) + 1) for one in (before, after)]
    return _index(_neighbours(np.array(counts, dtype=np.float64)), asked, n_missing)


def psi_of_kinds(reference: Mapping[str, int], now: Mapping[str, int], asked: Asked) -> Shift | NotKnown:
    """The index of counts by kind: a traffic mix, a distribution of labels. Rare kinds are taken together."""
    if any(count < 0 for side in (reference, now) for count in side.values()):
        raise InvalidInput("a kind was counted less than no time", field="counts")
    names = sorted(set(reference) | set(now))
    counts = np.array([[side.get(name, 0) for name in names] for side in (reference, now)], dtype=np.float64)
    n_before, n_after = (int(one) for one in counts.sum(axis=1))
    return _too_few(Measure.PSI, n_before, n_after) or _index(_without_rare(counts), asked, 0)


def energy(
    reference: Vectors, now: Vectors, asked: Asked, chance: np.random.Generator, *, at_most: int = _AT_MOST
) -> Shift | NotKnown:
    """The energy distance of two samples of vectors (Szekely, Rizzo 2013, eq. 5 and 6) against permuted ones.

    p is that of Besag and Clifford 1991: permutations are drawn until ten were as far apart, at most twice 1 / level of
    them. Of more than `at_most` vectors a sample is drawn.
    """
    before, after, n_missing = _vectors(reference, now)
    unknown = _too_few(Measure.ENERGY, len(before), len(after))
    if unknown is not None:
        return unknown
    before, after = (_drawn(one, at_most, chance) for one in (before, after))
    distances = _distances(np.concatenate([before, after]))
    n, m = len(before), len(after)
    between = 2 * float(distances[:n, n:].mean())
    if between <= 0:
        return NotKnown(measure=Measure.ENERGY, reason="all vectors are the same", n_reference=n, n_now=m)
    weights = np.concatenate([np.full(n, 1 / n), np.full(m, -1 / m)])
    found = -float(weights @ distances @ weights)
    p, usual = _permuted(distances, weights, found, asked.level, chance)
    # The quotient is monotone in the distance only where `between` is the same, so p is that of the distance itself.
    return Shift(
        measure=Measure.ENERGY, distance=max(found / between, 0.0), usual=None if usual is None else usual / between,
        p=p, n_reference=n, n_now=m, level=asked.level, least=asked.least, n_missing=n_missing,
    )  # fmt: skip


def _index(counts: Floats, asked: Asked, n_missing: int) -> Shift | NotKnown:
    """PSI of counts (2, cells) and its law: chi square of cells - 1, times 1/n + 1/m (Yurdakul, Naranjo 2020)."""
    n, m = counts.sum(axis=1)
    cells = counts.shape[1]
    if cells < 2:
        reason = "all values are in one cell: there is nothing to tell apart"
        return NotKnown(measure=Measure.PSI, reason=reason, n_reference=int(n), n_now=int(m))
    # Half a value more in each cell: an empty one would be infinitely far.
    shares = (counts + 0.5) / (counts + 0.5).sum(axis=1, keepdims=True)
    distance = float(
        np.sum(scipy.special.rel_entr(shares[0], shares[1]) + scipy.special.rel_entr(shares[1], shares[0]))
    )
    unit = 1 / n + 1 / m
    return Shift(
        measure=Measure.PSI, distance=distance, usual=float(scipy.stats.chi2.isf(asked.level, cells - 1) * unit),
        p=float(scipy.stats.chi2.sf(distance / unit, cells - 1)), n_reference=int(n), n_now=int(m), level=asked.level,
        least=asked.least, n_missing=n_missing,
    )  # fmt: skip


def _neighbours(counts: Floats) -> Floats:
    """The cells in their order, each with enough to be expected: a thin one takes in the next, or the last one it."""
    least = _thin(counts)
    grouped: list[Floats] = []
    for cell in counts.T:
        if grouped and grouped[-1].sum() < least:
            grouped[-1] = grouped[-1] + cell
        else:
            grouped.append(cell)
    if len(grouped) > 1 and grouped[-1].sum() < least:
        last = grouped.pop()
        grouped[-1] = grouped[-1] + last
    return np.array(grouped).T


def _without_rare(counts: Floats) -> Floats:
    """Kinds that are rare in both together go into one; if that is rare too it goes to the least of the others."""
    rare = counts.sum(axis=0) < _thin(counts)
    kept = counts[:, ~rare]
    if not rare.any():
        return kept
    others = counts[:, rare].sum(axis=1, keepdims=True)
    if others.sum() >= _thin(counts) or not kept.shape[1]:
        return np.concatenate([kept, others], axis=1)
    kept[:, int(np.argmin(kept.sum(axis=0)))] += others[:, 0]
    return kept


def _thin(counts: Floats) -> float:
    """How many of both samples a cell must hold, so that the smaller sample expects enough there."""
    sizes = counts.sum(axis=1)
    return float(_EXPECTED * sizes.sum() / sizes.min())


def _permuted(
    distances: Floats, weights: Floats, found: float, level: float, chance: np.random.Generator
) -> tuple[float, float | None]:
    """p, and the distance that is passed once in 1 / level, if so many were drawn."""
    most = math.ceil(2 / level)
    drawn = np.empty(0)
    # Distances that differ by rounding are equal: two samples of the same vectors are no farther apart than by chance.
    bar = found - 1e-12 * float(distances.max())
    while len(drawn) < most and (drawn >= bar).sum() < _EXCEEDING:
        mixed = chance.permuted(np.tile(weights, (min(_BATCH, most - len(drawn)), 1)), axis=1)
        drawn = np.concatenate([drawn, -np.einsum("ij,ij->i", mixed @ distances, mixed)])
    beyond = np.flatnonzero(drawn >= bar)
    enough = len(beyond) >= _EXCEEDING
    p = _EXCEEDING / (beyond[_EXCEEDING - 1] + 1) if enough else (len(beyond) + 1) / (len(drawn) + 1)
    return float(p), float(np.quantile(drawn, 1 - level)) if len(drawn) * level >= 1 else None


def _distances(points: Vectors) -> Floats:
    """Euclidean, between all pairs."""
    squares = np.einsum("ij,ij->i", points, points)
    apart = np.maximum(squares[:, None] + squares[None, :] - 2 * points @ points.T, 0.0)
    np.fill_diagonal(apart, 0.0)
    return np.asarray(np.sqrt(apart))


def _drawn(points: Vectors, at_most: int, chance: np.random.Generator) -> Vectors:
    if len(points) <= at_most:
        return points
    return np.asarray(points[np.sort(chance.choice(len(points), at_most, replace=False))])


def _numbers(reference: Floats, now: Floats) -> tuple[Floats, Floats, int]:
    sides = [np.asarray(one, dtype=np.float64).ravel() for one in (reference, now)]
    kept = [one[np.isfinite(one)] for one in sides]
    return kept[0], kept[1], sum(len(one) for one in sides) - sum(len(one) for one in kept)


def _vectors(reference: Vectors, now: Vectors) -> tuple[Vectors, Vectors, int]:
    sides = [np.asarray(one, dtype=np.float64) for one in (reference, now)]
    if any(one.ndim != 2 for one in sides) or sides[0].shape[1] != sides[1].shape[1]:
        shapes = " and ".join(str(one.shape) for one in sides)
        raise InvalidInput(f"vectors of two samples have one length; here {shapes}", field="vectors")
    kept = [one[np.isfinite(one).all(axis=1)] for one in sides]
    return kept[0], kept[1], sum(len(one) for one in sides) - sum(len(one) for one in kept)


def _too_few(measure: Measure, n_reference: int, n_now: int) -> NotKnown | None:
    if min(n_reference, n_now) >= FEWEST:
        return None
    reason = f"{n_now} values now and {n_reference} in the reference window; {FEWEST} of each are needed"
    return NotKnown(measure=measure, reason=reason, n_reference=n_reference, n_now=n_now)
