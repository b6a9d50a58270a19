"""Exact nearest neighbours by cosine distance, in blocks: the same each time, and no index to build."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clustering.records import Vectors


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """`indices` (n, k) of the nearest rows, nearest first, and their cosine `distances` (n, k) in [0, 2]."""

    indices: NDArray[np.int32]
    distances: NDArray[np.float32]


def nearest(vectors: Vectors, k: int, *, among: Vectors | None = None) -> Neighbours:
    """The k nearest of `among` (m, d) for each of `vectors` (n, d); rows are L2-normalised.

    Without `among` of `vectors` themselves, each row first among its own. k is lowered to m where there are fewer.
    """
    raise NotImplementedError
