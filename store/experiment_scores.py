"""Scores as figures of sessions: the newest of each target, summed by the session that it is of, in the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import ibis
import ibis.expr.types as ir
import polars as pl
import pyarrow as pa

from core.records import EvaluatorKind, TargetKind
from core.windows import Window
from store.engine import table_of
from store.tenant import TenantStore

BY_TRACE: Final = (TargetKind.TURN, TargetKind.SPAN)  # whose session the turns know
_GIVEN: Final = {
    "wanted_evaluator": "string",
    "wanted_kind": "string",
    "wanted_target": "string",
    "figure": "int64",
    "lower": "boolean",
}


class Fold(StrEnum):
    """How the scores of a session make its figure: their mean, or 1 where none of them tells of a breach, else 0."""

    MEAN = "mean"
    SAFE = "safe"


@dataclass(frozen=True, kw_only=True)
class Told:
    """An evaluator of one kind and one sort of target. `lower_is_better`: a breach is a value above 0, not below 1."""

    evaluator: str
    kind: EvaluatorKind
    target: TargetKind
    lower_is_better: bool = False


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A figure of sessions that evaluators tell. Nobody in `told`: no session has it."""

    name: str
    told: tuple[Told, ...]
    fold: Fold = Fold.MEAN


@dataclass(frozen=True, kw_only=True)
class ScoreShape:
    """What the expression depends on: how each figure is folded, and whether scores are of sessions, turns or spans.
    After the figures come `n_labels` that are wanted as text, as levels of strata."""

    folds: tuple[Fold, ...] = ()
    n_labels: int = 0
    of_sessions: bool = False
    of_traces: bool = False

    @property
    def empty(self) -> bool:
        """Whether nobody told anything."""
        return not (self.of_sessions or self.of_traces)


def shape_of(figures: Sequence[Scored], labels: Sequence[Scored] = ()) -> ScoreShape:
    """The shape of these."""
    targets = {one.target for each in (*figures, *labels) for one in each.told}
    return ScoreShape(
        folds=tuple(one.fold for one in figures),
        n_labels=len(labels),
        of_sessions=TargetKind.SESSION in targets,
        of_traces=bool(targets & set(BY_TRACE)),
    )


def given_of(figures: Sequence[Scored], labels: Sequence[Scored] = ()) -> dict[str, pa.Table]:
    """The tables that `by_session` names."""
    rows = [
        (one.evaluator, one.kind.value, one.target.value, index, one.lower_is_better)
        for index, each in enumerate((*figures, *labels))
        for one in each.told
    ]
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(_GIVEN)
    schema = ibis.schema(_GIVEN).to_pyarrow()
    return {"wanted_scores": pa.table([list(one) for one in columns], schema=schema)}


def evaluators_seen(
    store: TenantStore, names: Sequence[str], window: Window, as_of_ns: int | None = None
) -> pl.DataFrame:
    """Who of these scored sessions, turns or spans in the window: evaluator, kind, target, n; most scores first."""
    given = {"wanted_evaluators": pa.table({"evaluator": pa.array(sorted(set(names)), pa.string())})}
    found = store.frame(_seen(), window, as_of_ns, given=given).drop("tenant")
    return found.sort(["n", "evaluator", "kind", "target"], descending=[True, False, False, False])


def by_session(shape: ScoreShape, owners: ir.Table) -> ir.Table:
    """One row per session that any wanted score is of: of_session, y_0, s_0, ... (sum and number of the observations of
    each figure), label_0, ..., told_ns (when the earliest outcome among them was told; null: none was).

    `owners` says session_id by trace_id. A value that is no finite number is none, and so is an unscored one, also
    where an older score had a value.
    """
    rows = _newest(shape, owners)
    said = ibis.ifelse(rows.value.isnan() | rows.value.isinf(), ibis.null("float64"), rows.value)
    breach = ibis.ifelse(rows.lower, said > 0, said < 1).cast("int64")
    figures: dict[str, ir.Value] = {}
    for index, fold in enumerate(shape.folds):
        mine = (rows.figure == index) & said.notnull()
        n = said.count(where=mine)
        if fold is Fold.SAFE:
            figures[f"y_{index}"] = (1 - ibis.coalesce(breach.max(where=mine), 1)).cast("float64")
            figures[f"s_{index}"] = ibis.ifelse(n > 0, 1.0, 0.0)
        else:
            figures[f"y_{index}"] = ibis.coalesce(said.sum(where=mine), 0.0)
            figures[f"s_{index}"] = n.cast("float64")
    for index in range(shape.n_labels):
        figures[f"label_{index}"] = rows.label.max(where=rows.figure == len(shape.folds) + index)
    told_ns = rows.at_ns.min(where=rows.evaluator_kind == EvaluatorKind.OUTCOME.value)
    return rows.filter(rows.of_session.notnull()).group_by("of_session").agg(**figures, told_ns=told_ns)


def _newest(shape: ScoreShape, owners: ir.Table) -> ir.Table:
    """The newest score of each target by each wanted evaluator, with `of_session`."""
    scores, wanted = table_of("scores"), ibis.table(_GIVEN, name="wanted_scores")
    same = [
        scores.evaluator == wanted.wanted_evaluator,
        scores.evaluator_kind == wanted.wanted_kind,
        scores.target == wanted.wanted_target,
    ]
    rows = scores.inner_join(wanted, same)
    name = ibis.cases(
        (rows.target == "span", rows.trace_id + "/" + rows.span_id),
        (rows.target == "turn", rows.trace_id),
        else_=rows.session_id,
    )
    said = ibis.struct({"value": rows.value, "label": rows.label, "at_ns": rows.at_ns})
    newest = rows.group_by("figure", "evaluator", "evaluator_kind", "target", name=name).agg(
        own=rows.session_id.max(),
        trace_id=rows.trace_id.max(),
        lower=rows.lower.any(),
        said=said.argmax(ibis.struct({"at": rows.at_ns, "stored": rows.ingested_at, "id": rows.score_id})),
    )
    newest = newest.select(
        "figure", "evaluator_kind", "target", "own", "trace_id", "lower",
        value=newest.said["value"], label=newest.said["label"], at_ns=newest.said["at_ns"],
    )  # fmt: skip
    if not shape.of_traces:
        return newest.mutate(of_session=newest.own)
    owned = owners.select(owned_trace=owners.trace_id, owning=owners.session_id)
    joined = newest.left_join(owned, newest.trace_id == owned.owned_trace)
    return joined.mutate(of_session=ibis.ifelse(joined.target == "session", joined.own, joined.owning))


def _seen() -> ir.Table:
    scores = table_of("scores")
    rows = scores.filter(scores.target.isin(["session", "turn", "span"]))
    rows = rows.semi_join(ibis.table({"evaluator": "string"}, name="wanted_evaluators"), "evaluator")
    return rows.group_by("evaluator", kind=rows.evaluator_kind, target=rows.target).agg(
        tenant=rows.tenant.max(), n=rows.count()
    )
