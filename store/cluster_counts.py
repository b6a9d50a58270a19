"""How many sessions each cluster of an app has in a window, by the newest membership of each session."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import Final

import ibis
import ibis.expr.types as ir
import polars as pl
import pyarrow as pa

from core.windows import Window
from store.engine import slot, table_of
from store.experiment_units import without_trials
from store.session_failures import OUTCOME, ToldBy, newest_told, now_told, windows_of
from store.tenant import TenantStore

_COUNTS: Final = ("n", "n_failed", "n_known", "n_users", "first_ns", "last_ns")


def cluster_counts(store: TenantStore, app: str, window: Window, *, told_by: ToldBy | None = OUTCOME) -> pl.DataFrame:
    """cluster_id (null: none), waiting, n, n_failed, n_known (of which it is known now whether they failed), n_users
    (distinct ones that are known), first_ns and last_ns (starts) of the app's sessions that begin in `window`. With
    `told_by` None no score is read: for who asks how many there are."""
    by_name = None if told_by is None else told_by.evaluator is not None
    values = {"app": app, **({} if told_by is None else told_by.values)}
    windows = {"memberships": window} if told_by is None else windows_of(window)
    found = store.frame(_counts(by_name), windows, values=values)
    return found.select("cluster_id", "waiting", *[pl.col(name).cast(pl.Int64) for name in _COUNTS])


def placed_sessions(
    store: TenantStore, app: str, window: Window, most: int, run_id: str | None = None, *, told_by: ToldBy = OUTCOME
) -> pl.DataFrame:
    """session_id, x, y, cluster_id, failed and confidence of the app's sessions that have a place on the map: of more
    than `most` a sample, by a hash of their id, so that a session is shown each time or never. With
    `run_id`: where that run put them, whatever came after. `failed` is what is known now in either case."""
    values = _asked(app, run_id) | told_by.values
    expr = _placed(most, run_id is not None, told_by.evaluator is not None)
    found = store.frame(expr, windows_of(window), values=values)
    return found.unique("session_id", keep="any").select("session_id", "x", "y", "cluster_id", "failed", "confidence")


@lru_cache(maxsize=3)
def _counts(by_name: bool | None) -> ir.Table:
    rows = _latest().select("tenant", "session_id", "cluster_id", "waiting", "failed", "user_hash", "at_ns")
    rows = rows if by_name is None else now_told(rows, _of_app(), by_name)
    failed = rows.failed.cast("int64")
    return rows.group_by("cluster_id", "waiting").agg(
        tenant=rows.tenant.max(),
        n=rows.session_id.nunique(),
        n_failed=failed.sum().fill_null(0),
        n_known=failed.count(),
        n_users=rows.user_hash.nunique(),
        first_ns=rows.at_ns.min(),
        last_ns=rows.at_ns.max(),
    )


@lru_cache(maxsize=32)
def _placed(most: int, of_run: bool, by_name: bool) -> ir.Table:
    rows = _with_place(of_run)
    ordered = rows.order_by(rows.session_id.hexdigest("md5"), ibis.asc("session_id")).limit(most)
    shown = ordered.select("tenant", "session_id", "x", "y", "cluster_id", "failed", "confidence")
    return now_told(shown, _of_app(), by_name)


def _asked(app: str, run_id: str | None) -> dict[str, object]:
    values: dict[str, object] = {"app": app}
    return values if run_id is None else values | {"run_id": run_id}


def _with_place(of_run: bool) -> ir.Table:
    """Each session where it was put last (by a run), if that is on the map."""
    rows = _latest(of_run)
    return rows.filter(rows.x.notnull(), rows.y.notnull())


def _of_app() -> ir.Table:
    rows = table_of("memberships")
    return rows.filter(rows.app == slot("app", "string"))


def _latest(of_run: bool = False) -> ir.Table:
    rows = _of_app()
    if of_run:  # its own rows, not those of sessions that joined its clusters later
        rows = rows.filter(rows.run_id == slot("run_id", "string"), rows.x.notnull())
    newest = rows.group_by("session_id").agg(seq=rows.seq.max())
    return rows.semi_join(newest, ["session_id", "seq"])


def n_placed(store: TenantStore, app: str, window: Window, run_id: str | None = None) -> int:
    """How many sessions `placed_sessions` would give without its limit."""
    found = store.frame(_n_placed(run_id is not None), window, values=_asked(app, run_id))
    return int(found["n"].sum()) if found.height else 0


def n_without_place(store: TenantStore, app: str, window: Window) -> int:
    """How many of the app's sessions that begin in `window` were placed in clusters, or wait, since the last run drew a
    map: they have no place on it."""
    found = store.frame(_n_without_place(), window, values={"app": app})
    return int(found["n"].sum()) if found.height else 0


def n_sessions_of(store: TenantStore, app: str, window: Window, runs: Collection[str] = ()) -> int:
    """How many sessions of the app begin in `window`, the trials of evaluation `runs` left out."""
    values: dict[str, object] = {"app": app, "from_ns": window.start_ns, "until_ns": window.end_ns}
    given = {"runs": pa.table({"run_id": pa.array(sorted(runs), pa.string())})} if runs else {}
    found = store.frame(_begun(bool(runs)), window, values=values, given=given)
    return int(found["n"].sum()) if found.height else 0


def n_told(store: TenantStore, app: str, window: Window, runs: Collection[str] = (), *, told_by: ToldBy) -> int:
    """Of how many of the sessions of `n_sessions_of` a score says by now whether they failed."""
    values = {"app": app, "from_ns": window.start_ns, "until_ns": window.end_ns, **told_by.values}
    given = {"runs": pa.table({"run_id": pa.array(sorted(runs), pa.string())})} if runs else {}
    expr = _told(bool(runs), told_by.evaluator is not None)
    found = store.frame(expr, windows_of(window), values=values, given=given)
    return int(found["n"].sum()) if found.height else 0


def n_embedded(store: TenantStore, app: str, window: Window) -> dict[str, int]:
    """Of each version of an embedder how many of the app's sessions that begin in `window` have an embedding."""
    found = store.frame(_embedded(), window, values={"app": app})
    return {row["embedder"]: int(row["n"]) for row in found.iter_rows(named=True)}


