"""What `None` and `auto` become: the smallest cluster, the neighbours of a core point, and the method, by size alone."""

from __future__ import annotations

from math import sqrt
from typing import Final, assert_never

from clustering.records import Method, Params

SMALLEST: Final = 5  # sessions: fewer are an anecdote
PER_ROOT: Final = 0.15
FAST_FROM: Final = 20_000  # rows: above it EVoC; measured in docs/clusters-method.md
SEEDED_UP_TO: Final = 20_000  # rows that UMAP places in one thread, the same each time


def min_cluster_size(n: int, params: Params) -> int:
    """The fewest of n sessions that are a cluster: as asked, else 0.15 times the root of n and never below 5."""
    raise NotImplementedError


def min_samples(n: int, params: Params) -> int:
    """The neighbours that make a point a core point (HDBSCAN): as asked, else half of the smallest cluster, 2 to 10."""
    raise NotImplementedError


def method_for(n: int, params: Params) -> Method:
    """UMAP with HDBSCAN up to `FAST_FROM` rows, EVoC above; or what was asked."""
    match params.method:
        case Method.AUTO:
            return Method.UMAP_HDBSCAN if n <= FAST_FROM else Method.EVOC
        case Method.UMAP_HDBSCAN | Method.EVOC:
            return params.method
        case _ as never:
            assert_never(never)
