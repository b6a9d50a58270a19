"""Apps: what each agent application did in a window."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from server.policy import known_parameters_only
from server.routes import rows
from server.routes.answers import answer, arrow
from server.routes.asking import ReadingOf, Times
from store.apps import apps

router = APIRouter(prefix="/api/v1/apps", tags=["apps"], dependencies=[Depends(known_parameters_only)])


@router.get("", response_model=rows.Apps)
def list_apps(reading: ReadingOf, asked: Annotated[Times, Query()]) -> Response:
    """The apps with turns that start in the window, most turns first."""
    frame = apps(reading.store, reading.window(asked), as_of_ns=reading.as_of_ns(asked))
    return arrow(frame) if reading.arrow else answer({"items": frame.to_dicts(), "next_cursor": None})
