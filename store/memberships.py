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
import xxhash

from core.errors import InvalidInput
from core.windows import LAST_NS, Window
from store.embeddings import write_of_sessions
from store.engine import slot, table_of
from store.tenant import TenantStore

COLUMNS: Final[dict[str, type[pl.DataType]]] = {
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
_NEEDED: Final = ("session_id", "at_ns", "app", "run_id", "embedder")
_COUNTS: Final = ("n", "n_failed", "n_known", "n_users")
_EVER: Final = Window(start_ns=-(2**63), end_ns=LAST_NS)


def user_hash(user_id: str | None) -> int | None:
    """XXH64 of a user's id as a signed number, by which distinct users are counted; None for none."""
    if user_id is None:
        return None
    return int.from_bytes(xxhash.xxh64_digest(user_id.encode("utf-8", "surrogatepass")), "big", signed=True)


def write_memberships(store: TenantStore, rows: pl.DataFrame, *, now_ns: int) -> int:
    """Stores one membership per row and session (COLUMNS; those that may be null may be missing, `waiting` is false
    where it is), durable on return. They hold from now on: `now_ns` is later than that of what was written before.

    Returns how many: sessions that an erasure took meanwhile are left out. Raises InvalidInput when a session has two
    rows or a needed column is missing.
    """
    if missing := [name for name in _NEEDED if name not in rows.columns]:
        raise InvalidInput(f"memberships need {', '.join(missing)}", field=missing[0])
    if rows["session_id"].n_unique() != rows.height:
        raise InvalidInput("a session has two rows in what is written at once", field="session_id")
    nulls = [pl.lit(None, dtype).alias(name) for name, dtype in COLUMNS.items() if name not in rows.columns]
    whole = rows.with_columns(nulls).with_columns(pl.col("waiting").fill_null(False)).select(list(COLUMNS))
    whole = whole.select([pl.col(name).cast(dtype) for name, dtype in COLUMNS.items()])
    return write_of_sessions(store, "memberships", whole, now_ns)


def newest_memberships(store: TenantStore, app: str, window: Window, *, run_id: str | None = None) -> pl.DataFrame:
    """COLUMNS and seq of the app's sessions that begin in `window`: the newest row of each (of those that a run wrote,
    where `run_id` is given), ordered by at_ns and session_id."""
    values: dict[str, object] = {"app": app}
    values |= {} if run_id is None else {"run_id": run_id}
    return _shown(store.frame(_newest(run_id is not None), window, values=values)).sort("at_ns", "session_id")


def members(
    store: TenantStore,
    cluster_id: str,
    limit: int,
    after: tuple[int, str] | None = None,
    *,
    window: Window | None = None,
) -> pl.DataFrame:
    """COLUMNS and seq of the sessions (of `window`) whose newest row says this cluster, latest start first; those after
    (at_ns, session_id) of the last one of the page before."""
    order, session_id = after if after is not None else (2**63 - 1, "\U0010ffff")
    values: dict[str, object] = {"cluster_id": cluster_id, "after_order": order, "after_id": session_id}
    found = _shown(store.frame(_members(limit), window or _EVER, values=values))
    return found.sort("at_ns", "session_id", descending=True)


def n_members(store: TenantStore, cluster_id: str) -> int:
    """How many sessions there are whose newest row says this cluster."""
    found = store.frame(_n_members(), _EVER, values={"cluster_id": cluster_id})
    return int(found["n"].sum()) if found.height else 0


def daily_counts(store: TenantStore, app: str, window: Window) -> pl.DataFrame:
    """cluster_id (null: noise, and what waits), day (YYYY-MM-DD, UTC, of the sessions' start), n, n_failed, n_known
    (of which it is known whether they failed), n_users (distinct ones of that day, where they are known), ordered by
    cluster and day.

    By the newest row of each session that begins in `window`.
    """
    found = store.frame(_daily(), window, values={"app": app})
    return found.select("cluster_id", "day", *[pl.col(name).cast(pl.Int64) for name in _COUNTS]).sort(
        "cluster_id", "day", nulls_last=False
    )


def _shown(frame: pl.DataFrame) -> pl.DataFrame:
    """Each session once: of two rows that were written in the same nanosecond either."""
    return frame.unique("session_id", keep="any").select(*COLUMNS, "seq")


def _latest(rows: ir.Table) -> ir.Table:
    newest = rows.group_by("session_id").agg(seq=rows.seq.max())
    return rows.semi_join(newest, ["session_id", "seq"])


@lru_cache(maxsize=2)
def _newest(of_run: bool) -> ir.Table:
    rows = table_of("memberships")
    rows = rows.filter(rows.app == slot("app", "string"))
    if of_run:
        rows = rows.filter(rows.run_id == slot("run_id", "string"))
    return _latest(rows).select("tenant", "seq", *COLUMNS)


def _inside() -> ir.Table:
    """The newest rows of sessions that say this cluster."""
    rows = table_of("memberships")
    ever = rows.filter(rows.cluster_id == slot("cluster_id", "string")).select("session_id").distinct()
    now = _latest(rows.semi_join(ever, "session_id"))
    return now.filter(now.cluster_id == slot("cluster_id", "string"))


@lru_cache(maxsize=1)
def _n_members() -> ir.Table:
    now = _inside()
    return now.group_by("cluster_id").agg(tenant=now.tenant.max(), n=now.session_id.nunique())


@lru_cache(maxsize=16)
def _members(limit: int) -> ir.Table:
    now = _inside()
    order, last = slot("after_order", "int64"), slot("after_id", "string")
    now = now.filter((now.at_ns < order) | ((now.at_ns == order) & (now.session_id < last)))
    ordered = now.order_by(ibis.desc("at_ns"), ibis.desc("session_id")).limit(limit)
    return ordered.select("tenant", "seq", *COLUMNS)


@lru_cache(maxsize=1)
def _daily() -> ir.Table:
    rows = table_of("memberships")
    rows = _latest(rows.filter(rows.app == slot("app", "string")))
    failed = rows.failed.cast("int64")
    return rows.group_by("cluster_id", day=rows.date).agg(
        tenant=rows.tenant.max(),
        n=rows.session_id.nunique(),
        n_failed=failed.sum().fill_null(0),
        n_known=failed.count(),
        n_users=rows.user_hash.nunique(),
    )
