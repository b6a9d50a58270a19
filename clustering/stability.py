"""Is a cluster there again when a fifth of the sessions is left out? (Hennig 2007, CSDA 52: 258-271)."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from clustering.records import Clustered, Labels, Params, Progress, Vectors

STABLE: Final = 0.75  # mean Jaccard from which a cluster is a valid, stable one (Hennig 2007, section 5)


def best_jaccard(of: Labels, among: Labels, k: int) -> NDArray[np.float64]:
    """For each cluster 0..k-1 of `of` (n,) the greatest Jaccard with a cluster of `among` (n,), (k,).

    NaN for a cluster without rows: nothing is known of it.
    """
    raise NotImplementedError


def stability(
    vectors: Vectors, clustered: Clustered, params: Params, rng: np.random.Generator, progress: Progress
) -> NDArray[np.float64]:
    """The mean best Jaccard of each cluster over `params.n_resamples` subsamples of 80%, clustered anew: (k,) in [0, 1].

    Below `STABLE` a cluster is unstable. Subsamples hold at most `MOST` rows; the smallest cluster shrinks with them.
    NaN for a cluster that no subsample held.
    """
    raise NotImplementedError
