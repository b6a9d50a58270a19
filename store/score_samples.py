"""Scores as figures are made of them: which evaluators there are, and the newest score of each target, of many a
sample."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import ibis
import ibis.expr.types as ir
import polars as pl
import pyarrow as pa

from core.records import EvaluatorKind, TargetKind
from core.windows import Window
from store.engine import slot, table_of
from store.judged import target_key
from store.session_starts import session_starts
from store.tenant import TenantStore

_DIGITS: Final = 8  # of the hash that chooses
MOST_READ: Final = 100_000  # scores of one evaluator; of more, those of a sample of the targets
COLUMNS: Final = (*("target", "kind", "session_id", "at_ns", "evaluator_version", "value", "label", "unscored", "app"),)


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """The newest score of each target, COLUMNS, of one target in `one_in`, chosen by the MD5 of its name: two
    evaluators that are read with the same `one_in` are read on the same targets."""

    rows: pl.DataFrame
    one_in: int


def score_names(store: TenantStore, window: Window, as_of_ns: int | None = None) -> pl.DataFrame:
    """The evaluators that scored in the window: evaluator, evaluator_kind, target, n (scores), n_unscored, n_labels
    (with a label), last_ns; most scores first."""
    found = store.frame(_names(), window, as_of_ns).drop("tenant")
    return found.sort(["n", "evaluator", "evaluator_kind", "target"], descending=[True, False, False, False])


def sampled(
    store: TenantStore,
    evaluator: str,
    kind: EvaluatorKind,
    target: TargetKind,
    window: Window,
    *,
    one_in: int = 1,
    app: str | None = None,
    as_of_ns: int | None = None,
) -> Sampled:
    """What the evaluator said of targets of that kind in the window. The app is the score's own, else that of the
    session; None: not known."""
    values = {"evaluator": evaluator, "kind": kind.value, "target": target.value}
    values["below"] = f"{16**_DIGITS // one_in:0{_DIGITS}x}"
    found = store.frame(_rows(one_in > 1), window, as_of_ns, values=values)
    newest = found.sort("at_ns", "ingested_at", "score_id", descending=True).with_columns(key=target_key())
    rows = newest.unique("key", keep="first", maintain_order=True).with_columns(
        said_app=pl.col("metadata").str.json_path_match("$.app")
    )
    rows = _with_app(store, rows, as_of_ns).select(
        *(name for name in COLUMNS if name not in ("target", "kind")), target="key", kind="target"
    )
    if app is not None:
        rows = rows.filter(pl.col("app") == app)
    return Sampled(rows=rows.select(COLUMNS).sort("target"), one_in=one_in)


def _with_app(store: TenantStore, rows: pl.DataFrame, as_of_ns: int | None) -> pl.DataFrame:
    """With the app of the score, else of its session, else of its trace."""
    unknown = rows.filter(pl.col("said_app").is_null())
    sessions = unknown["session_id"].drop_nulls().unique().to_list()
    traces = unknown.filter(pl.col("session_id").is_null())["trace_id"].drop_nulls().unique()
    by_session = session_starts(store, sessions, as_of_ns=as_of_ns).select("session_id", session_app="app")
    given = {"wanted_traces": pa.table({"trace_id": pa.array(traces.to_list(), pa.string())})}
    by_trace = store.frame(_apps(), as_of_ns=as_of_ns, given=given).select("trace_id", trace_app="app")
    found = rows.join(by_session, on="session_id", how="left").join(by_trace, on="trace_id", how="left")
    return found.with_columns(app=pl.coalesce("said_app", "session_app", "trace_app"))


@lru_cache(maxsize=1)
def _apps() -> ir.Table:
    turns = table_of("turns")
    rows = turns.semi_join(ibis.table({"trace_id": "string"}, name="wanted_traces"), "trace_id")
    return rows.group_by("trace_id").agg(tenant=rows.tenant.max(), app=rows.app.max())


@lru_cache(maxsize=1)
def _names() -> ir.Table:
    scores = table_of("scores")
    return scores.group_by("evaluator", "evaluator_kind", "target").agg(
        tenant=scores.tenant.max(),
        n=scores.count(),
        n_unscored=scores.unscored.count(),
        n_labels=scores.label.count(),
        last_ns=scores.at_ns.max(),
    )


@lru_cache(maxsize=2)
def _rows(some: bool) -> ir.Table:
    scores = table_of("scores")
    rows = scores.filter(
        scores.evaluator == slot("evaluator", "string"),
        scores.evaluator_kind == slot("kind", "string"),
        scores.target == slot("target", "string"),
    )
    if some:
        name = ibis.coalesce(
            ibis.cases((rows.target == "span", rows.trace_id + rows.span_id), (rows.target == "turn", rows.trace_id)),
            rows.session_id,
        )
        rows = rows.filter(name.hexdigest("md5").substr(0, _DIGITS) < slot("below", "string"))
    return rows.select(
        "tenant", "ingested_at", "score_id", "target", "trace_id", "span_id", "session_id", "at_ns",
        "evaluator_version", "value", "label", "unscored", "metadata",
    )  # fmt: skip
