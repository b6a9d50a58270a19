"""What sets a cluster apart: its figures beside the rest of the app's, what is commoner in it, where it goes wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import streamlit as st

from dashboard import human
from dashboard.api import Row
from dashboard.parts import cluster_words as words
from dashboard.parts import frame, lists, palette, picture, row_names
from dashboard.text import chart_text, inert, one_line

_DRAWN: Final = 14
_MEANT: Final = (
    "A tool or span goes wrong where it ends in an error. A sign is what a trace shows without any error, such as an "
    "action without the question that comes first."
)
_FAR: Final = 64.0  # times: what goes on beyond is cut there
_FEW_TICKS: Final = (1 / 64, 1 / 16, 1 / 4, 1.0, 4.0, 16.0, 64.0)
_TICKS: Final = (1 / 64, 1 / 16, 1 / 4, 1 / 2, 1.0, 2.0, 4.0, 16.0, 64.0)


def show(cluster: Row) -> None:
    """Figures as a table, then both pictures beside each other."""
    _figures(cluster.get("figures") or [])
    levels = [one for one in cluster.get("profile") or [] if words.known(one.get("ratio"))]
    wrong = list(cluster.get("wrong_at") or [])
    if not levels and not wrong:
        st.caption("What is commoner in it than elsewhere comes with the next full run.")
        return
    left, right = st.columns([3, 2], gap="medium")
    with left:
        _levels(levels)
    with right:
        _wrong(wrong)


def _figures(figures: Sequence[Row]) -> None:
    if not figures:
        return
    column = st.column_config
    right = column.TextColumn(width=90, alignment="right")
    between = column.TextColumn(width=140, alignment="right", help="95% interval")
    lists.plain_table(
        {
            "Figure": [one_line(str(one["name"]).replace("_", " "), 60) for one in figures],
            "This cluster": [said(one, "value") for one in figures],
            "Interval": [_between(one, "low", "high") for one in figures],
            "The rest": [said(one, "rest") for one in figures],
            "Its interval": [_between(one, "rest_low", "rest_high") for one in figures],
            "Differs": [_differs(one) for one in figures],
            "As of": [_as_of(one) for one in figures],
        },
        {
            "Figure": column.TextColumn(width=180),
            "This cluster": right,
            "The rest": right,
            "Interval": between,
            "Its interval": between,
            "Differs": column.MultiselectColumn(
                options=["higher", "lower"], color=["orange", "blue"], width=90, help="The intervals do not touch"
            ),
            "As of": column.TextColumn(width=105),
        },
        "cluster-figures",
    )
    _notes(figures)


def _notes(figures: Sequence[Row]) -> None:
    """Below the table, where there is room for them."""
    noted = [one for one in figures if one.get("note")]
    if noted:
        with st.container(key="assay-quiet-cluster-notes", gap=None):
            for one in noted:
                st.text(f"{inert(str(one['name']).replace('_', ' '), 60)}: {inert(one['note'], 300)}")


def _as_of(one: Row) -> str | None:
    at = frame.moment(one.get("as_of"))
    return "now" if one.get("live") else None if at is None else f"{at.day} {at:%b, %H:%M}"


def said(one: Row, name: str) -> str | None:
    """A figure in its own unit: share, usd, ms, or a plain number."""
    value = words.known(one.get(name))
    if value is None:
        return None
    match str(one.get("unit") or ""):
        case "share" | "rate" | "%":
            return words.percent(value)
        case "usd" | "$":
            return human.usd(value)
        case "ms":
            return human.duration(value)
        case "s":
            return human.duration(1000 * value)
        case _:
            return human.score(value) if abs(value) < 100 else human.count(value)


def _between(one: Row, low: str, high: str) -> str | None:
    ends = said(one, low), said(one, high)
    return None if None in ends else f"{ends[0]} to {ends[1]}"


def _differs(one: Row) -> list[str]:
    low, high, rest_low, rest_high = (words.known(one.get(name)) for name in ("low", "high", "rest_low", "rest_high"))
    if low is None or high is None or rest_low is None or rest_high is None:
        return []
    return ["higher"] if low > rest_high else ["lower"] if high < rest_low else []


def _levels(levels: Sequence[Row]) -> None:
    """Ratios of shares on a logarithmic axis, the surest first, as they come."""
    title = "Commoner or rarer in it than elsewhere"
    if not levels:
        with st.container(border=True, key="assay-chart-none-levels"):
            st.markdown(f"**{title}**")
            st.text("No release, model or tool is known of its sessions and of others.")
        return
    shown = levels[:_DRAWN]
    names = [chart_text(f"{one['attribute']}: {one['level']}", 44) for one in shown]
    spans = [_span(one) for one in shown]
    ends = [end for one in spans for end in one]
    low, high = min(-1.0, *ends) - 0.3, max(1.0, *ends) + 0.3
    ticks = [one for one in (_TICKS if high - low < 5 else _FEW_TICKS) if low <= math.log2(one) <= high]
    none = {"type": "line", "x0": 0, "x1": 0, "yref": "paper", "y0": 0, "y1": 1, "layer": "below"}
    layout: dict[str, Any] = {
        "height": 62 + row_names.ROW_PX * len(shown),
        "xaxis": {
            "range": [low, high],
            "showgrid": True,
            "tickmode": "array",
            "tickangle": 0,
            "tickvals": [math.log2(one) for one in ticks],
            "ticktext": [f"×{one:g}" if one >= 1 else f"×1/{round(1 / one)}" for one in ticks],
        },
        **row_names.rows(names),
        "shapes": [{**none, "line": {"color": palette.colours()["grey"], "width": 1.5}}],
        "showlegend": False,
    }
    picture.draw(title, _ratios(shown, spans), layout, key="cluster-levels")
    st.caption(
        "Share of its sessions over the share of all others, with 95% intervals, the surest first. Orange: surely "
        "commoner, blue: surely rarer; of what is coloured at most 5% differs by chance. Grey: may be chance, or is "
        "known of fewer than 5 sessions. A cluster is made of what its sessions did: that it differs in tools or "
        "documents is how it was found."
    )


def _ratios(shown: Sequence[Row], spans: Sequence[tuple[float, float, float]]) -> list[dict[str, Any]]:
    shade = palette.colours()
    colours = [
        shade["grey"] if not one.get("differs") else shade["orange" if low > 0 else "blue"]
        for one, (_, low, _) in zip(shown, spans, strict=True)
    ]
    line = {"type": "scatter", "mode": "lines", "hoverinfo": "skip"}
    drawn: list[dict[str, Any]] = [
        {**line, "x": [low, high], "y": [at, at], "line": {"color": colour, "width": 3}}
        for at, ((_, low, high), colour) in enumerate(zip(spans, colours, strict=True))
    ]
    dots = {
        "type": "scatter",
        "mode": "markers",
        "x": [one[0] for one in spans],
        "y": list(range(len(spans))),
        "marker": {"size": 10, "color": colours, "opacity": 1, "line": {"width": 0}},
        "text": [_of_level(one) for one in shown],
        "hovertemplate": "%{text}<extra></extra>",
    }
    return [*drawn, dots]


def _span(one: Row) -> tuple[float, float, float]:
    """A ratio and its ends as powers of two; an end that is not known is beyond what is drawn."""
    return _log2(one.get("ratio"), 1.0), _log2(one.get("low"), 1 / _FAR), _log2(one.get("high"), _FAR)


def _log2(value: object, unknown: float) -> float:
    found = words.known(value)
    return math.log2(min(max(unknown if found is None else found, 1 / _FAR), _FAR))


def _of_level(one: Row) -> str:
    name = chart_text(f"{one['attribute']}: {one['level']}", 80)
    n, q = human.plural(int(one["n"]), "session"), words.known(one.get("q_value"))
    of = "" if one.get("n_known") is None else f" of {int(one['n_known']):,} in which it is known"
    sure = "" if q is None else f"<br>{words.q_value(q).replace('<', '&lt;')}"
    return f"{name}<br>{_shares(one)}<br>{words.ratio(one, 'ratio')}, {n}{of}{sure}"


def _shares(one: Row) -> str:
    return f"{words.percent(one.get('share'))} of its sessions, {words.percent(one.get('share_rest'))} of the others"


def _wrong(wrong: Sequence[Row]) -> None:
    """Spans and tools that fail in it, beside how often they do elsewhere."""
    title = "Where it goes wrong"
    if not wrong:
        with st.container(border=True, key="assay-chart-none-wrong"):
            st.markdown(f"**{title}**")
            st.text("No tool or span ends in an error, and no sign is shown, surely more often in it than elsewhere.")
            st.caption(_MEANT)
        return
    shown = wrong[:_DRAWN]
    shade = palette.colours()
    names = [chart_text(f"{one['name']} ({one['kind']})", 44) for one in shown]
    text = [
        f"{name}<br>{_shares(one)} ({human.plural(int(one['n']), 'session')})"
        for name, one in zip(names, shown, strict=True)
    ]
    bars = {
        "type": "bar",
        "orientation": "h",
        "name": "this cluster",
        "x": [100 * float(one["share"]) for one in shown],
        "y": list(range(len(shown))),
        "width": 0.26,
        "marker": {"color": shade["red"], "line": {"width": 0}, "cornerradius": 3},
        "customdata": text,
        "hovertemplate": "%{customdata}<extra></extra>",
    }
    rest = {
        "type": "scatter",
        "mode": "markers",
        "name": "the rest",
        "x": [None if one.get("share_rest") is None else 100 * float(one["share_rest"]) for one in shown],
        "y": list(range(len(shown))),
        "marker": {"symbol": "line-ns", "size": 18, "line": {"width": 3, "color": shade["grey"]}},
        "hoverinfo": "skip",
    }
    layout: dict[str, Any] = {
        "height": 88 + row_names.ROW_PX * len(shown),
        "legend": {"orientation": "h", "y": 1, "x": 0, "xanchor": "left", "yanchor": "bottom", "title": {"text": ""}},
        "margin": {"l": 8, "r": 12, "t": 34, "b": 8},
        "bargap": 0.4,
        "xaxis": {"rangemode": "tozero", "ticksuffix": "%", "nticks": 5, "showgrid": True, "tickangle": 0},
        **row_names.rows(names),
        "showlegend": True,
    }
    picture.draw(title, [bars, rest], layout, key="cluster-wrong")
    st.caption(f"The share of its sessions in which each is, where that is surely more than elsewhere. {_MEANT}")
