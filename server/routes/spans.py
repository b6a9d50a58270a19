"""Spans: list and count."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Response

from server.policy import known_parameters_only
from server.routes import rows
from server.routes.answers import answer, listed
from server.routes.asking import FilteredList, FilteredTimes, ReadingOf
from store import spans
from store.asked import Asked

router = APIRouter(prefix="/api/v1/spans", tags=["spans"], dependencies=[Depends(known_parameters_only)])

HIDDEN: Final = ("row_id", "seq", "listed_ns")


@router.get("", response_model=rows.Spans)
def list_spans(reading: ReadingOf, asked: Annotated[FilteredList, Query()]) -> Response:
    """Spans that start in the window, newest first."""
    wanted = reading.asked(asked, asked.filters())
    frame = spans.list_spans(reading.store, wanted)
    return listed(reading, asked, frame, window=wanted.window, order="start_ns", row_id="row_id", hidden=HIDDEN)


@router.get("/count", response_model=rows.Count)
def count_spans(reading: ReadingOf, asked: Annotated[FilteredTimes, Query()]) -> Response:
    """How many spans start in the window."""
    wanted = Asked(window=reading.window(asked), filters=asked.filters(), as_of_ns=reading.as_of_ns(asked))
    return answer({"count": spans.count_spans(reading.store, wanted)})
