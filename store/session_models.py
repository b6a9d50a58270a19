"""Which models the sessions of an app were answered by, as their spans say."""

from __future__ import annotations

from functools import lru_cache

import ibis.expr.types as ir
import polars as pl

from core.windows import LAST_NS, Window
from store import traces
from store.engine import slot, table_of
from store.sessions import MARGIN_S
from store.tenant import TenantStore, around


def session_models(store: TenantStore, app: str, window: Window) -> pl.DataFrame:
    """One row per session of the app with a turn in the window, up to now as long as it lasts: session_id, `models`,
    a sorted list of names; empty where no span says one."""
    near = around(window, MARGIN_S)
    values = {"app": app, "from_ns": window.start_ns, "until_ns": window.end_ns}
    found = store.frame(_models(), Window(start_ns=near.start_ns, end_ns=LAST_NS), values=values)
    names = pl.col("models").fill_null("").str.split(",")
    names = names.list.eval(pl.element().filter(pl.element() != "")).list.unique().list.sort()
    return found.select("session_id", models=names)


@lru_cache(maxsize=1)
def _models() -> ir.Table:
    turns = traces.merged(table_of("turns"), frozenset({"app", "session_id", "models"}))
    turns = turns.filter(turns.session_id.notnull(), turns.app == slot("app", "string"))
    rows = turns.group_by("session_id").agg(
        tenant=turns.tenant.max(), models=turns.models.group_concat(","), start_ns=turns.start_ns.min()
    )
    return rows.filter(rows.start_ns >= slot("from_ns", "int64"), rows.start_ns < slot("until_ns", "int64"))
