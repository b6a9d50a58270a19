"""One monitor: how its series went, what it would have done, its definition to change, `?name=…&view=…`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import streamlit as st

from dashboard import human, links
from dashboard.api import Api, ApiFailure, NotFound, Row
from dashboard.parts import (
    address,
    app_choice,
    callers,
    frame,
    lists,
    monitor_actions,
    monitor_backtest,
    monitor_chart,
    monitor_edit,
    runbook,
    states,
)
from dashboard.parts import monitor_words as words
from dashboard.parts.alert_cards import incident_id
from dashboard.parts.callers import Caller
from dashboard.parts.monitor_chart import Picture, Strip
from dashboard.text import inert, label, one_line

_VIEWS: Final = {
    "course": "As it went",
    "backtest": "What it would have done",
    "edit": "Edit",
    "versions": "Versions",
}
_WINDOWS: Final = {"6h": "6 hours", "24h": "24 hours", "3d": "3 days", "7d": "7 days", "30d": "30 days"}
_EVERY_S: Final = 30.0
_EDITS: Final = "power_user"
_NOW: Final = 12
_SERIES: Final = "monitor-series"


@st.cache_data(ttl=5, max_entries=32, show_spinner=False)
def _one(_api: Api, name: str) -> Row:
    return _api.get(_api.monitor_path(name))


@st.cache_data(ttl=45, max_entries=32, show_spinner=False)
def _course(_api: Api, name: str, version: int, since: str, series: str | None) -> Row:
    """`version` is only to tell what was read before a change from what is read after it."""
    return _api.get(_api.monitor_path(name, "course"), {"since": since, "series": series})


@states.guarded
def show() -> None:
    """The page."""
    name = st.query_params.get("name", "").strip()
    if st.query_params.get("new"):
        _new()
    elif name:
        _monitor(name)
    else:
        _ask()


def _ask() -> None:
    st.title("Monitor", anchor=False)
    with st.form("find-monitor", border=True, width=560):
        given = st.text_input("Monitor", placeholder="resolution")
        if st.form_submit_button("Open", type="primary") and given:
            links.open_monitor(given.strip())
    st.page_link(links.MONITORS.page(), label="All monitors", icon=":material/arrow_back:")


def _new() -> None:
    caller = callers.current()
    _crumbs(caller, None, None)
    st.title("New monitor", anchor=False)
    if not caller.may(_EDITS):
        callers.needed(_EDITS, "Making a monitor")
        return
    app = app_choice.choose("monitor-new")
    if app is None:
        st.text("No app has sent anything yet: its first trace names it.")
        return
    st.fragment(_creating)(caller, app)


@states.guarded
def _creating(caller: Caller, app: str) -> None:
    monitor_edit.create(caller, app)


def _crumbs(caller: Caller, app: str | None, monitor: Row | None) -> None:
    with st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", key="assay-crumbs"
    ):
        if st.button("Monitors", icon=":material/arrow_back:", type="tertiary", key="to-monitors"):
            links.open_monitors(app)
        with st.container(horizontal=True, width="content", vertical_alignment="center"):
            if monitor is not None:
                monitor_actions.offer(caller, monitor)
            callers.offer(caller)


def _monitor(name: str) -> None:
    with states.skeleton():
        monitor = _one(states.api(), name)
    caller = callers.current()
    _crumbs(caller, str(monitor["app"]), monitor)
    _head(monitor)
    monitor_edit.told()
    match _view(caller, f"{name}-{monitor['version']}"):
        case "backtest":
            st.fragment(_backtest)(monitor)
        case "edit":
            st.fragment(_edit)(caller, monitor)
        case "versions":
            _versions(monitor["versions"])
        case _:
            since = _window()
            with st.container(key="assay-live-monitor"):
                st.fragment(_standing, run_every=_EVERY_S)(name, since)


def _head(monitor: Row) -> None:
    said = monitor["definition"]
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="assay-monitor-head"):
        with st.container(width="content"):
            frame.heading(monitor["name"], "monitor", page="Monitor")
        monitor_actions.badge(monitor)
    with st.container(key="assay-quiet-monitor-about"):
        st.text(f"{inert(monitor['about'], 200)} · fires after {words.when(said)}")
    frame.facts(
        (
            ("App", monitor["app"]),
            ("Series", said["series"] + (f" by {said['by']}" if said.get("by") else "")),
            ("Step", said["step"]),
            ("Band", words.kind(said)),
            ("Severity", said["severity"]),
            ("False pages, at most", words.weekly(float(said["false_pages_per_week"]))),
            ("Tells", ", ".join(said["channels"]) or "nobody"),
            ("Owner", said.get("owner")),
            ("Guards rollouts", said.get("guard")),
            ("Runbook", said.get("runbook") if runbook.host_of(str(said.get("runbook") or "")) is None else None),
            ("Version", f"{monitor['version']} by {monitor['changed_by']}"),
            ("Looked at", _when(monitor.get("until")) or "not yet"),
            ("Times in", frame.zone_words()),
        ),
        "monitor",
    )
    runbook.offer(said.get("runbook"), "monitor-runbook")


def _when(at: object) -> str | None:
    moment = frame.moment(at)
    return None if moment is None else f"{moment.day} {moment:%b, %H:%M}"


def _view(caller: Caller, of: str) -> str:
    """Editing is offered to who may save. Each version's choice is one of its own: a save leads to the course."""
    offered = [one for one in _VIEWS if one != "edit" or caller.may(_EDITS)]
    wanted = st.query_params.get("view", "")
    chosen: str | None = st.segmented_control(
        "View", offered, default=wanted if wanted in offered else "course", format_func=_VIEWS.__getitem__,
        key=f"monitor-view-{of}", label_visibility="collapsed", required=True,
    )  # fmt: skip
    view = chosen or "course"
    if view != wanted:
        st.query_params["view"] = view
    return view


