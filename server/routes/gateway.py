"""The gateway as its calls show it in the window, from the lake."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel

from server.policy import known_parameters_only
from server.routes.answers import answer
from server.routes.asking import ReadingOf, Text, Times
from store.gateway_calls import CallsAsked, gateway_summary

router = APIRouter(prefix="/api/v1/gateway", tags=["gateway"], dependencies=[Depends(known_parameters_only)])


class Cell(BaseModel):
    """Calls that started in one bucket of time, by outcome; answers from the cache are among the ok."""

    bucket_ns: int
    bucket_at: str
    ok: int
    error: int
    refused: int
    aborted: int
    n_cache_hits: int


class Durations(BaseModel):
    """A measure of `n` calls in milliseconds; quantiles to 1 %."""

    n: int
    mean_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


class PolicyTime(Durations):
    """What one policy took of each call it looked at."""

    policy: str


class CacheUse(BaseModel):
    """`n_looked_up` calls asked the cache. `saved_usd` is an estimate: what calls of the same model that an upstream
    answered cost on average."""

    n_looked_up: int
    n_exact: int
    n_semantic: int
    hit_rate: float | None
    saved_usd: float | None


class Fallbacks(BaseModel):
    """Calls that went on to an upstream because of what happened before it."""

    reason: str
    n: int


class Upstream(BaseModel):
    """Requests to an upstream, each attempt once, and the calls that came to it from another."""

    upstream: str
    n_requests: int
    n_errors: int
    error_rate: float
    cost_usd: float | None
    fallbacks: list[Fallbacks]


class Masked(BaseModel):
    """How many values of a kind were masked."""

    entity: str
    n: int


class RefusedCall(BaseModel):
    """One refused call."""

    trace_id: str
    span_id: str
    started_at: str
    app: str | None
    code: str
    model: str | None
    why: str | None


class Refused(BaseModel):
    """Calls refused for one reason, and the latest of them."""

    code: str
    n: int
    examples: list[RefusedCall]


class GatewaySummary(BaseModel):
    """The calls of the window. `overhead_ms` is what the gateway added; null where there was nothing to measure."""

    n_calls: int
    outcomes: dict[str, int]
    cost_usd: float | None
    input_tokens: int
    output_tokens: int
    bucket_s: int
    series: list[Cell]
    latency_ms: Durations | None
    overhead_ms: Durations | None
    policies: list[PolicyTime]
    cache: CacheUse
    upstreams: list[Upstream]
    masked: list[Masked]
    refused: list[Refused]


class AskedSummary(Times):
    """The gateway's calls of one app, or of all, in a window."""

    app: Text = None


@router.get("/summary", response_model=GatewaySummary)
def summarise(reading: ReadingOf, asked: Annotated[AskedSummary, Query()]) -> Response:
    """Outcomes over time, latency, overhead, cache, upstreams, masked values and refusals of the window's calls."""
    wanted = CallsAsked(window=reading.window(asked), app=asked.app, as_of_ns=reading.as_of_ns(asked))
    return answer(gateway_summary(reading.store, wanted))
