"""One incident: what moved, by how much and since when; what to do first; why, where, in which sessions, `?id=I-17`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Final

import streamlit as st

from dashboard import human, links
from dashboard.api import Api, Row
from dashboard.parts import (
    address,
    callers,
    frame,
    incident_actions,
    incident_causes,
    incident_series,
    incident_sessions,
    incident_timeline,
    incident_where,
    lists,
    states,
    verdict,
)
from dashboard.parts import alert_words as words
from dashboard.parts.alert_cards import incident_id, moment, part_of
from dashboard.text import inert, one_line

_EVERY_S: Final = 10.0
_DRAWN: Final = "incident-drawn"


@st.cache_data(ttl=5, max_entries=16, show_spinner=False)
def _read(_api: Api, incident: str) -> Row:
    return _api.get(_api.incident_path(incident))


@st.cache_data(ttl=60, max_entries=4, show_spinner=False)
def _monitors(_api: Api) -> list[Row]:
    return _api.page("/monitors", {}).items


@states.guarded
def show() -> None:
    """The page."""
    given = st.query_params.get("id", "").strip()
    if not given:
        _ask()
        return
    with states.skeleton():
        incident = _read(states.api(), given)
    caller = callers.current()
    _crumbs(caller, incident)
    with st.container(width="content"):
        frame.heading(f"{incident['id']}: {words.headline(incident)}", "incident", page="Incident")
    st.session_state[_DRAWN] = _stamp(incident)
    with st.container(key="assay-live-incident"):
        st.fragment(_standing, run_every=_every(incident))(given)
    left, right = st.columns([3, 2], gap="medium")
    with left:
        incident_causes.first(incident, _runbooks(incident))
    with right:
        incident_causes.before(incident)
    st.subheader("What moved together", anchor=False)
    charts = st.container()  # filled last: the series are read while the rest can be looked at
    st.subheader("Why", anchor=False)
    incident_causes.causes(incident)
    st.subheader("Where", anchor=False)
    incident_where.show(incident)
    st.subheader("Sessions to open", anchor=False)
    incident_sessions.show(incident)
    st.subheader("Alerts of it", anchor=False)
    _alerts(incident, {str(one["name"]) for one in _monitors(states.api())})
    with st.container(key="assay-live-incident-told"):
        st.fragment(_told, run_every=_every(incident))(given)
    incident_actions.note(caller, incident)
    with charts:
        there = {str(one["name"]) for one in _monitors(states.api())}
        incident_series.show(incident, incident_series.version(incident), there)


def _every(incident: Row) -> float | None:
    """One that is closed changes by notes alone."""
    return None if incident["status"] == "closed" else _EVERY_S


def _ask() -> None:
    st.title("Incident", anchor=False)
    with st.form("find-incident", border=True, width=560):
        given = st.text_input("Incident", placeholder="I-17")
        if st.form_submit_button("Open", type="primary") and given:
            links.open_incident(incident_id(given.strip()))


def _crumbs(caller: callers.Caller, incident: Row) -> None:
    with st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", key="assay-crumbs"
    ):
        if st.button("Incidents", icon=":material/arrow_back:", type="tertiary", key="to-incidents"):
            links.open_incidents()
        with st.container(horizontal=True, width="content", vertical_alignment="center"):
            incident_actions.offer(caller, incident)
            callers.offer(caller)


def _stamp(incident: Row) -> tuple[object, ...]:
    """What of it has to be drawn anew as a whole when it changes."""
    made = (incident.get("diagnosis") or {}).get("n")
    return (incident["id"], incident["status"], incident["owner"], incident["n_alerts"], incident["n_firing"], made)


@states.refreshed
def _standing(given: str) -> None:
    """Status, cause and figures; where they changed, the whole page is drawn anew."""
    incident, now = _read(states.api(), given), datetime.now(UTC)
    if st.session_state.get(_DRAWN) != _stamp(incident):
        st.rerun(scope="app")
    with st.container(border=True, key="assay-incident-status", gap="small"):
        with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
            verdict.large(verdict.of(words.INCIDENT, incident["status"]), "incident")
            verdict.badge(verdict.of(words.SEVERITY, incident["severity"]))
            if incident.get("follows"):
                name = incident_id(incident["follows"])
                if st.button(f"follows {name}", icon=":material/history:", type="tertiary", key="incident-follows"):
                    links.open_incident(name)
        _said(incident)
        frame.facts(_facts(incident, now), "incident")


def _said(incident: Row) -> None:
    """What moved, by how much and since when; with it what else; the likeliest cause."""
    lead = words.leading(incident)
    diagnosis: Row = incident.get("diagnosis") or {}
    with st.container(key="assay-strong-incident", gap=None):
        if lead is not None:
            onset = (diagnosis.get("onset") or {}).get("at_ns") or incident.get("onset_at")
            st.text(inert(f"{words.sign(lead)}: {words.change(lead['change'])}, since {moment(onset)}", 400))
        st.text(inert(incident.get("why"), 500) or "It is not diagnosed yet: that comes with the next look.")
    also = words.others(incident)
    if also:
        with st.container(key="assay-quiet-also", gap=None):
            st.text("With it moved:")
            for one in also:
                st.text(inert(one, 300))


def _facts(incident: Row, now: datetime) -> list[tuple[str, object]]:
    began, closed = frame.moment(incident.get("onset_at")), frame.moment(incident.get("closed_at"))
    acknowledged = incident.get("acknowledged_by")
    lasted = None if began is None else words.ago(began, closed or now)
    return [
        ("App", incident.get("app")),
        ("Fires since" if closed is None else "Fired", None if began is None else f"{moment(incident['onset_at'])}"),
        ("For" if closed is None else "Lasted", lasted),
        ("Alerts firing", f"{int(incident.get('n_firing') or 0)} of {int(incident.get('n_alerts') or 0)}"),
        ("Owner", incident.get("owner") or "nobody yet"),
        ("Acknowledged", f"{moment(incident['acknowledged_at'])} by {acknowledged}" if acknowledged else None),
        ("Closed", None if closed is None else f"{moment(incident['closed_at'])} by {incident.get('closed_by')}"),
        ("Times in", frame.zone_words()),
    ]


@states.refreshed
def _told(given: str) -> None:
    """What happened, and who was told."""
    incident = _read(states.api(), given)
    st.subheader("Timeline", anchor=False)
    incident_timeline.show(incident)
    st.subheader("Who was told", anchor=False)
    incident_timeline.deliveries(callers.current(), incident)


def _runbooks(incident: Row) -> list[tuple[str, str]]:
    """Those that its monitors name."""
    return [(str(one["monitor"]), str(one["runbook"])) for one in incident["runbooks"]][:4]


def _alerts(incident: Row, monitors: Collection[str]) -> None:
    """Its firings, each with how long it lasted; a click opens the monitor."""
    rows: Sequence[Row] = incident["alerts"]
    column = st.column_config
    titles = {said.title: said.colour for said in words.SEVERITY.values()}
    chosen = lists.picked(
        {
            "State": ["resolved" if one.get("resolved_at") else "firing" for one in rows],
            "Severity": [[verdict.of(words.SEVERITY, one["severity"]).title] for one in rows],
            "Series": [one_line(words.series(one["series"]), 120) for one in rows],
            "Monitor": [one_line(one["monitor"], 80) for one in rows],
            "Fired": [frame.moment(one.get("fired_at")) for one in rows],
            "Resolved": [frame.moment(one.get("resolved_at")) for one in rows],
            "Firing": [human.count(int(one.get("episode") or 1)) for one in rows],
        },
        {
            "State": column.TextColumn(width=90),
            "Severity": column.MultiselectColumn(options=list(titles), color=list(titles.values()), width=85),
            "Series": column.TextColumn(width=280),
            "Monitor": column.TextColumn(width=160),
            **{name: column.DatetimeColumn(format="D MMM HH:mm", width=110) for name in ("Fired", "Resolved")},
            "Firing": column.TextColumn("No.", width=60, help="Which firing of this series it is"),
        },
        "incident-alerts",
    )
    if chosen is not None and chosen[0] < len(rows) and str(rows[chosen[0]]["monitor"]) in monitors:
        one = rows[chosen[0]]
        links.open_monitor(str(one["monitor"]), series=part_of(one["series"]))
    st.caption("A click on a row opens its monitor.")
    if st.button("All alerts of this app", icon=":material/notifications:", type="tertiary", key="incident-to-alerts"):
        address.forget("alerts")
        links.open_alerts(str(incident["app"]))
