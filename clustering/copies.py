"""Sessions that are word for word the same: told apart from those alike, so that copies are no density of their own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clustering.records import Vectors

Rows = NDArray[np.intp]


def distinct(vectors: Vectors) -> tuple[Rows, Rows]:
    """The first row of each distinct one, (m,) ascending, and for each row (n,) which of them it is."""
    whole = np.ascontiguousarray(vectors)
    keys = whole.view(np.dtype((np.void, whole.dtype.itemsize * whole.shape[1]))).ravel()
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first)  # by appearance: bytes have no meaning
    rank = np.empty(len(order), np.intp)
    rank[order] = np.arange(len(order))
    return first[order], rank[group.ravel()]


def capped(group: Rows, most: int) -> Rows:
    """Rows (m,) ascending that keep at most `most` of each group.

    Copies lie at one place, as dense as can be: more of them than a smallest cluster would be an island for each
    wording. With fewer they stay among those that are alike.
    """
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    sizes = np.diff(starts, append=len(order))
    nth = np.arange(len(order)) - np.repeat(starts, sizes)
    return np.sort(order[nth < most])
