"""The apps of a tenant in a window, with their totals."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import ibis
import ibis.expr.types as ir
import polars as pl

from core.windows import LAST_NS, Window
from store import traces
from store.engine import slot, table_of
from store.spans import started_at
from store.tenant import TenantStore

_EVER: Final = Window(start_ns=-(2**63), end_ns=LAST_NS)


def apps(store: TenantStore, window: Window, *, as_of_ns: int | None = None) -> pl.DataFrame:
    """One row per app (null: traces that name none) over the traces that start in `window`, most turns first.

    Columns app, n_turns, n_spans, n_errors, cost_usd, input_tokens, output_tokens, last_seen_at, releases and
    environments.
    """
    values: dict[str, object] = {"from_ns": window.start_ns, "until_ns": window.end_ns}
    found = store.frame(_apps(), window, as_of_ns, values=values)
    return found.select(
        *("app", "n_turns", "n_spans", "n_errors"),
        pl.col("cost_usd").cast(pl.Float64),
        *("input_tokens", "output_tokens"),
        started_at("last_ns").alias("last_seen_at"),
        pl.col("releases").fill_null([]).list.drop_nulls().list.sort(),
        pl.col("environments").fill_null([]).list.drop_nulls().list.sort(),
    )


def apps_with_sessions(store: TenantStore, window: Window | None = None) -> frozenset[str]:
    """The apps of which sessions are stored that begin in `window` (None: at any time)."""
    return frozenset(store.frame(_with_sessions(), window or _EVER)["app"].to_list())


@lru_cache(maxsize=1)
def _with_sessions() -> ir.Table:
    rows = table_of("sessions")
    rows = rows.filter(rows.session_id.notnull(), rows.app.notnull())
    return rows.group_by("app").agg(tenant=rows.tenant.max())


@lru_cache(maxsize=1)
def _apps() -> ir.Table:
    sums = ("n_spans", "n_errors", "input_tokens", "output_tokens", "cost_usd")
    rows = traces.merged(table_of("turns"), frozenset({*sums, "app", "release", "environment"}))
    rows = rows.filter(rows.start_ns >= slot("from_ns", "int64"), rows.start_ns < slot("until_ns", "int64"))
    totals = rows.group_by("app").agg(
        tenant=rows.tenant.max(),
        n_turns=rows.count(),
        last_ns=rows.end_ns.max(),
        releases=rows.release.collect(distinct=True),
        environments=rows.environment.collect(distinct=True),
        **{name: rows[name].sum() for name in sums},
    )
    return totals.order_by(ibis.desc("n_turns"), "app")
