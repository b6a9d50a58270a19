"""Who met which arm of an experiment: shares as they were meant and as they are, units by day, and what is left out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final

import streamlit as st

from dashboard import human
from dashboard.api import Row
from dashboard.parts import charts, frame, lists
from dashboard.text import one_line

_COUNTS: Final = (
    ("n_overrides", "Testers, by override"),
    ("n_multiple", "In more than one arm"),
    ("n_crossed", "In another arm than assigned"),
    ("n_before_exposure", "Outcome before exposure"),
    ("n_skewed", "Clock skew"),
)


def show(arms: Sequence[Row], exposure: Row) -> None:
    """The arms as a table, units by day as bars, and counts of what is in no figure."""
    column = st.column_config
    share = column.NumberColumn(format="percent", width=110)
    lists.plain_table(
        {
            "Variant": [one_line(one["variant"], 60) for one in arms],
            "Release": [one_line(one.get("release"), 60) or None for one in arms],
            "Units": [one["n_units"] for one in arms],
            "Sessions": [one["n_sessions"] for one in arms],
            "Share meant": [one["expected_share"] for one in arms],
            "Share seen": [one["share"] for one in arms],
        },
        {
            "Variant": column.TextColumn(width=180),
            "Release": column.TextColumn(width=140),
            "Units": column.NumberColumn(format="localized", width=100),
            "Sessions": column.NumberColumn(format="localized", width=100),
            "Share meant": share,
            "Share seen": share,
        },
        "experiment-arms",
    )
    _by_day([str(one["variant"]) for one in arms], exposure.get("by_day") or [])
    told = [(title, exposure.get(name)) for name, title in _COUNTS]
    frame.numbers([(title, human.count(n)) for title, n in told if n is not None], "experiment-exposure")
    others = [f"{one_line(name, 60)} ({n:,})" for name, n in list((exposure.get("renamed") or {}).items())[:12]]
    if others:
        st.text(f"Seen, but no arm of this version, and in no figure: {', '.join(others)}.")
    if exposure.get("sampled"):
        st.caption("There are more units than are read one by one: quantiles and few-unit intervals are of a sample.")


def _by_day(variants: Sequence[str], rows: Sequence[Row]) -> None:
    """New units of each day and arm, by the day of their first exposure."""
    known = {(str(one["day"])[:10], str(one["variant"])): one["n_units"] for one in rows}
    days = sorted({day for day, _ in known})
    if not days:
        return
    first, last = (date.fromisoformat(one) for one in (days[0], days[-1]))
    shown = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    times = [datetime(one.year, one.month, one.day) for one in shown]
    span = charts.Span(times=times, bucket_s=86_400, first=times[0], last=times[-1] + timedelta(days=1))
    series = {one_line(name, 24): [known.get((str(day), name), 0) for day in shown] for name in variants}
    charts.bars("New units by day (UTC)", span, series, key="experiment-exposure-days")
