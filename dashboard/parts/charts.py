"""Charts over time, in one style. Every text of data that reaches a chart goes through `chart_text`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import streamlit as st

from dashboard import human
from dashboard.parts import axes, palette
from dashboard.text import chart_text

HEIGHT: Final = 270
_CONFIG: Final = {"displayModeBar": False, "displaylogo": False, "scrollZoom": False, "typesetMath": False}

_DAY_MS: Final = 86_400_000
STOPS: Final = [
    {"dtickrange": [None, _DAY_MS - 1], "value": "%H:%M\n%-d %b"},
    {"dtickrange": [_DAY_MS, "M1"], "value": "%-d %b\n%Y"},
    {"dtickrange": ["M1", None], "value": "%b\n%Y"},
]

Series = Mapping[str, Sequence[float | None]]


@dataclass(frozen=True, kw_only=True)
class Span:
    """What the x axis of a chart shows: the starts of its buckets, their length, and the ends of the axis.

    Moments are without zone, on the viewer's clock. The ends are those of the chosen window, not of the data.
    """

    times: Sequence[datetime | None]
    bucket_s: int
    first: datetime | None
    last: datetime | None


def bars(
    title: str,
    span: Span,
    series: Series,
    *,
    key: str,
    colours: Sequence[str] | None = None,
    unit: str = "",
    prefix: str = "",
) -> None:
    """Stacked bars over time; `series` by name, its values aligned with the times of `span`."""
    ms = span.bucket_s * 1000
    shades = colours or palette.sequence()
    traces = [
        {
            "type": "bar",
            "name": chart_text(name, 24),
            "x": span.times,
            "y": list(values),
            "width": ms * 0.84,
            "offset": ms * 0.08,
            "marker": {"color": shades[place % len(shades)], "line": {"width": 0}, "cornerradius": 2},
            "hovertemplate": f"{prefix}%{{y:,.4~g}}{unit}<extra>%{{fullData.name}}</extra>",
        }
        for place, (name, values) in enumerate(series.items())
    ]
    sums = [sum(value or 0 for value in place) for place in zip(*series.values(), strict=True)]
    y = {"rangemode": "tozero", "tickprefix": prefix, "ticksuffix": unit, "nticks": 5}
    y["tickformat"] = "~s" if not unit and not prefix else "~g"
    if not prefix and max(sums, default=0) < 5:
        y["dtick"] = 1  # no half turns
    if max(sums, default=0) == 0:
        y["range"] = [0, 1]
    _draw(title, traces, span, y | {"type": "linear"}, key=key, barmode="stack")


def latencies(title: str, span: Span, series: Series, *, key: str, colours: Sequence[str] | None = None) -> None:
    """Lines of milliseconds on a logarithmic axis; a missing value is a gap, never a zero."""
    shades = colours or palette.sequence()
    dashes = ("solid", "dash", "dot", "dashdot")  # lines differ in more than colour
    traces = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": chart_text(name, 24),
            "x": span.times,
            "xperiod": span.bucket_s * 1000,  # a point stands in the middle of its bucket, clear of the axis
            "xperiodalignment": "middle",
            "y": list(values),
            "text": [human.duration(value) for value in values],
            "connectgaps": False,
            "cliponaxis": False,
            "line": {"color": shades[place % len(shades)], "width": 2, "dash": dashes[place % len(dashes)]},
            "marker": {"size": 5},
            "hovertemplate": "%{text}<extra>%{fullData.name}</extra>",
        }
        for place, (name, values) in enumerate(series.items())
    ]
    y: dict[str, Any] = {"type": "log"}
    if axis := axes.duration_axis(value for values in series.values() for value in values):
        places, texts, ends = axis
        y |= {"tickmode": "array", "tickvals": places, "ticktext": texts, "range": list(ends)}
    _draw(title, traces, span, y, key=key)


def _draw(
    title: str,
    traces: list[dict[str, Any]],
    span: Span,
    y: dict[str, Any],
    *,
    key: str,
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
        "xaxis": {
            "showgrid": False,
            "type": "date",
            "range": [span.first, span.last],
            "automargin": True,
            "title": {"text": ""},
            "nticks": 6,
            "tickangle": 0,
            "ticks": "outside",
            "ticklen": 6,
            "tickcolor": grid,
            "tickformatstops": STOPS,
            "hoverformat": "%-d %b %Y, %H:%M",
        },
        "yaxis": {"gridcolor": grid, "zeroline": False, "automargin": True, "title": {"text": ""}, **y},
    }
    if barmode:
        layout["barmode"] = barmode
    with st.container(border=True, key=f"assay-chart-{key}", gap="small"):
        st.markdown(f"**{title}**")
        st.plotly_chart({"data": traces, "layout": layout}, key=key, config=_CONFIG, theme=None, alt=title)
