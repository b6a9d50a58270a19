"""Clusters put together into topics: agglomerative over their centroids, cut where topics are clearest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clustering.records import Labels, Vectors


@dataclass(frozen=True, kw_only=True)
class Topic:
    """Two or more clusters that are near one another. `index` counts from 0, the one of the most sessions first."""

    index: int
    title: str
    terms: tuple[str, ...]
    clusters: tuple[int, ...]


def centroids(vectors: Vectors, labels: Labels) -> Vectors:
    """(k, d): the mean of each cluster's vectors, of length 1 (zero where they cancel out)."""
    raise NotImplementedError


def groups(centres: Vectors, fewest: int = 6) -> NDArray[np.int32]:
    """(k,): the topic of each cluster, -1 for one that stands alone. Fewer than `fewest` clusters have no topics."""
    raise NotImplementedError


def siblings(centres: Vectors, topics: NDArray[np.int32], n: int = 5) -> list[tuple[int, ...]]:
    """The clusters to tell each one from, nearest first: at most `n` others of its topic, or the nearest of all."""
    raise NotImplementedError


def topics_of(
    group: NDArray[np.int32], sizes: Sequence[int], counts: NDArray[np.float64], terms: Sequence[str]
) -> tuple[Topic, ...]:
    """Topics with the terms of class TF-IDF over their clusters' counts (k, v) put together."""
    raise NotImplementedError
