"""Figures by app and bucket of time, as monitors watch them: of each source one query tells all apps and all series.

A bucket without a row is one in which nothing happened. A score counts in the bucket in which it was decided, so that a
bucket is whole as soon as what was decided in it has arrived; its app and release are those of its session.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import ibis
import ibis.expr.types as ir
import polars as pl
import pyarrow as pa

from core.windows import LAST_NS, Window
from store.engine import slot, table_of
from store.monitor_splits import Split, bound
from store.rollups import RollupsAsked, rollups
from store.sessions import MARGIN_S, first_said
from store.tenant import TenantStore, around

OF_SESSIONS: Final = ("release", "variant", "environment")
NOTHING_FOUND: Final = ("", "[]", "null", "{}")
_WANTED: Final = {"wanted_evaluator": "string", "lower": "boolean"}


@dataclass(frozen=True, kw_only=True)
class BucketsAsked:
    """Buckets of `step_s` seconds of `window`, split by `by` where it is not None: a column, or, of what sessions do,
    `attribute:NAME` (store/monitor_splits.py)."""

    window: Window
    step_s: int
    by: str | None = None

    @property
    def bucket(self) -> str:
        """The bucket's name, as rollups call it."""
        return {60: "1m", 300: "5m", 900: "15m", 3600: "1h"}[self.step_s]

    @property
    def bounds(self) -> dict[str, object]:
        return {
            "from_ns": self.window.start_ns,
            "until_ns": self.window.end_ns,
            "bucket_ns": self.step_s * 1_000_000_000,
        }


def turn_buckets(store: TenantStore, asked: BucketsAsked) -> pl.DataFrame:
    """at_ns, app, split, n, error_rate, p50, p95, p99 (ms), cost_usd, and input_tokens and output_tokens of a turn."""
    found = _rollups(store, asked, "turn")
    per_turn = [(pl.col(name) / pl.col("n")).alias(name) for name in ("input_tokens", "output_tokens")]
    quantiles = [pl.col("latency_ms").struct.field(name) for name in ("p50", "p95", "p99")]
    return found.select("at_ns", "app", "split", "n", "error_rate", "cost_usd", *per_turn, *quantiles)


def model_buckets(store: TenantStore, asked: BucketsAsked) -> pl.DataFrame:
    """at_ns, app, split, n, error_rate, ttft_p50 and ttft_p95 (ms) of model calls."""
    found = _rollups(store, asked, "LLM")
    quantiles = [pl.col("ttft_ms").struct.field(name).alias(f"ttft_{name}") for name in ("p50", "p95")]
    return found.select("at_ns", "app", "split", "n", "error_rate", *quantiles)


def session_buckets(store: TenantStore, asked: BucketsAsked) -> pl.DataFrame:
    """at_ns, app, split, n (sessions with a span that began in the bucket), and n_turns and cost_usd of one of them."""
    found = _framed(store, _sessions, "sessions", asked)
    each = [(pl.col(name).cast(pl.Float64) / pl.col("n")).alias(name) for name in ("n_turns", "cost_usd")]
    return found.select("at_ns", "app", "split", pl.col("n").cast(pl.Float64), *each)


def tool_buckets(store: TenantStore, asked: BucketsAsked) -> pl.DataFrame:
    """at_ns, app, split, tool (null: one without a name), n and n_errors of calls, n_sessions, and n_failed of these
    with a call that failed. An attempt that failed and was made again within a call counts as a call."""
    return _numbers(_framed(store, _tools, "spans", asked), ("n", "n_errors", "n_sessions", "n_failed"))


def retrieval_buckets(store: TenantStore, asked: BucketsAsked) -> pl.DataFrame:
    """at_ns, app, split, n, n_empty of searches that did not fail: those that say what they found, or nothing."""
    return _numbers(_framed(store, _retrievals, "spans", asked), ("n", "n_empty"))


