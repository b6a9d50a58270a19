"""The rows that reading routes answer with, for the API's description. The store's frames have these columns."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class SpanRow(BaseModel):
    """A span without its long text. Times are nanoseconds since the epoch; previews have at most 300 characters."""

    trace_id: str
    span_id: str
    parent_span_id: str | None
    name: str | None
    kind: str | None
    start_ns: int
    end_ns: int | None
    started_at: str
    duration_ms: float | None
    status: str
    status_message: str | None
    app: str | None
    release: str | None
    variant: str | None
    environment: str | None
    session_id: str | None
    user_id: str | None
    provider: str | None
    model: str | None
    input_tokens: int | None
    output_tokens: int | None
    total_tokens: int | None
    cache_read_tokens: int | None
    reasoning_tokens: int | None
    cost_usd: float | None
    usage_counted: bool | None
    ttft_ms: float | None
    agent_name: str | None
    tool_name: str | None
    error_type: str | None
    issues: list[str]
    scope_name: str | None
    input_preview: str | None
    output_preview: str | None


class ScoreRow(BaseModel):
    """A score. `unscored` is the reason why there is neither value nor label."""

    score_id: str
    at: str
    evaluator: str
    evaluator_version: str
    evaluator_kind: str
    target: str
    trace_id: str | None
    span_id: str | None
    session_id: str | None
    value: float | None
    label: str | None
    explanation: str | None
    unscored: str | None
    author: str | None
    metadata: dict[str, Any]


class TraceRow(BaseModel):
    """A trace (turn): the totals of its spans, and its root's name, status, input and output (500 characters)."""

    trace_id: str
    name: str | None
    app: str | None
    release: str | None
    variant: str | None
    environment: str | None
    session_id: str | None
    user_id: str | None
    start_ns: int
    end_ns: int
    started_at: str
    duration_ms: float | None
    status: str
    n_spans: int
    n_errors: int
    n_model_calls: int
    n_tool_calls: int
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    models: list[str]
    input: str | None
    output: str | None
    root_missing: bool


class ExactTrace(TraceRow):
    """A trace with its cost to the last digit."""

    cost_usd_exact: str | None


class FullSpan(SpanRow):
    """A span row with its text and attributes; they are there with fields=full only."""

    input: str | None = None
    output: str | None = None
    attributes: dict[str, Any] | None = None


class WholeSpan(SpanRow):
    """Everything that is known of a span. `attributes` holds every original one with its type."""

    input: str | None
    output: str | None
    system_messages: list[Any] | None
    input_messages: list[Any] | None
    output_messages: list[Any] | None
    documents: Any
    tool_call_id: str | None
    tool_arguments: str | None
    tool_result: str | None
    attributes: dict[str, Any]
    resource: dict[str, Any]
    events: list[dict[str, Any]]
    links: list[dict[str, Any]]
    scope_version: str | None
    flags: int | None
    trace_state: str | None
    scores: list[ScoreRow]
    seq: int | None


class SessionRow(BaseModel):
    """A session: the totals of its turns; app, release, variant and user of the first."""

    session_id: str
    app: str | None
    release: str | None
    variant: str | None
    user_id: str | None
    start_ns: int
    end_ns: int
    started_at: str
    duration_ms: float | None
    n_turns: int
    n_spans: int
    n_errors: int
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    first_input: str | None


class ExactSession(SessionRow):
    """A session with its cost to the last digit."""

    cost_usd_exact: str | None


class SessionTurn(ExactTrace):
    """A turn with its whole input and output, its scores, the gap since the turn before ended, and its failure in its
    root's words."""

    scores: list[ScoreRow]
    error: str | None
    gap_ms: float | None


class FoundSpan(SpanRow):
    """A span that was searched for: where the text is, and what stands around it."""

    matched_in: str
    snippet: str | None


class AppRow(BaseModel):
    """An app's totals in the window; `app` is null for traces that name none."""

    app: str | None
    n_turns: int
    n_spans: int
    n_errors: int
    cost_usd: float | None
    input_tokens: int | None
    output_tokens: int | None
    last_seen_at: str
    releases: list[str]
    environments: list[str]


class FacetRow(BaseModel):
    """How many traces have a value."""

    value: str | None
    count: int


class Spans(BaseModel):
    """A page of spans, newest first."""

    items: list[SpanRow]
    next_cursor: str | None


class FoundSpans(BaseModel):
    """A page of found spans, newest first."""

    items: list[FoundSpan]
    next_cursor: str | None


class Traces(BaseModel):
    """A page of traces, newest first."""

    items: list[TraceRow]
    next_cursor: str | None


class Trace(BaseModel):
    """A trace and a page of its spans in order of start. `n_spans` counts all of them."""

    trace: ExactTrace
    spans: list[FullSpan]
    scores: list[ScoreRow]
    next_cursor: str | None
    n_spans: int


class Sessions(BaseModel):
    """A page of sessions, newest first."""

    items: list[SessionRow]
    next_cursor: str | None


class Session(BaseModel):
    """A session and a page of its turns in order."""

    session: ExactSession
    turns: list[SessionTurn]
    next_cursor: str | None


class Scores(BaseModel):
    """A page of scores, newest first."""

    items: list[ScoreRow]
    next_cursor: str | None


class Apps(BaseModel):
    """The apps of a window."""

    items: list[AppRow]
    next_cursor: None = None


class Facets(BaseModel):
    """The values of a field, most frequent first."""

    items: list[FacetRow]
    next_cursor: None = None


class Rollups(BaseModel):
    """Cells in order of time; the columns asked for by group_by stand beside these."""

    items: list[dict[str, Any]]
    next_cursor: None = None


class Count(BaseModel):
    """A number of spans."""

    count: int
