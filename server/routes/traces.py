"""Traces: list, one trace with its spans by pages, one span whole."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final

import polars as pl
from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from core import ids
from core.errors import NotFound
from core.windows import Window, moment_ns
from server.policy import known_parameters_only
from server.routes import rows
from server.routes.answers import answer, listed
from server.routes.asking import FilteredList, Reading, ReadingOf
from server.routes.scored import score_rows
from store import scores, spans, traces
from store.cursor import Position
from store.span_detail import attributes_of, detail_of

router = APIRouter(prefix="/api/v1/traces", tags=["traces"], dependencies=[Depends(known_parameters_only)])

SPANS_PER_PAGE: Final = 5000
BOUNDS: Final = ("first_ns", "last_ns", "reach_ns", "root_span_id", "cost_usd_exact")
_RAW: Final = ("attribute_types", "moved_attributes", "row_id", "seq", "tenant")


class SpanFields(StrEnum):
    """light: span rows. full: with input, output and attributes."""

    LIGHT = "light"
    FULL = "full"


class OneTrace(BaseModel):
    """How a trace's spans are paged."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=10_000)] = SPANS_PER_PAGE
    cursor: Annotated[str | None, Field(max_length=2000)] = None
    fields: SpanFields = SpanFields.LIGHT
    as_of: Annotated[str | None, Field(max_length=40)] = None


@router.get("", response_model=rows.Traces)
def list_traces(reading: ReadingOf, asked: Annotated[FilteredList, Query()]) -> Response:
    """Traces that start in the window, newest first."""
    wanted = reading.asked(asked, asked.filters())
    frame = traces.list_traces(reading.store, wanted)
    return listed(reading, asked, frame, window=wanted.window, order="start_ns", row_id="trace_id", hidden=BOUNDS)


@router.get("/{trace_id}", response_model=rows.Trace)
def read_trace(reading: ReadingOf, trace_id: str, asked: Annotated[OneTrace, Query()]) -> Response:
    """A trace, its scores, and a page of its spans in order of start."""
    known, as_of_ns = ids.trace_id(trace_id), _as_of(asked.as_of)
    position = reading.position(asked.cursor)
    trace = _trace(reading, known, as_of_ns)
    within = _extent(trace)
    full = asked.fields is SpanFields.FULL
    found = spans.spans_of_trace(
        reading.store,
        known,
        within=within,
        limit=asked.limit + 1,
        after=(position.order, position.row_id) if position else None,
        full=full,
        as_of_ns=as_of_ns,
    )
    shown = [_span(row, full) for row in found.head(asked.limit).to_dicts()]
    more = None
    if found.height > asked.limit:
        last = found.row(asked.limit - 1, named=True)
        more = reading.cursor(Position(order=last["start_ns"], row_id=last["row_id"], window=within))
    return answer(
        {
            "trace": {k: v for k, v in trace.items() if k not in BOUNDS or k == "cost_usd_exact"},
            "spans": shown,
            "scores": score_rows(scores.scores_of(reading.store, trace_ids=[known], as_of_ns=as_of_ns)),
            "next_cursor": more,
            "n_spans": trace["n_spans"],
        }
    )


@router.get("/{trace_id}/spans/{span_id}", response_model=rows.WholeSpan)
def read_span(reading: ReadingOf, trace_id: str, span_id: str, as_of: str | None = None) -> Response:
    """One span with everything that is known of it."""
    known, wanted, as_of_ns = ids.trace_id(trace_id), ids.span_id(span_id), _as_of(as_of)
    within = _extent(_trace(reading, known, as_of_ns))
    whole = spans.whole_span(reading.store, known, wanted, within=within, as_of_ns=as_of_ns)
    row = spans.row_of_whole(whole)
    told = score_rows(scores.scores_of(reading.store, trace_ids=[known], as_of_ns=as_of_ns))
    own = [score for score in told if score["span_id"] == wanted]
    return answer({**row, **detail_of(whole), "scores": own})


def _trace(reading: Reading, trace_id: str, as_of_ns: int | None) -> dict[str, Any]:
    found: pl.DataFrame = traces.trace(reading.store, trace_id, as_of_ns=as_of_ns)
    if not found.height:
        raise NotFound(f"there is no trace {trace_id}")
    return found.row(0, named=True)


def _extent(trace: dict[str, Any]) -> Window:
    return spans.trace_window(trace["first_ns"], trace["reach_ns"])


def _span(row: dict[str, Any], full: bool) -> dict[str, Any]:
    attributes = {"attributes": attributes_of(row)} if full else {}
    return {k: v for k, v in row.items() if k not in _RAW} | attributes


def _as_of(text: str | None) -> int | None:
    return None if text is None else moment_ns(text, "as_of")
