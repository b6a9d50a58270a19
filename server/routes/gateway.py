"""The gateway: as its calls show it in the window, from the lake; and as it says of itself now."""

from __future__ import annotations

import http.client
import json
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from auth.keys import credential_of
from server.policy import known_parameters_only
from server.routes.answers import answer
from server.routes.asking import ReadingOf, Text, Times
from store.gateway_calls import CallsAsked, gateway_summary

router = APIRouter(prefix="/api/v1/gateway", tags=["gateway"], dependencies=[Depends(known_parameters_only)])


ASK_S: Final = 2.0
_MOST_BYTES: Final = 4 << 20


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
    """One refused call; `rule` is the content rule or the budget that refused it."""

    trace_id: str
    span_id: str
    started_at: str
    app: str | None
    code: str
    model: str | None
    why: str | None
    rule: str | None


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
    """The gateway's calls of one app, or of all, in a window. `bucket` of the series: 1m, 5m, 15m, 1h, 6h, 1d; what
    makes few cells when it is left out."""

    app: Text = None
    bucket: Annotated[str | None, Field(max_length=10)] = None


class GatewayStatus(BaseModel):
    """`running`: a gateway answers on this machine; what it said follows, as the caller's tenant may see it. Else
    `why` says what happened."""

    model_config = ConfigDict(extra="allow")

    running: bool
    why: str | None
    upstreams: list[dict[str, Any]]
    models: list[dict[str, Any]]
    budgets: list[dict[str, Any]]


@router.get("/summary", response_model=GatewaySummary)
def summarise(reading: ReadingOf, asked: Annotated[AskedSummary, Query()]) -> Response:
    """Outcomes over time, latency, overhead, cache, upstreams, masked values and refusals of the window's calls."""
    window = reading.window(asked)
    wanted = CallsAsked(window=window, app=asked.app, bucket=asked.bucket, as_of_ns=reading.as_of_ns(asked))
    return answer(gateway_summary(reading.store, wanted))


@router.get("/status", response_model=GatewayStatus)
def read_status(request: Request, reading: ReadingOf) -> Response:
    """What the gateway on this machine says of its upstreams, models, budgets and configuration; `running` false where
    none answers."""
    told, why = gateway_says(reading.services.settings.gateway_port, credential_of(request.headers.items()) or "")
    known: dict[str, Any] = {"upstreams": [], "models": [], "budgets": []}
    return answer({**known, **told, "running": not why, "why": why or None})


def gateway_says(port: int, key: str) -> tuple[dict[str, Any], str]:
    """The gateway's own words to this caller, or why there are none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ASK_S)
    try:
        connection.request("GET", "/status", headers={"Authorization": f"Bearer {key}"})
        response = connection.getresponse()
        body = response.read(_MOST_BYTES)
        found = json.loads(body) if response.status == 200 else None
    except (OSError, http.client.HTTPException, ValueError) as error:
        return {}, f"no gateway answers on port {port}: {str(error)[:200] or type(error).__name__}"
    finally:
        connection.close()
    if not isinstance(found, dict):
        return {}, f"what answers on port {port} is no gateway of this instance: it said {response.status}"
    return found, ""
