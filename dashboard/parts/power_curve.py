"""With what chance a planned experiment finds an effect, by how large the effect is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from dashboard.api import Row
from dashboard.parts import metric_words as words
from dashboard.parts import palette, picture

_TICKS: Final = (0, 20, 40, 60, 80, 100)


def draw(metric: Row, curve: Sequence[tuple[float, float]], mde: float, power: float, key: str) -> None:
    """`curve`: (effect, power) of the planned number of units; the effect that was asked for is marked."""
    if not curve:
        return
    shade = palette.colours()
    x = [words.scaled(metric, effect) for effect, _ in curve]
    at = words.scaled(metric, mde)
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter", "mode": "lines", "x": x, "y": [100 * chance for _, chance in curve],
            "line": {"color": shade["blue"], "width": 3},
            "text": [f"{words.change(metric, effect)}: found with {100 * chance:.0f}%" for effect, chance in curve],
            "hovertemplate": "%{text}<extra></extra>",
        },
        {
            "type": "scatter", "mode": "markers", "x": [at], "y": [100 * power],
            "marker": {"size": 12, "color": shade["orange"], "symbol": "diamond"},
            "text": [f"planned: {words.change(metric, mde)} with {100 * power:.0f}%"],
            "hovertemplate": "%{text}<extra></extra>",
        },
    ]  # fmt: skip
    line = {"color": shade["orange"], "width": 1.5, "dash": "dash"}
    unit = words.unit(metric)
    named = {"showarrow": False, "font": {"color": shade["orange"], "size": 11}}
    layout: dict[str, Any] = {
        "height": 330,
        "xaxis": {"nticks": 7, "showgrid": True, "tickformat": "~g", "tickangle": 0, "rangemode": "tozero",
                  "title": {"text": f"true effect{f', {unit}' if unit else ''}", "font": {"size": 12}, "standoff": 6}},
        "yaxis": {"range": [0, 102], "tickvals": list(_TICKS), "ticktext": [f"{one}% " for one in _TICKS],
                  "showgrid": True},
        "shapes": [
            {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": 100 * power, "y1": 100 * power, "line": line},
            {"type": "line", "x0": at, "x1": at, "yref": "paper", "y0": 0, "y1": 1, "line": line},
        ],
        "annotations": [
            {**named, "xref": "paper", "x": 0.005, "xanchor": "left", "y": 100 * power, "yanchor": "bottom",
             "text": f"power {100 * power:.0f}%"},
            {**named, "x": at, "xanchor": "left", "yref": "paper", "y": 0.01, "yanchor": "bottom", "xshift": 4,
             "text": words.change(metric, mde)},
        ],
        "showlegend": False,
    }  # fmt: skip
    picture.draw("Chance to find an effect, by its size", traces, layout, key=key)
