"""Facets: how many traces of a list have each value of a field."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from server.policy import known_parameters_only
from server.routes import rows
from server.routes.answers import answer, arrow
from server.routes.asking import FilteredTimes, ReadingOf
from store.asked import Asked
from store.facets import FacetField, facets

router = APIRouter(prefix="/api/v1/facets", tags=["facets"], dependencies=[Depends(known_parameters_only)])


class AskedFacets(FilteredTimes):
    """The field whose values are counted."""

    field: FacetField


@router.get("", response_model=rows.Facets)
def read_facets(reading: ReadingOf, asked: Annotated[AskedFacets, Query()]) -> Response:
    """The field's values among the traces that start in the window, most frequent first."""
    wanted = Asked(window=reading.window(asked), filters=asked.filters(), as_of_ns=reading.as_of_ns(asked))
    frame = facets(reading.store, wanted, asked.field)
    return arrow(frame) if reading.arrow else answer({"items": frame.to_dicts(), "next_cursor": None})
