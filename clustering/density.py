"""From vectors to clusters: what is dense is a cluster, what is not is noise and stays noise (HDBSCAN)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, assert_never

import numpy as np
from numpy.typing import NDArray

from clustering import fast, sizes
from clustering.copies import Rows, capped, distinct
from clustering.neighbours import Neighbours, nearest
from clustering.reassignment import reassigned
from clustering.records import NOISE, Clustered, Labels, Method, Params, Progress, Vectors
from clustering.reduction import Places, reduce

SAME: Final = 0.99  # cosine with their mean from which rows are all the same
COPIES: Final = 2  # of one row that take part: never enough for a cluster by themselves
GIANT: Final = 0.6  # share of the rows above which a cluster is split once more
_EXEMPLARS: Final = 32  # nearest ones looked at for one of another cluster
_LOOKED_AT: Final = 2_000
_FAR: Final = 0.95
_COVERED: Final = 0.5  # share of a giant that its leaves have to hold to replace it

Confidence = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Dense:
    """Labels (n,) and the confidence (n,) of each, 0 for noise; the neighbours that were looked at on the way."""

    labels: Labels
    confidence: Confidence
    neighbours: Neighbours | None = None


def cluster(vectors: Vectors, params: Params, progress: Progress) -> Clustered:
    """The clusters of rows (n, d), L2-normalised, the largest first; rows that are all zero say nothing and are noise.

    Values rather than errors: fewer than two smallest clusters' rows are all noise (`used["why"]` "few"), rows that are
    all the same are one cluster ("same"), a cluster of more than 60% is split once more where its leaves cover half of
    it (`used["giant"]` "split" or "kept"). At least `min_cluster_size` copies of one row that are alike to nothing else
    are a cluster. With `params.reassign` noise is given to the cluster of its neighbours.
    """
    said = np.flatnonzero(vectors.any(axis=1))
    size = sizes.min_cluster_size(said.size, params)
    used: dict[str, Any] = {"n": len(vectors), "n_empty": len(vectors) - int(said.size), "min_cluster_size": size}
    if said.size < 2 * size:
        return _all_in(len(vectors), said[:0], used | {"why": "few"})
    rows = vectors[said]
    if _are_the_same(rows):
        return _all_in(len(vectors), said, used | {"why": "same"})
    first, group = distinct(rows)
    used |= {"n_distinct": len(first), "seed": params.seed, "n_neighbors": params.n_neighbors}
    found, more = _found(rows, group, size, params, progress)
    given = _given(rows, found, params)
    labels, confidence = np.full(len(vectors), NOISE, np.int32), np.zeros(len(vectors), np.float32)
    labels[said] = found.labels
    whole = labels.copy()
    whole[said], confidence[said] = given
    return Clustered(labels=labels, given=whole, confidence=confidence, used=used | more)


def by_size(labels: Labels) -> Labels:
    """The same clusters numbered by size, the largest 0; of equals the one whose first row comes first."""
    kept = labels != NOISE
    names, first, counts = np.unique(labels[kept], return_index=True, return_counts=True)
    order = np.lexsort((first, -counts))
    rank = np.empty(len(names), np.int32)
    rank[order] = np.arange(len(names), dtype=np.int32)
    numbered = np.full(len(labels), NOISE, np.int32)
    numbered[kept] = rank[np.searchsorted(names, labels[kept])]
    return numbered


def dense(places: Places, size: int, samples: int, *, leaves: bool = False) -> Dense:
    """HDBSCAN (Campello et al. 2013) of places (n, c): labels, and each member's soft membership of its cluster.

    Clusters by excess of mass, or the leaves of the tree. Soft membership is the strength with which the density holds
    a row (1 in the cluster's heart) times how much nearer its own cluster's exemplars are than any other's.
    """
    import hdbscan

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = hdbscan.HDBSCAN(
            min_cluster_size=size,
            min_samples=samples,
            cluster_selection_method="leaf" if leaves else "eom",
            core_dist_n_jobs=1,
            prediction_data=True,
        ).fit(places.astype(np.float64))
        labels, strength = model.labels_.astype(np.int32), model.probabilities_.astype(np.float32)
        if labels.max(initial=NOISE) < 1:
            return Dense(labels=labels, confidence=strength)
        exemplars = model.exemplars_
    return Dense(labels=labels, confidence=strength * _nearer(places, labels, exemplars))


def _nearer(places: Places, labels: Labels, exemplars: Sequence[NDArray[np.float64]]) -> Confidence:
    """d' / (d + d') for rows in a cluster, d to their own exemplars and d' to the nearest of another, (n,); else 0.

    Of the two clusters this is what a soft membership by inverse distance gives the own one (hdbscan's, over all
    clusters, takes as long as all else together).
    """
    from scipy.spatial import cKDTree

    of = np.repeat(np.arange(len(exemplars)), [len(one) for one in exemplars])
    tree = cKDTree(np.concatenate(exemplars))
    member = np.flatnonzero(labels != NOISE)
    found = tree.query(places[member], k=np.arange(1, min(_EXEMPLARS, tree.n) + 1))
    distances, indices = np.asarray(found[0]), np.asarray(found[1])
    own = np.empty(len(member))
    for label, mine in enumerate(exemplars):
        inside = labels[member] == label
        own[inside] = cKDTree(mine).query(places[member[inside]])[0]
    is_other = of[indices] != labels[member][:, None]
    first = is_other.argmax(axis=1)
    other = np.where(is_other.any(axis=1), distances[np.arange(len(member)), first], distances[:, -1])
    shares = np.zeros(len(labels), np.float32)
    shares[member] = np.divide(other, own + other, out=np.ones(len(member)), where=own + other > 0)
    return shares


def _found(rows: Vectors, group: Rows, size: int, params: Params, progress: Progress) -> tuple[Dense, dict[str, Any]]:
    """Clusters of rows that may have copies, and what was used."""
    kept = capped(group, COPIES)
    smallest = size if len(kept) == len(rows) else max(2, min(size, sizes.min_cluster_size(len(kept), params)))
    samples = sizes.min_samples(smallest, params)
    method = sizes.method_for(len(kept), params)
    progress("cluster", 0, 1)
    match method:
        case Method.UMAP_HDBSCAN:
            places = reduce(rows[kept], params, params.n_components, progress)
            found, giant = _without_giant(places, dense(places, smallest, samples), smallest, samples)
            more: dict[str, Any] = {"n_components": places.shape[1], "min_samples": samples} | giant
        case Method.EVOC:
            quick = fast.cluster_fast(rows[kept], params, smallest, progress)
            found = Dense(labels=quick.labels, confidence=quick.confidence, neighbours=quick.neighbours)
            more = {"layer": quick.layer, "n_layers": quick.n_layers, "layer_scores": quick.scores}
        case Method.AUTO:
            raise ValueError("method_for answers with a method")
        case _ as never:
            assert_never(never)
    progress("cluster", 1, 1)
    seeded = method is Method.EVOC or len(kept) <= sizes.SEEDED_UP_TO
    whole = found if len(kept) == len(rows) else _to_copies(found, kept, group)
    return _tidy(whole, group, size, _apart(rows, group, size)), {
        "method": method.value,
        "n_kept": len(kept),
        "deterministic": seeded,
    } | more


def _without_giant(places: Places, found: Dense, size: int, samples: int) -> tuple[Dense, dict[str, str]]:
    """Splits a cluster of more than `GIANT` into the leaves of its own tree, where they hold half of it."""
    counts = np.bincount(found.labels[found.labels != NOISE], minlength=1)
    if counts.max() <= GIANT * len(places):
        return found, {}
    inside = np.flatnonzero(found.labels == counts.argmax())
    inner = dense(places[inside], size, samples, leaves=True)
    held = inner.labels != NOISE
    if inner.labels.max(initial=NOISE) < 1 or held.mean() < _COVERED:
        return found, {"giant": "kept"}
    labels, confidence = found.labels.copy(), found.confidence.copy()
    labels[inside] = np.where(held, inner.labels + len(counts), NOISE)
    confidence[inside] = inner.confidence
    return Dense(labels=labels, confidence=confidence), {"giant": "split"}


def _to_copies(found: Dense, kept: Rows, group: Rows) -> Dense:
    """What was found of the kept rows for all: a copy is where the surest of its kind is. Neighbours are not kept."""
    order = np.argsort(found.confidence, kind="stable")
    labels = np.full(int(group.max()) + 1, NOISE, np.int32)
    confidence = np.zeros(len(labels), np.float32)
    labels[group[kept[order]]] = found.labels[order]  # the last write stands: the greatest confidence
    confidence[group[kept[order]]] = found.confidence[order]
    return Dense(labels=labels[group], confidence=confidence[group])


def _apart(rows: Vectors, group: Rows, size: int) -> NDArray[np.bool_]:
    """Which rows (n,) have copies enough for a cluster and are farther from any other wording than most wordings are.

    Most: the 95% quantile of the distance to the nearest, over at most `_LOOKED_AT` wordings.
    """
    counts = np.bincount(group)
    many = np.flatnonzero(counts >= size)
    if not many.size or len(counts) < 2:
        return np.zeros(len(group), np.bool_)
    wordings = rows[np.unique(group, return_index=True)[1]]
    some = np.linspace(0, len(counts) - 1, min(_LOOKED_AT, len(counts))).astype(np.intp)
    nearest_of = nearest(wordings[np.concatenate([some, many])], 2, among=wordings).distances[:, -1]
    far = many[nearest_of[len(some) :] > np.quantile(nearest_of[: len(some)], _FAR)]
    return np.isin(group, far)


def _tidy(found: Dense, group: Rows, size: int, apart: NDArray[np.bool_]) -> Dense:
    """Copies enough are a cluster of their own where they are noise or apart; fewer than `size` rows are none."""
    labels, confidence = found.labels.copy(), found.confidence.copy()
    copies = np.bincount(group)
    alone = ((labels == NOISE) | apart) & (copies[group] >= size)
    labels[alone] = group[alone].astype(np.int32) + labels.max(initial=NOISE) + 1
    confidence[alone] = 1.0
    names, counts = np.unique(labels, return_counts=True)
    labels[np.isin(labels, names[counts < size])] = NOISE
    confidence[labels == NOISE] = 0.0
    return Dense(labels=by_size(labels), confidence=confidence, neighbours=found.neighbours)


def _given(rows: Vectors, found: Dense, params: Params) -> tuple[Labels, Confidence]:
    """Labels and confidence after reassignment, where that is asked for."""
    if not params.reassign or found.labels.max(initial=NOISE) == NOISE:
        return found.labels, found.confidence
    near = found.neighbours or nearest(rows, params.n_neighbors)
    labels, agreement = reassigned(found.labels, near, params.reassign_at)
    return labels, np.where(found.labels == NOISE, agreement, found.confidence).astype(np.float32)


def _are_the_same(rows: Vectors) -> bool:
    """Is every row all but the mean of all?"""
    mean = rows.mean(axis=0)
    norm = float(np.linalg.norm(mean))
    return norm > 0 and float((rows @ (mean / norm)).min()) >= SAME


def _all_in(n: int, members: Rows, used: dict[str, Any]) -> Clustered:
    """One cluster of these members, or none at all."""
    labels, confidence = np.full(n, NOISE, np.int32), np.zeros(n, np.float32)
    labels[members], confidence[members] = 0, 1.0
    return Clustered(labels=labels, given=labels, confidence=confidence, used=used)
