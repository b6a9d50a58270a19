"""Figures of a score as cards and charts: statistics, over time, distribution; and of two beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import streamlit as st

from dashboard import human
from dashboard.api import Row
from dashboard.parts import charts, estimates, frame, heat_map, horizontal, palette, picture
from dashboard.text import chart_text, inert, one_line

_LABELS: Final = 8  # in the timeline; the others are together


def statistics(one: Row, key: str) -> None:
    """The card of one score: how many, the mean with its interval, quartiles, what is missing."""
    with st.container(border=True, key=f"assay-score-card-{key}", gap="small"):
        with st.container(key=f"assay-heading-small-{key}"):
            st.text(inert(one["evaluator"], 80))
        about = [f"{one['kind']} · {human.plural(one['n'], 'target')}"]
        about += [f"version {', '.join(list(one['versions'])[:4])}"] if one["versions"] else []
        with st.container(key=f"assay-quiet-{key}"):
            st.text(one_line(" · ".join(about), 200))
        words = estimates.share if _is_share(one) else estimates.number
        quartiles = one["quantiles"]
        frame.facts(
            (
                ("Passes" if _is_share(one) else "Mean", _told(estimates.said(one["mean"], words))),
                ("95% interval", _told(estimates.between(one["mean"], words))),
                ("Median", None if quartiles is None or _is_share(one) else estimates.number(quartiles[2])),
                (
                    "Quartiles",
                    None
                    if quartiles is None or _is_share(one)
                    else f"{estimates.number(quartiles[1])} to {estimates.number(quartiles[3])}",
                ),
                (
                    "Range",
                    None
                    if quartiles is None or _is_share(one)
                    else f"{estimates.number(quartiles[0])} to {estimates.number(quartiles[4])}",
                ),
                ("Unscored", human.count(one["n_unscored"]) if one["n_unscored"] else None),
            ),
            f"score-{key}",
        )
        unscored(one, key)


def _told(text: str) -> str | None:
    return None if text == human.UNKNOWN else text


def unscored(one: Row, key: str) -> None:
    """Why targets have no score."""
    if one["n_unscored"]:
        reasons = ", ".join(f"{why} ({n:,})" for why, n in list(one["unscored"].items())[:4])
        with st.container(key=f"assay-quiet-unscored-{key}"):
            st.text(inert(f"Unscored: {reasons}", 400))


def timeline(one: Row, bucket_s: int, key: str, colour: str) -> None:
    """Means by bucket with their intervals; of a score with labels alone how many have each."""
    if all(estimates.value_of(part["mean"]) is None for part in one["series"]):
        _labels_over_time(one, bucket_s, key)
        return
    layout: dict[str, Any] = {
        "height": 300,
        "xaxis": _time_axis(one, bucket_s),
        "yaxis": {"nticks": 6, "showgrid": True} | ({"range": [-0.03, 1.03]} if _within(one) else {}),
        "showlegend": False,
    }
    picture.draw("Over time, with 95% intervals", [_line(one, palette.colours()[colour])], layout, key=key)


def _time_axis(one: Row, bucket_s: int) -> dict[str, Any]:
    """From some buckets before the first to some after the last."""
    starts, room = [part["start_ns"] for part in one["series"]], 4 * bucket_s * 10**9
    ends = [_at(min(starts) - room), _at(max(starts) + room)] if starts else None
    return {"type": "date", "showgrid": False, "nticks": 6, "range": ends, "tickformatstops": charts.STOPS}


def _line(one: Row, colour: str) -> dict[str, Any]:
    parts = [part for part in one["series"] if estimates.value_of(part["mean"]) is not None]
    values = [float(part["mean"]["value"]) for part in parts]
    ends = [estimates.ends(part["mean"]) or (value, value) for part, value in zip(parts, values, strict=True)]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": chart_text(f"{one['evaluator']} ({one['kind']})", 40),
        "x": [_at(part["start_ns"]) for part in parts],
        "y": values,
        "line": {"color": colour, "width": 2},
        "marker": {"size": 7},
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [high - value for (_, high), value in zip(ends, values, strict=True)],
            "arrayminus": [value - low for (low, _), value in zip(ends, values, strict=True)],
            "color": colour,
            "thickness": 1.2,
            "width": 4,
        },
        "text": [f"{estimates.whole(part['mean'])}, {part['n']:,} targets" for part in parts],
        "hovertemplate": "%{text}<br>%{x|%-d %b %Y %H:%M}<extra></extra>",
    }


def _labels_over_time(one: Row, bucket_s: int, key: str) -> None:
    names = list(one["labels"])[:_LABELS]
    if not names:
        return
    shades = palette.sequence()
    traces = [
        {
            "type": "bar",
            "name": chart_text(name, 24),
            "x": [_at(part["start_ns"]) for part in one["series"]],
            "y": [part["labels"].get(name, 0) for part in one["series"]],
            "width": bucket_s * 840,
            "marker": {"color": shades[place % len(shades)], "line": {"width": 0}},
            "hovertemplate": "%{y:,}<extra>%{fullData.name}</extra>",
        }
        for place, name in enumerate(names)
    ]
    layout = {
        "height": 340,
        "barmode": "stack",
        "legend": {"orientation": "h", "y": -0.22, "x": 0, "xanchor": "left", "yanchor": "top"},
        "xaxis": _time_axis(one, bucket_s),
        "yaxis": {"rangemode": "tozero", "nticks": 5, "showgrid": True},
        "showlegend": True,
    }
    picture.draw("Labels over time", traces, layout, key=key)


def distribution(one: Row, key: str, colour: str) -> None:
    """How often each label was given; of values without labels, their histogram."""
    if one["labels"]:
        horizontal.counts("Labels", list(one["labels"].items()), key, colour)
        return
    bins = one["bins"]
    if not bins:
        return
    if _is_share(one):
        horizontal.counts("Values", [("1", bins[-1]["n"]), ("0", bins[0]["n"])], key, colour)
        return
    trace = {
        "type": "bar",
        "x": [(part["low"] + part["high"]) / 2 for part in bins],
        "y": [part["n"] for part in bins],
        "width": [(part["high"] - part["low"]) * 0.92 or 0.05 for part in bins],
        "marker": {"color": palette.colours()[colour], "line": {"width": 0}, "cornerradius": 2},
        "text": [
            f"{estimates.number(part['low'])} to {estimates.number(part['high'])}: {part['n']:,}" for part in bins
        ],
        "textposition": "none",
        "hovertemplate": "%{text}<extra></extra>",
    }
    layout = {
        "height": 260,
        "xaxis": {"showgrid": False, "nticks": 8},
        "yaxis": {"rangemode": "tozero", "nticks": 5, "showgrid": True},
        "showlegend": False,
    }
    picture.draw("Distribution of values", [trace], layout, key=key)


def together(told: Row, both: Row) -> None:
    """Two scores on the targets that have both: agreement or correlation in words, and the heat map."""
    first, second = told["scores"]
    names = [f"{one['evaluator']} ({one['kind']})" for one in (first, second)]
    if not both["n"]:
        with st.container(border=True, key="assay-empty-together"):
            st.text("No target has both of these scores, so they cannot be compared.")
        return
    left, right = st.columns(2, gap="medium")
    with left, st.container(border=True, key="assay-score-together", gap="small"):
        st.markdown("**Do they agree?**")
        _agreement(both)
        only = f"{both['n_first']:,} have the first only, {both['n_second']:,} the second only"
        with st.container(key="assay-quiet-together"):
            st.text(f"{human.plural(both['n'], 'target')} with both; {only}.")
    with right:
        heat_map.draw(
            "Both on the same targets",
            _words(both["rows"], both["by"]),
            _words(both["columns"], both["by"]),
            both["counts"],
            key="scores-heat",
            said=(names[0], names[1]),
        )


def _agreement(both: Row) -> None:
    kappa = both["kappa"]["estimate"]
    value = estimates.value_of(kappa)
    strength = f", {estimates.strength(value)}" if value is not None else ""
    frame.facts(
        (
            ("Cohen's kappa", estimates.whole(kappa) + strength),
            ("Gwet's AC1", _known(both["gwet_ac1"]["estimate"])),
            ("Say the same", _known(both["agreement"], estimates.share)),
            ("Spearman", _known(both["spearman"])),
            ("Pearson", _known(both["pearson"])),
        ),
        "together",
    )
    if both["by"] == "passing":
        st.caption("Compared is whether both are 1 or 0, as their labels are not the same words.")


def _known(one: Row, words: estimates.Words = estimates.number) -> str | None:
    return None if estimates.value_of(one) is None else estimates.whole(one, words)


def _words(names: Sequence[str], by: str) -> list[str]:
    return ["fails (0)", "passes (1)"] if by == "passing" else list(names)


def _is_share(one: Row) -> bool:
    """Whether all values are 0 or 1."""
    return ((one["mean"].get("interval") or {}).get("method")) == "wilson"


def _within(one: Row) -> bool:
    quartiles = one["quantiles"]
    return quartiles is not None and quartiles[0] >= 0 and quartiles[4] <= 1


def _at(ns: int) -> datetime | None:
    return human.moment(ns, frame.timezone())
