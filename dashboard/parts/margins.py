"""One metric of a gate as a picture: the difference with its bounds, against 0 and against what may be lost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from dashboard import human
from dashboard.api import Row
from dashboard.parts import palette, picture
from dashboard.text import chart_text

_ROW_PX: Final = 30
_COLOUR: Final = {"harmed": "red", "held": "green", "unsettled": "orange"}
WHOLE: Final = "all examples"
MOST_STRATA: Final = 12


def metric(one: Row, strata: Sequence[Row], key: str) -> None:
    """The whole and each stratum; right of 0 the candidate is better. Thick: the one-sided bounds that decide; thin:
    the two-sided interval. Nothing where there is no bound."""
    rows = [(WHOLE, one["measured"]), *((str(s["stratum"]), s["measured"]) for s in strata[:MOST_STRATA])]
    rows = [(name, found) for name, found in rows if found and _finite(found)]
    if not rows or rows[0][0] != WHOLE:
        return
    names = [chart_text(name, 26) for name, _ in rows]
    shade = palette.colours()
    colour = shade[_COLOUR.get(one["finding"], "grey")]
    colours = [colour, *([shade["grey"]] * (len(rows) - 1))]
    said = [_said(found) for _, found in rows]
    traces = [
        *_lines(rows, names, ("low", "high"), 2, colours),
        *_lines(rows, names, ("lower", "upper"), 6, colours),
        {
            "type": "scatter",
            "mode": "markers",
            "x": [found["difference"] for _, found in rows],
            "y": names,
            "marker": {"size": 11, "color": colours, "line": {"width": 0}},
            "text": said,
            "hovertemplate": "%{text}<extra></extra>",
        },
    ]
    margin = float(one["margin"] or 0.0)
    marks = [(0.0, shade["grey"], "solid", "0"), (-margin, shade["red"], "dash", "margin")]
    layout = {
        "height": 92 + _ROW_PX * len(rows),
        "xaxis": {"range": _ends(rows, margin), "nticks": 6, "showgrid": True, "tickformat": "~g"},
        "yaxis": {
            "categoryorder": "array",
            "categoryarray": list(reversed(names)),
            "type": "category",
            "showgrid": False,
            "ticksuffix": " ",
            "range": [-0.6, len(rows) - 0.2],
        },
        "showlegend": False,
        "shapes": [_mark(x, shade, dash) for x, shade, dash, _ in marks if dash == "solid" or margin],
        "annotations": [_named(x, shade, text) for x, shade, dash, text in marks if dash == "dash" and margin],
        "margin": {"l": 8, "r": 12, "t": 24, "b": 8},
    }
    picture.draw(chart_text(one["metric"], 60), traces, layout, key=key, data_title=True)


def _lines(
    rows: Sequence[tuple[str, Row]], names: Sequence[str], ends: tuple[str, str], width: int, colours: Sequence[str]
) -> list[dict[str, Any]]:
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [found[ends[0]], found[ends[1]]],
            "y": [name, name],
            "line": {"color": colour, "width": width},
            "hoverinfo": "skip",
        }
        for (_, found), name, colour in zip(rows, names, colours, strict=True)
    ]


def _mark(x: float, colour: str, dash: str) -> dict[str, Any]:
    line = {"color": colour, "width": 1.5, "dash": dash}
    return {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper", "line": line, "layer": "below"}


def _named(x: float, colour: str, text: str) -> dict[str, Any]:
    said = {"text": text, "showarrow": False, "font": {"color": colour, "size": 11}}
    return {"x": x, "y": 1, "yref": "paper", "yanchor": "bottom", **said}


def _ends(rows: Sequence[tuple[str, Row]], margin: float) -> list[float]:
    values = [0.0, -margin, *(float(found[name]) for _, found in rows for name in ("low", "high", "lower", "upper"))]
    low, high = min(values), max(values)
    room = 0.06 * (high - low or 1)
    return [low - room, high + room]


def _finite(found: Row) -> bool:
    names = ("difference", "low", "high", "lower", "upper")
    return all(isinstance(found.get(name), int | float) and math.isfinite(found[name]) for name in names)


def _said(found: Row) -> str:
    means = f"{human.score(found['candidate_mean'])} against {human.score(found['baseline_mean'])}"
    between = f"{human.score(found['low'])} to {human.score(found['high'])}"
    return f"{means}, {found['n']:,} examples<br>difference {human.score(found['difference'])} ({between})"
