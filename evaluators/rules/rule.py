"""What a built-in rule is: its spec and one pure function, in one value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import polars as pl

from core.errors import InvalidInput, TooLarge
from core.records import TargetKind
from evaluators.records import EvaluatorSpec, Reason, Scored, Target, Unscored

ANY_TARGET: Final = frozenset(TargetKind)
WHOLE: Final = frozenset({TargetKind.TURN, TargetKind.SESSION, TargetKind.EXAMPLE})  # more than one span


@dataclass(frozen=True, kw_only=True)
class Rule:
    """An Evaluator. `score` is pure; it is only asked about the kinds of target that `spec` names.

    It may raise InvalidInput where the example says something that cannot be read, TooLarge where more would have to be
    compared than is worth it: both become Unscored.
    """

    spec: EvaluatorSpec
    score: Callable[[Target], Scored]

    def evaluate(self, target: Target) -> Scored:
        """Scores one target."""
        try:
            return self.score(target)
        except TooLarge as error:
            return Unscored(reason=Reason.TOO_LARGE, detail=str(error)[:300])
        except RecursionError:
            return Unscored(reason=Reason.TOO_LARGE, detail="nested too deep")
        except InvalidInput as error:
            if error.field == "value":  # of the score, which is no fault of the example
                raise
            return Unscored(reason=Reason.UNREADABLE, detail=f"the example cannot be read: {error}"[:300])


@dataclass(frozen=True, kw_only=True)
class FrameRule(Rule):
    """A FrameEvaluator: `expression` gives over many sessions what `score` gives of one."""

    expression: Callable[[], pl.Expr]

    def value(self) -> pl.Expr:
        """The value over the columns of evaluators.sessions.SESSION_COLUMNS (f64); null where there is no score."""
        return self.expression()


def not_expected(what: str) -> Unscored:
    """The example does not say what this compares with."""
    return Unscored(reason=Reason.NOT_EXPECTED, detail=f"the example has no {what}")


def not_recorded(what: str) -> Unscored:
    """The trajectory lacks what this looks at."""
    return Unscored(reason=Reason.NOT_RECORDED, detail=f"the trajectory has no {what}")


def not_applicable(why: str) -> Unscored:
    """Nothing happened that this could score."""
    return Unscored(reason=Reason.NOT_APPLICABLE, detail=why)
