"""Two raters of the same items as a table: labels by people in the rows, a judge's verdicts in the columns.

An item without a verdict is counted as missing and stands in no cell: a missing verdict is no class. Items that were
chosen for labelling with unequal probabilities carry the weight 1/p (Horvitz, Thompson 1952, JASA 47:663), scaled so
that the weights have mean 1 and the table still sums to the number of items.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
MISSING: Final = -1  # the code of an answer that is not there


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """A table of K x K cells, [label, verdict]. All arrays have shape (K, K).

    `counts` are items; `mass` their weights, which sum to the items; `squares` the squares of their weights. Of equal
    weights all three are the same.
    """

    counts: IntArray
    mass: FloatArray
    squares: FloatArray

    @property
    def k(self) -> int:
        """Number of labels."""
        return len(self.counts)

    @property
    def n(self) -> int:
        """Items that both raters answered."""
        return int(self.counts.sum())

    @property
    def weighted(self) -> bool:
        """Whether items count differently."""
        return not np.allclose(self.mass, self.counts, rtol=1e-12, atol=1e-9)

    @property
    def n_effective(self) -> float:
        """Items of equal weight that would know as much of a mean: (sum w)^2 / sum w^2 (Kish 1965), 0 of none."""
        return float(self.mass.sum() ** 2 / self.squares.sum()) if self.n else 0.0

    def worth(self) -> FloatArray:
        """Items of equal weight that each cell is worth: (sum w)^2 / sum w^2, shape (K, K)."""
        none = np.zeros_like(self.mass)
        return np.asarray(np.divide(self.mass**2, self.squares, out=none, where=self.squares > 0))

    def unit(self) -> FloatArray:
        """Weight of one such item in each cell, shape (K, K); in an empty cell that of its verdict's items, as the
        chance of being labelled mostly goes by the verdict."""
        items = self.counts.sum(axis=0)
        of_verdict = np.where(items > 0, self.mass.sum(axis=0) / np.maximum(items, 1), 1.0)
        empty = np.tile(of_verdict, (self.k, 1))
        return np.asarray(np.divide(self.squares, self.mass, out=empty, where=self.mass > 0))


def table(label: IntArray, verdict: IntArray, k: int, weight: FloatArray | None = None) -> Table:
    """Counts pairs of codes 0 to k - 1 of shape (n,); pairs in which one is MISSING are left out.

    `weight` of shape (n,) is positive, in any unit; None: all the same. Raises InvalidInput for other shapes, codes
    and weights, and for fewer than two labels.
    """
    if k < 2:
        raise InvalidInput(f"agreement needs two labels at least, not {k}", field="labels")
    if label.ndim != 1 or label.shape != verdict.shape or (weight is not None and weight.shape != label.shape):
        raise InvalidInput(f"labels of shape {label.shape} with verdicts of {verdict.shape}", field="verdict")
    for codes, field in ((label, "label"), (verdict, "verdict")):
        if len(codes) and not (codes.min() >= MISSING and codes.max() < k):
            raise InvalidInput(f"a code lies outside {MISSING} to {k - 1}", field=field)
    both = (label != MISSING) & (verdict != MISSING)
    cell = label[both] * k + verdict[both]
    weights = _normal(np.ones(len(cell)) if weight is None else weight[both].astype(np.float64))
    shape = (k, k)
    return Table(
        counts=np.bincount(cell, minlength=k * k).reshape(shape).astype(np.int64),
        mass=np.bincount(cell, weights=weights, minlength=k * k).reshape(shape).astype(np.float64),
        squares=np.bincount(cell, weights=weights**2, minlength=k * k).reshape(shape).astype(np.float64),
    )


def of_counts(counts: IntArray) -> Table:
    """A table that is already counted, of shape (K, K). Raises InvalidInput when it is not square or has fewer than
    two labels or negative counts."""
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or len(counts) < 2 or (counts < 0).any():
        raise InvalidInput(f"{counts.shape} is no table of two raters", field="counts")
    mass = counts.astype(np.float64)
    return Table(counts=counts.astype(np.int64), mass=mass, squares=mass)


def _normal(weight: FloatArray) -> FloatArray:
    """Weights scaled to mean 1. Raises InvalidInput for one that is not positive and finite."""
    if not (np.isfinite(weight).all() and (weight > 0).all()):
        raise InvalidInput("a weight is not positive and finite", field="p")
    return weight / weight.mean() if len(weight) else weight
