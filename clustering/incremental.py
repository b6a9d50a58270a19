"""New sessions join known clusters within a radius, without a run: what fits nowhere waits in the residual buffer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clustering.lineage_records import Centroid, Found
from clustering.records import Labels, Vectors


class Assigned(NamedTuple):
    """`index` (n,) of the cluster, NOISE where none is near enough; `confidence` (n,) in [0, 1], 0 where none is."""

    index: Labels
    confidence: NDArray[np.float32]


def centroid(vectors: Vectors) -> Centroid:
    """The mean direction of (n, d) vectors, of length 1; all zero where every vector is."""
    raise NotImplementedError


def radius(vectors: Vectors, middle: Centroid, quantile: float = 0.95) -> float:
    """The cosine distance from `middle` within which `quantile` of the (n, d) members lie."""
    raise NotImplementedError


def shapes(
    vectors: Vectors, labels: Labels, sessions: Sequence[str], *,
    failed: Sequence[bool | None], new: Sequence[bool] | None = None,
) -> list[Found]:  # fmt: skip
    """The clusters of a run as `lineage.match` reads them, in the order of their labels. All of length n; `new`: began
    since the run before."""
    raise NotImplementedError


def assign(vectors: Vectors, centroids: Vectors, radii: NDArray[np.float32]) -> Assigned:
    """Of each of (n, d) vectors the cluster (of k centroids, radii (k,)) within whose radius it lies deepest."""
    raise NotImplementedError


def waiting(vectors: Vectors, index: Labels) -> NDArray[np.bool_]:
    """Who goes to the residual buffer: assigned nowhere, and not all zero (an empty session fits nowhere ever)."""
    raise NotImplementedError
