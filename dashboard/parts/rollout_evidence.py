"""The evidence of a rollout: both e-values of every guardrail against their boundary, over time and in numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

import streamlit as st

from dashboard import human
from dashboard.api import Row
from dashboard.parts import charts, forest, frame, lists, palette, picture, rollout_steps
from dashboard.parts import metric_words as words
from dashboard.text import chart_text, one_line

_COLOURS: Final = ("blue", "orange", "green", "pink", "sky", "red")
_DASHES: Final = ("solid", "dash", "dot", "dashdot")
_FINDINGS: Final[dict[str, tuple[str, Literal["green", "blue", "orange", "red"]]]] = {
    "harm": ("harm", "red"),
    "missing": ("not enough evidence", "orange"),
    "ok": ("no harm seen", "blue"),
    "not_worse": ("not worse", "green"),
}
_STOPS: Final = [{"dtickrange": [None, 59_999], "value": "%H:%M:%S\n%-d %b"}, *charts.STOPS]
_FAILS: Final = {"resolution": "not resolved", "error_rate": "a turn ended in an error"}
_KINDS: Final = {
    "rate": "by its score",
    "zero_tolerance": "each violation counts",
}
_POWERS: Final = (-6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 30, 40, 60, 100)


def show(rollout: Row) -> None:
    """Both charts beside each other, then the table of guardrails."""
    series: Sequence[Row] = rollout["series"]
    if series:
        left, right = st.columns(2, gap="medium")
        with left:
            _chart("Evidence of harm: roll back at the boundary", rollout, ("log10_e_harm", "boundary"), "red")
        with right:
            both = ("log10_e_non_inferior", "boundary_non_inferior")
            _chart("Evidence of no harm: promote past the boundary", rollout, both, "green")
        st.caption(
            "An e-value of 100 is what luck alone reaches at most once in 100 rollouts, however often one looks. Each "
            "guardrail has a part of alpha, so its own boundary; both are carried from step to step. A star is past it."
        )
    else:
        with st.container(border=True, key="assay-chart-none-evidence"):
            st.markdown("**E-values against their boundary**")
            st.text("No matured unit of both releases yet. Without evidence nothing is promoted.")
    _table(rollout["guardrails"])


def _chart(title: str, rollout: Row, fields: tuple[str, str], colour: str) -> None:
    """`fields`: of a point of the series its logarithm, of a guardrail the boundary."""
    field, bound_field = fields
    shade = palette.colours()
    boundaries = {str(one["name"]): _log10(one.get(bound_field)) for one in rollout["guardrails"]}
    names = list(boundaries)
    traces, drawn = [], []
    for at, name in enumerate(names):
        told = [one for one in rollout["series"] if str(one["guardrail"]) == name and forest.drawable(one.get(field))]
        if not told:
            continue
        drawn.append(name)
        traces.append(_line(told, field, name, boundaries.get(name), shade[_COLOURS[at % len(_COLOURS)]],
                            _DASHES[at % len(_DASHES)]))  # fmt: skip
    if not traces:
        with st.container(border=True, key=f"assay-chart-none-{field}"):
            st.markdown(f"**{title}**")
            st.text("No evidence of this kind yet.")
        return
    bounds = {name: bound for name in drawn if (bound := boundaries.get(name)) is not None}
    low, high = _ends(traces, bounds.values())
    layout: dict[str, Any] = {
        "height": 330,
        "xaxis": {"type": "date", "showgrid": False, "nticks": 6, "tickformatstops": _STOPS, "tickangle": 0},
        "yaxis": {"range": [low, high], "showgrid": True, **_ticks(low, high),
                  "title": {"text": "e-value", "font": {"size": 12}, "standoff": 4}},
        "shapes": [*_boundaries(bounds, shade[colour]), *_steps(rollout, shade["grey"])],
        "annotations": [*_boundary_names(bounds, shade[colour]), *_step_names(rollout, shade["grey"])],
        "showlegend": True,
        "legend": {"orientation": "h", "y": -0.14, "x": 0, "xanchor": "left", "yanchor": "top"},
        "margin": {"l": 8, "r": 12, "t": 22, "b": 8},
    }  # fmt: skip
    picture.draw(title, traces, layout, key=f"rollout-{field}")


def _line(told: Sequence[Row], field: str, name: str, boundary: float | None, colour: str, dash: str) -> dict[str, Any]:
    against = "" if boundary is None else f", boundary {words.e_value(boundary)}"
    past = [boundary is not None and one[field] >= boundary for one in told]
    small = 5 if len(told) > 2 else 9
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(told) < 60 or any(past) else "lines",
        "name": chart_text(name, 28),
        "x": [frame.wall_clock(one["at"]) for one in told],
        "y": [one[field] for one in told],
        "text": [f"{chart_text(name, 40)}: E {words.e_value(one[field])}{against}" for one in told],
        "line": {"color": colour, "width": 2.5, "dash": dash},
        "marker": {"size": [12 if one else small for one in past],
                   "symbol": ["star" if one else "circle" for one in past]},
        "hovertemplate": "%{text}<br>%{x|%-d %b, %H:%M:%S}<extra></extra>",
    }  # fmt: skip


def _log10(found: float | None) -> float | None:
    return math.log10(found) if found is not None and math.isfinite(found) and found > 0 else None


def _ends(traces: Sequence[Mapping[str, Any]], bounds: Any) -> tuple[float, float]:
    """All lines and boundaries are inside; below 10^-3 a line leaves the chart, for how little is of no interest."""
    values = [y for one in traces for y in one["y"]]
    low = max(-3.0, min(0.0, *values))
    high = max(1.0, *values, *bounds)
    return low - 0.25, high + 0.08 * (high - low) + 0.2


def _ticks(low: float, high: float) -> dict[str, Any]:
    places = [power for power in _POWERS if low <= power <= high]
    every = math.ceil(len(places) / 7)
    first = places.index(0) % every if 0 in places else 0
    shown = places[first::every]
    return {"tickmode": "array", "tickvals": shown, "ticktext": [_power(one) for one in shown]}


def _power(power: int) -> str:
    return f"{10**power:,}" if 0 <= power <= 4 else f"10<sup>{power}</sup>" if power > 4 else f"{10.0**power:g}"


def _boundaries(bounds: Mapping[str, float], colour: str) -> list[dict[str, Any]]:
    line = {"color": colour, "width": 2, "dash": "dash"}
    whole = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "line": line, "layer": "below"}
    return [{**whole, "y0": y, "y1": y} for y in sorted(set(bounds.values()))]


def _boundary_names(bounds: Mapping[str, float], colour: str) -> list[dict[str, Any]]:
    """Each line is named; where guardrails have parts of alpha of their own, with whose it is."""
    found = []
    several = len(set(bounds.values())) > 1
    for y in sorted(set(bounds.values())):
        whose = [chart_text(name, 18) for name, bound in bounds.items() if bound == y]
        text = f"boundary {words.e_value(y)}" + (f": {', '.join(whose)}" if several else "")
        side = "top" if several and y == min(bounds.values()) else "bottom"
        found.append(
            {"xref": "paper", "x": 0.005, "xanchor": "left", "y": y, "yanchor": side, "text": text,
             "showarrow": False, "font": {"color": colour, "size": 11}}
        )  # fmt: skip
    return found


def _entered(rollout: Row) -> list[tuple[datetime, str]]:
    found = [(frame.wall_clock(one.get("entered_at")), rollout_steps.weight(one["weight"])) for one in rollout["steps"]]
    return [(at, weight) for at, weight in found if at is not None]


def _steps(rollout: Row, colour: str) -> list[dict[str, Any]]:
    line = {"color": colour, "width": 1, "dash": "dot"}
    return [
        {"type": "line", "x0": at, "x1": at, "yref": "paper", "y0": 0, "y1": 1, "line": line, "layer": "below"}
        for at, _ in _entered(rollout)
    ]


def _step_names(rollout: Row, colour: str) -> list[dict[str, Any]]:
    where = {"yref": "paper", "y": 1, "yanchor": "bottom", "xanchor": "center", "showarrow": False}
    return [{**where, "x": at, "text": text, "font": {"color": colour, "size": 11}} for at, text in _entered(rollout)]


def _table(guardrails: Sequence[Row]) -> None:
    """Both figures of every guardrail beside both e-values and the boundary."""
    if not guardrails:
        return
    column = st.column_config
    metric = {"binary": True}
    unscored = [_unscored(one) for one in guardrails]
    lists.plain_table(
        {
            "Guardrail": [one_line(one["name"], 60) for one in guardrails],
            "Finding": [[_FINDINGS.get(str(one["finding"]), _FINDINGS["missing"])[0]] for one in guardrails],
            "Candidate failed": [words.value(metric, one.get("rate_candidate")) for one in guardrails],
            "Baseline failed": [words.value(metric, one.get("rate_baseline")) for one in guardrails],
            "E of harm / boundary": [_against(one, "e_harm", "boundary") for one in guardrails],
            "E of no harm / boundary": [_against(one, "e_non_inferior", "boundary_non_inferior") for one in guardrails],
            "Units": [_units(one) for one in guardrails],
            **({"Unscored": unscored} if any(unscored) else {}),
            "May be lost": [_margin(one) for one in guardrails],
            "A unit fails": [_fails(one) for one in guardrails],
        },
        {
            "Guardrail": column.TextColumn(width=125),
            "Finding": column.MultiselectColumn(
                options=[title for title, _ in _FINDINGS.values()],
                color=[colour for _, colour in _FINDINGS.values()],
                width=140,
            ),
            "Candidate failed": _right("The share of its matured units that failed by this guardrail"),
            "Baseline failed": _right(),
            "Units": column.TextColumn(width=105, alignment="right", help="Matured ones: candidate and baseline"),
            "Unscored": column.TextColumn(width=80, alignment="right", help="Missing evidence holds a rollout"),
            "E of harm / boundary": _right("The highest so far; the boundary, 1 / its part of alpha, rolls back", 135),
            "E of no harm / boundary": _right("From the boundary on it is shown to be no worse", 150),
            "May be lost": _right("How much more often the candidate may fail and still be no worse"),
            "A unit fails": column.TextColumn(width=165),
        },
        "rollout-guardrails",
    )


def _right(about: str | None = None, width: int = 105) -> Any:
    return st.column_config.TextColumn(width=width, alignment="right", help=about)


def _e(found: float | None) -> str | None:
    if found is None:
        return None
    return words.e_value(math.log10(found)) if found > 0 else "0"


def _margin(one: Row) -> str | None:
    if one["kind"] == "zero_tolerance":
        return human.plural(one.get("tolerated") or 0, "unit")
    return None if one.get("margin") is None else f"{100 * one['margin']:.3g} points"


def _units(one: Row) -> str:
    return f"{human.count(one.get('n_candidate'))} and {human.count(one.get('n_baseline'))}"


def _unscored(one: Row) -> str | None:
    both = [one.get("n_missing_candidate") or 0, one.get("n_missing_baseline") or 0]
    return f"{both[0]:,} and {both[1]:,}" if any(both) else None


def _against(one: Row, name: str, boundary: str) -> str | None:
    """An e-value beside its boundary: "1.3 / 57"."""
    found, bound = _e(one.get(name)), _e(one.get(boundary))
    return found if found is None or bound is None else f"{found} / {bound}"


def _fails(one: Row) -> str:
    """When a unit counts as failed, in the guardrail's own unit."""
    name, threshold = str(one["name"]), one.get("threshold")
    if one["kind"] == "exceeds":
        beyond = "slower than" if name.endswith("latency") else "dearer than" if name == "cost" else "beyond"
        return f"{beyond} {'before' if threshold is None else words.value({'metric': name}, threshold)}"
    return _FAILS.get(name) or _KINDS.get(str(one["kind"]), one_line(one["kind"], 40))
