"""What a resolved session costs, by release, from the outcomes of stored sessions."""

from __future__ import annotations

from dataclasses import dataclass, replace

import polars as pl

from evaluators.ratios import Ratio, Session, cost_per_resolved
from evaluators.records import Unscored
from evaluators.service_passk import chosen_evaluator
from store.outcomes import OutcomesAsked, outcomes
from store.tenant import TenantStore


@dataclass(frozen=True, kw_only=True)
class ReleaseCost:
    """One release's dollars per resolved session, or why there is none. `n_sessions` have an outcome."""

    release: str | None
    n_sessions: int
    found: Ratio | Unscored


def read_costs(store: TenantStore, asked: OutcomesAsked, evaluator: str | None) -> tuple[str, tuple[ReleaseCost, ...]]:
    """Whose outcomes count, and the releases of the app by name. A session is resolved when its latest outcome is above
    0; sessions of one user are one cluster, a session without a user is its own.

    Raises InvalidInput where the outcomes are of several evaluators and none is chosen; NotFound without outcomes.
    """
    found = outcomes(store, replace(asked, evaluator=evaluator))
    chosen = chosen_evaluator(found, asked.app, evaluator)
    parts = found.filter(pl.col("evaluator") == chosen).partition_by("release", as_dict=True)
    named = sorted(((None if name is None else str(name), rows) for (name,), rows in parts.items()), key=_by_name)
    costs = (
        ReleaseCost(release=name, n_sessions=rows.height, found=cost_per_resolved(_sessions(rows)))
        for name, rows in named
    )
    return chosen, tuple(costs)


def _by_name(one: tuple[str | None, pl.DataFrame]) -> str:
    return one[0] or ""


def _sessions(rows: pl.DataFrame) -> list[Session]:
    columns = rows.select("session_id", "user_id", "cost_usd", "value").iter_rows()
    return [
        Session(cluster=user or f"session {session}", cost_usd=cost, resolved=None if value is None else value > 0)
        for session, user, cost, value in columns
    ]
