"""Differences of two runs as dots with whiskers around no difference, and their figures in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from dashboard import human
from dashboard.api import Row
from dashboard.parts import palette, picture
from dashboard.text import chart_text

SHARES: Final = frozenset({"", "share"})  # units whose differences are said in points
FINDINGS: Final = {
    "worse": ("worse", "red"),
    "better": ("better", "green"),
    "no_evidence": ("no evidence", "grey"),
    "unknown": ("unknown", "orange"),
}
_ROW_PX: Final = 34


def value(figure: float | None, unit: str) -> str:
    """A score in its unit."""
    if figure is None:
        return human.UNKNOWN
    sign, size = ("-" if figure < 0 else ""), abs(figure)
    match unit:
        case "ms":
            return sign + human.duration(size)
        case "usd":
            return sign + human.usd(size)
        case "tokens" | "count":
            return sign + human.count(size)
        case _:
            return sign + human.score(size)


def change(figure: float | None, unit: str) -> str:
    """A difference with its sign: shares in points, "-4.0 pp"."""
    if figure is None:
        return human.UNKNOWN
    sign = "+" if figure > 0 else "-" if figure < 0 else ""
    size = abs(figure)
    return sign + (f"{100 * size:.1f} pp" if unit == "share" else value(size, unit))


def p_value(p: float | None) -> str:
    """0.0412 -> "0.041", 0.00005 -> "<0.001"."""
    if p is None:
        return human.UNKNOWN
    return f"{p:.3f}" if p >= 0.001 else "<0.001"


def whiskers(title: str, rows: Sequence[Row], key: str, *, relative: bool) -> None:
    """One line per metric (or stratum): the difference and its interval, right of the line is better. `relative`: in
    percent of the baseline, for metrics of other units; else in points. `title` is ours."""
    drawn = [one for one in rows if one["difference"] is not None and (not relative or one["baseline"])]
    if not drawn:
        return
    names = [_name(one) for one in drawn]
    shade = palette.colours()
    traces = []
    for finding, (words, colour) in FINDINGS.items():
        chosen = [(name, one) for name, one in zip(names, drawn, strict=True) if one["finding"] == finding]
        if chosen:
            traces.append(_dots(chosen, words, shade[colour], relative))
    ink = shade["grey"]
    layout: dict[str, Any] = {
        "height": 118 + _ROW_PX * len(drawn),
        "xaxis": {
            "range": _ends(drawn, relative),
            "ticksuffix": " %" if relative else " pp",
            "nticks": 7,
            "showgrid": True,
        },
        "yaxis": {
            "type": "category",
            "categoryorder": "array",
            "categoryarray": list(reversed(names)),
            "showgrid": False,
        },
        "shapes": [
            {"type": "line", "x0": 0, "x1": 0, "yref": "paper", "y0": 0, "y1": 1, "line": {"color": ink, "width": 1.5}}
        ],
        "showlegend": True,
    }
    picture.draw(title, traces, layout, key=key)


def _dots(chosen: Sequence[tuple[str, Row]], words: str, colour: str, relative: bool) -> dict[str, Any]:
    spots = [_spot(one, relative) for _, one in chosen]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": words,
        "x": [middle for middle, _, _ in spots],
        "y": [name for name, _ in chosen],
        "marker": {"size": 11, "color": colour},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [high - middle for middle, _, high in spots],
            "arrayminus": [middle - low for middle, low, _ in spots],
            "color": colour,
            "thickness": 2,
            "width": 6,
        },
        "customdata": [_said(one) for _, one in chosen],
        "hovertemplate": "%{customdata}<extra></extra>",
    }


def _spot(one: Row, relative: bool) -> tuple[float, float, float]:
    by = abs(one["baseline"]) if relative else 1.0
    ends = (one["low"], one["high"]) if one["low"] is not None else (one["difference"], one["difference"])
    return 100 * one["difference"] / by, 100 * ends[0] / by, 100 * ends[1] / by


def _ends(rows: Sequence[Row], relative: bool) -> list[float]:
    spots = [_spot(one, relative) for one in rows]
    low, high = min(0.0, *(spot[1] for spot in spots)), max(0.0, *(spot[2] for spot in spots))
    room = 0.08 * (high - low or 1.0)
    return [low - room, high + room]


def _name(one: Row) -> str:
    return chart_text(one["metric"] if one["stratum"] is None else one["stratum"], 30)


def _said(one: Row) -> str:
    unit = one["unit"]
    ends = "" if one["low"] is None else f" ({change(one['low'], unit)} to {change(one['high'], unit)})"
    return f"{_name(one)}: {change(one['difference'], unit)}{ends}, n {one['n']:,}"
