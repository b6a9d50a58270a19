"""Sessions that stand for a cluster: the medoid first, then those that cover best what is not yet covered."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from clustering.records import Vectors

MOST: Final = 5


def exemplars(
    vectors: Vectors, members: NDArray[np.int64], confidence: NDArray[np.float32], n: int = MOST
) -> tuple[int, ...]:
    """Rows of at most `n` members of a cluster, the best first; equal ones are shown once. `vectors` (n, d) and
    `confidence` (n,) are of all sessions."""
    raise NotImplementedError
