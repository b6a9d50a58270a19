"""What a monitor would have done over a time that is past: alerts, false ones to expect, its budget, its chart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import streamlit as st

from dashboard import human
from dashboard.api import ApiFailure, NotAllowed, Row, Unreachable
from dashboard.parts import frame, lists, monitor_chart
from dashboard.parts import monitor_words as words
from dashboard.parts.change import Figure
from dashboard.parts.monitor_chart import Picture, Strip
from dashboard.text import inert, one_line

SINCE: Final = {"3d": "3 days", "7d": "7 days", "14d": "14 days", "30d": "30 days"}
_MOST: Final = 100


def since(key: str, step: object, default: str = "30d") -> str:
    """Over how many days; of steps of a minute a few at first, because the server goes back by buckets."""
    chosen: str | None = st.segmented_control(
        "Over the last", list(SINCE), default="3d" if step == "1m" else default, format_func=SINCE.__getitem__,
        key=key, required=True, label_visibility="collapsed",
    )  # fmt: skip
    return chosen or default


def refused(failure: ApiFailure) -> None:
    """What the server says of a definition that cannot be, or of a time that is too long, in the place of a chart."""
    if isinstance(failure, (Unreachable, NotAllowed)):
        raise failure
    with st.container(border=True, key="assay-monitor-refused"):
        st.badge("cannot be", icon=":material/error:", color="red")
        st.text(inert(failure.detail, 600))


def show(told: Row, unit: str, key: str, before: Row | None = None) -> None:
    """Figures, the sentence about its budget, the chart of one series, and every alert. `before`: what the monitor as
    it is would have done, to hold it against."""
    frame.figures(_figures(told, before), key)
    _budget(told)
    _chart(told, unit, key)
    _alerts(told["alerts"], key)


def _figures(told: Row, before: Row | None) -> list[Figure]:
    expected = told["expected_false_alarms_per_week"]
    budget = float(told["definition"]["false_pages_per_week"])
    n_loud = sum(one["severity"] == "page" for one in told["alerts"])
    cells = [
        ("Alerts", human.count(len(told["alerts"])), _change(told, before)),
        ("of them pages", human.count(n_loud), None),
        ("Alerts a week", f"{told['alerts_per_week']:.2g}", None),
        ("False a week", human.UNKNOWN if expected is None else f"{expected:.2g}", None),
        ("Budget a week", words.budget(budget), None),
        ("Points", human.count(told["n_points"]), None),
    ]
    return [Figure(name=name, value=value, change=change) for name, value, change in cells]


def _change(told: Row, before: Row | None) -> str | None:
    if before is None:
        return None
    more = len(told["alerts"]) - len(before["alerts"])
    return f"{more:+d}" if more else "as before"


def _budget(told: Row) -> None:
    """The expected figure in words, and what the count may say about it."""
    expected, budget = told["expected_false_alarms_per_week"], float(told["definition"]["false_pages_per_week"])
    if expected is None:
        st.text(f"How many of its alerts would be false cannot be told: {inert(told['why'], 300)}.")
        return
    over = expected > 1.05 * budget
    if over:
        st.badge("over its budget", icon=":material/warning:", color="orange")
    st.text(f"Expected: {words.weekly(expected)}, {inert(told['why'], 300)}.")
    days = _days(told)
    if days:
        n_false = expected * days / 7
        st.caption(
            f"In these {days:.3g} days that makes {n_false:.2g} by chance alone; what is beyond it has a cause. The "
            "law holds for independent points: a series with a long memory has more, so look at the alerts below."
        )


def _days(told: Row) -> float | None:
    start, end = frame.moment(told["start"]), frame.moment(told["end"])
    return None if start is None or end is None else (end - start).total_seconds() / 86_400


def _chart(told: Row, unit: str, key: str) -> None:
    drawn: Sequence[Row] = told["charts"]
    if not drawn:
        st.text("No series has a value in this time.")
        return
    names = [str(one["series"]) for one in drawn]
    chosen = 0
    if len(names) > 1:
        picked: str = st.selectbox(
            "Series", names, key=f"{key}-series", format_func=lambda one: one_line(one, 80), width=420
        )
        chosen = names.index(picked)
        if told["n_series"] > len(names):
            st.caption(f"{len(names)} of {told['n_series']} series: those with alerts first.")
    alerts = [
        Strip(start=one["fired_at"], end=one["resolved_at"], text=str(one["text"]), loud=one["severity"] == "page")
        for one in told["alerts"]
        if one["series"] == names[chosen]
    ]
    picture = Picture(
        title="What it would have done", chart=drawn[chosen], definition=told["definition"], unit=unit,
        start=told["start"], end=told["end"], markers=told["markers"], alerts=alerts,
    )  # fmt: skip
    monitor_chart.show(picture, f"{key}-chart")


def _alerts(found: Sequence[Row], key: str) -> None:
    if not found:
        st.text("It would have raised no alert.")
        return
    column: Any = st.column_config
    shown = list(reversed(found))[:_MOST]
    with st.expander(f"The alerts it would have raised ({len(found):,})", icon=":material/list:", key=f"{key}-alerts"):
        lists.plain_table(
            {
                "Fired": [frame.moment(one["fired_at"]) for one in shown],
                "Lasted": [lasted(one["fired_at"], one["resolved_at"]) for one in shown],
                "Severity": [str(one["severity"]) for one in shown],
                "Series": [one_line(one["series"], 100) for one in shown],
                "Why": [one_line(one["text"], 300) for one in shown],
            },
            {
                "Fired": column.DatetimeColumn(format="D MMM HH:mm", width=110),
                "Lasted": column.TextColumn(width=95),
                "Severity": column.TextColumn(width=75),
                "Series": column.TextColumn(width=150),
                "Why": column.TextColumn(width=560),
            },
            f"{key}-alerts",
        )
        if len(found) > _MOST:
            st.caption(f"The newest {_MOST} of {len(found):,}.")


def lasted(start: object, end: object) -> str:
    """How long an alert fired: "1 h 04 m"; "goes on"."""
    first, last = frame.moment(start), frame.moment(end)
    if last is None or first is None:
        return "goes on"
    return human.duration(1000 * (last - first).total_seconds())
