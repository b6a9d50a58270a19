"""One finding of the page Emerging: which cluster, how much more often than before and how sure, and what changed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import streamlit as st

from dashboard import human, links
from dashboard.api import Row
from dashboard.parts import cluster_words as words
from dashboard.parts import forest, frame, palette, picture, row_names, verdict
from dashboard.text import chart_text, inert, label

_MOST_CHANGES: Final = 6
_DRAWN: Final = 15
ALERTS: Final = {
    "pending": verdict.Said(title="alert to be sent", colour="orange", icon="schedule_send"),
    "told": verdict.Said(title="alert sent", colour="green", icon="mark_email_read"),
    "shown": verdict.Said(title="watched", colour="blue", icon="visibility"),
}
_FAR: Final = 100.0  # times: what goes on beyond is cut there
_TICKS: Final = (0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0)


def show(one: Row, at: int) -> None:
    """A card; its title leads to the cluster."""
    cluster: Row = one["cluster"]
    cluster_id = words.shown_id(cluster["id"])
    with st.container(border=True, key=f"assay-finding-{at}", gap="small"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            verdict.badge(verdict.of(words.KINDS, one["kind"]))
            if st.button(label(cluster["title"], 90) or cluster_id, type="tertiary", key=f"finding-open-{at}"):
                links.open_cluster(cluster_id)
            if one.get("alert"):
                verdict.badge(verdict.of(ALERTS, one["alert"]))
        with st.container(key=f"assay-finding-says-{at}"):
            st.text(f"Fails {words.ratio(one)} as often as before")
        frame.facts(
            (
                ("Failed sessions", f"{int(one['n']):,}, {_expected(one)} expected"),
                ("Users", human.count(one.get("n_users"))),
                ("Of such findings, false at most", _false(one)),
                ("First seen", _when(one.get("first_seen"))),
                ("Found", _when(one.get("at"))),
                ("App", cluster.get("app")),
                ("Cluster", cluster_id),
            ),
            f"finding-{at}",
        )
        _changes(one.get("changed") or [], at)


def _expected(one: Row) -> str:
    found = words.known(one.get("expected"))
    return human.UNKNOWN if found is None else f"{found:.1f}" if found < 100 else human.count(found)


def _false(one: Row) -> str:
    """The q-value as a share, which it is: that of false ones among what is as sure as this."""
    found = words.known(one.get("q_value"))
    return human.UNKNOWN if found is None else f"{words.percent(found)} (q)" if found >= 1e-6 else "below 0.0001% (q)"


def _when(at: object) -> str | None:
    moment = frame.moment(at)
    return None if moment is None else f"{moment.day} {moment:%b, %H:%M}"


def _changes(changed: Sequence[Row], at: int) -> None:
    """What is more or less common in its sessions than before it began."""
    if not changed:
        return
    with st.container(key=f"assay-changes-{at}", gap=None):
        st.caption("What changed at that time")
        for place, one in enumerate(changed[:_MOST_CHANGES]):
            with st.container(
                horizontal=True, vertical_alignment="center", gap="small", key=f"assay-change-{at}-{place}"
            ):
                st.badge(label(one["kind"], 30), color="gray")
                st.text(inert(one.get("text"), 300) or _change(one))
                moment = _when(one.get("at"))
                if moment is not None:
                    st.caption(f"first seen {moment}", width="content")


def _change(one: Row) -> str:
    return (
        f"{inert(one['name'], 120)}: {words.percent(one.get('share_before'))} → {words.percent(one.get('share_after'))}"
    )


def ratios(found: Sequence[Row]) -> None:
    """All findings on one axis: how many times the rate of before, with intervals. Nothing for a single one."""
    drawable = [one for one in found if forest.drawable(one.get("rate_ratio"), one.get("low"))][:_DRAWN]
    if len(drawable) < 2:
        return
    shade = palette.colours()
    names = [chart_text(one["cluster"]["title"], 44) for one in drawable]
    colours = [shade["blue" if one["kind"] == "new" else "orange"] for one in drawable]
    known = [words.known(one.get(name)) for one in drawable for name in ("rate_ratio", "high")]
    top = 1.6 * max(3.0, *(one for one in known if one is not None))
    spans = [tuple(_place(one.get(name), far) for name, far in (("rate_ratio", 1.0), ("low", 0.5), ("high", top)))
             for one in drawable]  # fmt: skip
    lines: list[dict[str, Any]] = [
        {"type": "scatter", "mode": "lines", "x": [low, high], "y": [at, at], "hoverinfo": "skip",
         "line": {"color": colour, "width": 3}}
        for at, ((_, low, high), colour) in enumerate(zip(spans, colours, strict=True))
    ]  # fmt: skip
    dots = {
        "type": "scatter",
        "mode": "markers",
        "x": [one[0] for one in spans],
        "y": list(range(len(spans))),
        "marker": {"size": 10, "color": colours, "opacity": 1, "line": {"width": 0}},
        "text": [f"{chart_text(one['cluster']['title'], 80)}<br>{words.ratio(one)}, {words.q_value(one['q_value'])}"
                 for one in drawable],
        "hovertemplate": "%{text}<extra></extra>",
    }  # fmt: skip
    picture.draw("How many times as often as before", [*lines, dots], _layout(names, spans), key="findings")


def _layout(names: Sequence[str], spans: Sequence[tuple[float, ...]]) -> dict[str, Any]:
    low, high = min(0.5, *(min(one) for one in spans)), max(3.0, *(max(one) for one in spans))
    ticks = [one for one in _TICKS if low <= one <= high]
    return {
        "height": 62 + row_names.ROW_PX * len(names),
        "xaxis": {
            "type": "log",
            "range": [math.log10(low) - 0.03, math.log10(high) + 0.05],
            "tickmode": "array",
            "tickvals": ticks,
            "ticktext": [f"×{one:g}" for one in ticks],
            "tickangle": 0,
            "showgrid": True,
        },
        **row_names.rows(names),
        "shapes": [{"type": "line", "x0": 1, "x1": 1, "yref": "paper", "y0": 0, "y1": 1, "layer": "below",
                    "line": {"color": palette.colours()["grey"], "width": 1.5}}],
        "showlegend": False,
    }  # fmt: skip


def _place(value: object, unknown: float) -> float:
    found = words.known(value)
    return min(max(unknown if found is None else found, 0.1), _FAR)
