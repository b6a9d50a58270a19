"""How frames become answers: JSON items with a cursor, or an Arrow stream of the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import polars as pl
import pyarrow as pa
from fastapi import Response

from core.windows import Window
from server.incomplete import warnings
from server.routes.asking import ARROW, Lists, Reading
from store.cursor import Position


def listed(
    reading: Reading,
    lists: Lists,
    frame: pl.DataFrame,
    *,
    window: Window,
    order: str,
    row_id: str,
    hidden: Sequence[str] = (),
) -> Response:
    """The answer of a list: `frame` holds up to one row more than asked for, in the list's order.

    `order` and `row_id` name the columns that continue the list; `hidden` columns are not shown.
    """
    page = frame.head(lists.limit)
    shown = page.drop([name for name in hidden if name in page.columns])
    if reading.arrow:
        return arrow(shown)
    return answer({"items": shown.to_dicts(), "next_cursor": next_cursor(reading, lists, frame, window, order, row_id)})


def next_cursor(
    reading: Reading, lists: Lists, frame: pl.DataFrame, window: Window, order: str, row_id: str
) -> str | None:
    """The cursor after row `lists.limit` of a frame, None when the frame has no more."""
    if frame.height <= lists.limit:
        return None
    last = frame.row(lists.limit - 1, named=True)
    return reading.cursor(Position(order=last[order], row_id=last[row_id], window=window))


def answer(body: Mapping[str, Any], status: int = 200) -> Response:
    """A JSON answer. NaN and infinities become null. Where damaged files were left out, `warnings` says so."""
    told = warnings()
    whole = {**body, "warnings": told} if told else body
    return Response(orjson.dumps(whole, default=str), status_code=status, media_type="application/json")


def arrow(frame: pl.DataFrame) -> Response:
    """An Arrow IPC stream of one table."""
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return Response(sink.getvalue().to_pybytes(), media_type=ARROW)
