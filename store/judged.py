"""Scores of one evaluator by kind: what a judge, people or outcomes said of each target, the newest of each."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import ibis.expr.types as ir
import polars as pl

from core.records import EvaluatorKind
from core.windows import Window
from store.engine import slot, table_of
from store.tenant import TenantStore

COLUMNS: Final = (
    *("target", "session_id", "score_id", "evaluator_version", "at_ns", "value", "label", "explanation", "unscored"),
    *("author", "metadata"),
)
VERDICT: Final = "judge_"  # begins the ids of scores that a judge of ours wrote: POST /scores cannot choose an id
LABEL: Final = "label_"  # and of labels that people gave in a queue, or that were imported
_ANY: Final = ""  # no version is empty


def newest_said(
    store: TenantStore,
    evaluator: str,
    kind: EvaluatorKind,
    *,
    version: str | None = None,
    window: Window | None = None,
    begins: str = "",
    as_of_ns: int | None = None,
) -> pl.DataFrame:
    """The newest score of each target by this evaluator and kind, of one version or of any, decided in `window`, of
    those whose id `begins` so: COLUMNS, in order of `target`, which is written as `target_key` does."""
    values = {"evaluator": evaluator, "kind": kind.value, "version": _ANY if version is None else version}
    rows = store.frame(_said(), window, as_of_ns, values=values).filter(pl.col("score_id").str.starts_with(begins))
    newest = rows.sort("at_ns", "ingested_at", "score_id", descending=True).with_columns(target=target_key())
    return newest.unique("target", keep="first", maintain_order=True).select(COLUMNS).sort("target")


def target_key() -> pl.Expr:
    """What a score is about as one text: session:ID, turn:TRACE, span:TRACE/SPAN, example:SESSION of the trial."""
    name = (
        pl.when(pl.col("target") == "span")
        .then(pl.concat_str("trace_id", pl.lit("/"), "span_id"))
        .when(pl.col("target") == "turn")
        .then("trace_id")
        .otherwise("session_id")
    )
    return pl.concat_str("target", pl.lit(":"), name)


@lru_cache(maxsize=1)
def _said() -> ir.Table:
    scores = table_of("scores")
    version = slot("version", "string")
    rows = scores.filter(
        scores.evaluator == slot("evaluator", "string"),
        scores.evaluator_kind == slot("kind", "string"),
        (version == _ANY) | (scores.evaluator_version == version),
    )
    return rows.select(
        "tenant", "ingested_at", "target", "trace_id", "span_id", "session_id", "score_id", "evaluator_version",
        "at_ns", "value", "label", "explanation", "unscored", "author", "metadata",
    )  # fmt: skip