def score_buckets(store: TenantStore, asked: BucketsAsked, evaluators: Sequence[tuple[str, bool]]) -> pl.DataFrame:
    """at_ns, app, split, evaluator, kind, n (finite values), total (their sum), n_breach: values above 0 of those for
    whom lower is better, as `evaluators` says, else below 1. Of one target the newest score of the window counts; those
    whose session began more than a week earlier have no app, and are left out."""
    given = wanted_scores(evaluators)
    near = Window(start_ns=around(asked.window, MARGIN_S).start_ns, end_ns=LAST_NS)
    split = bound(store, asked.by, asked.window)
    windows = {**split.windows, "scores": asked.window, "sessions": near, "turns": near}
    found = store.frame(_scores(split.split), windows, values={**split.values, **asked.bounds}, given=given)
    return _numbers(found, ("n", "total", "n_breach"), "evaluator", "kind")


def wanted_scores(evaluators: Sequence[tuple[str, bool]]) -> dict[str, pa.Table]:
    """The table that `scored` is given: the evaluators, and whether lower is better of each."""
    wanted = sorted(set(evaluators))
    columns = {
        "wanted_evaluator": pa.array([one for one, _ in wanted], pa.string()),
        "lower": pa.array([lower for _, lower in wanted], pa.bool_()),
    }
    return {"wanted_scores": pa.table(columns)}


def cluster_buckets(store: TenantStore, asked: BucketsAsked) -> pl.DataFrame:
    """at_ns (of the sessions' begins), app, split (the cluster; null: none), n: by the newest membership of each."""
    found = store.frame(_clusters(), asked.window, values=asked.bounds)
    return found.select("at_ns", "app", "split", pl.col("n").cast(pl.Float64))


def agreement_buckets(store: TenantStore, asked: BucketsAsked, rubrics: Mapping[str, str]) -> pl.DataFrame:
    """at_ns (of what people said), app, split (null), evaluator (the judge), n (targets of which the judge and people
    both said something), n_same (the same label, or the same value where there is no label). `rubrics`: by judge the
    rubric, under whose name people's labels stand."""
    judges = sorted(rubrics)
    columns = {"judge": judges, "rubric": [rubrics[one] for one in judges]}
    given = {"wanted_judges": pa.table({name: pa.array(of, pa.string()) for name, of in columns.items()})}
    near = Window(start_ns=around(asked.window, MARGIN_S).start_ns, end_ns=LAST_NS)
    windows = {"scores": near, "sessions": near, "turns": near}
    found = store.frame(_agreement(), windows, values=asked.bounds, given=given)
    return _numbers(found.with_columns(split=pl.lit(None, pl.String)), ("n", "n_same"), "evaluator")


def _framed(store: TenantStore, expr: Callable[[Split], ir.Table], table: str, asked: BucketsAsked) -> pl.DataFrame:
    """The rows of an expression over one table, and over what its split is told by."""
    split = bound(store, asked.by, asked.window)
    windows = {table: asked.window, **split.windows}
    return store.frame(expr(split.split), windows, values={**split.values, **asked.bounds})


def _rollups(store: TenantStore, asked: BucketsAsked, level: str) -> pl.DataFrame:
    groups = ("app",) if asked.by is None else ("app", asked.by)
    found = rollups(store, RollupsAsked(window=asked.window, bucket=asked.bucket, level=level, group_by=groups))
    split = pl.lit(None, pl.String) if asked.by is None else pl.col(asked.by)
    found = found.filter(pl.col("n") > 0)  # what has usage but no turn that began in it is no bucket of turns
    return found.with_columns(at_ns="bucket_ns", split=split, n=pl.col("n").cast(pl.Float64))


def _numbers(found: pl.DataFrame, numbers: Sequence[str], *more: str) -> pl.DataFrame:
    names = ["at_ns", "app", "split", *more, *(["tool"] if "tool" in found.columns else [])]
    return found.select(*names, *[pl.col(name).cast(pl.Float64) for name in numbers])


