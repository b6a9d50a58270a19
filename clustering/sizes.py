"""What `None` and `auto` become, by the number of rows alone: smallest cluster, core points' neighbours, method."""

from __future__ import annotations

from math import sqrt
from typing import Final, assert_never

from clustering.records import Method, Params

SMALLEST: Final = 5  # sessions: fewer are an anecdote
PER_ROOT: Final = 0.3  # measured: benchmarks/clustering/defaults.py
CORE: Final = (2, 30)  # the bounds of min_samples
FAST_FROM: Final = 20_000  # rows: above it EVoC; measured in docs/clusters-method.md
FAST_NEEDS: Final = 1_000  # rows below which EVoC's label propagation has too little to go by
SEEDED_UP_TO: Final = 20_000  # rows that UMAP places in one thread, the same each time


def min_cluster_size(n: int, params: Params) -> int:
    """The fewest of n rows that are a cluster: as asked, else 0.3 times the root of n and never below 5."""
    if params.min_cluster_size is not None:
        return max(2, params.min_cluster_size)
    return max(SMALLEST, round(PER_ROOT * sqrt(n)))


def min_samples(smallest: int, params: Params) -> int:
    """The neighbours that make a row a core point (HDBSCAN): as asked, else the smallest cluster, at most 30."""
    if params.min_samples is not None:
        return max(1, params.min_samples)
    low, high = CORE
    return min(high, max(low, smallest))


def method_for(n: int, params: Params) -> Method:
    """UMAP with HDBSCAN up to `FAST_FROM` rows, EVoC above; what was asked, where EVoC has rows enough."""
    match params.method:
        case Method.AUTO:
            return Method.UMAP_HDBSCAN if n <= FAST_FROM else Method.EVOC
        case Method.UMAP_HDBSCAN:
            return Method.UMAP_HDBSCAN
        case Method.EVOC:
            return Method.EVOC if n >= FAST_NEEDS else Method.UMAP_HDBSCAN
        case _ as never:
            assert_never(never)
