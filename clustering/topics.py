"""Clusters put together into topics: agglomerative over their centroids, cut where topics are clearest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from clustering.records import NOISE, Labels, Vectors
from clustering.terms import contrast, terms_of

FEWEST: Final = 6  # clusters, from which on there are topics
_MOST: Final = 24  # topics
_TITLE: Final = 3  # terms of a topic's title


@dataclass(frozen=True, kw_only=True)
class Topic:
    """Two or more clusters that are near one another. `index` counts from 0, the one of the most sessions first."""

    index: int
    title: str
    terms: tuple[str, ...]
    clusters: tuple[int, ...]


def centroids(vectors: Vectors, labels: Labels) -> Vectors:
    """(k, d): the mean of each cluster's vectors, of length 1 (zero where they cancel out)."""
    k = int(labels.max(initial=NOISE)) + 1
    sums = np.zeros((k, vectors.shape[1]), dtype=np.float64)
    inside = labels != NOISE
    np.add.at(sums, labels[inside], vectors[inside])
    lengths = np.linalg.norm(sums, axis=1)
    return (sums / np.where(lengths > 0, lengths, 1.0)[:, None]).astype(np.float32)


def groups(centres: Vectors) -> NDArray[np.int32]:
    """(k,): the topic of each cluster from 0 on, or NOISE for one that stands alone. Fewer than FEWEST clusters have no
    topics.

    Average linkage over cosine distance, cut into the number of groups (2 to half the clusters, 24 at most) with the
    greatest mean silhouette (Rousseeuw 1987), in which a group of one scores 0."""
    k = centres.shape[0]
    alone = np.full(k, NOISE, dtype=np.int32)
    if k < FEWEST:
        return alone
    apart = np.clip(1.0 - centres.astype(np.float64) @ centres.astype(np.float64).T, 0.0, 2.0)
    np.fill_diagonal(apart, 0.0)
    tree = linkage(squareform(apart, checks=False), method="average")
    cuts = [fcluster(tree, n, criterion="maxclust") - 1 for n in range(2, min(k // 2, _MOST) + 1)]
    found = max(cuts, key=lambda cut: silhouette(apart, cut))
    of_several = np.flatnonzero(np.bincount(found) > 1)
    for index, group in enumerate(of_several):
        alone[found == group] = index
    return alone


def silhouette(apart: NDArray[np.float64], group: NDArray[np.int32]) -> float:
    """Mean silhouette of points with distances (k, k) in groups (k,) numbered from 0; -1 where there is one group."""
    n_groups = int(group.max()) + 1
    if n_groups < 2:
        return -1.0
    belongs = np.eye(n_groups)[group]
    sizes = belongs.sum(axis=0)
    total = apart @ belongs  # (k, groups): summed distance to each group
    own = sizes[group]
    rows = np.arange(len(group))
    within = total[rows, group] / np.maximum(own - 1, 1)
    mean = total / np.maximum(sizes, 1)
    mean[rows, group] = np.inf
    nearest = mean.min(axis=1)
    widest = np.maximum(within, nearest)
    score = np.where((own > 1) & (widest > 0), (nearest - within) / np.where(widest > 0, widest, 1.0), 0.0)
    return float(score.mean())


def siblings(centres: Vectors, group: NDArray[np.int32], n: int = 5) -> list[tuple[int, ...]]:
    """The clusters to tell each one from, nearest first: at most `n` others of its topic, or the nearest of all where
    it has none."""
    near = centres.astype(np.float64) @ centres.astype(np.float64).T
    found = []
    for label in range(centres.shape[0]):
        order = [int(at) for at in np.argsort(-near[label], kind="stable") if at != label]
        same = [at for at in order if group[at] == group[label] != NOISE]
        found.append(tuple((same or order)[:n]))
    return found


def topics_of(
    group: NDArray[np.int32],
    sizes: Sequence[int],
    counts: NDArray[np.float64],
    n_texts: Sequence[int],
    names: Sequence[str],
) -> tuple[Topic, ...]:
    """Topics by the index that `group` (k,) gives them, their clusters of most sessions (`sizes`) first. Their terms
    are those of their clusters' counts (k, v) of `n_texts` (k,) put together, told from the other topics and the
    clusters that stand alone."""
    n_topics = int(group.max(initial=NOISE)) + 1
    together = [counts[group == index].sum(axis=0) for index in range(n_topics)]
    told = [*together, *counts[group == NOISE]]
    read = np.array(n_texts)
    n_told = [int(read[group == index].sum()) for index in range(n_topics)] + read[group == NOISE].tolist()
    all_told = contrast(names, np.array(told).reshape(len(told), counts.shape[1]), n_told)
    found = []
    for index in range(n_topics):
        terms = tuple(term.text for term in terms_of(all_told, index, (), n=5))
        title = ", ".join(terms[:_TITLE]) or f"topic {index + 1}"
        clusters = sorted(np.flatnonzero(group == index), key=lambda at: (-sizes[int(at)], int(at)))
        found.append(Topic(index=index, title=title, terms=terms, clusters=tuple(int(at) for at in clusters)))
    return tuple(found)


def renumbered(group: NDArray[np.int32], sizes: Sequence[int]) -> NDArray[np.int32]:
    """The same topics, the one of the most sessions first."""
    n_topics = int(group.max(initial=NOISE)) + 1
    total = [sum(sizes[int(at)] for at in np.flatnonzero(group == index)) for index in range(n_topics)]
    rank = {index: place for place, index in enumerate(sorted(range(n_topics), key=lambda one: (-total[one], one)))}
    return np.array([rank.get(int(index), NOISE) for index in group], dtype=np.int32)
