"""Noise given to the cluster of its neighbours, by their agreement; what has none stays noise."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from clustering.neighbours import Neighbours
from clustering.records import NOISE, Labels

_ROUNDS: Final = 10


def reassigned(labels: Labels, near: Neighbours, at: float) -> tuple[Labels, NDArray[np.float32]]:
    """Labels (n,) in which noise has the cluster most of its neighbours are in, and their agreement (n,).

    Agreement is the share of the neighbours' similarity that the cluster holds; neighbours that are noise count
    against it. In rounds, the rows above `at` first: what was given counts as a neighbour in the next round, until
    nothing changes. Rows that were no noise, or stay it, have agreement 0.
    """
    n_clusters = int(labels.max(initial=NOISE)) + 1
    given, agreement = labels.copy(), np.zeros(len(labels), np.float32)
    for _ in range(_ROUNDS):
        rows = np.flatnonzero(given == NOISE)
        if not rows.size or not n_clusters:
            break
        best, share = _votes(given, near, rows, n_clusters)
        sure = (share >= at) & (share > 0)
        if not sure.any():
            break
        given[rows[sure]] = best[sure]
        agreement[rows[sure]] = share[sure]
    return given, agreement


def _votes(
    given: Labels, near: Neighbours, rows: NDArray[np.intp], n_clusters: int
) -> tuple[Labels, NDArray[np.float32]]:
    """The cluster with most of the neighbours' similarity for each of `rows`, and its share of it."""
    indices, distances = near.indices[rows], near.distances[rows]
    alike = np.maximum(0.0, 1.0 - distances) + 1e-6
    alike[indices == rows[:, None]] = 0.0  # a row has no vote on itself
    voters = given[indices]
    at = np.repeat(np.arange(len(rows)), indices.shape[1])
    cast = voters.ravel() != NOISE
    cells = at[cast] * n_clusters + voters.ravel()[cast]
    names, where = np.unique(cells, return_inverse=True)
    votes = np.bincount(where, weights=alike.ravel()[cast])
    best, share = np.full(len(rows), NOISE, np.int32), np.zeros(len(rows), np.float32)
    order = np.argsort(votes, kind="stable")
    row = names[order] // n_clusters
    best[row], share[row] = names[order] % n_clusters, votes[order]  # the last write stands: the most votes
    return best, share / alike.sum(axis=1)
