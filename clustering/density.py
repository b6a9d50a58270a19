"""From vectors to clusters: what is dense is a cluster, what is not is noise and stays noise (HDBSCAN)."""

from __future__ import annotations

from clustering.records import Clustered, Params, Progress, Vectors


def cluster(vectors: Vectors, params: Params, progress: Progress) -> Clustered:
    """The clusters of rows (n, d), L2-normalised; rows that are all zero say nothing and are noise.

    Values rather than errors: fewer than two smallest clusters' rows are all noise (`used["why"]` "few"), rows that are
    all the same are one cluster ("same"), a cluster of more than 60% is split once more where its leaves cover half of
    it (`used["giant"]` "split" or "kept"). With `params.reassign` noise is given to the cluster of its neighbours.
    """
    raise NotImplementedError
