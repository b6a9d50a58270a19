"""Memberships: which cluster each session is in, as the newest row of it says; and counts of them by day.

A session's row is written again whenever something is found out of it: a run, an assignment, a cluster born of the
buffer. Nothing is changed in place; the row with the greatest `seq` holds.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import ibis
import ibis.expr.types as ir
import polars as pl
import pyarrow as pa
import xxhash

from core.windows import LAST_NS, Window
from store.engine import slot, table_of
from store.lake import partition_date
from store.schema import MEMBERSHIPS
from store.tenant import TenantStore

COLUMNS: Final = {
    "session_id": pl.String,
    "at_ns": pl.Int64,
    "app": pl.String,
    "run_id": pl.String,
    "embedder": pl.String,
    "cluster_id": pl.String,
    "confidence": pl.Float64,
    "waiting": pl.Boolean,
    "exemplar": pl.Int32,
    "x": pl.Float64,
    "y": pl.Float64,
    "failed": pl.Boolean,
    "user_hash": pl.Int64,
}
_SHOWN: Final = (*COLUMNS, "seq")


def user_hash(user_id: str | None) -> int | None:
    """XXH64 of a user's id as a signed number, by which distinct users are counted; None for none."""
    if user_id is None:
        return None
    return int.from_bytes(xxhash.xxh64_digest(user_id.encode("utf-8", "surrogatepass")), "big", signed=True)


def write_memberships(store: TenantStore, rows: pl.DataFrame, *, now_ns: int) -> int:
    """Stores one membership per row and session (COLUMNS; `exemplar`, `x`, `y`, `failed`, `user_hash` and `cluster_id`
    may be null or missing, `waiting` is false where it is missing), durable on return. They hold from now on:
    `now_ns` must be later than that of what was written before. Returns how many."""
    ...


def newest_memberships(store: TenantStore, app: str, window: Window, *, run_id: str | None = None) -> pl.DataFrame:
    """COLUMNS and seq of the app's sessions that begin in `window`: the newest row of each (as of a run, where
    `run_id` is given: the newest that this run wrote), ordered by at_ns and session_id."""
    ...


def members(
    store: TenantStore,
    cluster_id: str,
    limit: int,
    after: tuple[int, str] | None = None,
    *,
    window: Window | None = None,
) -> pl.DataFrame:
    """COLUMNS and seq of the sessions whose newest row says this cluster, latest start first; those after (at_ns,
    session_id) of the last one of the page before."""
    ...


def daily_counts(store: TenantStore, app: str, window: Window) -> pl.DataFrame:
    """cluster_id (null: noise, and what waits), day (YYYY-MM-DD, UTC, of the sessions' start), n, n_failed, n_known
    (of which it is known whether they failed), n_users (distinct ones that are known, of that day), ordered by both.

    By the newest row of each session that begins in `window`.
    """
    ...
