"""Memberships: which cluster each session is in, as the newest row of it says; and counts of them by day.

A session's row is written again whenever something is found out of it: a run, an assignment, a cluster born of the
buffer. Nothing is changed in place; the row with the greatest `seq` holds. Whether a session failed is read anew where
somebody asks (store/session_failures.py): the row says what was known when it was written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final

import ibis
import ibis.expr.types as ir
import polars as pl
import xxhash

from core.clock import NS_PER_S
from core.errors import InvalidInput
from core.windows import LAST_NS, Window
from store.embeddings import write_of_sessions
from store.engine import slot, table_of
from store.session_failures import OUTCOME, ToldBy, now_told, windows_of, with_failures
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
_DAY_NS: Final = 86_400 * NS_PER_S
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


def newest_memberships(
    store: TenantStore, app: str, window: Window, *, run_id: str | None = None, told_by: ToldBy | None = OUTCOME
) -> pl.DataFrame:
    """COLUMNS and seq of the app's sessions that begin in `window`: the newest row of each (of those that a run wrote,
    where `run_id` is given), ordered by at_ns and session_id. `failed` as it is known now; with `told_by` None, which
    reads no score, as it was when the row was written."""
    values: dict[str, object] = {"app": app, **_values(told_by)}
    values |= {} if run_id is None else {"run_id": run_id}
    expr = _newest(run_id is not None, _how(told_by))
    return _shown(store.frame(expr, _windows(window, told_by), values=values)).sort("at_ns", "session_id")


def members(
    store: TenantStore,
    cluster_id: str,
    limit: int,
    after: tuple[int, str] | None = None,
    *,
    window: Window | None = None,
    told_by: ToldBy | None = OUTCOME,
) -> pl.DataFrame:
    """COLUMNS and seq of the sessions (of `window`) whose newest row says this cluster, latest start first; those after
    (at_ns, session_id) of the last one of the page before. `failed` as `newest_memberships` has it."""
    order, session_id = after if after is not None else (2**63 - 1, "\U0010ffff")
    values: dict[str, object] = {"cluster_id": cluster_id, "after_order": order, "after_id": session_id}
    found = _shown(store.frame(_members(limit), window or _EVER, values=values))
    found = found if told_by is None else with_failures(store, found, told_by)
    return found.sort("at_ns", "session_id", descending=True)


def surest_members(
    store: TenantStore, cluster_id: str, limit: int, window: Window, *, told_by: ToldBy = OUTCOME
) -> pl.DataFrame:
    """COLUMNS and seq of the sessions that stand for a cluster, best first: of those that begin in `window` and whose
    newest row says this cluster the chosen exemplars, then those it is surest of, the latest first."""
    found = _shown(store.frame(_surest(limit), window, values={"cluster_id": cluster_id}))
    order = ["exemplar", "confidence", "at_ns", "session_id"]
    found = found.sort(order, descending=[False, True, True, False], nulls_last=True)
    return with_failures(store, found, told_by)


def n_members(store: TenantStore, cluster_id: str) -> int:
    """How many sessions there are whose newest row says this cluster."""
    found = store.frame(_n_members(), _EVER, values={"cluster_id": cluster_id})
    return int(found["n"].sum()) if found.height else 0


def daily_counts(store: TenantStore, app: str, window: Window, *, told_by: ToldBy = OUTCOME) -> pl.DataFrame:
    """cluster_id (null: noise, and what waits), day (YYYY-MM-DD, UTC, of the sessions' start), n, n_failed, n_known
    (of which it is known now whether they failed), n_users (distinct ones of that day, where they are known), ordered
    by cluster and day.

    By the newest row of each session that begins in `window`. A week is read at a time, so that what is held in memory
    is bounded by a week's sessions, however long the window is.
    """
    expr, values = _daily(told_by.evaluator is not None), {"app": app, **told_by.values}
    parts = [store.frame(expr, windows_of(week), values=values) for week in _weeks(window)]
    found = pl.concat(parts)
    return found.select("cluster_id", "day", *[pl.col(name).cast(pl.Int64) for name in _COUNTS]).sort(
        "cluster_id", "day", nulls_last=False
    )


def _shown(frame: pl.DataFrame) -> pl.DataFrame:
    """Each session once: of two rows that were written in the same nanosecond either."""
    return frame.unique("session_id", keep="any").select(*COLUMNS, "seq")


def _values(told_by: ToldBy | None) -> dict[str, object]:
    return {} if told_by is None else told_by.values


def _how(told_by: ToldBy | None) -> bool | None:
    """Whether one names who tells of failures; None: nobody is asked."""
    return None if told_by is None else told_by.evaluator is not None


def _windows(window: Window, told_by: ToldBy | None) -> Mapping[str, Window]:
    return {"memberships": window} if told_by is None else windows_of(window)


def _weeks(window: Window) -> Iterator[Window]:
    """The window in parts of whole days (UTC), seven at most: a day's sessions are all in one."""
    start_ns = window.start_ns
    while start_ns < window.end_ns:
        end_ns = min((start_ns // _DAY_NS + 7) * _DAY_NS, window.end_ns)
        yield Window(start_ns=start_ns, end_ns=end_ns)
        start_ns = end_ns


def _latest(rows: ir.Table) -> ir.Table:
    newest = rows.group_by("session_id").agg(seq=rows.seq.max())
    return rows.semi_join(newest, ["session_id", "seq"])


@lru_cache(maxsize=6)
def _newest(of_run: bool, by_name: bool | None) -> ir.Table:
    rows = table_of("memberships")
    rows = rows.filter(rows.app == slot("app", "string"))
    if of_run:
        rows = rows.filter(rows.run_id == slot("run_id", "string"))
    found = _latest(rows).select("tenant", "seq", *COLUMNS)
    return found if by_name is None else now_told(found, rows, by_name)


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


@lru_cache(maxsize=4)
def _surest(limit: int) -> ir.Table:
    now = _inside()
    order = (
        ibis.asc("exemplar", nulls_first=False), ibis.desc("confidence", nulls_first=False), ibis.desc("at_ns"),
        ibis.asc("session_id"),
    )  # fmt: skip
    return now.order_by(*order).limit(limit).select("tenant", "seq", *COLUMNS)


@lru_cache(maxsize=2)
def _daily(by_name: bool) -> ir.Table:
    whole = table_of("memberships")
    whole = whole.filter(whole.app == slot("app", "string"))
    told = _latest(whole).select("tenant", "session_id", "cluster_id", "date", "failed", "user_hash")
    rows = now_told(told, whole, by_name)
    failed = rows.failed.cast("int64")
    return rows.group_by("cluster_id", day=rows.date).agg(
        tenant=rows.tenant.max(),
        n=rows.session_id.nunique(),
        n_failed=failed.sum().fill_null(0),
        n_known=failed.count(),
        n_users=rows.user_hash.nunique(),
    )
