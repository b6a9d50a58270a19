"""The newest runs of a job: what each took, as bars in the colour of how it ended, and as a list."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import streamlit as st

from dashboard import human
from dashboard.api import Row
from dashboard.parts import frame, lists, palette, picture
from dashboard.text import chart_text, one_line

_COLOURS: Final = {"succeeded": "green", "failed": "orange", "dead": "red"}
_GRID: Final = {"succeeded": "green", "failed": "orange", "dead": "red"}
_MOST: Final = 20


def show(job: Row) -> None:
    """Both; nothing where no run is over."""
    runs: Sequence[Row] = job["runs"]
    if not runs:
        st.text("No run is over yet.")
        return
    _bars(runs)
    _list(runs)


def _bars(runs: Sequence[Row]) -> None:
    longest = max((one["took_ms"] or 0.0 for one in runs), default=0.0)
    unit, size = ("s", 1000.0) if longest >= 1000 else ("ms", 1.0)
    shade = palette.colours()
    traces: list[dict[str, Any]] = []
    for state, colour in _COLOURS.items():
        mine = [one for one in runs if one["state"] == state]
        if mine:
            traces.append(
                {
                    "type": "bar",
                    "name": state,
                    "x": [one["number"] for one in mine],
                    "y": [max(one["took_ms"] or 0.0, longest / 100) / size for one in mine],
                    "width": 0.75,  # else plotly takes the distance between bars of one colour
                    "marker": {"color": shade[colour], "line": {"width": 0}},
                    "text": [_hover(one) for one in mine],
                    "textposition": "none",
                    "hovertemplate": "%{text}<extra></extra>",
                }
            )
    layout = {
        "height": 240,
        "barmode": "overlay",
        "xaxis": {"showgrid": False, "tickformat": "d", "title": {"text": "run"}, "nticks": 12},
        "yaxis": {"ticksuffix": f" {unit}", "rangemode": "tozero", "nticks": 5},
        "showlegend": len(traces) > 1,
        "legend": {"orientation": "h", "y": 1.02, "x": 1, "xanchor": "right", "yanchor": "bottom"},
    }
    picture.draw(f"How long the last {len(runs)} runs took", traces, layout, key="job-runs")


def _hover(one: Row) -> str:
    took = "its server ended" if one["took_ms"] is None else human.duration(one["took_ms"])
    said = [f"run {one['number']}: {one['state']}", f"{_clock(one['at'])}, {took}"]
    return "<br>".join([*said, *([chart_text(one["error"], 90)] if one["error"] else [])])


def _clock(at: object) -> str:
    found: datetime | None = frame.moment(at)
    return human.UNKNOWN if found is None else f"{found.day} {found:%b %H:%M:%S}"


def _list(runs: Sequence[Row]) -> None:
    column = st.column_config
    newest = list(reversed(runs))[:_MOST]
    lists.plain_table(
        {
            "Run": [one["number"] for one in newest],
            "Ended": [[str(one["state"])] for one in newest],
            "Begun": [frame.moment(one["at"]) for one in newest],
            "Took": [human.duration(one["took_ms"]) for one in newest],
            "What went wrong": [one_line(one["error"], 240) or None for one in newest],
        },
        {
            "Run": column.NumberColumn(format="localized", width=80),
            "Ended": column.MultiselectColumn(options=list(_GRID), color=list(_GRID.values()), width=110),
            "Begun": column.DatetimeColumn(format="D MMM HH:mm:ss", width=140),
            "Took": column.TextColumn(width=90, alignment="right"),
            "What went wrong": column.TextColumn(width=560),
        },
        "job-runs",
    )
