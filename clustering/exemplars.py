"""Sessions that stand for a cluster: the medoid first, then those that cover best what is not yet covered."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from clustering.records import Vectors

MOST: Final = 5
_MOST_COMPARED: Final = 512  # members; of more, every so many by confidence
_OUTLYING: Final = 0.1  # of members, by their mean cosine to all
_GAINS: Final = 1e-4  # mean cosine: what adds less is as good as shown already


def exemplars(
    vectors: Vectors, members: NDArray[np.int64], confidence: NDArray[np.float32], n: int = MOST
) -> tuple[int, ...]:
    """Rows of at most `n` members of a cluster, the best first; equal ones are shown once. `vectors` (n, d) and
    `confidence` (n,) are of all sessions.

    Chosen greedily to cover the cluster: the mean over members, weighted by confidence, of the cosine to the nearest
    exemplar. The first is the medoid; the greedy choice is within 1 - 1/e of the best (Nemhauser, Wolsey and Fisher
    1978, for it is submodular). The tenth of members that are least like the others stand for nobody else and are not
    chosen."""
    if not members.size or n < 1:
        return ()
    ordered = members[np.lexsort((members, -confidence[members]))]
    compared = ordered[np.unique(np.linspace(0, ordered.size - 1, min(ordered.size, _MOST_COMPARED)).astype(np.int64))]
    weight = _weights(confidence[compared])
    near = _cosines(vectors[compared])
    like_others = near @ weight
    central = like_others >= np.quantile(like_others, _OUTLYING)
    covered = np.full(compared.size, -1.0)
    chosen: list[int] = []
    while len(chosen) < min(n, compared.size):
        gain = np.where(central, np.maximum(near - covered[None, :], 0.0) @ weight, 0.0)
        best = int(np.argmax(gain))
        if chosen and gain[best] < _GAINS:
            break
        chosen.append(best)
        covered = np.maximum(covered, near[best])
    return tuple(int(compared[at]) for at in chosen)


def _weights(confidence: NDArray[np.float32]) -> NDArray[np.float64]:
    """Of sum 1; all equal where no member is sure."""
    sure = confidence.astype(np.float64)
    return sure / sure.sum() if sure.sum() > 0 else np.full(sure.size, 1.0 / sure.size)


def _cosines(vectors: Vectors) -> NDArray[np.float64]:
    """(m, m): 1 of a vector with itself also where it is zero, 0 of a zero vector with others."""
    wide = vectors.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1)
    unit = wide / np.where(lengths > 0, lengths, 1.0)[:, None]
    near: NDArray[np.float64] = unit @ unit.T
    np.fill_diagonal(near, 1.0)
    return near
