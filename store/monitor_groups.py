"""What an evaluator said of an app's sessions, by what the sessions have in common: sums for attribution, and the
sessions themselves for who wants to open some."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import ibis
import ibis.expr.types as ir
import polars as pl

from core.windows import LAST_NS, Window
from store.engine import slot, table_of
from store.sessions import MARGIN_S
from store.tenant import TenantStore, around

OF_SESSIONS: Final = ("release", "variant", "environment")
DIMENSIONS: Final = (*OF_SESSIONS, "model", "cluster", "tool")
OVERLAPPING: Final = frozenset({"tool", "model"})  # a session may be in several of these
MOST_SHOWN: Final = 2_000


def group_sums(
    store: TenantStore, app: str, evaluator: str, dimension: str, window: Window, onset_ns: int
) -> pl.DataFrame:
    """since (whether it was decided at the onset or later), split (null: none), n, total, squares of the evaluator's
    newest value of each session of the app that was decided in the window."""
    values = {"app": app, "evaluator": evaluator, "onset_ns": onset_ns}
    found = store.frame(_sums(dimension), _windows(window), values=values)
    return found.select("since", "split", *[pl.col(name).cast(pl.Float64) for name in ("n", "total", "squares")])


def scored_sessions(store: TenantStore, app: str, evaluator: str, window: Window) -> pl.DataFrame:
    """session_id, at_ns (when it began), value, user_id, release, variant, environment of sessions of which the
    evaluator decided in the window; of more than 2,000 the newest."""
    found = store.frame(_sessions(), _windows(window), values={"app": app, "evaluator": evaluator})
    return found.select("session_id", "at_ns", "value", "user_id", *OF_SESSIONS).sort("session_id")


def _windows(window: Window) -> dict[str, Window]:
    near = Window(start_ns=around(window, MARGIN_S).start_ns, end_ns=LAST_NS)
    return {"scores": window, "sessions": near, "turns": near, "memberships": near, "spans": near}


def _scored() -> ir.Table:
    """The newest value of each session of the app: session_id, value, decided_ns, at_ns, user_id and OF_SESSIONS."""
    scores = table_of("scores")
    rows = scores.filter(
        scores.evaluator == slot("evaluator", "string"),
        scores.session_id.notnull(),
        scores.target.isin(["session", "turn", "span"]),
        scores.evaluator_kind != "human",
        scores.value.notnull(),
    )
    key = ibis.struct({"at": rows.at_ns, "stored": rows.ingested_at, "id": rows.score_id})
    said = ibis.struct({"value": rows.value, "at_ns": rows.at_ns})
    newest = rows.group_by("session_id").agg(tenant=rows.tenant.max(), said=said.argmax(key))
    newest = newest.select("tenant", "session_id", value=newest.said["value"], decided_ns=newest.said["at_ns"])
    newest = newest.filter(~(newest.value.isnan() | newest.value.isinf()))
    partials = table_of("sessions")
    mine = partials.semi_join(newest, "session_id")
    first = {name: mine[name].argmin(mine.start_ns) for name in ("app", *OF_SESSIONS)}
    owners = mine.group_by(own=mine.session_id).agg(
        at_ns=mine.start_ns.min(), user_id=mine.user_id.min(), **first
    )  # fmt: skip
    joined = newest.inner_join(owners, newest.session_id == owners.own)
    return joined.filter(joined.app == slot("app", "string"))


@lru_cache(maxsize=1)
def _sessions() -> ir.Table:
    rows = _scored().order_by(ibis.desc("decided_ns"), "session_id").limit(MOST_SHOWN)
    return rows.select("tenant", "session_id", "at_ns", "value", "user_id", *OF_SESSIONS)


@lru_cache(maxsize=16)
def _sums(dimension: str) -> ir.Table:
    rows = _scored()
    if dimension in OF_SESSIONS:
        rows = rows.mutate(split=rows[dimension])
    else:
        of = {"cluster": _clusters, "model": _models, "tool": _tools}[dimension]()
        rows = rows.left_join(of, rows.session_id == of.of_session)
    rows = rows.mutate(since=rows.decided_ns >= slot("onset_ns", "int64"))
    return rows.group_by("since", "split").agg(
        tenant=rows.tenant.max(),
        n=rows.count(),
        total=rows.value.sum(),
        squares=(rows.value * rows.value).sum(),
    )


def _clusters() -> ir.Table:
    rows = table_of("memberships")
    return rows.group_by(of_session=rows.session_id).agg(split=rows.cluster_id.argmax(rows.seq))


def _models() -> ir.Table:
    """The models that a session's turns name, one row each."""
    turns = table_of("turns")
    named = turns.filter(turns.session_id.notnull(), turns.models.notnull(), turns.models != "")
    each = named.select(of_session=named.session_id, split=named.models.split(",").unnest())
    return each.distinct()


def _tools() -> ir.Table:
    spans = table_of("spans")
    named = spans.filter(spans.kind == "TOOL", spans.session_id.notnull(), spans.tool_name.notnull())
    return named.select(of_session=named.session_id, split=named.tool_name).distinct()
