"""Silences: those there are, one that is made (once, or every week by the clock on a wall), one that is ended."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, time
from typing import Any, Final

import streamlit as st

from dashboard import human
from dashboard.api import ApiFailure, Row
from dashboard.parts import alert_words as words
from dashboard.parts import frame
from dashboard.parts.alert_cards import moment
from dashboard.parts.callers import Caller
from dashboard.text import inert, one_line

ROLE: Final = "user"
_ONCE: Final = {
    "30m": "30 minutes", "1h": "1 hour", "2h": "2 hours", "4h": "4 hours", "8h": "8 hours", "24h": "1 day",
    "3d": "3 days", "7d": "7 days", "30d": "30 days",
}  # fmt: skip
_WEEKS: Final = {"28d": "4 weeks", "84d": "12 weeks", "182d": "26 weeks", "364d": "52 weeks"}
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MOST: Final = 30
_OVER_SHOWN: Final = 5
_ASKED: Final = "silence-asked"


def listed(caller: Caller, silences: Sequence[Row]) -> None:
    """Those that hold or will, then the last that are over."""
    now = datetime.now(UTC)
    there = [one for one in silences if not _over(one, now)]
    over = [one for one in silences if _over(one, now)]
    over.sort(key=lambda one: str(one.get("ended_at") or one.get("end")), reverse=True)
    there.sort(key=lambda one: (not one.get("active"), str(one.get("start"))))
    if not there:
        st.text("No silence holds or is planned: everything that fires is told.")
    with st.container(key="assay-silences", gap="small"):
        for at, one in enumerate(there[:_MOST]):
            _row(caller, one, at)
    if over:
        with st.expander(f"Over ({len(over):,})", icon=":material/history:", key="silences-over"):
            for at, one in enumerate(over[:_OVER_SHOWN]):
                with st.container(key=f"assay-quiet-silence-{at}", gap=None):
                    ended = f", ended by {inert(one['ended_by'], 60)}" if one.get("ended_by") else ""
                    st.text(
                        f"{_span(one)}{ended}: {inert(words.matcher(one['matcher']), 200)}. {inert(one['why'], 200)}"
                    )
            if len(over) > _OVER_SHOWN:
                st.caption(f"The last {_OVER_SHOWN} of {len(over):,}; all of them: assay silence --list")


def _over(one: Row, now: datetime) -> bool:
    end = frame.moment(one.get("ended_at") or one.get("end"))
    return end is not None and end <= now


def _span(one: Row) -> str:
    return f"{moment(one.get('start'))} to {moment(one.get('ended_at') or one.get('end'))}"


def _row(caller: Caller, one: Row, at: int) -> None:
    with st.container(
        border=True, horizontal=True, vertical_alignment="center", gap="small", key=f"assay-silence-{at}"
    ):
        if one.get("active"):
            st.badge("holds now", icon=":material/notifications_off:", color="orange")
        elif one.get("weekly"):
            st.badge("every week", icon=":material/update:", color="blue")
        else:
            st.badge("planned", icon=":material/schedule:", color="gray")
        with st.container(width="stretch", gap=None):
            st.text(inert(words.matcher(one["matcher"]), 300))
            windows = words.weekly(one.get("weekly"))
            with st.container(key=f"assay-quiet-silence-of-{at}", gap=None):
                said = _span(one) if windows is None else f"{windows}; until {moment(one.get('end'))}"
                st.text(f"{inert(said, 200)}, by {inert(one['made_by'], 80)}: {inert(one['why'], 300)}")
        if caller.may(ROLE) and st.button("End it", icon=":material/timer_off:", key=f"silence-end-{at}"):
            _end(caller, str(one["id"]))


def _end(caller: Caller, silence: str) -> None:
    try:
        caller.api.delete(caller.api.silence_path(silence))
    except ApiFailure as failure:
        st.text(inert(failure.detail, 400))
        return
    st.cache_data.clear()
    st.rerun()


def ask(of: Row) -> None:
    """Opens the form, for an alert or for nothing (no fields): on the page, not in a part of it that is read anew every
    few seconds, which would take it away."""
    st.session_state[_ASKED] = of
    st.rerun(scope="app")


def asked(caller: Caller, monitors: Sequence[Row]) -> None:
    """The form, where it was asked for."""
    of: Row | None = st.session_state.pop(_ASKED, None)
    if of is not None:
        form(caller, monitors, of)


def offer(caller: Caller) -> None:
    """The button that opens the form; for whom may not, the command."""
    if caller.may(ROLE):
        if st.button("New silence", icon=":material/notifications_off:", key="silence-new"):
            ask({})
        return
    with st.popover("New silence", icon=":material/terminal:", key="silence-command"):
        st.caption(f"This takes a key of role {ROLE}: give one above, or use the command line.")
        said = "assay silence MONITOR 2h --why WHY\nassay silence --end SILENCE"
        st.code(said, language="bash", wrap_lines=True)


@st.dialog("New silence", width="large")
def form(caller: Caller, monitors: Sequence[Row], of: Row) -> None:
    """Asks which alerts, when and why. `of` is what stands in it at first: an alert, or nothing."""
    st.caption(
        "Alerts live on, stand in their incidents and guard rollouts: nobody is told of them. What still fires at its "
        "end is told then."
    )
    matcher = _matcher(monitors, of)
    kind = st.segmented_control(
        "When", ["Once, from now on", "Every week"], default="Once, from now on", required=True, key="silence-kind"
    )
    when = _every_week() if kind == "Every week" else _once()
    why = st.text_input("Why (whoever misses a page asks)", key="silence-why", max_chars=300)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        pressed = st.button("Silence", type="primary", icon=":material/notifications_off:", key="silence-make")
        with st.container(key="assay-quiet-silence-as", width="content"):
            st.text(f"As {one_line(caller.name, 60)}; it can be ended at any time.")
    if pressed:
        _make(caller, {"matcher": matcher, "why": why.strip(), **when})


def _matcher(monitors: Sequence[Row], of: Row) -> dict[str, str]:
    """All of what is chosen has to be the same."""
    key = str(of.get("id") or "new")  # each alert's form begins with its own
    apps = sorted({str(one["app"]) for one in monitors} | ({str(of["app"])} if of.get("app") else set()))
    names = sorted({str(one["name"]) for one in monitors} | ({str(of["monitor"])} if of.get("monitor") else set()))
    with st.container(horizontal=True, gap="small", key="assay-silence-matcher"):
        app = _choice("App", apps, of.get("app"), f"silence-app-{key}")
        monitor = _choice("Monitor", names, of.get("monitor"), f"silence-monitor-{key}")
        severity = _choice("Severity", ["page", "ticket"], None, f"silence-severity-{key}")
    named = [str(of["series"])] if of.get("series") else []
    every: Sequence[Row] = [each for one in monitors if one["name"] == monitor for each in one.get("series") or []]
    several = sorted({*named, *(str(one["series"]) for one in every)})
    series = _choice("Series of it", several, None, f"silence-series-{key}") if len(several) > 1 else None
    given = {"app": app, "monitor": monitor, "series": series, "severity": severity}
    return {name: value for name, value in given.items() if value is not None}


def _choice(title: str, options: Sequence[str], first: object, key: str) -> str | None:
    chosen: str | None = st.selectbox(
        title,
        options,
        index=options.index(str(first)) if first is not None and str(first) in options else None,
        key=key,
        placeholder="any",
        format_func=lambda value: one_line(value, 60),
    )
    return chosen


def _once() -> dict[str, Any]:
    lasts = st.selectbox(
        "For how long", list(_ONCE), index=2, format_func=_ONCE.__getitem__, key="silence-lasts", width=220
    )
    return {"lasts": lasts}


def _every_week() -> dict[str, Any]:
    """Days, a time of day on the wall of a zone, and for how many weeks."""
    days = st.pills("Days", list(_DAYS), selection_mode="multi", default=["sun"], key="silence-days")
    with st.container(horizontal=True, gap="small", key="assay-silence-weekly"):
        start = st.time_input("From", time(2, 0), key="silence-from", step=900)
        end = st.time_input("To", time(4, 0), key="silence-to", step=900)
        zone = st.text_input("Time zone", str(getattr(frame.timezone(), "key", "UTC")), key="silence-zone")
        lasts = st.selectbox("For", list(_WEEKS), index=1, format_func=_WEEKS.__getitem__, key="silence-weeks")
    st.caption(
        "By the clock on the wall of that zone, summer time too. An end that is not after the start is a day later."
    )
    weekly = {
        "days": list(days or []),
        "start": f"{start or time(2, 0):%H:%M}",
        "end": f"{end or time(4, 0):%H:%M}",
        "zone": zone.strip() or "UTC",
    }
    return {"lasts": lasts, "weekly": weekly}


def _make(caller: Caller, body: Row) -> None:
    try:
        caller.api.post("/silences", body)
    except ApiFailure as failure:
        st.text(inert(failure.detail, 600))
        return
    st.cache_data.clear()
    st.rerun()


def count(silences: Sequence[Row]) -> str:
    """How many hold now."""
    return human.count(sum(bool(one.get("active")) for one in silences))
