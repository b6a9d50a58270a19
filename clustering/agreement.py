"""How much two clusterings of the same rows agree, cluster by cluster."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clustering.records import NOISE, Labels


def best_jaccard(of: Labels, among: Labels, k: int) -> NDArray[np.float64]:
    """For each cluster 0..k-1 of `of` (n,) the greatest Jaccard with a cluster of `among` (n,), (k,).

    Jaccard: rows in both over rows in either (Hennig 2007, equation 1). NaN for a cluster without rows: nothing is
    known of it.
    """
    sizes = np.bincount(of[of != NOISE], minlength=k)[:k].astype(np.float64)
    others = np.bincount(among[among != NOISE], minlength=1)
    best = np.where(sizes > 0, 0.0, np.nan)
    both = (of != NOISE) & (among != NOISE)
    cells, counts = np.unique(of[both].astype(np.int64) * len(others) + among[both], return_counts=True)
    mine, theirs = cells // len(others), cells % len(others)
    np.maximum.at(best, mine, counts / (sizes[mine] + others[theirs] - counts))
    return best
