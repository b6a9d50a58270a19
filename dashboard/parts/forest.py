"""A forest plot: one row per line with its estimate and interval, against 0 and what may be lost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from dashboard.parts import palette, picture
from dashboard.text import chart_text

_ROW_PX: Final = 52
_NAME: Final = 30
_FAR: Final = 1.5  # of the widths of a typical interval: ends beyond are cut and marked


@dataclass(frozen=True, kw_only=True)
class Line:
    """One row. `name` and `below` (in small) are data, `said` is made of our words with data through `chart_text`.

    `mark` is the symbol of the estimate, `size` its diameter in px; `may_lose` is the place of this row's own margin.
    """

    name: str
    below: str
    estimate: float
    low: float
    high: float
    said: str
    colour: str = "grey"
    mark: str = "circle"
    size: float = 10
    thick: bool = False
    may_lose: float | None = None


def drawable(*numbers: object) -> bool:
    """Whether all of them are finite numbers."""
    return all(isinstance(one, int | float) and math.isfinite(one) for one in numbers)


def draw(
    title: str, lines: Sequence[Line], *, key: str, unit: str = "", better: str = "", rule_above: int | None = None
) -> None:
    """`title` is ours; `better` says which side is better ("right", "left" or nothing); a thin rule stands above the
    row `rule_above`. Nothing where there is no line."""
    if not lines:
        return
    shade = palette.colours()
    places = list(range(len(lines)))
    ends = _ends(lines)
    layout: dict[str, Any] = {
        "height": 86 + _ROW_PX * len(lines),
        "xaxis": {"range": list(ends), "nticks": 6, "showgrid": True, "tickformat": "~g", "tickangle": 0}
        | ({"ticksuffix": unit} if unit == "%" else {}),
        "yaxis": {"showticklabels": False, "range": [len(lines) - 0.6, -0.75], "showgrid": False},
        "showlegend": False,
        "shapes": [_none(shade["grey"]), *_rules(rule_above, shade["grey"])],
        "annotations": [*_sides(better, unit, shade["grey"]), *map(_name, lines, places)],
        "margin": {"l": 8, "r": 14, "t": 26, "b": 8},
    }
    picture.draw(title, _traces(lines, places, shade, ends), layout, key=key)


def _traces(
    lines: Sequence[Line], places: Sequence[int], shade: dict[str, str], ends: tuple[float, float]
) -> list[dict[str, Any]]:
    colours = [shade[one.colour] for one in lines]
    drawn: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [max(one.low, ends[0]), min(one.high, ends[1])],
            "y": [place, place],
            "line": {"color": colour, "width": 5 if one.thick else 2.5},
            "hoverinfo": "skip",
        }
        for one, place, colour in zip(lines, places, colours, strict=True)
    ]
    cut = [(ends[0], place, "triangle-left") for one, place in zip(lines, places, strict=True) if one.low < ends[0]]
    cut += [(ends[1], place, "triangle-right") for one, place in zip(lines, places, strict=True) if one.high > ends[1]]
    if cut:
        drawn.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [x for x, _, _ in cut],
                "y": [place for _, place, _ in cut],
                "marker": {"symbol": [symbol for _, _, symbol in cut], "size": 11, "color": shade["grey"]},
                "cliponaxis": False,
                "hovertemplate": "goes on beyond the chart<extra></extra>",
            }
        )
    losses = [(one.may_lose, place) for one, place in zip(lines, places, strict=True) if one.may_lose is not None]
    if losses:
        drawn.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [x for x, _ in losses],
                "y": [place for _, place in losses],
                "marker": {"symbol": "line-ns", "size": 20, "line": {"width": 2.5, "color": shade["red"]}},
                "hovertemplate": "may be lost: %{x:.3~g}" + "<extra></extra>",
            }
        )
    drawn.append(
        {
            "type": "scatter",
            "mode": "markers",
            "x": [min(max(one.estimate, ends[0]), ends[1]) for one in lines],
            "y": list(places),
            "marker": {
                "size": [one.size for one in lines],
                "color": colours,
                "symbol": [one.mark for one in lines],
                "opacity": 1,
                "line": {"width": 0},
            },
            "text": [one.said for one in lines],
            "hovertemplate": "%{text}<extra></extra>",
        }
    )
    return drawn


def _name(one: Line, place: int) -> dict[str, Any]:
    """What the row is, above its line: beside it there is no room on a narrow screen."""
    name = chart_text(one.name, _NAME) or "(empty)"
    bold = f"<b>{name}</b>" if one.thick else name
    text = f"{bold}  <span style='font-size:11px'>{chart_text(one.below, 60)}</span>"
    where = {"xref": "paper", "x": 0, "xanchor": "left", "y": place - 0.27, "yanchor": "bottom", "align": "left"}
    return {**where, "text": text, "showarrow": False}


def _ends(lines: Sequence[Line]) -> tuple[float, float]:
    """Both ends of the axis: every estimate and 0 are inside; one interval that dwarfs the others is cut."""
    widths = sorted(one.high - one.low for one in lines)
    typical = widths[len(widths) // 2] or max(widths) or 1.0
    points = [0.0, *(one.estimate for one in lines), *(one.may_lose for one in lines if one.may_lose is not None)]
    low = max(min(one.low for one in lines), min(points) - _FAR * typical)
    high = min(max(one.high for one in lines), max(points) + _FAR * typical)
    low, high = min(low, *points), max(high, *points)
    room = 0.06 * (high - low or 1.0)
    return low - room, high + room


def _none(colour: str) -> dict[str, Any]:
    line = {"color": colour, "width": 1.5}
    return {"type": "line", "x0": 0, "x1": 0, "y0": 0, "y1": 1, "yref": "paper", "line": line, "layer": "below"}


def _rules(above: int | None, colour: str) -> list[dict[str, Any]]:
    if above is None:
        return []
    line = {"color": colour, "width": 1, "dash": "dot"}
    return [{"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": above - 0.7, "y1": above - 0.7, "line": line}]


def _sides(better: str, unit: str, colour: str) -> list[dict[str, Any]]:
    """Which side is better, above the plot."""
    text = {"right": "better →", "left": "← better"}.get(better, "")
    whole = " · ".join(part for part in (unit if unit != "%" else "", text) if part)
    if not whole:
        return []
    x, anchor = (0.0, "left") if better == "left" else (1.0, "right")
    font = {"color": colour, "size": 11}
    where = {"xref": "paper", "yref": "paper", "x": x, "y": 1, "xanchor": anchor, "yanchor": "bottom"}
    return [{**where, "text": whole, "showarrow": False, "font": font}]
