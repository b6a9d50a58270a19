"""What a judge said beside what people said of the same targets, from the newest scores of each in the lake."""

from __future__ import annotations

from typing import Final

import polars as pl

from core.errors import NotFound
from core.ids import TenantId
from core.records import EvaluatorKind
from core.windows import Window
from judges.records import JudgeSpec, ScaleKind
from store.control.control import Control
from store.judged import LABEL, VERDICT, newest_said
from store.tenant import TenantStore

SCHEMA: Final = pl.Schema(
    {
        "target": pl.String(),  # session:ID, turn:TRACE, span:TRACE/SPAN, example:SESSION
        "session_id": pl.String(),
        "verdict": pl.String(),  # null where there is none: `missing` says why
        "missing": pl.String(),
        "label": pl.String(),  # null where nobody labelled it
        "segment": pl.String(),  # the verdict's own, else the release, else the app
        "at_ns": pl.Int64(),  # of the verdict
        "p_judge": pl.Float64(),  # the chance that the target was judged; null: not known
        "p_human": pl.Float64(),  # the chance that a judged target was labelled; null: not known
        "confidence": pl.Float64(),
        "label_kind": pl.String(),  # human, or outcome where only an outcome stands for the truth
        "label_at_ns": pl.Int64(),
        "app": pl.String(),
        "release": pl.String(),
        "score_id": pl.String(),  # of the verdict
        "explanation": pl.String(),  # the judge's
        "label_explanation": pl.String(),
        "n_annotators": pl.Int64(),
        "queue": pl.String(),
        "length": pl.Float64(),  # of a pair: characters of the first answer less those of the second
        "kept": pl.String(),  # the key of the verdict in the control database, where it is kept there
        "orders": pl.String(),  # of an imported pair: JSON of what was chosen in the order ab, and in ba
    }
)
_HALF: Final = 0.5
IMPORTED: Final = "outcome_"  # begins the ids of outcomes that were imported


def unlabelled(
    store: TenantStore,
    control: Control,
    tenant: TenantId,
    judge: JudgeSpec,
    app: str | None = None,
    window: Window | None = None,
    *,
    as_of_ns: int | None = None,
) -> pl.DataFrame:
    """Every verdict of this version of the judge, decided in `window`, with the label where there is one: SCHEMA, in
    order of target.

    A label is an adjudicated one of the judge's rubric and its version, else an outcome that is named as the rubric
    is; `label_kind` says which. Where several verdicts or labels of a target are there, the newest holds. An outcome
    that has a value and no label is read as passing from a half on, where the rubric is pass or fail. Verdicts and
    labels that somebody wrote as plain scores do not count: they are neither this judge's nor adjudicated.
    """
    said = newest_said(
        store, judge.name, EvaluatorKind.JUDGE, version=judge.version, window=window, begins=VERDICT, as_of_ns=as_of_ns
    )
    told = said.select(
        "target",
        "session_id",
        "score_id",
        "at_ns",
        "explanation",
        verdict="label",
        missing=pl.when(pl.col("label").is_null()).then(pl.coalesce("unscored", pl.lit("no_label"))),
        segment=pl.coalesce(_said("segment"), _said("release"), _said("app")),
        p_judge=_said("probability").cast(pl.Float64, strict=False),
        confidence=_said("confidence").cast(pl.Float64, strict=False),
        app=_said("app"),
        release=_said("release"),
        kept=_said("verdict"),
        orders=_said("orders"),
        length=_said("length_difference").cast(pl.Float64, strict=False),
    )
    if app is not None:
        told = told.filter(pl.col("app") == app)
    words = _words(control, tenant, judge)
    joined = told.join(_labels(store, judge, words, as_of_ns), on="target", how="left")
    return joined.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items()).sort("target")


def pairs(
    store: TenantStore,
    control: Control,
    tenant: TenantId,
    judge: JudgeSpec,
    app: str | None = None,
    window: Window | None = None,
) -> pl.DataFrame:
    """Those of `unlabelled` that have a label: what agreement and corrected rates are computed from. A verdict may be
    missing among them: it is no class, and says why."""
    return unlabelled(store, control, tenant, judge, app, window).filter(pl.col("label").is_not_null())


def _labels(
    store: TenantStore, judge: JudgeSpec, words: tuple[str, str] | None, as_of_ns: int | None = None
) -> pl.DataFrame:
    """The label of each target; where people and an outcome both say one, the people's."""
    version = str(judge.rubric_version)
    human = newest_said(store, judge.rubric, EvaluatorKind.HUMAN, version=version, begins=LABEL, as_of_ns=as_of_ns)
    outcome = newest_said(store, judge.rubric, EvaluatorKind.OUTCOME, as_of_ns=as_of_ns)
    if words is not None:
        passing, failing = words
        read = pl.when(pl.col("value") >= _HALF).then(pl.lit(passing)).when(pl.col("value") < _HALF)
        outcome = outcome.with_columns(label=pl.coalesce("label", read.then(pl.lit(failing))))
    rows = pl.concat([_label(human, EvaluatorKind.HUMAN), _label(outcome, EvaluatorKind.OUTCOME)])
    return rows.unique("target", keep="first", maintain_order=True)


def _words(control: Control, tenant: TenantId, judge: JudgeSpec) -> tuple[str, str] | None:
    """The passing and the failing label of a rubric with one of each; None of any other."""
    try:
        said = control.rubric(tenant, judge.rubric, judge.rubric_version).body
    except NotFound:
        return None
    passing = [one for one in said["labels"] if one in said["passing"]]
    failing = [one for one in said["labels"] if one not in said["passing"]]
    plain = said["kind"] == ScaleKind.PASS_FAIL.value and len(passing) == len(failing) == 1
    return (passing[0], failing[0]) if plain else None


def _label(said: pl.DataFrame, kind: EvaluatorKind) -> pl.DataFrame:
    """Labels of one kind. What a plain score says of its own chance weighs nothing: by a tiny one it would outweigh all
    labels that were drawn."""
    chance = _said("probability").cast(pl.Float64, strict=False)
    drawn = pl.any_horizontal(pl.col("score_id").str.starts_with(one) for one in (LABEL, IMPORTED))
    return said.filter(pl.col("label").is_not_null()).select(
        "target",
        "label",
        label_kind=pl.lit(kind.value),
        label_at_ns="at_ns",
        label_explanation="explanation",
        p_human=pl.when(drawn & (chance > 0) & (chance <= 1)).then(chance),
        n_annotators=_said("n_annotators").cast(pl.Int64, strict=False),
        queue=_said("queue"),
    )


def _said(name: str) -> pl.Expr:
    """A member of the score's metadata, as text."""
    return pl.col("metadata").str.json_path_match(f"$.{name}")


def disagreements(
    store: TenantStore,
    control: Control,
    tenant: TenantId,
    judge: JudgeSpec,
    app: str | None = None,
    window: Window | None = None,
) -> pl.DataFrame:
    """Those of `pairs` in which the judge said something else than the label, the surest verdicts first and of these
    the newest: what to read side by side. A missing verdict is no disagreement."""
    found = pairs(store, control, tenant, judge, app, window)
    told = found.filter(pl.col("verdict").is_not_null() & (pl.col("verdict") != pl.col("label")))
    return told.sort("confidence", "label_at_ns", "target", descending=[True, True, False], nulls_last=True)
