"""Embeddings of sessions: written once per session, embedder version and text; read as one matrix.

A vector holds the facets of a session one after the other (intent, actions, outcome), each of `dims` numbers and of
length 1, or all zeros where the facet is empty; as float16, which moves a cosine by less than 0.001.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import ibis
import ibis.expr.types as ir
import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from core.clock import to_datetime
from core.errors import Corrupt, InvalidInput
from core.windows import Window
from store.engine import slot, table_of
from store.erased import still_there
from store.lake import partition_date
from store.schema import TABLES
from store.tenant import TenantStore

N_FACETS: Final = 3
_BYTES: Final = 2  # of a float16
_KNOWN: Final = {"session_id": pl.String, "text_hash": pl.Int64, "vector": pl.Binary}


def packed(vectors: NDArray[np.float32]) -> pl.Series:
    """The rows of a matrix (n, 3·dims) as `vector` of the table: float16, little-endian.

    Raises InvalidInput for a number that is none, or too great for float16.
    """
    halves = np.ascontiguousarray(vectors, dtype="<f2")
    if not np.isfinite(halves).all():
        raise InvalidInput("an embedding has a number that is not finite", field="vector")
    return pl.Series("vector", [row.tobytes() for row in halves], dtype=pl.Binary)


def matrix(frame: pl.DataFrame, dims: int) -> NDArray[np.float32]:
    """The vectors of `known_embeddings` as (n, 3·dims) float32, in the frame's order. Raises Corrupt for a vector of
    another length: it is of another embedder."""
    lengths = frame["vector"].bin.size()
    width = N_FACETS * dims * _BYTES
    if frame.height and not ((lengths == width).all() and lengths.null_count() == 0):
        raise Corrupt(f"a stored embedding is not {N_FACETS} times {dims} numbers long")
    content = b"".join(frame["vector"].to_list())
    return np.frombuffer(content, dtype="<f2").reshape(frame.height, N_FACETS * dims).astype(np.float32)


def write_embeddings(store: TenantStore, rows: pl.DataFrame, *, now_ns: int) -> int:
    """Stores one embedding per row: session_id, at_ns (the session's start), app, embedder (its version), text_hash,
    vector (`packed`); durable on return. Returns how many: sessions that an erasure took meanwhile are left out."""
    return write_of_sessions(store, "embeddings", rows, now_ns)


def known_embeddings(
    store: TenantStore, app: str, embedder: str, window: Window, *, session_ids: Sequence[str] | None = None
) -> pl.DataFrame:
    """session_id, text_hash and vector of the app's sessions that begin in `window` (of `session_ids`, where they are
    given) that this very version of an embedder embedded: the newest of each, ordered by session_id."""
    given = {"wanted_sessions": pa.table({"session_id": pa.array(list(session_ids or ()), pa.string())})}
    values = {"app": app, "embedder": embedder}
    found = store.frame(_newest(session_ids is not None), window, values=values, given=given)
    return found.unique("session_id", keep="any").sort("session_id").select(list(_KNOWN)).cast(_KNOWN)  # type: ignore[arg-type]


def write_of_sessions(store: TenantStore, table: str, rows: pl.DataFrame, now_ns: int) -> int:
    """Stores rows of sessions that are there still, with their tenant, the day of their `at_ns`, `now_ns` as `seq`."""
    with still_there(store, rows["session_id"].to_list()) as left:
        kept = rows.filter(pl.col("session_id").is_in(left))
        dates = [partition_date(at_ns) for at_ns in kept["at_ns"].to_list()]
        whole = kept.with_columns(
            tenant=pl.lit(str(store.tenant)),
            date=pl.Series(dates, dtype=pl.String),
            seq=pl.lit(now_ns, pl.Int64),
            ingested_at=pl.lit(to_datetime(now_ns)),  # until it is stored
        ).to_arrow()
        return store.append(table, whole.select(TABLES[table].names).cast(TABLES[table]))


@lru_cache(maxsize=2)
def _newest(by_id: bool) -> ir.Table:
    rows = table_of("embeddings")
    rows = rows.filter(rows.app == slot("app", "string"), rows.embedder == slot("embedder", "string"))
    if by_id:
        rows = rows.semi_join(ibis.table({"session_id": "string"}, name="wanted_sessions"), "session_id")
    newest = rows.group_by("session_id").agg(seq=rows.seq.max())
    return rows.semi_join(newest, ["session_id", "seq"]).select("session_id", "tenant", "text_hash", "vector")
