"""Embeddings in fewer dimensions: five or so to cluster in, two for the map (UMAP; McInnes et al. 2018)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clustering.records import Params, Progress, Vectors, Weights

Places = NDArray[np.float32]  # (n, c)


def weighed(vectors: Vectors, weights: Weights) -> Vectors:
    """Facets [intent | actions | outcome] (n, 3d) as one direction per row, L2-normalised; all zero where all are empty.

    Each third is scaled by the root of its weight, so that the cosine of two rows is the weighted mean of their facets'
    cosines, over the facets that a row has. Raises ValueError where the width is no multiple of three.
    """
    raise NotImplementedError


def reduce(vectors: Vectors, params: Params, n_components: int, progress: Progress) -> Places:
    """Rows (n, d), L2-normalised, in n_components dimensions, (n, n_components).

    UMAP over exact neighbours with `params.seed` in one thread up to `sizes.SEEDED_UP_TO` rows: the same each time.
    Above, in all threads: close to the same. Below `FEW` rows the principal components, which need no neighbours.
    """
    raise NotImplementedError


def map_of(vectors: Vectors, seed: int, progress: Progress | None = None) -> Places:
    """Rows (n, d), L2-normalised, on a map (n, 2) that is the same each time; rows that are all zero lie at its middle.

    Of more than `LANDMARKS` rows that many are placed by UMAP, the others at the weighted mean of their nearest three.
    Distances on it are not distances in meaning: groups that touch may have little to do with each other.
    """
    raise NotImplementedError
