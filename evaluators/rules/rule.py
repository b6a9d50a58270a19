"""What a built-in rule is: its spec and one pure function, in one value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from evaluators.records import EvaluatorSpec, Scored, Target


@dataclass(frozen=True, kw_only=True)
class Rule:
    """An Evaluator. `score` is pure; it is only asked about the kinds of target that `spec` names."""

    spec: EvaluatorSpec
    score: Callable[[Target], Scored]

    def evaluate(self, target: Target) -> Scored:
        """Scores one target."""
        return self.score(target)


@dataclass(frozen=True, kw_only=True)
class FrameRule(Rule):
    """A FrameEvaluator: `expression` gives over many sessions what `score` gives of one."""

    expression: Callable[[], pl.Expr]

    def value(self) -> pl.Expr:
        """The value over the columns of evaluators.sessions.SESSION_COLUMNS (f64); null where there is no score."""
        return self.expression()
