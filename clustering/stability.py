"""Is a cluster there again when a fifth of the sessions is left out? (Hennig 2007, CSDA 52: 258-271)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from clustering.agreement import best_jaccard
from clustering.density import cluster
from clustering.records import Clustered, Method, Params, Progress, Vectors

STABLE: Final = 0.75  # mean Jaccard from which a cluster is a valid, stable one (Hennig 2007, section 5)
SHARE: Final = 0.8  # of the rows, in each subsample
ROWS: Final = 100_000  # looked at over all subsamples, so that many sessions do not take the night
AT_LEAST: Final = 2  # subsamples, however many rows there are


def another_seed(seed: int, place: int) -> int:
    """The seed of a subsample, by its place: another than the run's, and 32 bits as that is."""
    return (seed + place + 1) % 2**32


def n_subsamples(n: int, params: Params) -> int:
    """How many subsamples of n rows are clustered: as asked, fewer where they would hold more than `ROWS` together."""
    return min(params.n_resamples, max(AT_LEAST, round(ROWS / max(1.0, SHARE * n))))


def stability(
    vectors: Vectors, clustered: Clustered, params: Params, rng: np.random.Generator, progress: Progress
) -> NDArray[np.float64]:
    """The mean best Jaccard of each cluster with those of subsamples of 80%, clustered anew: (k,) in [0, 1].

    Below `STABLE` a cluster is unstable. The smallest cluster of a subsample shrinks with it, the method stays. NaN
    for a cluster that no subsample held. One that is there because all rows are the same is stable by definition.
    """
    n, k = len(vectors), clustered.n_clusters
    if clustered.used.get("why") == "same":
        return np.ones(k)
    if not k or params.n_resamples < 1:
        return np.full(k, np.nan)
    again, rounds = _shrunk(clustered, params), n_subsamples(n, params)
    total, known = np.zeros(k), np.zeros(k)
    for done in range(rounds):
        progress("stability", done, rounds)
        rows = np.sort(rng.choice(n, round(SHARE * n), replace=False))
        found = cluster(vectors[rows], replace(again, seed=another_seed(params.seed, done)), _silent)
        best = best_jaccard(clustered.labels[rows], found.labels, k)
        total += np.nan_to_num(best)
        known += ~np.isnan(best)
    progress("stability", rounds, rounds)
    mean: NDArray[np.float64] = np.divide(total, known, out=np.full(k, np.nan), where=known > 0)
    return mean


def _shrunk(clustered: Clustered, params: Params) -> Params:
    """The parameters for four fifths of the rows: what was used, with a smallest cluster that shrinks alike."""
    used = clustered.used
    size = max(2, round(SHARE * used["min_cluster_size"]))
    method = Method(used.get("method", params.method))
    return replace(params, min_cluster_size=size, method=method, reassign=False)


def _silent(stage: str, done: int, total: int) -> None:
    """Progress of a part whose whole is already told."""
