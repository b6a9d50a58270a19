"""Counts of two things beside each other as a heat map: shade by the share of the row, in each cell its count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import streamlit as st

from dashboard.parts import palette, picture
from dashboard.text import chart_text, inert

_ROW_PX: Final = 46
_LONGEST: Final = 26
_SCALES: Final = {"light": ("#F3F6FA", "#0072B2"), "dark": ("#1B222C", "#2F86BE")}


def draw(
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    counts: Sequence[Sequence[int]],
    *,
    key: str,
    said: tuple[str, str],
) -> None:
    """`title` is ours; what rows and columns are (`said`) and their names are data. Rows go down in the order given."""
    if not rows or not columns:
        return
    names = [_unique(given) for given in (rows, columns)]
    sums = [sum(row) for row in counts]
    shares = [[cell / total if total else 0.0 for cell in row] for row, total in zip(counts, sums, strict=True)]
    crowded = len(columns) > 5 or max(map(len, said)) > 7 * len(rows)
    low, high = _SCALES["dark" if palette.dark() else "light"]
    trace = {
        "type": "heatmap",
        "z": shares,
        "x": names[1],
        "y": names[0],
        "zmin": 0,
        "zmax": 1,
        "colorscale": [[0, low], [1, high]],
        "showscale": False,
        "xgap": 3,
        "ygap": 3,
        "text": [[f"{cell:,}" for cell in row] for row in counts],
        "texttemplate": "%{text}",
        "textfont": {"size": 15 if len(columns) < 6 else 12},
        "customdata": [[_cell(names, at, n, cell, share) for n, (cell, share) in enumerate(zip(row, part, strict=True))]
                       for at, (row, part) in enumerate(zip(counts, shares, strict=True))],
        "hovertemplate": "%{customdata}<extra></extra>",
    }  # fmt: skip
    layout: dict[str, Any] = {
        "height": (160 if len(columns) > 5 else 92) + _ROW_PX * max(2, len(rows)),
        "xaxis": {"type": "category", "side": "top", "showgrid": False, "tickangle": 0 if len(columns) < 6 else -40}
        | _titled("" if crowded else said[1]),
        "yaxis": {"type": "category", "autorange": "reversed", "showgrid": False, "ticksuffix": " "}
        | _titled("" if crowded else said[0]),
        "showlegend": False,
    }
    picture.draw(title, [trace], layout, key=key)
    if crowded:
        with st.container(key=f"assay-quiet-{key}"):
            st.text(inert(f"Down: {said[0]}. Across: {said[1]}.", 300))


def _titled(text: str) -> dict[str, Any]:
    return {"title": {"text": chart_text(text, 40), "font": {"size": 12}, "standoff": 8}}


def _cell(names: Sequence[Sequence[str]], at: int, n: int, cell: int, share: float) -> str:
    return f"{names[0][at]}, {names[1][n]}: {cell:,}<br>{100 * share:.0f}% of the row"


def _unique(given: Sequence[str]) -> list[str]:
    """Names that differ once they are cut: plotly puts equal ones into one row."""
    found: list[str] = []
    for name in given:
        text = chart_text(name, _LONGEST) or "(empty)"
        while text in found:
            text += "\u200b"
        found.append(text)
    return found
