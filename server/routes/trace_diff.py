"""Two traces or sessions side by side."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from core.windows import moment_ns
from evaluators.service_diff import read_diff
from server.policy import known_parameters_only
from server.routes.answers import answer
from server.routes.asking import ReadingOf

router = APIRouter(prefix="/api/v1/traces/diff", tags=["traces"], dependencies=[Depends(known_parameters_only)])


class TwoTraces(BaseModel):
    """What is compared: a trace's or a session's id on each side."""

    model_config = ConfigDict(extra="forbid")

    a: Annotated[str, Field(min_length=1, max_length=1000)]
    b: Annotated[str, Field(min_length=1, max_length=1000)]
    as_of: Annotated[str | None, Field(max_length=40)] = None


class DiffSide(BaseModel):
    """One side's totals. Of `kind` trace or session; tokens and cost are of its model calls, null where unknown."""

    id: str
    kind: str
    session_id: str | None
    trace_ids: list[str]
    app: str | None
    release: str | None
    start_ns: int | None
    duration_ms: float | None
    n_model_calls: int
    n_tool_calls: int
    n_steps: int
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    errors: list[str]


class DiffRow(BaseModel):
    """A pair of steps, or a step of one side. `match`: equal, changed, only_a, only_b."""

    match: str
    a: dict[str, Any] | None
    b: dict[str, Any] | None
    differences: list[dict[str, Any]]


class TraceDiff(BaseModel):
    """Two trajectories aligned. `first_divergence` is the row in which they first do something else."""

    a: DiffSide
    b: DiffSide
    rows: list[DiffRow]
    first_difference: int | None
    first_divergence: int | None
    n_equal: int
    n_changed: int
    n_only_a: int
    n_only_b: int
    left_off: dict[str, int]


@router.get("", response_model=TraceDiff)
def diff(reading: ReadingOf, asked: Annotated[TwoTraces, Query()]) -> Response:
    """The steps of two traces or sessions, aligned."""
    as_of_ns = None if asked.as_of is None else moment_ns(asked.as_of, "as_of")
    return answer(read_diff(reading.store, asked.a, asked.b, as_of_ns=as_of_ns))
