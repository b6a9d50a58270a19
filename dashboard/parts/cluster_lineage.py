"""How a cluster lived: its sessions by day, its size in every run, and what became of it, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import streamlit as st

from dashboard import human, links
from dashboard.api import Row
from dashboard.parts import charts, frame, palette, picture, verdict
from dashboard.parts import cluster_words as words
from dashboard.text import chart_text, inert

_MOST: Final = 40
_OTHERS: Final = 4
_LEGEND: Final = {"orientation": "h", "y": -0.2, "x": 0, "xanchor": "left", "yanchor": "top", "title": {"text": ""}}
_MARKS: Final = {
    "born": "star",
    "grown": "triangle-up",
    "split": "diamond-wide",
    "merged": "diamond-tall",
    "died": "x",
    "fixed": "circle",
    "regressed": "triangle-down",
    "continued": "circle-open",
}


def show(cluster: Row) -> None:
    """Both pictures beside each other, then every event that is one in words."""
    left, right = st.columns(2, gap="medium")
    with left:
        _days(cluster.get("trend") or [])
    with right:
        _runs(cluster.get("lineage") or [])
    _events(cluster.get("lineage") or [])


def _days(trend: Sequence[Row]) -> None:
    title = "Sessions by day"
    if not trend:
        with st.container(border=True, key="assay-chart-none-cluster-days"):
            st.markdown(f"**{title}**")
            st.text("None yet.")
        return
    shade = palette.colours()
    days = [str(one["day"])[:10] for one in trend]
    failed = [int(one.get("n_failed") or 0) for one in trend]
    rest = [int(one["n"]) - n for one, n in zip(trend, failed, strict=True)]
    bars = [_bars("failed", days, failed, shade["red"]), _bars("others, or not known", days, rest, shade["grey"])]
    layout: dict[str, Any] = {
        "height": 290,
        "barmode": "stack",
        "bargap": 0.2,
        "hovermode": "x unified",
        "legend": _LEGEND,
        "xaxis": {"type": "date", "showgrid": False, "nticks": 6, "tickangle": 0, "tickformatstops": charts.STOPS,
                  "hoverformat": "%-d %b %Y (UTC)"},
        "yaxis": {"rangemode": "tozero", "nticks": 5, "tickformat": "~s", "showgrid": True},
        "showlegend": True,
    }  # fmt: skip
    picture.draw(title, bars, layout, key="cluster-days")


def _bars(name: str, days: Sequence[str], counts: Sequence[int], colour: str) -> dict[str, Any]:
    marker = {"color": colour, "line": {"width": 0}, "cornerradius": 2}
    return {"type": "bar", "name": name, "x": list(days), "y": list(counts), "marker": marker,
            "hovertemplate": "%{y:,}<extra>%{fullData.name}</extra>"}  # fmt: skip


def _runs(lineage: Sequence[Row]) -> None:
    """Its size in each run, with a mark where something became of it."""
    title = "Size from run to run"
    told = [(at, one) for one in lineage if (at := frame.wall_clock(one.get("at"))) is not None]
    told.sort(key=lambda one: one[0])
    if not told:
        with st.container(border=True, key="assay-chart-none-cluster-lineage"):
            st.markdown(f"**{title}**")
            st.text("No run has followed it yet.")
        return
    shade = palette.colours()
    line = {
        "type": "scatter",
        "mode": "lines",
        "x": [at for at, _ in told],
        "y": [int(one["n_sessions"]) for _, one in told],
        "line": {"color": shade["grey"], "width": 2, "shape": "linear"},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    kinds = [word for word in words.STATES if any(str(one["kind"]) == word for _, one in told)]
    marks = [_marks(word, [one for one in told if str(one[1]["kind"]) == word], shade) for word in kinds]
    layout: dict[str, Any] = {
        "height": 290,
        "xaxis": {
            "type": "date",
            "showgrid": False,
            "nticks": 6,
            "tickangle": 0,
            "tickformatstops": charts.STOPS,
            **_range([at for at, _ in told]),
        },
        "yaxis": {"rangemode": "tozero", "nticks": 5, "tickformat": "~s", "showgrid": True},
        "legend": _LEGEND,
        "showlegend": True,
    }
    picture.draw(title, [line, *marks], layout, key="cluster-lineage")


def _range(moments: Sequence[datetime]) -> dict[str, Any]:
    """Runs of one day do not fill an axis of minutes."""
    if moments[-1] - moments[0] > timedelta(days=2):
        return {}
    return {"range": [moments[0] - timedelta(days=2), moments[-1] + timedelta(days=2)]}


def _marks(word: str, told: Sequence[tuple[datetime, Row]], shade: dict[str, str]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": verdict.of(words.STATES, word).title,
        "x": [at for at, _ in told],
        "y": [int(one["n_sessions"]) for _, one in told],
        "marker": {
            "symbol": _MARKS.get(word, "circle"),
            "size": 8 if word == "continued" else 13,
            "color": shade[words.STATE_COLOUR.get(word, "grey")],
            "line": {"width": 1.5 if word == "continued" else 0, "color": shade[words.STATE_COLOUR.get(word, "grey")]},
            "opacity": 1,
        },
        "cliponaxis": False,
        "text": [chart_text(one.get("text") or word, 160) for _, one in told],
        "hovertemplate": "%{text}<br>%{y:,} sessions, %{x|%-d %b %Y, %H:%M}<extra></extra>",
    }


def _events(lineage: Sequence[Row]) -> None:
    """What became of it; runs in which it only went on are counted, not listed."""
    events = [one for one in lineage if str(one["kind"]) != "continued"]
    n_same = len(lineage) - len(events)
    events.sort(key=lambda one: str(one["at"]), reverse=True)
    with st.container(border=True, key="assay-timeline", gap="small"):
        if not events:
            st.text("Nothing has become of it but that it went on.")
        for at, event in enumerate(events[:_MOST]):
            _event(event, at)
        if n_same:
            st.caption(f"In {human.plural(n_same, 'other run')} it went on as it was.")


def _event(event: Row, at: int) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"assay-event-{at}"):
        with st.container(key=f"assay-when-{at}", width=118):
            moment = frame.moment(event["at"])
            st.text(human.UNKNOWN if moment is None else f"{moment.day} {moment:%b %Y}")
        with st.container(width=120):
            verdict.badge(verdict.of(words.STATES, event["kind"]))
        with st.container(width="stretch", gap=None, key=f"assay-what-{at}"):
            st.text(inert(event.get("text"), 400) or human.plural(int(event["n_sessions"]), "session"))
        for other in list(event.get("others") or [])[:_OTHERS]:
            name = words.shown_id(other)
            if st.button(name, type="tertiary", icon=":material/bubble_chart:", key=f"lineage-{at}-{name}"):
                links.open_cluster(name)
