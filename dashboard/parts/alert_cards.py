"""Alerts on a page: a card for each that fires or is about to, a list of those that are over."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import streamlit as st

from dashboard import human, links
from dashboard.api import Row
from dashboard.parts import alert_words as words
from dashboard.parts import frame, lists, verdict
from dashboard.text import inert, label, one_line

_MOST: Final = 30
Silencing = Callable[[Row], None]


def show(alerts: Sequence[Row], silencing: Silencing | None, monitors: Collection[str]) -> None:
    """A card each. `silencing` opens the form for one; None: the viewer may not. `monitors` are those there are."""
    now = datetime.now(UTC)
    for at, one in enumerate(alerts[:_MOST]):
        _card(one, at, now, silencing, str(one["monitor"]) in monitors)
    if len(alerts) > _MOST:
        st.caption(f"The first {_MOST} of {len(alerts):,}.")


def ranked(alerts: Sequence[Row]) -> list[Row]:
    """What is to be looked at first: heard before silenced, pages before tickets, the longest first."""
    return sorted(
        alerts,
        key=lambda one: (one.get("silence") is not None, one.get("severity") != "page", str(one.get("since"))),
    )


def _card(one: Row, at: int, now: datetime, silencing: Silencing | None, is_there: bool) -> None:
    kind = "silenced" if one.get("silence") else "pending" if one["status"] == "pending" else str(one["severity"])
    with st.container(border=True, key=f"assay-alert-card-{label(kind, 20)}-{at}", gap="small"):
        with st.container(
            horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", key=f"assay-alert-top-{at}"
        ):
            with st.container(horizontal=True, vertical_alignment="center", gap="small", width="content"):
                verdict.badge(verdict.of(words.STATUS, one["status"]))
                verdict.badge(verdict.of(words.SEVERITY, one["severity"]))
                with st.container(key=f"assay-heading-small-alert-{at}", width="content"):
                    st.text(inert(words.series(one["series"]), 160))
            with st.container(horizontal=True, vertical_alignment="center", gap="small", width="content"):
                _ways(one, at, silencing, is_there)
        _said(one, at)
        since = frame.moment(one.get("since"))
        frame.facts(
            (
                ("Since", None if since is None else f"{moment(one.get('since'))} ({words.ago(since, now)})"),
                ("App", one.get("app")),
                ("Monitor", None if is_there else f"{one.get('monitor')} (deleted)"),
                ("Firing", None if one["status"] == "pending" else f"no. {int(one.get('episode') or 1)}"),
            ),
            f"alert-{at}",
        )


def _ways(one: Row, at: int, silencing: Silencing | None, is_there: bool) -> None:
    may = silencing is not None and not one.get("silence")
    if may and st.button("Silence", icon=":material/notifications_off:", type="tertiary", key=f"alert-silence-{at}"):
        assert silencing is not None
        silencing(one)
    if is_there:
        open_monitor(one, f"alert-monitor-{at}")
    if one.get("incident"):
        name = incident_id(one["incident"])
        if st.button(name, icon=":material/crisis_alert:", key=f"alert-incident-{at}"):
            links.open_incident(name)


def open_monitor(one: Row, key: str) -> None:
    """The button to the monitor of an alert, at the series that it is of."""
    name = str(one["monitor"])
    about = "Its monitor: the series with its band, what it would have done"
    if st.button(label(name, 60), icon=":material/monitor_heart:", type="tertiary", key=key, help=about):
        links.open_monitor(name, series=part_of(one.get("series")))


def part_of(series: object) -> str | None:
    """Which series of its monitor, where that is split: "error_rate{release=v2}"; else None."""
    return str(series) if series and "{" in str(series) else None


def _said(one: Row, at: int) -> None:
    """Its newest value beside the band, what it fired with, and who keeps it from being told."""
    now: Row | None = one.get("now")
    seen = frame.moment((now or {}).get("at"))
    with st.container(key=f"assay-strong-alert-{at}"):
        if now is None:
            st.text(inert(one.get("text"), 400))
        else:
            bucket = "" if seen is None else f"{seen:%H:%M}: "
            st.text(f"{bucket}{words.against(now, one.get('unit'))}")
    if now is not None and one.get("text"):
        with st.container(key=f"assay-quiet-alert-{at}"):
            verb = "pends" if one["status"] == "pending" else "fired"
            st.text(inert(f"It {verb} with {one['text']}", 400))
    silence: Row | None = one.get("silence")
    if silence:
        with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"assay-silenced-{at}"):
            st.badge("silenced", icon=":material/notifications_off:", color="gray")
            said = f"by {inert(silence['by'], 80)} until {moment(silence['until'])}: {inert(silence['why'], 200)}"
            st.text(said, width="stretch")
    elif one["status"] == "firing" and not one.get("told"):
        with st.container(key=f"assay-quiet-untold-{at}"):
            st.text("Nobody was told of it: it was over before it was known, or a silence held then.")


def over(alerts: Sequence[Row], key: str, monitors: Collection[str]) -> None:
    """Those that are resolved, the newest first; a click opens the incident, one on its monitor that."""
    ends = [frame.moment(one.get("resolved_at")) for one in alerts]
    starts = [frame.moment(one.get("since")) for one in alerts]
    columns: dict[str, Sequence[object]] = {
        "Resolved": ends,
        "Fired": starts,
        "Lasted": [_lasted(start, end) for start, end in zip(starts, ends, strict=True)],
        "Severity": [[verdict.of(words.SEVERITY, one["severity"]).title] for one in alerts],
        "App": [one_line(one.get("app"), 60) for one in alerts],
        "Series": [one_line(words.series(one["series"]), 120) for one in alerts],
        "Monitor": [one_line(one["monitor"], 80) for one in alerts],
        "How it ended": [one_line(one.get("text"), 300) for one in alerts],
        "Incident": [incident_id(one["incident"]) if one.get("incident") else None for one in alerts],
    }
    cell = lists.picked(columns, _columns(), key, most_px=430)
    if cell is not None and cell[0] < len(alerts):
        _open(alerts[cell[0]], cell[1], monitors)


def _open(one: Row, column: str, monitors: Collection[str]) -> None:
    """What was clicked of an alert that is over."""
    if column == "Monitor" and str(one["monitor"]) in monitors:
        links.open_monitor(str(one["monitor"]), series=part_of(one.get("series")))
    if one.get("incident"):
        links.open_incident(incident_id(one["incident"]))


def _columns() -> dict[str, Any]:
    column = st.column_config
    titles = {said.title: said.colour for said in words.SEVERITY.values()}
    widths = {"Lasted": 75, "App": 95, "Series": 170, "Monitor": 120, "How it ended": 390, "Incident": 80}
    return {
        **{name: column.DatetimeColumn(format="D MMM HH:mm", width=100) for name in ("Resolved", "Fired")},
        **{name: column.TextColumn(width=width) for name, width in widths.items()},
        "Severity": column.MultiselectColumn(options=list(titles), color=list(titles.values()), width=85),
    }


def _lasted(start: datetime | None, end: datetime | None) -> str | None:
    return None if start is None or end is None else words.lasting((end - start).total_seconds())


def moment(at: object) -> str:
    """A time to the minute, on the viewer's clock."""
    found = frame.moment(at)
    return human.UNKNOWN if found is None else f"{found.day} {found:%b, %H:%M}"


def incident_id(value: object) -> str:
    """An incident's id as people write it; anything else is spelled without what could be read as a mark."""
    return "".join(one for one in str(value) if one.isalnum() or one == "-")[:20]
