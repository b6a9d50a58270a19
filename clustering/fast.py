"""The fast path for many vectors: EVoC (Healy and McInnes 2025, arXiv:2512.16558) at the layer that comes back."""

from __future__ import annotations

from clustering.records import Labels, Params, Progress, Vectors


def layers(vectors: Vectors, params: Params, min_cluster_size: int) -> list[Labels]:
    """EVoC's clusterings of rows (n, d), finest first; the same each time for `params.seed`."""
    raise NotImplementedError


def chosen_layer(found: list[Labels], again: list[Labels], rows: Labels) -> int:
    """The finest of `found` whose share of rows in clusters that come back is close to the best layer's.

    `again` are the layers of the subsample `rows` (m,) alone. A cluster comes back where one of theirs has a Jaccard of
    at least .75 with it over these rows.
    """
    raise NotImplementedError


def cluster_fast(vectors: Vectors, params: Params, min_cluster_size: int, progress: Progress) -> Labels:
    """Labels (n,) of the chosen layer; `NOISE` where none."""
    raise NotImplementedError
