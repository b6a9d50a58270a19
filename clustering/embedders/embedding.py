"""Sessions become vectors: facet by facet, side by side, then weighted into the one by which they are compared. Pure
but for the embedder."""

from __future__ import annotations

import numpy as np
import polars as pl

from clustering.embedders.protocol import Embedder
from clustering.embedders.unique import normalised
from clustering.facets import FACETS
from clustering.records import Progress, Vectors, Weights
from clustering.retelling import Retold


def embed_facets(embedder: Embedder, frame: pl.DataFrame, progress: Progress) -> Vectors:
    """(n, 3·dims) of the sessions of `frame`: intent, actions and outcome side by side, as they are stored; in a
    model's words where the embedder has one. A text that occurs in several sessions or facets is embedded once."""
    if isinstance(embedder, Retold):
        frame = embedder.retold(frame, progress)
    texts = [text or "" for name in FACETS for text in frame[name].to_list()]
    vectors = embedder.embed(texts, progress)
    return np.ascontiguousarray(vectors.reshape(len(FACETS), frame.height, embedder.dims).swapaxes(0, 1)).reshape(
        frame.height, len(FACETS) * embedder.dims
    )


def weighted(vectors: Vectors, weights: Weights) -> Vectors:
    """The facets of (n, 3·dims) scaled so that the cosine of two sessions is the mean of their facets' cosines by
    `weights`: each block times the square root of its weight, then the row to length 1. A row of zeros stays one."""
    shares = np.sqrt(np.array([weights.intent, weights.actions, weights.outcome], dtype=np.float32))
    n, width = vectors.shape
    scaled = vectors.reshape(n, len(FACETS), width // len(FACETS)) * shares[None, :, None]
    return normalised(scaled.reshape(n, width))
