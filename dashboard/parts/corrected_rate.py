"""A judged rate with the judge's errors taken out, and beside it what the judge alone says: never the latter alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import streamlit as st

from dashboard import human
from dashboard.api import Api, NotFound, Refused, Row
from dashboard.parts import estimates, judge_commands, palette, picture, states
from dashboard.text import chart_text, inert

_DRIFTS: Final = {
    "nothing": ("nothing changed", "green"),
    "product": ("the product changed", "orange"),
    "judge": ("the judge changed", "orange"),
    "both": ("product and judge changed", "red"),
}
_REFUSALS: Final = {
    "no_labels": "Nobody labelled any of these targets, so the judge's errors are not known.",
    "too_few": "Too few labels to take the judge's errors out.",
    "no_examples": "The judge gave no verdict on a live session here.",
    "no_better_than_chance": "The judge is no better than chance: nothing can be learned from it.",
}


@st.cache_data(ttl=15, max_entries=32, show_spinner=False)
def read(_api: Api, judge: str, app: str, window: Mapping[str, str]) -> Row:
    """The judged metric of an app over sessions that begin in the window; raises `ApiFailure`."""
    return _api.get("/metrics/corrected", {"name": judge, "app": app, **window})


def show(judge: str, app: str, window: Mapping[str, str], key: str) -> bool:
    """The metric, or why it cannot be told; says whether there is a rate. `window` are parameters of the API."""
    try:
        told = read(states.api(), judge, app, window)
    except (Refused, NotFound) as refused:
        with st.container(border=True, key=f"assay-corrected-refused-{key}"):
            st.text(inert(refused.detail, 500))
        return False
    if told["corrected"] is None:
        _refused(told, key)
        return False
    _rate(told, key)
    return True


def _refused(told: Row, key: str) -> None:
    with st.container(border=True, key=f"assay-corrected-refused-{key}", gap="small"):
        st.markdown("**No rate is shown**")
        refused = told["refused"]
        st.text(_REFUSALS.get(refused["reason"], estimates.lack(refused).capitalize() + "."))
        if refused["detail"]:
            st.text(inert(f"{str(refused['detail']).rstrip('.')}.", 400))
        st.caption("What the judge alone says may be far from what people would say, so it is not shown by itself.")
        st.code(judge_commands.label(told["judge"], told["app"]), language="bash", wrap_lines=True)


def _rate(told: Row, key: str) -> None:
    rate, interval = told["corrected"], told["corrected"]["interval"]
    level = f"{100 * interval['level']:.0f}%"
    cells = [
        ("Corrected", estimates.share(rate["value"]), f"{level}: {_ends(interval)}"),
        ("Raw, the judge alone", estimates.share(rate["raw"]), estimates.points(rate["raw"] - rate["value"])),
        ("Labels of people", human.count(rate["n_labels"]), _people(rate)),
        ("Judged", human.count(rate["n_judged"]), f"as exact as {rate['effective_n']:,.0f} labels alone"),
    ]
    with st.container(horizontal=True, key=f"assay-numbers-corrected-{key}", gap="small"):
        for name, value, below in cells:
            st.metric(name, value, delta=below, delta_color="off", delta_arrow="off", border=True, width="stretch",
                      height="stretch")  # fmt: skip
    bars(told, f"{key}-bars")
    with st.container(key=f"assay-quiet-corrected-{key}"):
        method = {"ppi": "PPI++", "rogan_gladen": "Rogan-Gladen"}.get(rate["method"], rate["method"])
        st.text(inert(f"{method}: {rate['why']}.", 400))
        for note in [*([rate["note"]] if rate["note"] else []), *told["notes"]]:
            st.text(inert(f"Note: {note}.", 500))
        if told["n_waiting"]:
            st.text(f"{told['n_waiting']:,} judged after the last label wait for labels.")
    _days(told["days"], f"{key}-days")
    _drift(told["drift"])


def _people(rate: Row) -> str | None:
    human_ends = rate["human"]
    return None if human_ends is None else f"alone: {estimates.share(rate['human_value'])}, {_ends(human_ends)}"


def bars(told: Row, key: str) -> None:
    """Corrected, raw and the labels alone as dots on one line each: what the correction moved."""
    shade, rate = palette.colours(), told["corrected"]
    rows = [("corrected", rate["value"], rate["interval"], shade["green"])]
    rows += [("people's labels alone", rate["human_value"], rate["human"], shade["blue"])] if rate["human"] else []
    rows += [("raw, the judge alone", rate["raw"], None, shade["grey"])]
    traces = [_dot(*row) for row in rows]
    layout = {
        "height": 84 + 30 * len(rows),
        "xaxis": {"range": [-0.02, 1.02], "tickformat": ".0%", "nticks": 6, "showgrid": True},
        "yaxis": {
            "type": "category",
            "categoryorder": "array",
            "categoryarray": [row[0] for row in reversed(rows)],
            "showgrid": False,
            "ticksuffix": " ",
        },
        "showlegend": False,
    }
    picture.draw(f"{chart_text(told['name'], 40)} of {chart_text(told['app'], 40)}", traces, layout, key=key,
                 data_title=True)  # fmt: skip


def _dot(name: str, value: float, interval: Row | None, colour: str) -> dict[str, Any]:
    ends = (interval["low"], interval["high"]) if interval else (value, value)
    told = estimates.share(value) + (
        f" ({_ends(interval)})" if interval else ", no interval: it says nothing of errors"
    )
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [value],
        "y": [name],
        "marker": {"size": 12, "color": colour, "symbol": "circle" if interval else "x"},
        "error_x": {
            "type": "data", "symmetric": False, "array": [ends[1] - value], "arrayminus": [value - ends[0]],
            "color": colour, "thickness": 3, "width": 6,
        },
        "text": [told],
        "hovertemplate": "%{text}<extra></extra>",
    }  # fmt: skip


def _days(days: Sequence[Row], key: str) -> None:
    """The rate so far after each day, in a band that holds on all days at once; raw as a dotted line."""
    if len(days) < 2:
        return
    shade = palette.colours()
    at = [datetime.fromisoformat(one["day"]) for one in days]
    said = [
        f"{estimates.share(one['value'])} ({_ends(one)})<br>raw {estimates.share(one['raw'])}, "
        f"{one['n_labels']:,} labels that day"
        for one in days
    ]
    line = {"type": "scatter", "mode": "lines", "x": at}
    traces: list[dict[str, Any]] = [
        line | {"y": [one["high"] for one in days], "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False},
        line
        | {
            "y": [one["low"] for one in days], "line": {"width": 0}, "fill": "tonexty", "hoverinfo": "skip",
            "fillcolor": "rgba(0,135,95,0.16)", "showlegend": False,
        },
        line
        | {
            "y": [one["value"] for one in days], "name": "corrected, so far", "mode": "lines+markers",
            "line": {"color": shade["green"], "width": 2}, "text": said, "hovertemplate": "%{text}<extra></extra>",
        },
        line
        | {
            "y": [one["raw"] for one in days], "name": "raw, so far",
            "line": {"color": shade["grey"], "width": 1.5, "dash": "dot"},
            "hovertemplate": "raw %{y:.1%}<extra></extra>",
        },
    ]  # fmt: skip
    layout = {
        "height": 290,
        "xaxis": {"type": "date", "showgrid": False, "tickformat": "%-d %b"}
        | ({"dtick": 86_400_000} if len(days) < 8 and at[-1] - at[0] < timedelta(days=8) else {"nticks": 6}),
        "yaxis": {"range": [-0.02, 1.02], "tickformat": ".0%", "nticks": 6, "showgrid": True},
        "showlegend": True,
    }
    picture.draw("Day by day (UTC): the band holds on all days at once", traces, layout, key=key)


def _drift(drift: Row | None) -> None:
    if drift is None:
        return
    words, colour = _DRIFTS.get(str(drift["state"]), ("cannot be told", "gray"))
    with st.container(border=True, key="assay-corrected-drift", gap="small"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown("**Drift**")
            st.badge(words, color=colour)  # type: ignore[arg-type]
        st.text(inert(f"{drift['why']}.", 400))
        if drift["baseline_from"]:
            st.caption(
                f"Baseline {drift['baseline_from']} to {drift['baseline_to']}; where nothing changes this is said "
                f"once in {drift['arl_days']:,.0f} days at most."
            )


def _ends(one: Row) -> str:
    return f"{estimates.share(one['low'])} to {estimates.share(one['high'])}"
