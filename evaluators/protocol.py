"""The evaluator protocol: a versioned function from a target to a score, or to the reason why there is none."""

from __future__ import annotations

from typing import Protocol

import polars as pl

from evaluators.records import EvaluatorSpec, Reason, Score, Scored, Target, Unscored


class Evaluator(Protocol):
    """Pure: the same target gives the same score, in any order and process; a target is never changed.

    `evaluate` answers `Unscored` where it lacks something. Whatever it raises is a defect of the evaluator and becomes
    `Unscored(FAILED)`: see `evaluate_safely`. All built-in ones pass tests/evaluators/conformance.py.
    """

    @property
    def spec(self) -> EvaluatorSpec:
        """What it is."""

    def evaluate(self, target: Target) -> Scored:
        """Scores one target."""


class FrameEvaluator(Evaluator, Protocol):
    """An evaluator that also scores many sessions in one pass over columns."""

    def value(self) -> pl.Expr:
        """The value over the columns of evaluators.sessions.SESSION_COLUMNS (f64); null exactly where `evaluate`
        would be unscored."""


def evaluate_safely(evaluator: Evaluator, target: Target) -> Scored:
    """As `evaluate`, and never raises: a failing evaluator is a value that stops nothing else."""
    if target.kind not in evaluator.spec.targets:
        return Unscored(reason=Reason.NOT_APPLICABLE, detail=f"it does not score a {target.kind.value}")
    try:
        found: object = evaluator.evaluate(target)
    except MemoryError:
        return Unscored(reason=Reason.OUT_OF_MEMORY)
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # whatever a defect raises; a panic of a Rust library is no Exception
        return Unscored(reason=Reason.FAILED, detail=f"{type(error).__name__}: {str(error)[:300]}")
    if not isinstance(found, Score | Unscored):
        return Unscored(reason=Reason.FAILED, detail=f"it answered a {type(found).__name__}, not a score")
    return found
