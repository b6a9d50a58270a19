"""Vectors of sessions: those that are stored, and those that are made now and stored at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import polars as pl

from clustering.embedders.embedding import embed_facets
from clustering.embedders.protocol import Embedder
from clustering.records import Progress, Vectors
from core.windows import Window
from store.embeddings import known_embeddings, matrix, packed, write_embeddings
from store.tenant import TenantStore

AT_ONCE: Final = 2_000  # sessions between two writes: what a killed run has to make again, at most


def embedded(
    store: TenantStore,
    app: str,
    window: Window,
    frame: pl.DataFrame,
    embedder: Embedder,
    *,
    now_ns: Callable[[], int],
    progress: Progress,
) -> Vectors:
    """(n, 3·dims) of the sessions of `frame` (clustering.facets), in its order. A session is embedded once for a
    version of an embedder and a text: what is stored is not made again. Raises as Embedder.embed."""
    lacking = unembedded(store, app, window, frame, embedder.version)
    total = lacking.height
    progress("embed", 0, total)
    for start in range(0, total, AT_ONCE):
        part = lacking.slice(start, AT_ONCE)
        vectors = embed_facets(embedder, part, _within(progress, start, total, part.height))
        rows = part.select("session_id", pl.col("start_ns").alias("at_ns"), "app", "text_hash")
        rows = rows.with_columns(pl.lit(embedder.version).alias("embedder"), packed(vectors))
        write_embeddings(store, rows, now_ns=now_ns())
        progress("embed", start + part.height, total)
    known = known_embeddings(store, app, embedder.version, window, session_ids=_ids(frame, window))
    whole = frame.select("session_id").join(known, on="session_id", how="left", maintain_order="left")
    if whole["vector"].null_count():  # facets of sessions whose stored start lies elsewhere by now
        return _with_others(frame, whole, embedder, progress)
    return matrix(whole, embedder.dims)


def unembedded(store: TenantStore, app: str, window: Window, frame: pl.DataFrame, version: str) -> pl.DataFrame:
    """The sessions of `frame` whose texts this version of an embedder has not embedded."""
    known = known_embeddings(store, app, version, window, session_ids=_ids(frame, window))
    return frame.join(known.select("session_id", "text_hash"), on=["session_id", "text_hash"], how="anti")


def _ids(frame: pl.DataFrame, window: Window) -> list[str] | None:
    """Few sessions are asked for by name; of a whole window all are read."""
    return frame["session_id"].to_list() if frame.height <= AT_ONCE else None


def _with_others(frame: pl.DataFrame, whole: pl.DataFrame, embedder: Embedder, progress: Progress) -> Vectors:
    """The stored vectors, and those of the others made without being stored."""
    lacks = whole["vector"].is_null().to_numpy()
    vectors = np.zeros((frame.height, 3 * embedder.dims), np.float32)
    vectors[~lacks] = matrix(whole.filter(pl.col("vector").is_not_null()), embedder.dims)
    vectors[lacks] = embed_facets(embedder, frame.filter(pl.Series(lacks)), progress)
    return vectors


def _within(progress: Progress, start: int, total: int, part: int) -> Progress:
    """Progress of a part as that of the whole: the embedder counts texts, the run sessions."""

    def told(stage: str, done: int, of: int) -> None:
        progress("embed", start + (part * done // of if of else 0), total)

    return told