def in_buckets(rows: ir.Table, at: ir.Value) -> ir.Table:
    """Those rows whose time lies in the window, with the beginning of their bucket as `at_ns`."""
    length = slot("bucket_ns", "int64")
    rows = rows.mutate(at_ns=at)
    rows = rows.filter(rows.at_ns >= slot("from_ns", "int64"), rows.at_ns < slot("until_ns", "int64"))
    return rows.mutate(at_ns=(rows.at_ns // length) * length)


@lru_cache(maxsize=8)
def _sessions(by: Split) -> ir.Table:
    partials = table_of("sessions")
    rows = in_buckets(partials.filter(partials.app.notnull()), partials.start_ns)
    rows = by.of(rows)
    return rows.group_by("at_ns", "app", "split").agg(
        tenant=rows.tenant.max(),
        n=rows.session_id.nunique(),
        n_turns=rows.n_turns.sum(),
        cost_usd=rows.cost_usd.sum(),
    )


@lru_cache(maxsize=8)
def _tools(by: Split) -> ir.Table:
    spans = table_of("spans")
    # A failed attempt below a call that ends well is a span of its own that names the tool: an answer that was lost.
    lost = spans.kind.isin(["CHAIN", "SPAN"]) & spans.tool_name.notnull() & (spans.status_code == 2).fill_null(False)
    rows = in_buckets(spans.filter((spans.kind == "TOOL") | lost, spans.app.notnull()), spans.start_ns)
    rows = by.of(rows)
    return rows.group_by("at_ns", "app", "split", tool=rows.tool_name).agg(
        tenant=rows.tenant.max(),
        n=rows.count(),
        n_errors=(rows.status_code == 2).fill_null(False).cast("int64").sum(),
        n_sessions=rows.session_id.nunique(),
        n_failed=rows.session_id.nunique(where=(rows.status_code == 2).fill_null(False)),
    )


@lru_cache(maxsize=8)
def _retrievals(by: Split) -> ir.Table:
    spans = table_of("spans")
    wanted = [spans.kind == "RETRIEVER", spans.app.notnull(), ~(spans.status_code == 2).fill_null(False)]
    rows = in_buckets(spans.filter(*wanted), spans.start_ns)
    rows = by.of(rows)
    empty = rows.documents.isnull() | rows.documents.isin(NOTHING_FOUND)
    return rows.group_by("at_ns", "app", "split").agg(
        tenant=rows.tenant.max(), n=rows.count(), n_empty=empty.cast("int64").sum()
    )


@lru_cache(maxsize=8)
def _scores(by: Split) -> ir.Table:
    rows = scored(by)
    breach = ibis.ifelse(rows.lower, rows.value > 0, rows.value < 1).cast("int64")
    return rows.group_by("at_ns", "app", "split", "evaluator", kind=rows.evaluator_kind).agg(
        tenant=rows.tenant.max(), n=rows.value.count(), total=rows.value.sum(), n_breach=breach.sum()
    )


def scored(by: Split) -> ir.Table:
    """The newest score of each target, in the bucket in which it was decided, with the app and the split of its
    session; those of no app are left out."""
    newest = _newest()
    sessions = table_of("sessions")
    of_sessions = sessions.semi_join(newest, sessions.session_id == newest.session_id)
    owner = {name: first_said(of_sessions, name) for name in ("app", *OF_SESSIONS)}
    of_sessions = of_sessions.group_by(own_session=of_sessions.session_id).agg(**owner)
    turns = table_of("turns")
    of_turns = turns.semi_join(newest, turns.trace_id == newest.trace_id)
    told = {f"turn_{name}": of_turns[name].min() for name in ("app", *OF_SESSIONS)}
    of_turns = of_turns.group_by(own_trace=of_turns.trace_id).agg(**told)
    rows = newest.left_join(of_sessions, newest.session_id == of_sessions.own_session)
    rows = rows.left_join(of_turns, rows.trace_id == of_turns.own_trace)
    rows = rows.mutate(**{name: ibis.coalesce(rows[name], rows[f"turn_{name}"]) for name in ("app", *OF_SESSIONS)})
    rows = by.of(rows.filter(rows.app.notnull()))
    return in_buckets(rows, rows.decided_ns)


def _newest() -> ir.Table:
    """The newest score of each target by each wanted evaluator, with its session and trace as far as they are known."""
    scores, wanted = table_of("scores"), ibis.table(_WANTED, name="wanted_scores")
    live = scores.filter(scores.target.isin(["session", "turn", "span"]))
    rows = live.inner_join(wanted, live.evaluator == wanted.wanted_evaluator)
    name = ibis.cases(
        (rows.target == "span", rows.trace_id + "/" + rows.span_id),
        (rows.target == "turn", rows.trace_id),
        else_=rows.session_id,
    )
    said = ibis.struct({"value": rows.value, "at_ns": rows.at_ns})
    newest = rows.group_by("evaluator", "evaluator_kind", "target", name=name).agg(
        tenant=rows.tenant.max(),
        session_id=rows.session_id.max(),
        trace_id=rows.trace_id.max(),
        lower=rows.lower.any(),
        said=said.argmax(ibis.struct({"at": rows.at_ns, "stored": rows.ingested_at, "id": rows.score_id})),
    )
    value = newest.said["value"]
    finite = ibis.ifelse(value.isnan() | value.isinf(), ibis.null("float64"), value)
    return newest.select(
        "tenant", "evaluator", "evaluator_kind", "session_id", "trace_id", "lower", value=finite,
        decided_ns=newest.said["at_ns"],
    )  # fmt: skip


@lru_cache(maxsize=1)
def _agreement() -> ir.Table:
    wanted = ibis.table({"judge": "string", "rubric": "string"}, name="wanted_judges")
    judges = _newest_of("judge").inner_join(wanted, ibis._.evaluator == wanted.judge)
    judges = judges.select("judge", "rubric", "target", "name", judge_value="value", judge_label="label")
    people = _newest_of("human").rename(rubric="evaluator")
    both = people.inner_join(judges, ["rubric", "target", "name"])
    sessions = table_of("sessions")
    owners = sessions.group_by(own_session=sessions.session_id).agg(app=first_said(sessions, "app"))
    rows = both.inner_join(owners, both.session_id == owners.own_session)
    rows = in_buckets(rows.filter(rows.app.notnull()), rows.decided_ns)
    by_label = rows.label == rows.judge_label
    same = ibis.coalesce(by_label, rows.value == rows.judge_value, ibis.literal(False))
    return rows.group_by("at_ns", "app", evaluator=rows.judge).agg(
        tenant=rows.tenant.max(), n=rows.count(), n_same=same.cast("int64").sum()
    )


def _newest_of(kind: str) -> ir.Table:
    scores = table_of("scores")
    rows = scores.filter(scores.evaluator_kind == kind, scores.unscored.isnull())
    name = ibis.cases(
        (rows.target == "span", rows.trace_id + "/" + rows.span_id),
        (rows.target == "turn", rows.trace_id),
        else_=rows.session_id,
    )
    key = ibis.struct({"at": rows.at_ns, "stored": rows.ingested_at, "id": rows.score_id})
    said = ibis.struct({"value": rows.value, "label": rows.label, "at_ns": rows.at_ns})
    newest = rows.group_by("evaluator", "target", name=name).agg(
        tenant=rows.tenant.max(), session_id=rows.session_id.max(), said=said.argmax(key)
    )
    return newest.select(
        "tenant", "evaluator", "target", "name", "session_id", value=newest.said["value"],
        label=newest.said["label"], decided_ns=newest.said["at_ns"],
    )  # fmt: skip


@lru_cache(maxsize=1)
def _clusters() -> ir.Table:
    rows = table_of("memberships")
    newest = rows.group_by("session_id").agg(seq=rows.seq.max())
    rows = rows.semi_join(newest, ["session_id", "seq"])
    rows = in_buckets(rows.filter(rows.app.notnull()), rows.at_ns)
    return rows.group_by("at_ns", "app", split=rows.cluster_id).agg(
        tenant=rows.tenant.max(), n=rows.session_id.nunique()
    )
