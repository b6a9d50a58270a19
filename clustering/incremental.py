"""New sessions join known clusters within a radius, without a run: what fits nowhere waits in the residual buffer."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from clustering.lineage_records import Centroid, Failure, Found
from clustering.records import NOISE, Labels, Vectors
from core.errors import InvalidInput

STRAYS: Final = 3.0
WIDEST: Final = 0.8  # cosine distance: a session below .2 of a centroid says nothing of it
ROWS: Final = 8_192  # vectors compared with all centroids at once: 8192 x 1000 distances are 33 MB


@dataclass(frozen=True, kw_only=True, eq=False)
class Assigned:
    """`index` (n,) of the cluster, NOISE where none is near enough; `confidence` (n,) in [0, 1], 0 where none is."""

    index: Labels
    confidence: NDArray[np.float32]


def centroid(vectors: Vectors) -> Centroid:
    """The mean direction of (n, d) vectors, of length 1; all zero where they have none."""
    mean = vectors.mean(axis=0, dtype=np.float64) if len(vectors) else np.zeros(vectors.shape[1])
    length = float(np.linalg.norm(mean))
    return np.asarray(mean / length if length > 1e-9 else np.zeros_like(mean), dtype=np.float32)


def radius(vectors: Vectors, quantile: float = 0.95) -> float:
    """The cosine distance within which `quantile` of (n, d) members lie, each from the centroid of the others.

    Of the others, for a member pulls its own centroid towards itself: of 15 sessions in 384 dimensions with a cosine of
    .5 between them, the radius around the common centroid would hold a third of the next ones; this one holds 95%. The
    smallest distance that holds so many; 0 of fewer than two members.

    It ends at `STRAYS` deviations (1.4826 MAD) above the median, for where a tenth of a cluster is noise the distance
    that holds 95% holds noise, and at `WIDEST`: a cluster of what is unlike would take in everything.
    """
    rows = _length_one(vectors)
    if len(rows) < 2:
        return 0.0
    total = rows.sum(axis=0, dtype=np.float64)
    own = (rows * rows).sum(axis=1, dtype=np.float64)
    with_total = rows @ total
    others = np.sqrt(np.maximum(total @ total - 2 * with_total + own, 0.0))
    alike = np.where(others > 1e-9, (with_total - own) / np.maximum(others, 1e-9), 0.0)
    apart = 1.0 - alike
    middle = float(np.median(apart))
    spread = 1.4826 * float(np.median(np.abs(apart - middle)))
    holds = float(np.quantile(apart, quantile, method="higher"))
    return float(np.clip(min(holds, max(middle + STRAYS * spread, middle + 1e-3), WIDEST), 0.0, WIDEST))


def shapes(
    vectors: Vectors,
    labels: Labels,
    sessions: Sequence[str],
    *,
    failed: Sequence[bool | None],
    new: Sequence[bool] | None = None,
    held: Collection[int] = (),
) -> list[Found]:
    """The clusters of a run as `lineage.match` reads them, in the order of their labels.

    All have length n; `new`: began since the run before; `held`: labels held apart. Raises InvalidInput where lengths
    differ.
    """
    if not len(vectors) == len(labels) == len(sessions) == len(failed) == len(new or sessions):
        raise InvalidInput("vectors, labels, sessions, failed and new are of the same sessions", field="labels")
    if not len(labels):
        return []
    order = np.argsort(labels, kind="stable")
    names, starts = np.unique(labels[order], return_index=True)
    groups = np.split(order, starts[1:])
    made = [
        _shape(int(name), vectors[rows], [int(row) for row in rows], sessions, failed, new)
        for name, rows in zip(names, groups, strict=True)
        if name != NOISE
    ]
    return [replace(one, held=one.label in held) for one in made]


def assign(vectors: Vectors, centroids: Vectors, radii: NDArray[np.float32]) -> Assigned:
    """Of each of (n, d) vectors the cluster (of k centroids, radii (k,)) within whose radius it lies deepest.

    Deepest: the smallest d / r of the cosine distance d and the radius r, so that a tight cluster beside a wide one
    keeps its own, and what lies just outside it may be the wide one's. Confidence is the mean of the depth 1 - d / r
    and of the margin 1 - d / d2, d2 the distance to the next nearest other centroid. Vectors need not have length 1;
    one that is all zero, and one that is not finite, is assigned nowhere. Raises InvalidInput where dimensions differ.
    """
    if len(centroids) and vectors.shape[1] != centroids.shape[1]:
        raise InvalidInput(
            f"vectors of {vectors.shape[1]} dimensions for centroids of {centroids.shape[1]}: another embedder, or "
            "other weights; run the clustering with the present ones",
            field="vectors",
        )
    index = np.full(len(vectors), NOISE, dtype=np.int32)
    confidence = np.zeros(len(vectors), dtype=np.float32)
    for start in range(0, len(vectors) if len(centroids) else 0, ROWS):
        here = slice(start, start + ROWS)
        index[here], confidence[here] = _deepest(vectors[here], centroids, radii)
    return Assigned(index=index, confidence=confidence)


def surely(
    vectors: Vectors, index: NDArray[np.integer[Any]], centroids: Vectors, radii: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The confidence (n,) that `assign` would tell of vectors which are in the cluster `index` (n,) by another's word:
    outside of its radius only the margin to the next nearest centroid speaks for it."""
    apart = _apart(vectors, centroids)
    return np.asarray(_sure(apart, _relative(apart, radii), index), dtype=np.float32)


