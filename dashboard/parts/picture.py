"""Pictures that are no charts over time: a turn as bars on lanes, and means with their intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import streamlit as st

from dashboard import human
from dashboard.api import Row
from dashboard.parts import palette
from dashboard.parts.reasoning import Bar, Reasoning, attributes, number
from dashboard.text import chart_text

_CONFIG: Final = {"displayModeBar": False, "displaylogo": False, "scrollZoom": False, "typesetMath": False}
_SOLID: Final = {
    "LLM": ("model call", "blue"),
    "GUARDRAIL": ("guardrail: allow", "green"),
    "MEMORY": ("memory", "sky"),
    "TOOL": ("tool", "orange"),  # what is short and matters is drawn over what is beside it
    "RETRIEVER": ("retrieval", "pink"),
    "RERANKER": ("reranking", "pink"),
    "EMBEDDING": ("embedding", "sky"),
}
_STOPPED: Final = "guardrail: flag, rewrite, block"
_FAILED: Final = "failed"


def turn(found: Reasoning, key: str) -> None:
    """Every span of the turn on the lane of its step, agent, guardrail or memory; x is time since the turn began.

    Nothing for a turn that is its root span alone."""
    total = max((bar.start_ms + bar.ms for bar in found.bars), default=0.0) or 1.0
    shown = [bar for bar in found.bars if bar.kind != "TURN"]
    if not shown:
        return
    groups: dict[str, list[Bar]] = {}
    for bar in shown:
        groups.setdefault(_group(bar), []).append(bar)
    shade = palette.colours()
    colours = dict(_SOLID.values()) | {_STOPPED: "red", _FAILED: "red"}
    ground = "#28313D" if palette.dark() else "#E3E8EF"
    order = ["ground", *colours]
    traces = [
        _bars(name, groups[name], total, ground if name == "ground" else shade[colours[name]])
        for name in sorted(groups, key=order.index)
    ]
    lanes = [lane for lane in found.lanes if any(bar.lane == lane for bar in shown)]
    layout = {
        "height": 96 + 34 * len(lanes),
        "barmode": "overlay",
        "bargap": 0.3,
        "xaxis": {
            "ticksuffix": " ms" if total < 2000 else " s",
            "range": [0, _axis(total, total) * 1.02],
            "side": "top",
        },
        "yaxis": {
            "categoryorder": "array",
            "categoryarray": [chart_text(lane, 40) for lane in reversed(lanes)],
            "type": "category",
            "showgrid": False,
        },
        "showlegend": True,
    }
    draw("What happened when", traces, layout, key=key)


def _group(bar: Bar) -> str:
    if bar.kind not in _SOLID:
        return "ground"
    if bar.kind == "GUARDRAIL" and attributes(bar.span).get("assay.guardrail.decision") not in (None, "allow"):
        return _STOPPED
    return _FAILED if bar.span.get("status") == "error" else _SOLID[bar.kind][0]


def _bars(name: str, bars: Sequence[Bar], total: float, colour: str) -> dict[str, Any]:
    least = total / 160  # what took no time is still seen
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "showlegend": name != "ground",
        "base": [_axis(bar.start_ms, total) for bar in bars],
        "x": [_axis(max(bar.ms, least), total) for bar in bars],
        "y": [chart_text(bar.lane, 40) for bar in bars],
        "width": 0.86 if name == "ground" else 0.5,
        "marker": {"color": colour, "line": {"width": 0}, "cornerradius": 3},
        "text": [_hover(bar) for bar in bars],
        "textposition": "none",
        "hovertemplate": "%{text}<extra></extra>",
    }


def _axis(ms: float, total: float) -> float:
    return ms if total < 2000 else ms / 1000


def _hover(bar: Bar) -> str:
    about = attributes(bar.span)
    said = [chart_text(bar.span.get("name"), 80), human.duration(bar.ms)]
    confidence = number(about.get("assay.step.confidence"))
    if confidence is not None:
        said.append(f"confidence {confidence:.2f}")
    for name in ("assay.step.thought", "assay.guardrail.decision", "assay.guardrail.reason"):
        if about.get(name):
            said.append(chart_text(about[name], 90))
    return "<br>".join(said)


def intervals(title: str, rows: Sequence[tuple[str, Row]], key: str) -> None:
    """Means with their 95 % interval, one line per name; `rows` are names with scores of one evaluator."""
    shade = palette.colours()
    names = [chart_text(name, 30) for name, _ in rows]
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": [score["mean"] for _, score in rows],
        "y": names,
        "marker": {"size": 10, "color": shade["blue"]},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [score["high"] - score["mean"] for _, score in rows],
            "arrayminus": [score["mean"] - score["low"] for _, score in rows],
            "color": shade["blue"],
            "thickness": 2,
            "width": 5,
        },
        "text": [
            f"{human.score(score['mean'])} ({human.score(score['low'])} to {human.score(score['high'])}), "
            f"n {score['n']:,}"
            for _, score in rows
        ],
        "hovertemplate": "%{text}<extra></extra>",
    }
    low, high = min(score["low"] for _, score in rows), max(score["high"] for _, score in rows)
    share = low >= 0 and high <= 1
    ends = [-0.02, 1.02] if share else [low - 0.05 * (high - low or 1), high + 0.05 * (high - low or 1)]
    layout = {
        "height": 74 + 34 * len(rows),
        "xaxis": {"range": ends, "nticks": 6, "showgrid": True},
        "yaxis": {
            "categoryorder": "array",
            "categoryarray": list(reversed(names)),
            "type": "category",
            "showgrid": False,
        },
        "showlegend": False,
    }
    draw(title, [trace], layout, key=key, data_title=True)


def draw(
    title: str, traces: list[dict[str, Any]], layout: Mapping[str, Any], *, key: str, data_title: bool = False,
    note: str = "", alt: str = "Means with intervals", foot: Callable[[], None] | None = None,
) -> None:  # fmt: skip
    """A picture in the style of the charts. `title` is ours unless `data_title`, which shows it as plain text, with a
    `note` below and `alt`, which is ours, for who does not see it. `foot` draws what stands under it."""
    ink, grid = ("#AEB8C6", "#28313D") if palette.dark() else ("#5A6675", "#E6EAF0")
    axis = {"gridcolor": grid, "zeroline": False, "automargin": True, "title": {"text": ""}}
    whole: dict[str, Any] = {
        "margin": {"l": 8, "r": 12, "t": 8, "b": 8},
        "hovermode": "closest",
        "font": {"color": ink, "size": 12},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "legend": {"orientation": "h", "y": -0.08, "x": 0, "xanchor": "left", "yanchor": "top", "title": {"text": ""}},
        **layout,
        "xaxis": axis | dict(layout["xaxis"]),
        "yaxis": axis | dict(layout["yaxis"]),
    }
    with st.container(border=True, key=f"assay-chart-{key}", gap="small"):
        if data_title:
            with st.container(key=f"assay-heading-small-{key}"):
                st.text(title)
            if note:
                with st.container(key=f"assay-quiet-note-{key}"):
                    st.text(note)
        else:
            st.markdown(f"**{title}**")
        said = alt if data_title else title
        st.plotly_chart({"data": traces, "layout": whole}, key=key, config=_CONFIG, theme=None, alt=said)
        if foot is not None:
            foot()


def is_drawable(score: Row) -> bool:
    """Whether an evaluator has a mean to draw."""
    return all(
        isinstance(score.get(name), (int, float)) and math.isfinite(score[name]) for name in ("mean", "low", "high")
    )
