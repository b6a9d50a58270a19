"""Outcomes of sessions: what came of them, with the app and release that each session began with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import ibis
import ibis.expr.types as ir
import polars as pl

from core.clock import NS_PER_S
from core.windows import LAST_NS, Window
from store import traces
from store.engine import slot, table_of
from store.tenant import TenantStore

_WANTED: Final = frozenset({"app", "release", "session_id", "user_id", "cost_usd"})


@dataclass(frozen=True, kw_only=True)
class OutcomesAsked:
    """Sessions of an app that begin in `window`, of one release or all. With `evaluator`, that one's scores of trials
    of runs count as outcomes too."""

    window: Window
    app: str
    release: str | None = None
    as_of_ns: int | None = None
    evaluator: str | None = None


def outcomes(store: TenantStore, asked: OutcomesAsked) -> pl.DataFrame:
    """One row per session and evaluator of kind outcome, the latest that was said, whenever it was: session_id,
    release, user_id, cost_usd (of all its turns in the window; null: not known), evaluator, value (null: none, or no
    finite number), unscored, metadata (JSON text)."""
    window = asked.window
    values = {
        "from_ns": window.start_ns,
        "until_ns": window.end_ns,
        "app": asked.app,
        "release": asked.release,
        "evaluator": asked.evaluator,
    }
    # No score is older than its session; a clock that is behind by an hour is forgiven.
    late = Window(start_ns=max(window.start_ns - 3600 * NS_PER_S, -(2**63)), end_ns=LAST_NS)
    windows = {"turns": window, "scores": late}
    found = store.frame(
        _outcomes(asked.release is not None, asked.evaluator is not None), windows, asked.as_of_ns, values=values
    )
    finite = pl.when(pl.col("value").is_finite()).then("value")
    latest = found.with_columns(value=finite).sort("at_ns", "score_id", nulls_last=False)
    latest = latest.unique(["session_id", "evaluator"], keep="last", maintain_order=True)
    told = ("session_id", "release", "user_id", "cost_usd", "evaluator", "value", "unscored", "metadata")
    return latest.with_columns(pl.col("cost_usd").cast(pl.Float64)).select(told)


@lru_cache(maxsize=4)
def _outcomes(by_release: bool, of_trials: bool) -> ir.Table:
    turns, scores = traces.merged(table_of("turns"), _WANTED), table_of("scores")
    turns = turns.filter(
        turns.session_id.notnull(),
        turns.start_ns >= slot("from_ns", "int64"),
        turns.start_ns < slot("until_ns", "int64"),
    )
    first = ibis.struct({"at": turns.start_ns, "id": turns.trace_id})
    sessions = turns.group_by("session_id").agg(
        app=turns.app.argmin(first),
        release=turns.release.argmin(first),
        user_id=turns.user_id.min(),
        cost_usd=turns.cost_usd.sum(),
    )
    sessions = sessions.filter(
        sessions.app == slot("app", "string"),
        *([sessions.release == slot("release", "string")] if by_release else []),
    )
    counted = (scores.target == "session") & (scores.evaluator_kind == "outcome")
    if of_trials:
        counted |= (scores.target == "example") & (scores.evaluator == slot("evaluator", "string"))
    told = scores.filter(counted)
    told = told.select("tenant", "session_id", "score_id", "at_ns", "evaluator", "value", "unscored", "metadata")
    return told.inner_join(sessions.drop("app"), "session_id")
