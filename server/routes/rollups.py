"""Rollups: counts, errors, latency, tokens and cost over time."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field

from server.policy import known_parameters_only
from server.routes import rows
from server.routes.answers import answer, arrow
from server.routes.asking import ReadingOf, Text, Times
from store.rollups import GROUPS, RollupsAsked, rollups

router = APIRouter(prefix="/api/v1/rollups", tags=["rollups"], dependencies=[Depends(known_parameters_only)])


class AskedRollups(Times):
    """`bucket` 1m, 5m, 15m, 1h, 6h, 1d or all (one for the window); `level` "turn" or a span kind; `group_by` any of
    app, release, variant and model, separated by commas; app, release, variant and model filter."""

    bucket: Annotated[str, Field(max_length=10)] = "1h"
    level: Annotated[str, Field(max_length=40)] = "turn"
    group_by: Annotated[str, Field(max_length=100)] = ""
    app: Text = None
    release: Text = None
    variant: Text = None
    model: Text = None


@router.get("", response_model=rows.Rollups)
def read_rollups(reading: ReadingOf, asked: Annotated[AskedRollups, Query()]) -> Response:
    """Cells of the window in order of time."""
    equal = tuple((name, getattr(asked, name)) for name in GROUPS if getattr(asked, name) is not None)
    wanted = RollupsAsked(
        window=reading.window(asked),
        bucket=asked.bucket,
        level=asked.level,
        group_by=tuple(name.strip() for name in asked.group_by.split(",") if name.strip()),
        equal=equal,
        as_of_ns=reading.as_of_ns(asked),
    )
    frame = rollups(reading.store, wanted)
    return arrow(frame) if reading.arrow else answer({"items": frame.to_dicts(), "next_cursor": None})
