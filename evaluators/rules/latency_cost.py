"""What a conversation took: time, tokens, money. These also score many sessions in one pass over columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import polars as pl

from core.records import TargetKind
from evaluators.records import Dimension, Direction, EvaluatorSpec, Reason, Score, Scored, Target, Trajectory, Unscored
from evaluators.rules.rule import FrameRule, Rule

_EVERY: Final = frozenset(TargetKind)
_WHOLE: Final = frozenset({TargetKind.TURN, TargetKind.SESSION, TargetKind.EXAMPLE})


def _unknown(detail: str) -> Unscored:
    return Unscored(reason=Reason.NOT_RECORDED, detail=detail)


def _latency(target: Target) -> Scored:
    taken = target.trajectory.duration_ms
    return _unknown("start or end is not recorded") if taken is None else Score(value=taken)


def _ttft(target: Target) -> Scored:
    known = [one.ttft_ms for one in target.trajectory.model_calls if one.ttft_ms is not None]
    if not known:
        return _unknown("no model call says when its first token came")
    parts = {"mean_ms": sum(known) / len(known), "max_ms": max(known), "n": len(known)}
    return Score(value=known[0], explanation=f"of the first of {len(known)} model calls that say", parts=parts)


def _too_many_unknown(trajectory: Trajectory, n_unknown: int) -> Unscored | None:
    """Calls that failed may say nothing of what they took; where others do not, a sum would be too low."""
    if not trajectory.model_calls:
        return _unknown("no model call is recorded")
    n_failed = sum(one.error is not None for one in trajectory.model_calls)
    if n_unknown > n_failed or n_unknown == len(trajectory.model_calls):
        return _unknown(f"{n_unknown} of {len(trajectory.model_calls)} model calls do not say")
    return None


def _tokens(target: Target) -> Scored:
    calls = target.trajectory.model_calls
    n_unknown = sum(one.input_tokens is None or one.output_tokens is None for one in calls)
    if missing := _too_many_unknown(target.trajectory, n_unknown):
        return missing
    n_in, n_out = sum(one.input_tokens or 0 for one in calls), sum(one.output_tokens or 0 for one in calls)
    parts = {"input": n_in, "output": n_out, "calls": len(calls), "unknown": n_unknown}
    return Score(value=float(n_in + n_out), explanation=f"{n_in:,} in, {n_out:,} out", parts=parts)


def _cost(target: Target) -> Scored:
    calls = target.trajectory.model_calls
    n_unknown = sum(one.cost_usd is None for one in calls)
    if missing := _too_many_unknown(target.trajectory, n_unknown):
        return missing
    total = sum(one.cost_usd or 0.0 for one in calls)
    return Score(value=total, parts={"calls": len(calls), "unknown": n_unknown})


def _calls_per_turn(target: Target) -> Scored:
    trajectory = target.trajectory
    if not trajectory.model_calls:
        return _unknown("no model call is recorded")
    n_turns = sum(one.role == "user" for one in trajectory.messages)
    if not n_turns:
        return _unknown("no message of the user is recorded")
    n_calls = len(trajectory.model_calls)
    told = f"{n_calls} model calls over {n_turns} messages of the user"
    return Score(value=n_calls / n_turns, explanation=told)


def _slowest(target: Target) -> Scored:
    timed = [
        (call.end_ns - call.start_ns, call)
        for call in target.trajectory.tool_calls
        if call.start_ns is not None and call.end_ns is not None and call.end_ns >= call.start_ns
    ]
    if not target.trajectory.tool_calls:
        return Unscored(reason=Reason.NOT_APPLICABLE, detail="no tool was called")
    if not timed:
        return _unknown("the tool calls have no times")
    taken, slowest = max(timed, key=lambda one: one[0])
    return Score(value=taken / 1e6, label=slowest.name[:100], explanation=slowest.name[:100], span_id=slowest.span_id)


# --- the same over columns ------------------------------------------------------------------------------------------


def _enough(unknown: str) -> pl.Expr:
    n_unknown, n_calls = pl.col(unknown), pl.col("n_model_calls")
    return (n_calls > 0) & (n_unknown <= pl.col("n_model_errors")) & (n_unknown < n_calls)


def _tokens_column() -> pl.Expr:
    both = pl.col("input_tokens").fill_null(0) + pl.col("output_tokens").fill_null(0)
    return pl.when(_enough("n_tokens_unknown")).then(both)


def _cost_column() -> pl.Expr:
    return pl.when(_enough("n_cost_unknown")).then(pl.col("cost_usd").fill_null(0.0))


def _calls_per_turn_column() -> pl.Expr:
    n_calls, n_turns = pl.col("n_model_calls"), pl.col("n_user_messages")
    return pl.when((n_calls > 0) & (n_turns > 0)).then(n_calls / n_turns)


def _spec(
    name: str,
    unit: str,
    summary: str,
    modes: tuple[str, ...],
    targets: frozenset[TargetKind] = _EVERY,
) -> EvaluatorSpec:
    return EvaluatorSpec(
        name=name,
        version="1",
        dimension=Dimension.LATENCY_COST,
        summary=summary,
        failure_modes=modes,
        targets=targets,
        unit=unit,
        direction=Direction.LOWER,
        validity="exact by construction, as exact as the spans' own times and counts",
    )


def _frame(spec: EvaluatorSpec, score: Callable[[Target], Scored], expression: Callable[[], pl.Expr]) -> FrameRule:
    return FrameRule(spec=spec, score=score, expression=expression)


LATENCY_MS: Final = _frame(
    _spec(
        "latency_ms",
        "ms",
        "from the first start to the last end; of a session that includes the user's pauses",
        ("clocks of several machines that differ shift it", "a session with pauses is as long as its user was slow"),
    ),
    _latency,
    lambda: pl.col("duration_ms"),
)
TTFT_MS: Final = _frame(
    _spec(
        "ttft_ms",
        "ms",
        "time to the first token of the first model call that says; parts hold mean and maximum of all",
        ("only streamed calls say it", "what runs before the model call is not in it"),
    ),
    _ttft,
    lambda: pl.col("ttft_first_ms"),
)
TOKENS: Final = _frame(
    _spec(
        "tokens",
        "tokens",
        "input and output tokens of all model calls; unscored where a call that did not fail does not say",
        ("cached input counts in full", "providers count in their own tokens: no comparison between models"),
    ),
    _tokens,
    _tokens_column,
)
COST_USD: Final = _frame(
    _spec(
        "cost_usd",
        "usd",
        "US dollars of all model calls; unscored where a call that did not fail has no known price",
        ("list prices unless the gateway knows better", "tools and retrieval cost nothing here"),
    ),
    _cost,
    _cost_column,
)
MODEL_CALLS_PER_TURN: Final = _frame(
    _spec(
        "model_calls_per_turn",
        "count",
        "model calls per message of the user",
        ("embedding calls count where they are recorded as model calls",),
        _WHOLE,
    ),
    _calls_per_turn,
    _calls_per_turn_column,
)
SLOWEST_TOOL_MS: Final = Rule(
    spec=_spec(
        "slowest_tool_ms",
        "ms",
        "duration of the slowest tool call, whose name is the label",
        ("a tool that waits for a person is slow",),
    ),
    score=_slowest,
)
