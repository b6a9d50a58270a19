"""Sessions as columns: what evaluators need of many of them, in one pass over their spans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from core.windows import Window
from evaluators.protocol import FrameEvaluator
from store.tenant import TenantStore

# One row a session. What counts as a turn, tool call or model call is what it is in evaluators.reading, so that a
# count here is the length of the tuple there. Sums are null, not 0, where nothing was known.
SESSION_COLUMNS: Final[dict[str, type[pl.DataType]]] = {
    "session_id": pl.String,
    "app": pl.String,
    "release": pl.String,
    "variant": pl.String,
    "environment": pl.String,
    "user_id": pl.String,
    "start_ns": pl.Int64,
    "end_ns": pl.Int64,
    "duration_ms": pl.Float64,  # Trajectory.duration_ms
    "n_turns": pl.Int64,  # traces
    "n_spans": pl.Int64,
    "n_errors": pl.Int64,  # failed spans
    "n_model_calls": pl.Int64,  # len(model_calls)
    "n_model_errors": pl.Int64,
    "n_tool_calls": pl.Int64,  # len(tool_calls)
    "n_tool_errors": pl.Int64,
    "n_tools": pl.Int64,  # different names among them
    "max_same_tool_calls": pl.Int64,  # most calls of one tool with the same arguments; 0 without calls
    "max_same_tool_run": pl.Int64,  # most of them directly after one another
    "n_documents": pl.Int64,  # len(documents)
    "input_tokens": pl.Int64,  # over the model calls that say
    "output_tokens": pl.Int64,
    "n_tokens_unknown": pl.Int64,  # model calls that lack input or output tokens
    "cost_usd": pl.Float64,  # over the model calls whose cost is known
    "n_cost_unknown": pl.Int64,
    "ttft_first_ms": pl.Float64,  # of the first model call that says; the others over all that say
    "ttft_mean_ms": pl.Float64,
    "ttft_max_ms": pl.Float64,
    "model_ms": pl.Float64,  # the durations of the model calls, added
    "tool_ms": pl.Float64,
    "turn_mean_ms": pl.Float64,  # from a turn's first span to the end of its last
    "turn_max_ms": pl.Float64,
    "n_user_messages": pl.Int64,
    "n_agent_messages": pl.Int64,  # messages of role assistant
    "user_chars": pl.Int64,
    "agent_chars": pl.Int64,
    "first_user_text": pl.String,
    "last_user_text": pl.String,
    "first_agent_text": pl.String,
    "last_agent_text": pl.String,  # Trajectory.answer
    "outcome": pl.Float64,  # the value of the session's latest outcome score
    "outcome_label": pl.String,
    "outcome_evaluator": pl.String,
}


def session_frame(
    store: TenantStore,
    window: Window | None = None,
    *,
    session_ids: Sequence[str] | None = None,
    app: str | None = None,
    as_of_ns: int | None = None,
) -> pl.DataFrame:
    """One row of SESSION_COLUMNS per session that begins in `window`, or per one of `session_ids` that is known (in
    `window` where both are given), ordered by session_id. Raises InvalidInput when neither is given.
    """
    raise NotImplementedError


def score_frame(frame: pl.DataFrame, evaluators: Sequence[FrameEvaluator]) -> pl.DataFrame:
    """session_id and one f64 column per evaluator, named as it is; null where it is unscored. One pass for all."""
    return frame.select("session_id", *[one.value().cast(pl.Float64).alias(one.spec.name) for one in evaluators])
