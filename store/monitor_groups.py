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
from store.monitor_series import in_buckets
from store.sessions import MARGIN_S, first_said
from store.tenant import TenantStore, around

OF_SESSIONS: Final = ("release", "variant", "environment")
DIMENSIONS: Final = (*OF_SESSIONS, "model", "cluster", "tool")
OVERLAPPING: Final = frozenset({"tool", "model"})  # a session may be in several of these
MOST_SHOWN: Final = 2_000
_ID: Final = r'"(?:document\.)?id"\s*:\s*"([^"]{1,200})"'
_TEXT: Final = r'"(?:document\.)?content"\s*:\s*"((?:[^"\\]|\\.)*)"'


def group_sums(
    store: TenantStore, app: str, evaluator: str, dimension: str, window: Window, onset_ns: int
) -> pl.DataFrame:
    """since (whether it was decided at the onset or later), split (null: none), n, total, squares of the evaluator's
    newest value of each session of the app that was decided in the window."""
    values = {"app": app, "evaluator": evaluator, "onset_ns": onset_ns}
    found = store.frame(_sums(dimension), _windows(window), values=values)
    return found.select("since", "split", *[pl.col(name).cast(pl.Float64) for name in ("n", "total", "squares")])


def session_shapes(store: TenantStore, app: str, window: Window, onset_ns: int) -> pl.DataFrame:
    """since (whether it began at the onset or later), split (its cluster, null: none), n_turns, n_calls (of tools), and
    n, how many sessions of the app that began in the window were so."""
    bounds = {"from_ns": window.start_ns, "until_ns": window.end_ns, "onset_ns": onset_ns}
    found = store.frame(_shapes(), _windows(window), values={"app": app, **bounds})
    whole = [pl.col(name).cast(pl.Float64) for name in ("n_turns", "n_calls", "n")]
    return found.select("since", "split", *whole)


def document_buckets(store: TenantStore, app: str, window: Window, step_s: int) -> pl.DataFrame:
    """at_ns, split, n: in how many of the app's sessions a search of the bucket found this document first. A document
    is its id with the hash of its text: what was replaced goes by the same id."""
    bounds = {"from_ns": window.start_ns, "until_ns": window.end_ns, "bucket_ns": step_s * 1_000_000_000}
    found = store.frame(_documents(), window, values={"app": app, **bounds})
    return found.select("at_ns", "split", pl.col("n").cast(pl.Float64))


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
    first = {name: first_said(mine, name) for name in ("app", *OF_SESSIONS)}
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


@lru_cache(maxsize=1)
def _shapes() -> ir.Table:
    turns = table_of("turns")
    mine = turns.filter(turns.app == slot("app", "string"), turns.session_id.notnull())
    each = mine.group_by("session_id").agg(
        tenant=mine.tenant.max(), at_ns=mine.start_ns.min(), n_turns=mine.trace_id.nunique(),
        n_calls=mine.n_tool_calls.sum(),
    )  # fmt: skip
    each = each.filter(each.at_ns >= slot("from_ns", "int64"), each.at_ns < slot("until_ns", "int64"))
    of = _clusters()
    rows = each.left_join(of, each.session_id == of.of_session)
    rows = rows.mutate(since=rows.at_ns >= slot("onset_ns", "int64"))
    return rows.group_by("since", "split", "n_turns", "n_calls").agg(tenant=rows.tenant.max(), n=rows.count())


@lru_cache(maxsize=1)
def _documents() -> ir.Table:
    spans = table_of("spans")
    mine = spans.filter(spans.kind == "RETRIEVER", spans.app == slot("app", "string"), spans.documents.notnull())
    rows = in_buckets(mine, mine.start_ns)
    named, text = (rows.documents.re_extract(pattern, 1) for pattern in (_ID, _TEXT))
    rows = rows.mutate(split=named + "@" + text.hexdigest("md5").substr(0, 8)).filter(named != "")
    return rows.group_by("at_ns", "split").agg(tenant=rows.tenant.max(), n=rows.session_id.nunique())


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