def waiting(vectors: Vectors, index: Labels) -> NDArray[np.bool_]:
    """Who goes to the residual buffer: assigned nowhere, and not all zero (an empty session fits nowhere ever)."""
    return np.asarray((index == NOISE) & vectors.any(axis=1))


def _shape(
    label: int, vectors: Vectors, rows: list[int], sessions: Sequence[str], failed: Sequence[bool | None],
    new: Sequence[bool] | None,
) -> Found:  # fmt: skip
    middle = centroid(vectors)
    told = [failed[row] for row in rows if failed[row] is not None]
    return Found(
        label=label, centroid=middle, radius=radius(vectors), members=frozenset(sessions[row] for row in rows),
        n=len(rows), failure=Failure(sum(map(bool, told)), len(told)),
        n_new=sum(new[row] for row in rows) if new is not None else 0,
    )  # fmt: skip


def _deepest(vectors: Vectors, centroids: Vectors, radii: NDArray[np.float32]) -> tuple[Labels, NDArray[np.float32]]:
    apart = _apart(vectors, centroids)
    relative = _relative(apart, radii)
    at = relative.argmin(axis=1)
    inside = (relative.min(axis=1) <= 1.0) & vectors.any(axis=1)
    sure = _sure(apart, relative, at)
    return (
        np.where(inside, at, NOISE).astype(np.int32),
        np.where(inside, sure, 0.0).astype(np.float32),
    )


def _apart(vectors: Vectors, centroids: Vectors) -> Vectors:
    """Cosine distances (n, k)."""
    return np.asarray(np.maximum(1.0 - _length_one(vectors) @ centroids.T, 0.0), dtype=np.float32)


def _relative(apart: Vectors, radii: NDArray[np.float32]) -> Vectors:
    """Distances in radii."""
    # Rounding: a session said twice must lie within the radius 0 of the cluster of its likes.
    return np.asarray((apart - 1e-6) / np.maximum(radii, 1e-6), dtype=np.float32)


def _sure(apart: Vectors, relative: Vectors, at: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
    """The mean of depth and margin in the cluster `at` (n,). Changes `apart`, which nobody needs behind this."""
    every = np.arange(len(apart))
    own, depth = apart[every, at], relative[every, at]
    apart[every, at] = np.inf
    other = apart.min(axis=1) if apart.shape[1] > 1 else np.ones(len(apart), dtype=np.float32)
    margin = np.clip(1.0 - own / np.maximum(other, 1e-6), 0.0, 1.0)
    return np.asarray((np.clip(1.0 - depth, 0.0, 1.0) + margin) / 2, dtype=np.float32)


def _length_one(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-9), dtype=np.float32)
