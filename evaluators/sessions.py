"""Sessions as columns: what evaluators need of many of them, in one pass over their spans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from core.errors import InvalidInput
from core.windows import Window
from evaluators import outcomes, owners, spoken, steps
from evaluators.protocol import FrameEvaluator
from store import traces
from store.tenant import TenantStore, around

AT_ONCE: Final = 10_000  # sessions

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

_COUNTS: Final = [
    *(name for name in SESSION_COLUMNS if name.startswith("n_")),
    *("max_same_tool_calls", "max_same_tool_run", "user_chars", "agent_chars"),
]


def session_frame(
    store: TenantStore,
    window: Window | None = None,
    *,
    session_ids: Sequence[str] | None = None,
    app: str | None = None,
    as_of_ns: int | None = None,
) -> pl.DataFrame:
    """One row of SESSION_COLUMNS per session that begins in `window`, or per one of `session_ids` that is known (whose
    spans begin in `window`, where both are given); of `app`, where it is given; ordered by session_id.

    What is held in memory at a time is bounded (AT_ONCE sessions). Raises InvalidInput when neither is given.
    """
    if session_ids is None:
        if window is None:
            raise InvalidInput("a window or the ids of the sessions are needed", field="window")
        found = owners.beginning_in(store, window, None, as_of_ns).sort("start_ns", "session_id")
        parts = [
            (part["session_id"].to_list(), around(traces.held_in(part, "start_ns", "end_ns"), traces.MARGIN_S))
            for part in found.iter_slices(AT_ONCE)
        ]
        frames = [_frame(store, ids, within, as_of_ns) for ids, within in parts]
    else:
        ids = list(dict.fromkeys(session_ids))
        frames = [_frame(store, ids[at : at + AT_ONCE], window, as_of_ns) for at in range(0, len(ids), AT_ONCE)]
    whole = pl.concat([pl.DataFrame(schema=SESSION_COLUMNS), *frames]).sort("session_id")
    return whole if app is None else whole.filter(pl.col("app") == app)


def score_frame(frame: pl.DataFrame, evaluators: Sequence[FrameEvaluator]) -> pl.DataFrame:
    """session_id and one f64 column per evaluator, named as it is; null where it is unscored. One pass for all."""
    return frame.select("session_id", *[one.value().cast(pl.Float64).alias(one.spec.name) for one in evaluators])


def _frame(store: TenantStore, ids: Sequence[str], window: Window | None, as_of_ns: int | None) -> pl.DataFrame:
    owned, within = owners.of_sessions(store, ids, window, as_of_ns)
    if within is None:
        return pl.DataFrame(schema=SESSION_COLUMNS)
    read = steps.read(store, owned, within, as_of_ns, results=False)
    frame = read.spans.group_by("target").agg(**steps.bounds(), **_of_spans())
    for part in (_of_turns(read.spans), _of_calls(read.calls), _of_messages(read.messages), _of_documents(read)):
        frame = frame.join(part, on="target", how="left")
    frame = frame.join(outcomes.latest(store, ids, as_of_ns), left_on="target", right_on="session_id", how="left")
    took = _took_ms(frame)
    return frame.with_columns(
        pl.col(*_COUNTS).fill_null(0), session_id="target", duration_ms=pl.when(took >= 0).then(took)
    ).select([pl.col(name).cast(dtype) for name, dtype in SESSION_COLUMNS.items()])


def _of_spans() -> dict[str, pl.Expr]:
    """What the spans of a session say, which are in order of turn and time."""
    called, failed = pl.col("is_model_call"), pl.col("error").is_not_null()
    unknown = pl.col("input_tokens").is_null() | pl.col("output_tokens").is_null()
    sums = {name: _sum(pl.col(name).filter(called)) for name in ("input_tokens", "output_tokens", "cost_usd")}
    ttft = pl.col("ttft_ms").filter(called).drop_nulls()
    return {
        **steps.said_by(("app", "release", "variant", "environment", "user_id")),
        "n_turns": pl.col("turn").n_unique(),
        "n_spans": pl.len(),
        "n_errors": pl.col("failed").sum(),
        "n_model_calls": called.sum(),
        "n_model_errors": (called & failed).sum(),
        **sums,
        "n_tokens_unknown": (called & unknown).sum(),
        "n_cost_unknown": (called & pl.col("cost_usd").is_null()).sum(),
        "ttft_first_ms": ttft.first(),
        "ttft_mean_ms": ttft.mean(),
        "ttft_max_ms": ttft.max(),
        "model_ms": _sum(pl.col("duration_ns").filter(called)) / 1e6,
    }


def _sum(values: pl.Expr) -> pl.Expr:
    """The sum of what is known; null where nothing is."""
    return pl.when(values.count() > 0).then(values.sum())


def _took_ms(frame: pl.DataFrame) -> pl.Series:
    """From start_ns to end_ns, as Python divides: by a number, polars multiplies with its reciprocal instead, which is
    off by a digit now and then."""
    return pl.Series((frame["end_ns"] - frame["start_ns"]).to_numpy() / 1e6)


def _of_turns(spans: pl.DataFrame) -> pl.DataFrame:
    turns = spans.group_by("target", "turn").agg(**steps.bounds())
    turns = turns.with_columns(took=_took_ms(turns).clip(lower_bound=0))
    took = pl.col("took")
    return turns.group_by("target").agg(turn_mean_ms=took.mean(), turn_max_ms=took.max())


def _of_calls(calls: pl.DataFrame) -> pl.DataFrame:
    """Counts of tool calls; arguments are the same when they are equal as JSON."""
    texts = calls["arguments"].unique()
    same = pl.DataFrame({"arguments": texts, "given": [spoken.json_text(spoken.arguments_of(one)) for one in texts]})
    what = calls.join(same, on="arguments", how="left", nulls_equal=True, maintain_order="left")
    what = what.with_columns(run=pl.struct("target", "name", "given").rle_id())
    keys = ["target", "name", "given"]
    repeated = what.group_by(keys).len("n").group_by("target").agg(max_same_tool_calls=pl.col("n").max())
    runs = what.group_by("target", "run").len("n").group_by("target").agg(max_same_tool_run=pl.col("n").max())
    took = (pl.col("end_ns") - pl.col("start_ns")) / 1e6
    counts = what.group_by("target").agg(
        n_tool_calls=pl.len(),
        n_tool_errors=pl.col("error").is_not_null().sum(),
        n_tools=pl.col("name").n_unique(),
        tool_ms=_sum(took),
    )
    return counts.join(repeated, on="target").join(runs, on="target")


def _of_messages(messages: pl.DataFrame) -> pl.DataFrame:
    found: dict[str, pl.Expr] = {}
    for who, role in (("user", "user"), ("agent", "assistant")):
        text = pl.col("text").filter(pl.col("role") == role)
        found |= {
            f"n_{who}_messages": text.len(),
            f"{who}_chars": text.str.len_chars().sum(),
            f"first_{who}_text": text.first(),
            f"last_{who}_text": text.last(),
        }
    return messages.group_by("target", maintain_order=True).agg(**found)


def _of_documents(read: steps.Steps) -> pl.DataFrame:
    texts = read.documents["documents"]
    counted = read.documents.with_columns(
        n=pl.Series([len(list(spoken.documents_of(one))) for one in texts], dtype=pl.Int64)
    )
    return counted.group_by("target").agg(n_documents=pl.col("n").sum())