@lru_cache(maxsize=2)
def _n_placed(of_run: bool) -> ir.Table:
    rows = _with_place(of_run)
    return rows.group_by("app").agg(tenant=rows.tenant.max(), n=rows.session_id.nunique())


@lru_cache(maxsize=1)
def _n_without_place() -> ir.Table:
    rows = _latest()
    rows = rows.filter(rows.x.isnull())
    return rows.group_by("app").agg(tenant=rows.tenant.max(), n=rows.session_id.nunique())


@lru_cache(maxsize=2)
def _begun(beside_runs: bool) -> ir.Table:
    whole = _sessions_begun(beside_runs)
    return whole.group_by("app").agg(tenant=whole.tenant.max(), n=whole.session_id.nunique())


@lru_cache(maxsize=4)
def _told(beside_runs: bool, by_name: bool) -> ir.Table:
    whole = _sessions_begun(beside_runs)
    told = newest_told(whole, by_name)
    told = told.filter(told.told_failed.notnull())
    rows = whole.semi_join(told, whole.session_id == told.told_session)
    return rows.group_by("app").agg(tenant=rows.tenant.max(), n=rows.session_id.nunique())


def _sessions_begun(beside_runs: bool) -> ir.Table:
    rows = table_of("sessions")
    rows = rows.filter(rows.session_id.notnull())
    rows = without_trials(rows) if beside_runs else rows
    whole = rows.group_by("session_id").agg(tenant=rows.tenant.max(), app=rows.app.min(), start_ns=rows.start_ns.min())
    begun = (whole.start_ns >= slot("from_ns", "int64")) & (whole.start_ns < slot("until_ns", "int64"))
    return whole.filter(whole.app == slot("app", "string"), begun)


@lru_cache(maxsize=1)
def _embedded() -> ir.Table:
    rows = table_of("embeddings")
    rows = rows.filter(rows.app == slot("app", "string"))
    return rows.group_by("embedder").agg(tenant=rows.tenant.max(), n=rows.session_id.nunique())
