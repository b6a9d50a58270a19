"""Charts over time, in one style. Every text of data that reaches a chart goes through `chart_text`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

import streamlit as st

from dashboard.parts import palette
from dashboard.text import chart_text

HEIGHT: Final = 270
_CONFIG: Final = {"displayModeBar": False, "displaylogo": False, "scrollZoom": False, "typesetMath": False}

Series = Mapping[str, Sequence[float | None]]


def bars(
    title: str,
    times: Sequence[datetime | None],
    series: Series,
    *,
    key: str,
    colours: Sequence[str] | None = None,
    unit: str = "",
    prefix: str = "",
) -> None:
    """Stacked bars over time; `series` by name, its values aligned with `times`."""
    shades = colours or palette.sequence()
    traces = [
        {
            "type": "bar",
            "name": chart_text(name, 24),
            "x": times,
            "y": list(values),
            "marker": {"color": shades[place % len(shades)], "line": {"width": 0}, "cornerradius": 2},
            "hovertemplate": f"{prefix}%{{y:,.4~g}}{unit}<extra>%{{fullData.name}}</extra>",
        }
        for place, (name, values) in enumerate(series.items())
    ]
    _draw(title, traces, key=key, unit=unit, prefix=prefix, barmode="stack")


def lines(
    title: str,
    times: Sequence[datetime | None],
    series: Series,
    *,
    key: str,
    colours: Sequence[str] | None = None,
    unit: str = "",
    prefix: str = "",
    scale: Literal["linear", "log"] = "linear",
) -> None:
    """Lines over time; a missing value is a gap, never a zero."""
    shades = colours or palette.sequence()
    dashes = ("solid", "dash", "dot", "dashdot")  # lines differ in more than colour
    traces = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": chart_text(name, 24),
            "x": times,
            "y": list(values),
            "connectgaps": False,
            "line": {"color": shades[place % len(shades)], "width": 2, "dash": dashes[place % len(dashes)]},
            "marker": {"size": 4},
            "hovertemplate": f"{prefix}%{{y:,.3~g}}{unit}<extra>%{{fullData.name}}</extra>",
        }
        for place, (name, values) in enumerate(series.items())
    ]
    _draw(title, traces, key=key, unit=unit, prefix=prefix, scale=scale)


def _draw(
    title: str,
    traces: list[dict[str, Any]],
    *,
    key: str,
    unit: str,
    prefix: str,
    scale: str = "linear",
    barmode: str | None = None,
) -> None:
    """`title` is ours."""
    dark = palette.dark()
    ink, grid = ("#AEB8C6", "#28313D") if dark else ("#5A6675", "#E6EAF0")
    layout: dict[str, Any] = {
        "height": HEIGHT,
        "margin": {"l": 8, "r": 8, "t": 10, "b": 8},
        "hovermode": "x unified",
        "bargap": 0.18,
        "font": {"color": ink, "size": 12},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "showlegend": len(traces) > 1,
        "legend": {
            "orientation": "h",
            "y": -0.2,
            "x": 0,
            "xanchor": "left",
            "yanchor": "top",
            "traceorder": "normal",
            "font": {"size": 12},
            "title": {"text": ""},
        },
        "xaxis": {"showgrid": False, "type": "date", "automargin": True, "title": {"text": ""}, "nticks": 7},
        "yaxis": {
            "gridcolor": grid,
            "zeroline": False,
            "automargin": True,
            "type": scale,
            "rangemode": "tozero",
            "tickprefix": prefix,
            "ticksuffix": unit,
            "nticks": 5,
            "tickformat": "~s" if not unit and not prefix else "~g",
            "title": {"text": ""},
        },
    }
    if scale == "log":
        layout["yaxis"] |= {"dtick": 1}
    if barmode:
        layout["barmode"] = barmode
    with st.container(border=True, key=f"assay-chart-{key}", gap="small"):
        st.markdown(f"**{title}**")
        st.plotly_chart({"data": traces, "layout": layout}, key=key, config=_CONFIG, theme=None, alt=title)
