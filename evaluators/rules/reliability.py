"""What went wrong on the way: failed models, answers that were cut off."""

from __future__ import annotations

from typing import Final

import polars as pl

from core.records import TargetKind
from evaluators.records import Dimension, Direction, EvaluatorSpec, Reason, Score, Scored, Target, Unscored, shortened
from evaluators.rules.rule import FrameRule, Rule

_EVERY: Final = frozenset(TargetKind)
_CUT_OFF: Final = frozenset({"length", "max_tokens", "max_output_tokens", "model_length"})


def _models(target: Target) -> Scored:
    calls = target.trajectory.model_calls
    if not calls:
        return Unscored(reason=Reason.NOT_RECORDED, detail="no model call is recorded")
    failed = [one for one in calls if one.error is not None]
    told = shortened([str(one.error)[:80] for one in failed], 3) if failed else f"none of {len(calls)} calls failed"
    where = failed[0].span_id if failed else None
    parts = {"failed": len(failed), "n": len(calls)}
    return Score(value=len(failed) / len(calls), passed=not failed, explanation=told, parts=parts, span_id=where)


def _truncated(target: Target) -> Scored:
    known = [one for one in target.trajectory.model_calls if one.finish_reasons]
    if not known:
        return Unscored(reason=Reason.NOT_RECORDED, detail="no model call says why it ended")
    cut = [one for one in known if _CUT_OFF & set(_reasons(one.finish_reasons or ""))]
    told = f"{len(cut)} of {len(known)} model calls ended at their token limit"
    where = cut[0].span_id if cut else None
    return Score(value=float(bool(cut)), passed=not cut, explanation=told, parts={"n_cut": len(cut)}, span_id=where)


def _reasons(text: str) -> list[str]:
    """'["length"]', 'length' and 'stop,length' as words."""
    return "".join(char if char.isalnum() or char == "_" else " " for char in text.lower()).split()


def _share(n_failed: str, n_calls: str) -> pl.Expr:
    return pl.when(pl.col(n_calls) > 0).then(pl.col(n_failed) / pl.col(n_calls))


def _spec(name: str, summary: str, modes: tuple[str, ...], binary: bool = False) -> EvaluatorSpec:
    return EvaluatorSpec(
        name=name,
        version="1",
        dimension=Dimension.RELIABILITY,
        summary=summary,
        failure_modes=modes,
        targets=_EVERY,
        direction=Direction.LOWER,
        binary=binary,
        validity="exact by construction, as exact as what the spans say",
    )


MODEL_ERROR_RATE: Final = FrameRule(
    spec=_spec(
        "model_error_rate",
        "share of model calls that failed, those that a retry made good included",
        ("a call that was retried inside of a client without a span is not seen",),
    ),
    score=_models,
    expression=lambda: _share("n_model_errors", "n_model_calls"),
)
TRUNCATED_OUTPUT: Final = Rule(
    spec=_spec(
        "truncated_output",
        "1 when a model call ended at its token limit (finish reason length or max_tokens)",
        ("providers that do not tell a finish reason are unscored", "a limit meant to cut, as of a title, counts"),
        binary=True,
    ),
    score=_truncated,
)
