"""Trajectories from the store: what spans in any dialect say of a session or a trace, in a few queries for many."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

import ibis
import ibis.expr.types as ir
import polars as pl

from core.records import SpanKind, TargetKind
from core.windows import Window
from evaluators import outcomes, owners, spoken, steps
from evaluators.records import Document, Expected, Message, ModelCall, Target, ToolCall, Trajectory
from store.engine import table_of
from store.tenant import TenantStore

END_STATE: Final = "assay.end_state"  # on a root or an agent's span: JSON of the world after the turn
MOST_ERRORS: Final = 100
_ERROR_CHARS: Final = 500
_PLACE: Final = ("app", "release", "variant", "user_id", "session_id")


def trajectories(
    store: TenantStore,
    *,
    session_ids: Sequence[str] = (),
    trace_ids: Sequence[str] = (),
    within: Window | None = None,
    as_of_ns: int | None = None,
) -> dict[str, Trajectory]:
    """The trajectories of these sessions by session id, and of these traces by trace id; what is unknown is missing.

    `within` says where their spans begin, where the caller knows: it spares looking for them. A trace is a turn.
    evaluators/steps.py says what counts as a message, a tool call or a model call.
    """
    found: dict[str, Trajectory] = {}
    for ids, owned_by in ((session_ids, owners.of_sessions), (trace_ids, owners.of_traces)):
        if ids:
            owned, window = owned_by(store, ids, within, as_of_ns)
            if window is not None:
                read = steps.read(store, owned, window, as_of_ns)
                found |= of_steps(read, _attributes(store, read.spans, window, as_of_ns))
    ended = outcomes.latest(store, session_ids, as_of_ns) if session_ids else pl.DataFrame()
    for name, value in ended.select("session_id", "outcome").iter_rows() if ended.height else ():
        if name in found:
            found[name] = replace(found[name], outcome=value)
    return found


def targets(
    store: TenantStore,
    *,
    session_ids: Sequence[str] = (),
    trace_ids: Sequence[str] = (),
    expected: Mapping[str, Expected] | None = None,
    within: Window | None = None,
    as_of_ns: int | None = None,
) -> dict[str, Target]:
    """As `trajectories`, as targets of kind session or turn, with what `expected` says of an id."""
    said = expected or {}
    read = trajectories(store, session_ids=session_ids, trace_ids=trace_ids, within=within, as_of_ns=as_of_ns)
    sessions = set(session_ids)
    return {
        name: Target(
            kind=TargetKind.SESSION if name in sessions else TargetKind.TURN, trajectory=one, expected=said.get(name)
        )
        for name, one in read.items()
    }


def of_steps(read: steps.Steps, attributes: Mapping[str, Mapping[str, str]]) -> dict[str, Trajectory]:
    """The trajectories by target; `attributes` are those of each target's top spans."""
    messages = _grouped(read.messages, _message)
    calls = _grouped(read.calls, _tool_call)
    models = _grouped(read.spans.filter("is_model_call"), _model_call)
    errors = _grouped(read.spans.filter("failed"), _error)
    documents = _grouped(read.documents, _documents)
    return {
        row["target"]: Trajectory(
            session_id=row["session_id"],
            trace_ids=tuple(row["trace_ids"]),
            app=row["app"],
            release=row["release"],
            variant=row["variant"],
            user_id=row["user_id"],
            messages=tuple(messages[row["target"]]),
            tool_calls=tuple(calls[row["target"]]),
            model_calls=tuple(models[row["target"]]),
            documents=tuple(one for some in documents[row["target"]] for one in some),
            start_ns=row["start_ns"],
            end_ns=row["end_ns"],
            n_spans=row["n_spans"],
            errors=tuple(dict.fromkeys(errors[row["target"]]))[:MOST_ERRORS],
            end_state=_end_state(attributes.get(row["target"], {})),
            attributes=attributes.get(row["target"], {}),
        )
        for row in _heads(read.spans).iter_rows(named=True)
    }


def _heads(spans: pl.DataFrame) -> pl.DataFrame:
    """One row a target: what its first top span says, else the first span that does; its traces, bounds and size."""
    return spans.group_by("target", maintain_order=True).agg(
        trace_ids=pl.col("trace_id").unique(maintain_order=True),
        n_spans=pl.len(),
        **steps.bounds(),
        **steps.said_by(_PLACE),
    )


def _grouped(frame: pl.DataFrame, made: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = defaultdict(list)
    for row in frame.iter_rows(named=True):
        found[row["target"]].append(made(row))
    return found


def _message(row: Mapping[str, Any]) -> Message:
    return Message(role=row["role"], text=row["text"], turn=row["turn"], at_ns=row["at_ns"], span_id=row["span_id"])


def _tool_call(row: Mapping[str, Any]) -> ToolCall:
    return ToolCall(
        name=row["name"] or "unknown",
        arguments=spoken.arguments_of(row["arguments"]),
        result=spoken.value_of(row["result"]),
        error=row["error"],
        turn=row["turn"],
        start_ns=row["start_ns"],
        end_ns=row["end_ns"],
        trace_id=row["trace_id"],
        span_id=row["span_id"],
    )


def _model_call(row: Mapping[str, Any]) -> ModelCall:
    return ModelCall(
        model=row["model"],
        input_tokens=row["input_tokens"],
        output_tokens=row["output_tokens"],
        cost_usd=row["cost_usd"],
        ttft_ms=row["ttft_ms"],
        duration_ms=None if row["duration_ns"] is None else row["duration_ns"] / 1e6,
        error=row["error"],
        finish_reasons=row["finish_reasons"],
        turn=row["turn"],
        start_ns=row["start_ns"],
        span_id=row["span_id"],
    )


def _error(row: Mapping[str, Any]) -> str:
    return f"{row['name']}: {row['error']}"[:_ERROR_CHARS]


def _documents(row: Mapping[str, Any]) -> list[Document]:
    return [
        Document(document_id=document_id, text=text, score=score, turn=row["turn"])
        for document_id, text, score in spoken.documents_of(row["documents"])
    ]


def _end_state(said: Mapping[str, str]) -> Mapping[str, Any] | None:
    found = spoken.parsed(said.get(END_STATE))
    return found if isinstance(found, Mapping) else None


def _attributes(
    store: TenantStore, spans: pl.DataFrame, window: Window, as_of_ns: int | None
) -> dict[str, dict[str, str]]:
    """The attributes of each target's top spans, where a later one's replace an earlier one's; and the end state that
    an agent below told, as one behind a gateway is."""
    tops = spans.filter(pl.col("is_top") | (pl.col("kind") == SpanKind.AGENT.value))
    tops = tops.select("target", "is_top", "trace_id", "span_id", "seq")
    asked = tops.select("trace_id", "span_id").unique().to_arrow()
    told = store.arrow(_of_tops(), window, as_of_ns, given={"asked": asked})
    ids = zip(*(told.column(name).to_pylist() for name in ("trace_id", "span_id", "seq")), strict=True)
    by_span = dict(zip(ids, told.column("attributes").to_pylist(), strict=True))
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for target, is_top, *span in tops.iter_rows():
        said = by_span.get(tuple(span)) or ()
        found[target] |= {key: value for key, value in said if value is not None and (is_top or key == END_STATE)}
    return found


@lru_cache(maxsize=1)
def _of_tops() -> ir.Table:
    spans = table_of("spans")
    asked = ibis.table({"trace_id": "string", "span_id": "string"}, name="asked")
    rows = spans.semi_join(asked, ["trace_id", "span_id"])
    return rows.select("trace_id", "span_id", "seq", "tenant", "attributes")
