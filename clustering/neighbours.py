"""Exact nearest neighbours by cosine distance, in blocks: the same each time, and no index to build."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from clustering.records import Vectors

_CELLS: Final = 1 << 24  # similarities held at a time: 64 MiB


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """`indices` (n, k) of the nearest rows, nearest first, and their cosine `distances` (n, k) in [0, 2]."""

    indices: NDArray[np.int32]
    distances: NDArray[np.float32]


def nearest(vectors: Vectors, k: int, *, among: Vectors | None = None) -> Neighbours:
    """The k nearest of `among` (m, d) for each of `vectors` (n, d); rows are L2-normalised.

    Without `among` of `vectors` themselves, each row first among its own. k is lowered to m where there are fewer.
    """
    others = vectors if among is None else among
    n, m = len(vectors), len(others)
    k = min(k, m)
    indices, distances = np.empty((n, k), np.int32), np.empty((n, k), np.float32)
    step = max(1, _CELLS // max(1, m))
    for at in range(0, n, step):
        block = slice(at, min(n, at + step))
        alike = vectors[block] @ others.T
        if among is None:
            rows = np.arange(block.start, block.stop)
            alike[rows - at, rows] = 3.0  # above every cosine: a row is its own first neighbour
        indices[block], distances[block] = _greatest(alike, k)
    if among is None:
        distances[:, 0] = 0.0
    return Neighbours(indices=indices, distances=distances)


def _greatest(alike: NDArray[np.float32], k: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Columns of the k greatest of each row, greatest first and of equals the first; and 1 minus their values."""
    top = np.argpartition(alike, -k, axis=1)[:, -k:] if k < alike.shape[1] else np.tile(np.arange(k), (len(alike), 1))
    top.sort(axis=1)
    values = np.take_along_axis(alike, top, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    values = np.take_along_axis(values, order, axis=1)
    return np.take_along_axis(top, order, axis=1).astype(np.int32), np.clip(1.0 - values, 0.0, 2.0)
