"""The fast path for many vectors: EVoC (Healy and McInnes 2025, arXiv:2512.16558) at the layer that comes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from clustering.agreement import best_jaccard
from clustering.neighbours import Neighbours
from clustering.records import NOISE, Labels, Params, Progress, Vectors

AGAIN: Final = 20_000  # rows of the subsample that says which layer comes back
CLOSE: Final = 0.9  # of the best layer's score: the finest layer with it is taken
RETURNED: Final = 0.5  # Jaccard from which a cluster came back in another sample (Hennig 2007: below it is dissolved)


@dataclass(frozen=True, kw_only=True)
class Quick:
    """Labels (n,), confidence (n,), neighbours (n, k), and which of the layers, finest first, was taken and why."""

    labels: Labels
    confidence: NDArray[np.float32]
    neighbours: Neighbours
    layer: int
    n_layers: int
    scores: tuple[float, ...]


def cluster_fast(vectors: Vectors, params: Params, min_cluster_size: int, progress: Progress) -> Quick:
    """Clusters of distinct rows (n, d), L2-normalised: EVoC once over all and once over a subsample.

    The same each time for `params.seed`. The first row of a neighbourhood is the row itself.
    """
    model = evoc(vectors, params, min_cluster_size)
    progress("cluster", 1, 2)
    found = [layer.astype(np.int32) for layer in model.cluster_layers_]
    rows = _subsample(len(vectors), params.seed)
    smallest = max(2, round(min_cluster_size * len(rows) / len(vectors)))
    again = [one.astype(np.int32) for one in evoc(vectors[rows], params, smallest).cluster_layers_]
    scores = tuple(returned_share(layer[rows], again) for layer in found)
    layer = finest_close(scores)
    labels = found[layer]
    strength = np.where(labels == NOISE, 0.0, model.membership_strength_layers_[layer])
    near = Neighbours(indices=model.nn_inds_.astype(np.int32), distances=model.nn_dists_.astype(np.float32))
    return Quick(
        labels=labels,
        confidence=np.clip(np.nan_to_num(strength), 0.0, 1.0).astype(np.float32),
        neighbours=near,
        layer=layer,
        n_layers=len(found),
        scores=tuple(round(one, 4) for one in scores),
    )


def evoc(vectors: Vectors, params: Params, min_cluster_size: int) -> Any:
    """EVoC fitted to rows (n, d); its layers, finest first, are `cluster_layers_`."""
    import evoc as package

    model = package.EVoC(
        base_min_cluster_size=min_cluster_size,
        n_neighbors=params.n_neighbors,
        min_samples=params.min_samples or 5,
        random_state=params.seed,
    )
    model.fit(np.ascontiguousarray(vectors, dtype=np.float32))
    return model


def returned_share(layer: Labels, again: Sequence[Labels]) -> float:
    """The share of rows (n,) that are in clusters of `layer` which some layer of `again` (n,) each has as well.

    Comes back: a Jaccard of `RETURNED` or more. Rows that are noise count as not coming back, so that a layer which
    leaves most of them out is no good one.
    """
    k = int(layer.max(initial=NOISE)) + 1
    if not k or not again:
        return 0.0
    best = np.max([np.nan_to_num(best_jaccard(layer, other, k)) for other in again], axis=0)
    counts = np.bincount(layer[layer != NOISE], minlength=k)
    return float(counts[best >= RETURNED].sum() / len(layer))


def finest_close(scores: Sequence[float]) -> int:
    """The first, finest layer whose score is at least `CLOSE` of the best."""
    bar = CLOSE * max(scores)
    return next(at for at, one in enumerate(scores) if one >= bar)


def _subsample(n: int, seed: int) -> NDArray[np.intp]:
    """80% of n rows, at most `AGAIN`, ascending."""
    rng = np.random.default_rng(seed)
    return np.sort(rng.choice(n, min(AGAIN, round(0.8 * n)), replace=False))
