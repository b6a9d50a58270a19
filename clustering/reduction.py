"""Embeddings in fewer dimensions: five or so to cluster in, two for the map (UMAP; McInnes et al. 2018)."""

from __future__ import annotations

import warnings
from typing import Final

import numpy as np
from numpy.typing import NDArray

from clustering.copies import distinct
from clustering.neighbours import nearest
from clustering.records import Params, Progress, Vectors
from clustering.sizes import SEEDED_UP_TO

Places = NDArray[np.float32]  # (n, c)

FEW: Final = 30  # distinct rows below which principal components take UMAP's place
LANDMARKS: Final = 10_000  # rows of a map that UMAP itself places
_EPOCHS: Final = 200
_MAP_NEIGHBOURS: Final = 15
_MAP_MIN_DIST: Final = 0.1
_BESIDE: Final = 0.003  # of the map's width: how far copies of one row lie apart


def reduce(vectors: Vectors, params: Params, n_components: int, progress: Progress) -> Places:
    """Rows (n, d), L2-normalised, in n_components dimensions, (n, n_components), or as many as so few rows have.

    UMAP over exact neighbours with `params.seed` in one thread up to `sizes.SEEDED_UP_TO` rows: the same each time.
    Above, in all threads: close to the same. Below `FEW` rows the principal components, which need no neighbours.
    """
    progress("reduce", 0, 1)
    n_components = min(n_components, most_components(len(vectors)))
    if len(vectors) < FEW:
        places = _principal(vectors, n_components)
    else:
        seed = params.seed if len(vectors) <= SEEDED_UP_TO else None
        places = _umap(vectors, params.n_neighbors, n_components, min_dist=0.0, seed=seed)
    progress("reduce", 1, 1)
    return places


def most_components(n: int) -> int:
    """In how many dimensions n rows can be laid out at most: UMAP begins from eigenvectors, of which it needs one more,
    and fewer than there are rows."""
    return max(2, n - 2)


def map_of(vectors: Vectors, seed: int, progress: Progress | None = None) -> Places:
    """Rows (n, d), L2-normalised, on a map (n, 2) that is the same each time; rows that are all zero lie at its middle.

    Of more than `LANDMARKS` distinct rows that many are placed by UMAP, the others at the weighted mean of their
    nearest three; copies of one row lie beside each other. Distances on it are not distances in meaning: groups that
    touch may have little to do with each other.
    """
    if progress is not None:
        progress("map", 0, 1)
    rng = np.random.default_rng(seed)
    said = np.flatnonzero(vectors.any(axis=1))
    places = np.zeros((len(vectors), 2), np.float32)
    if said.size:
        first, group = distinct(vectors[said])
        placed = _placed(vectors[said][first], seed, rng)
        places[said] = placed[group] + _aside(placed, first, group, rng)
        places[said] -= places[said].mean(axis=0)
    if progress is not None:
        progress("map", 1, 1)
    return places


def _placed(rows: Vectors, seed: int, rng: np.random.Generator) -> Places:
    """Distinct rows (m, d) on the map, (m, 2)."""
    if len(rows) < FEW:
        return _principal(rows, 2)
    if len(rows) <= LANDMARKS:
        return _umap(rows, _MAP_NEIGHBOURS, 2, min_dist=_MAP_MIN_DIST, seed=seed)
    marks = np.sort(rng.choice(len(rows), LANDMARKS, replace=False))
    known = _umap(rows[marks], _MAP_NEIGHBOURS, 2, min_dist=_MAP_MIN_DIST, seed=seed)
    others = np.setdiff1d(np.arange(len(rows)), marks)
    near = nearest(rows[others], 3, among=rows[marks])
    weights = 1.0 / (near.distances + 1e-3)
    weights /= weights.sum(axis=1, keepdims=True)
    places = np.empty((len(rows), 2), np.float32)
    places[marks] = known
    places[others] = (known[near.indices] * weights[:, :, None]).sum(axis=1)
    return places


def _aside(
    placed: Places, first: NDArray[np.intp], group: NDArray[np.intp], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Steps (n, 2) that set copies of one row beside it; none for the first of each."""
    width = float(np.ptp(placed, axis=0).max()) or 1.0
    steps = rng.normal(scale=_BESIDE * width, size=(len(group), 2)).astype(np.float32)
    steps[first] = 0.0
    return steps


def _principal(rows: Vectors, n_components: int) -> Places:
    """The first principal components (n, n_components), columns of zeros where the rows have fewer."""
    centred = rows - rows.mean(axis=0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    kept = min(n_components, len(values))
    places = np.zeros((len(rows), n_components), np.float32)
    places[:, :kept] = left[:, :kept] * values[:kept]
    return places


def _umap(rows: Vectors, n_neighbors: int, n_components: int, *, min_dist: float, seed: int | None) -> Places:
    """UMAP over exact cosine neighbours; one thread and the same each time where there is a seed."""
    import umap

    k = min(n_neighbors, len(rows) - 1)
    near = nearest(rows, k)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that new rows cannot be transformed: they are assigned by radius
        model = umap.UMAP(
            n_neighbors=k,
            n_components=n_components,
            min_dist=min_dist,
            metric="cosine",
            n_epochs=_EPOCHS,
            random_state=seed,
            n_jobs=1 if seed is not None else -1,
            precomputed_knn=(near.indices, near.distances),
        )
        places: Places = model.fit_transform(rows)
    return places
