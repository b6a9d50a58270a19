"""Search over the text of spans."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field

from server.policy import known_parameters_only
from server.routes import rows
from server.routes.answers import listed
from server.routes.asking import FilteredList, ReadingOf
from server.routes.spans import HIDDEN
from store.search import search

router = APIRouter(prefix="/api/v1/search", tags=["search"], dependencies=[Depends(known_parameters_only)])


class AskedSearch(FilteredList):
    """The text to look for, whatever its case."""

    q: Annotated[str, Field(min_length=1, max_length=1000)]


@router.get("", response_model=rows.FoundSpans)
def search_spans(reading: ReadingOf, asked: Annotated[AskedSearch, Query()]) -> Response:
    """Spans whose name, input, output or attribute values contain the text, newest first."""
    wanted = reading.asked(asked, asked.filters())
    frame = search(reading.store, wanted)
    return listed(reading, asked, frame, window=wanted.window, order="start_ns", row_id="row_id", hidden=HIDDEN)