def _window() -> str:
    told = address.first("monitor", "since")
    chosen: str | None = st.segmented_control(
        "Window", list(_WINDOWS), default=told if told in _WINDOWS else "24h", format_func=_WINDOWS.__getitem__,
        key="monitor-since", label_visibility="collapsed", required=True,
    )  # fmt: skip
    since = chosen or "24h"
    address.keep("monitor", "since", since)
    return since


@states.refreshed
def _standing(name: str, since: str) -> None:
    """What changes while one looks."""
    monitor = _one(states.api(), name)
    try:
        told = _read(monitor, since)
    except ApiFailure as failure:
        monitor_backtest.refused(failure)
        return
    _newest(monitor, _choose(monitor, told))
    _drawn(monitor, told)
    _raised(str(monitor["name"]), told["alerts"])


def _read(monitor: Row, since: str) -> Row:
    """The course of the series that was chosen, else of the one that is farthest out, else of any: it may have no value
    in this window."""
    name, version = str(monitor["name"]), int(monitor["version"])
    first = monitor["series"][0]["series"] if monitor["series"] else None
    wanted = st.session_state.get(f"{_SERIES}-{name}") or st.query_params.get("series") or first
    try:
        return _course(states.api(), name, version, since, wanted)
    except NotFound:
        return _course(states.api(), name, version, since, None)


def _choose(monitor: Row, told: Row) -> str | None:
    """Of a monitor with several series the one that is drawn; those that are farthest out first. None: it has one."""
    drawn = (told["chart"] or {}).get("series")
    out = [str(one["series"]) for one in monitor["series"]]
    names = list(dict.fromkeys([*(one for one in out if one in told["names"]), *map(str, told["names"])]))
    if not monitor["definition"].get("by") or drawn not in names:
        return None
    st.selectbox(
        "Series", names, index=names.index(drawn), key=f"{_SERIES}-{monitor['name']}", width=420,
        format_func=lambda one: one_line(one, 80), help="Those that are farthest out first.",
    )  # fmt: skip
    if st.query_params.get("series") != drawn:
        st.query_params["series"] = str(drawn)
    return str(drawn)


def _newest(monitor: Row, series: str | None) -> None:
    """The newest value of the series beside its band."""
    newest: Row | None = next((one for one in monitor["series"] if series in (None, one["series"])), None)
    unit = str(monitor["unit"])
    if newest is None:
        st.text("No value of it came of late." if series else words.ABOUT.get(str(monitor["health"]), ""))
        return
    z = words.number(newest.get("z"))
    n = words.number(newest.get("n"))
    frame.numbers(
        [
            (f"At {_when(newest.get('at')) or human.UNKNOWN}", words.value(newest.get("value"), unit)),
            ("Expected", words.value(newest.get("expected"), unit)),
            ("Usual", words.band(newest, unit)),
            ("Sigmas off", human.UNKNOWN if z is None else f"{z:+.1f}"),
            ("Observations", human.count(n)),
        ],
        "monitor",
    )


def _drawn(monitor: Row, told: Row) -> None:
    if told["chart"] is None or not any(one is not None for one in told["chart"]["value"]):
        with st.container(border=True, key="assay-chart-none-monitor"):
            st.markdown("**No value in this time**")
            st.text("Nothing happened that this series counts, or nothing arrived. Take a longer window.")
        return
    series = str(told["chart"]["series"])
    alerts = [
        Strip(
            start=one["since"], end=one["resolved_at"], text=f"{one['status']}: {one['text']}",
            loud=one["status"] != "pending" and one["severity"] == "page",
        )
        for one in told["alerts"]
        if one["series"] == series
    ]  # fmt: skip
    silences = [
        Strip(start=one["start"], end=one["end"], text=f"silenced by {one['made_by']}: {one['why']}")
        for one in told["silences"]
        if one["series"] in (None, series)
    ]
    picture = Picture(
        title="Its series and what is usual", chart=told["chart"], definition=told["definition"],
        unit=str(monitor["unit"]), start=told["start"], end=told["end"], markers=told["markers"], alerts=alerts,
        silences=silences,
    )  # fmt: skip
    monitor_chart.show(picture, "monitor-course")
    missing = int(told["n_missing"])
    st.caption(
        f"The band is that of version {int(told['version'])}, learned from the four weeks before this window; alerts "
        "and silences are those that were. "
        + (f"In {human.plural(missing, 'bucket')} nothing happened: a hole, not a zero. " if missing else "")
        + "Read anew every minute, as the server looks."
    )


