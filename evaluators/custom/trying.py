"""Trying custom evaluators on an example target: what each says, how long it took, and what is wrong."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core.records import TargetKind
from evaluators.catalogue import BY_NAME
from evaluators.custom.load import Problem, load_file
from evaluators.custom.process import Limits
from evaluators.protocol import evaluate_safely
from evaluators.records import (
    Document,
    EvaluatorSpec,
    Expected,
    Message,
    ModelCall,
    Reason,
    Scored,
    Target,
    ToolCall,
    Trajectory,
    Unscored,
)

_FAULTS: Final = frozenset({Reason.FAILED, Reason.TIMED_OUT, Reason.OUT_OF_MEMORY})
_MS: Final = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What one evaluator said of the example, and of the same example again; `seconds` of both."""

    spec: EvaluatorSpec
    scored: Scored
    again: Scored
    seconds: float

    @property
    def wrong(self) -> str | None:
        """What is wrong with it; None: nothing was seen."""
        if isinstance(self.scored, Unscored) and self.scored.reason in _FAULTS:
            return self.scored.text
        if self.scored != self.again:
            return "the same target got another score the second time: use no chance, clock or memory"
        return None


def example(kind: TargetKind = TargetKind.SESSION) -> Target:
    """A short conversation of a shop, with one of everything."""
    said = "Order W123 is cancelled; $12.50 go back to your card. See https://shop.example/refunds."
    trajectory = Trajectory(
        session_id="example-session",
        trace_ids=("0af7651916cd43dd8448eb211c80319c",),
        app="shop",
        release="v1",
        user_id="user-1",
        messages=(
            Message(role="system", text="You help customers of a shop.", turn=0),
            Message(role="user", text="Please cancel order W123.", turn=0, at_ns=0),
            Message(role="assistant", text="Shall I cancel order W123 for $12.50?", turn=0, at_ns=900 * _MS),
            Message(role="user", text="Yes, please.", turn=1, at_ns=5_000 * _MS),
            Message(role="assistant", text=said, turn=1, at_ns=6_100 * _MS),
        ),
        tool_calls=(
            ToolCall(
                name="cancel_order",
                arguments={"order_id": "W123"},
                result={"status": "cancelled", "refund_usd": 12.5},
                turn=1,
                start_ns=5_200 * _MS,
                end_ns=5_450 * _MS,
            ),
        ),
        model_calls=(
            ModelCall(model="m", input_tokens=120, output_tokens=14, cost_usd=0.0004, ttft_ms=210, duration_ms=800),
            ModelCall(
                model="m", input_tokens=180, output_tokens=22, cost_usd=0.0006, ttft_ms=190, duration_ms=600, turn=1
            ),
        ),
        documents=(Document(document_id="refunds", text="Refunds go back to the card.", score=0.9, turn=1),),
        start_ns=0,
        end_ns=6_100 * _MS,
        n_spans=7,
    )
    expected = Expected(
        answer="Order W123 is cancelled.",
        contains=("cancelled",),
        tool_calls=(ToolCall(name="cancel_order", arguments={"order_id": "W123"}),),
        policy={"irreversible_tools": ["cancel_order"]},
        refusal=False,
    )
    return Target(kind=kind, trajectory=trajectory, expected=expected, example_id="example-1", trial=0)


def try_file(path: Path, limits: Limits | None = None) -> tuple[tuple[Tried, ...], tuple[Problem, ...]]:
    """What each evaluator of a file says of the example, and what is wrong with the file."""
    loaded = load_file(path, limits)
    problems = list(loaded.problems)
    tried = []
    try:
        for one in loaded.evaluators:
            if one.spec.name in BY_NAME:
                problems.append(Problem(file=path.name, what=f"there is a built-in evaluator called {one.spec.name}"))
            kinds = one.spec.targets
            target = example(TargetKind.SESSION if TargetKind.SESSION in kinds else sorted(kinds)[0])
            began = time.monotonic()
            scored, again = evaluate_safely(one, target), evaluate_safely(one, target)
            tried.append(Tried(spec=one.spec, scored=scored, again=again, seconds=time.monotonic() - began))
    finally:
        loaded.close()
    return tuple(tried), tuple(problems)
