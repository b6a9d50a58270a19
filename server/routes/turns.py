"""Turns: the same rows as traces, under the name that sessions use."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from server.policy import known_parameters_only
from server.routes import rows
from server.routes.answers import listed
from server.routes.asking import FilteredList, ReadingOf
from server.routes.traces import BOUNDS
from store import traces

router = APIRouter(prefix="/api/v1/turns", tags=["turns"], dependencies=[Depends(known_parameters_only)])


@router.get("", response_model=rows.Traces)
def list_turns(reading: ReadingOf, asked: Annotated[FilteredList, Query()]) -> Response:
    """Turns that start in the window, newest first."""
    wanted = reading.asked(asked, asked.filters())
    frame = traces.list_traces(reading.store, wanted)
    return listed(reading, asked, frame, window=wanted.window, order="start_ns", row_id="trace_id", hidden=BOUNDS)