def _ways(name: str) -> None:
    """To all of its alerts, with the silences, and to the incidents in which they stand."""
    with st.container(horizontal=True, gap="small", width="content", key="assay-monitor-ways"):
        if st.button("All its alerts", icon=":material/notifications:", type="tertiary", key="monitor-alerts-all"):
            address.forget("alerts")
            links.open_alerts(monitor=name)
        if st.button("Its incidents", icon=":material/crisis_alert:", type="tertiary", key="monitor-incidents"):
            address.forget("incidents")
            links.open_incidents(monitor=name)


def _raised(name: str, alerts: Sequence[Row]) -> None:
    """The alerts of the window, newest first; a click opens the incident."""
    with st.container(
        horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute", key="assay-monitor-raised"
    ):
        st.subheader("Alerts in this window", anchor=False, width="content")
        _ways(name)
    if not alerts:
        st.text("No alert of it lived in this time.")
        return
    shown = list(reversed(alerts))
    chosen = _listed(shown)
    if chosen is not None and chosen[0] < len(shown) and shown[chosen[0]]["incident"]:
        links.open_incident(incident_id(shown[chosen[0]]["incident"]))
    st.caption("A click on a row opens the incident in which the alert stands.")


def _listed(shown: Sequence[Row]) -> tuple[int, str] | None:
    """A row each; the cell that was clicked."""
    column = st.column_config
    return lists.picked(
        {
            "Status": [[str(one["status"])] for one in shown],
            "Since": [frame.moment(one["since"]) for one in shown],
            "Lasted": [monitor_backtest.lasted(one["since"], one["resolved_at"]) for one in shown],
            "Severity": [str(one["severity"]) for one in shown],
            "Incident": [one["incident"] for one in shown],
            "Told": ["late" if one["late"] else "yes" if one["told"] else "no" for one in shown],
            "Why": [one_line(one["text"], 300) for one in shown],
            "Series": [one_line(one["series"], 100) for one in shown],
        },
        {
            "Status": column.MultiselectColumn(
                options=["firing", "pending", "resolved"], color=["red", "orange", "green"], width=95
            ),
            "Since": column.DatetimeColumn(format="D MMM HH:mm", width=110),
            "Lasted": column.TextColumn(width=95),
            "Severity": column.TextColumn(width=75),
            "Incident": column.TextColumn(width=75),
            "Told": column.TextColumn(width=60),
            "Why": column.TextColumn(width=520),
            "Series": column.TextColumn(width=150),
        },
        "monitor-alerts",
    )


@states.guarded
def _backtest(monitor: Row) -> None:
    since = monitor_backtest.since("monitor-backtest-since", monitor["definition"]["step"])
    st.caption(
        f"Version {int(monitor['version'])} over the last {monitor_backtest.SINCE[since]}, as if it had been there, "
        "having learned from the four weeks before. Nothing is written, and nobody is told."
    )
    try:
        told = monitor_edit.backtest(states.api(), str(monitor["name"]), "{}", since)
    except ApiFailure as failure:
        monitor_backtest.refused(failure)
        return
    monitor_backtest.show(told, str(monitor["unit"]), "monitor-backtest")


@states.guarded
def _edit(caller: Caller, monitor: Row) -> None:
    monitor_edit.edit(caller, monitor)


def _versions(versions: Sequence[Row]) -> None:
    """Every definition it had, newest first, each with what it changed."""
    for at, one in enumerate(versions[:50]):
        before = versions[at + 1]["definition"] if at + 1 < len(versions) else None
        with st.container(border=True, key=f"assay-version-{at}", gap="small"):
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.badge(f"version {int(one['version'])}", color="blue" if not at else "gray")
                st.text(f"{_when(one['made_at']) or human.UNKNOWN}, by {inert(one['made_by'], 80)}")
            if before is None:
                st.text("the first" if len(versions) <= 50 else "")
                continue
            for name, now, then in words.changes(before, one["definition"])[:_NOW]:
                st.markdown(f"{label(name, 60)}: {label(now, 120)} → **{label(then, 120)}**")
