"""An experiment look by look: the difference with the interval that holds at all looks, and how far it is from its
boundary."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import streamlit as st

from dashboard import human
from dashboard.api import Row
from dashboard.parts import forest, palette, picture
from dashboard.parts import metric_words as words
from dashboard.text import chart_text


def draw(metric: Row, looks: Sequence[Row], margin: float | None, key: str) -> None:
    """Both charts beside each other; that of the boundary only where the design has one. Says so where nobody has
    looked yet."""
    looks = [one for one in looks if forest.drawable(one["estimate"], one["low"], one["high"])]
    if not looks:
        with st.container(border=True, key=f"assay-chart-none-{key}"):
            st.markdown("**Look by look**")
            if metric.get("role") == "secondary":
                st.text("A secondary metric is told once, as of the newest look: the table of metrics has it. Only the "
                        "primary metric and guardrails are followed day by day.")  # fmt: skip
            else:
                st.text("No complete day with enough units in both arms yet. The first look comes after the first one.")
        return
    bounded = [one for one in looks if forest.drawable(one.get("z"), one.get("boundary"))]
    if not bounded:
        _interval(metric, looks, margin, f"{key}-interval")
        return
    left, right = st.columns(2, gap="medium")
    with left:
        _interval(metric, looks, margin, f"{key}-interval")
    with right:
        _boundary(metric, bounded, f"{key}-boundary")


def _interval(metric: Row, looks: Sequence[Row], margin: float | None, key: str) -> None:
    shade = palette.colours()
    days = [_day(one) for one in looks]
    low, middle, high = ([words.scaled(metric, one[name]) for one in looks] for name in ("low", "estimate", "high"))
    said = [_said(metric, one) for one in looks]
    lost = words.scaled(metric, None if margin is None else -words.toward(metric) * margin)
    traces = [
        {
            "type": "scatter", "mode": "lines", "x": [*days, *reversed(days)], "y": [*high, *reversed(low)],
            "fill": "toself", "fillcolor": _pale(shade["blue"]), "line": {"width": 0}, "hoverinfo": "skip",
            "name": "interval valid at every look",
        },
        *_whisker(days, low, high, shade["blue"]),
        {
            "type": "scatter", "mode": "lines+markers", "x": days, "y": middle, "text": said,
            "name": "difference", "line": {"color": shade["blue"], "width": 2.5}, "marker": {"size": 7},
            "hovertemplate": "%{text}<extra></extra>",
        },
    ]  # fmt: skip
    marks = [(0.0, shade["grey"], "solid"), *([(lost, shade["red"], "dash")] if lost else [])]
    unit, more = words.unit(metric), "↑ better" if words.toward(metric) > 0 else "↓ better"
    about = " · ".join(part for part in (unit, more, "shaded: its interval") if part)
    layout: dict[str, Any] = {
        "height": 300,
        "xaxis": _days(days),
        "yaxis": {"nticks": 6, "showgrid": True, "tickformat": "~g"},
        "shapes": [_line(y, colour, dash) for y, colour, dash in marks],
        "annotations": [_note(about, shade["grey"])] + ([_named(lost, shade["red"], "may be lost")] if lost else []),
        "showlegend": False,
        "margin": {"l": 8, "r": 12, "t": 24, "b": 8},
    }
    picture.draw("The difference, look by look", traces, layout, key=key)


def _boundary(metric: Row, looks: Sequence[Row], key: str) -> None:
    """z of each look against both sides of its boundary; outside of the shaded part a look is significant."""
    shade = palette.colours()
    days = [_day(one) for one in looks]
    z = [one["z"] for one in looks]
    bounds = [abs(one["boundary"]) for one in looks]
    over = [abs(at) >= bound for at, bound in zip(z, bounds, strict=True)]
    most = max(4.5, *map(abs, z), bounds[-1] * 1.25)  # the boundary of an early look may lie far beyond the chart
    traces = [
        *(
            {
                "type": "scatter", "mode": "lines+markers", "x": days, "y": [side * one for one in bounds],
                "line": {"color": shade["orange"], "width": 2, "dash": "dash"}, "marker": {"size": 4},
                "hovertemplate": "%{text}<extra></extra>", "text": [f"boundary {one:.2f}" for one in bounds],
                "name": "boundary",
            }
            for side in (1, -1)
        ),
        {
            "type": "scatter", "mode": "lines+markers", "x": days, "y": z, "name": "z",
            "line": {"color": shade["blue"], "width": 2.5},
            "marker": {"size": [12 if one else 8 for one in over],
                       "symbol": ["star" if one else "circle" for one in over]},
            "text": [_against(one) for one in looks], "hovertemplate": "%{text}<extra></extra>",
        },
    ]  # fmt: skip
    name = "better" if words.toward(metric) > 0 else "worse"
    other = "worse" if name == "better" else "better"
    layout: dict[str, Any] = {
        "height": 300,
        "xaxis": _days(days),
        "yaxis": {"range": [-most * 1.08, most * 1.08], "nticks": 7, "showgrid": True},
        "shapes": [_line(0.0, shade["grey"], "solid")],
        "annotations": [
            _note(f"beyond the upper line: {name} · below the lower: {other}", shade["grey"]),
            _end(days[-1], bounds[-1], f"±{bounds[-1]:.2f}", shade["orange"]),
        ],
        "showlegend": False,
        "margin": {"l": 8, "r": 40, "t": 24, "b": 8},
    }
    picture.draw("Distance from no effect (z), against its boundary", traces, layout, key=key)


def _day(one: Row) -> datetime | None:
    try:
        found = date.fromisoformat(str(one["day"])[:10])
    except ValueError:
        return None
    return datetime(found.year, found.month, found.day)


def _days(days: Sequence[datetime | None]) -> dict[str, Any]:
    """An axis of days with at most five ticks, never closer than a day."""
    known = [one for one in days if one is not None]
    ends = [min(known) - timedelta(hours=9), max(known) + timedelta(hours=9)] if known else None
    every = math.ceil(len(days) / 4) * 86_400_000
    return {"type": "date", "showgrid": False, "tickformat": "%-d %b", "tickangle": 0, "dtick": every,
            "tick0": days[0], "range": ends}  # fmt: skip


def _said(metric: Row, one: Row) -> str:
    return (
        f"{words.change(metric, one['estimate'])} ({words.interval(metric, one['low'], one['high'])})<br>"
        f"{human.count(one['n_units'])} units{_fraction(one)}, {chart_text(one['day'], 12)}"
    )


def _fraction(one: Row) -> str:
    found = one.get("fraction")
    return "" if found is None else f", {100 * found:.0f}% of the horizon"


def _against(one: Row) -> str:
    crossed = "past" if abs(one["z"]) >= abs(one["boundary"]) else "within"
    return (
        f"z {one['z']:+.2f}, {crossed} the boundary {abs(one['boundary']):.2f}<br>"
        f"{chart_text(one['day'], 12)}{_fraction(one)}"
    )


def _whisker(days: list[datetime | None], low: list[Any], high: list[Any], colour: str) -> list[dict[str, Any]]:
    """A single look has no band: a line from end to end."""
    if len(days) > 1:
        return []
    line = {"color": colour, "width": 2.5}
    return [{"type": "scatter", "mode": "lines", "x": [days[0]] * 2, "y": [low[0], high[0]], "line": line,
             "hoverinfo": "skip"}]  # fmt: skip


def _pale(colour: str) -> str:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.18)"


def _line(y: float, colour: str, dash: str) -> dict[str, Any]:
    line = {"color": colour, "width": 1.5, "dash": dash}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": y, "y1": y, "line": line, "layer": "below"}


def _note(text: str, colour: str) -> dict[str, Any]:
    where = {"xref": "paper", "yref": "paper", "x": 0, "y": 1, "xanchor": "left", "yanchor": "bottom"}
    return {**where, "text": text, "showarrow": False, "font": {"color": colour, "size": 11}}


def _named(y: float, colour: str, text: str) -> dict[str, Any]:
    where = {"xref": "paper", "x": 0.005, "xanchor": "left", "y": y, "yanchor": "bottom"}
    return {**where, "text": text, "showarrow": False, "font": {"color": colour, "size": 11}}


def _end(x: datetime | None, y: float, text: str, colour: str) -> dict[str, Any]:
    where = {"x": x, "y": y, "xanchor": "left", "yanchor": "middle", "xshift": 8}
    return {**where, "text": text, "showarrow": False, "font": {"color": colour, "size": 11}}
