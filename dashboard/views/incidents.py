"""Incidents: alerts of one app that began together. Those that somebody has to look after first, then what was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import streamlit as st

from dashboard import human, links
from dashboard.api import Api, Parameters, Row
from dashboard.parts import address, frame, lists, looked, states, verdict
from dashboard.parts import alert_words as words
from dashboard.parts.alert_cards import incident_id, moment
from dashboard.text import inert, label, one_line

_EVERY_S: Final = 10.0
_PAGE: Final = "incidents"
_MOST: Final = 200
_CARDS: Final = 20


@st.cache_data(ttl=5, max_entries=4, show_spinner=False)
def _read(_api: Api, monitor: str | None) -> Mapping[str, list[Row]]:
    """Everything that the page shows, asked for at once; incidents with alerts of one monitor where asked for."""
    names = ("open", "acknowledged", "closed", "monitors", "jobs")
    asked: dict[str, str | int | None] = {"limit": _MOST, "monitor": monitor}
    wanted: list[tuple[str, Parameters]] = [("/incidents", {**asked, "status": one}) for one in names[:3]]
    found = _api.together([*wanted, ("/monitors", {}), ("/jobs", {})])
    return dict(zip(names, found, strict=True))


@states.guarded
def show() -> None:
    """The page."""
    with states.skeleton():
        told = _read(states.api(), address.first(_PAGE, "monitor"))
    with st.container(
        horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute", key="assay-head"
    ):
        with st.container(width="content", gap=None):
            st.title("Incidents", anchor=False)
            st.caption(f"Alerts that began together, with their cause · times in {frame.zone_words()}")
        with st.container(horizontal=True, horizontal_alignment="right", gap="small", width="content"):
            apps = {str(one["app"]) for name, rows in told.items() if name != "jobs" for one in rows}
            app = _choice("app", sorted(apps), "All apps", "smart_toy")
            names = sorted(str(one["name"]) for one in told["monitors"])
            monitor = _choice("monitor", names, "Any monitor", "monitoring")
    with st.container(key="assay-live-incidents"):
        st.fragment(_standing, run_every=_EVERY_S)(app, monitor)


def _choice(name: str, known: Sequence[str], every: str, icon: str) -> str | None:
    """Which incidents: of an app, or with alerts of a monitor; it lives in the address."""
    before = address.first(_PAGE, name)
    options = [*known, *([before] if before and before not in known else [])]
    chosen: str | None = st.selectbox(
        name.capitalize(),
        options,
        index=options.index(before) if before else None,
        key=f"{_PAGE}-{name}",
        placeholder=every,
        label_visibility="collapsed",
        format_func=lambda value: one_line(value, 40),
        icon=f":material/{icon}:",
        width=210,
    )
    address.keep(_PAGE, name, chosen)
    return chosen


@states.refreshed
def _standing(app: str | None, monitor: str | None) -> None:
    """All that changes while one looks."""
    told, now = _read(states.api(), monitor), datetime.now(UTC)
    by = {
        status: [one for one in told[status] if app in (None, one["app"])]
        for status in ("open", "acknowledged", "closed")
    }
    going = [*by["open"], *by["acknowledged"]]
    who = looked.looked(told["monitors"], told["jobs"], now)
    if who.problem is not None:
        looked.show(who, now)
    frame.numbers(
        [
            ("Open", human.count(len(by["open"]))),
            ("Acknowledged", human.count(len(by["acknowledged"]))),
            ("Alerts firing in them", human.count(sum(int(one.get("n_firing") or 0) for one in going))),
            ("Closed", _at_most(by["closed"])),
        ],
        "incidents",
    )
    for at, one in enumerate(going[:_CARDS]):
        _card(one, at, now)
    if len(going) > _CARDS:
        st.caption(f"The first {_CARDS} of {len(going):,}.")
    if not going:
        _quiet(who, now, "" if app is None and monitor is None else " of these")
    st.subheader("Closed", anchor=False)
    if by["closed"]:
        _closed(by["closed"])
    else:
        st.text("None yet.")
    st.caption("The page is read anew every ten seconds.")


def _at_most(rows: Sequence[Row]) -> str:
    return f"{len(rows):,}{'+' if len(rows) >= _MOST else ''}"


def _card(one: Row, at: int, now: datetime) -> None:
    name = incident_id(one["id"])
    kind = "page" if one["severity"] == "page" and one["status"] == "open" else "ticket"
    with st.container(border=True, key=f"assay-alert-card-{kind}-{at}", gap="small"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            verdict.badge(verdict.of(words.INCIDENT, one["status"]))
            verdict.badge(verdict.of(words.SEVERITY, one["severity"]))
            title = f"{name} · {label(one.get('title'), 120)}"
            if st.button(title, type="tertiary", key=f"incident-open-{at}"):
                links.open_incident(name)
        with st.container(key=f"assay-strong-incident-{at}"):
            st.text(inert(one.get("why"), 500) or "Nobody knows yet what it is.")
        began = frame.moment(one.get("onset_at"))
        frame.facts(
            (
                ("Fires since", None if began is None else f"{moment(one['onset_at'])} ({words.ago(began, now)})"),
                ("Alerts firing", f"{int(one.get('n_firing') or 0)} of {int(one.get('n_alerts') or 0)}"),
                ("Likeliest cause", one.get("likely")),
                ("Owner", one.get("owner") or "nobody yet"),
                ("Acknowledged by", one.get("acknowledged_by")),
                ("Follows", one.get("follows")),
            ),
            f"incident-{at}",
        )


def _quiet(who: looked.Looked, now: datetime, which: str) -> None:
    with st.container(border=True, key="assay-empty-incidents"):
        if who.problem is not None:
            st.subheader(f"No incident{which} is open", anchor=False, icon=":material/help:")
            st.text("Nobody looks at the monitors now, so that says nothing.")
            return
        st.subheader(f"No incident{which} is open", anchor=False, icon=":material/check_circle:")
        st.text(f"{who.words(now)}." if who.n_on else "Nothing is watched: see the page Alerts.")


def _closed(rows: Sequence[Row]) -> None:
    columns: dict[str, Sequence[object]] = {
        "Incident": [incident_id(one["id"]) for one in rows],
        "Severity": [[verdict.of(words.SEVERITY, one["severity"]).title] for one in rows],
        "What": [one_line(one.get("title"), 160) for one in rows],
        "What it was": [one_line(one.get("why"), 300) for one in rows],
        "Fired": [frame.moment(one.get("onset_at")) for one in rows],
        "Closed": [frame.moment(one.get("closed_at")) for one in rows],
        "Lasted": [_lasted(one) for one in rows],
        "Closed by": [_closer(one) for one in rows],
    }
    cell = lists.picked(columns, _columns(), "incidents-closed", most_px=600)
    if cell is not None and cell[0] < len(rows):
        links.open_incident(incident_id(rows[cell[0]]["id"]))


def _columns() -> dict[str, Any]:
    column = st.column_config
    titles = {said.title: said.colour for said in words.SEVERITY.values()}
    widths = {"Incident": 80, "What": 210, "What it was": 420, "Lasted": 75, "Closed by": 110}
    return {
        **{name: column.TextColumn(width=width) for name, width in widths.items()},
        **{name: column.DatetimeColumn(format="D MMM HH:mm", width=100) for name in ("Fired", "Closed")},
        "Severity": column.MultiselectColumn(options=list(titles), color=list(titles.values()), width=85),
    }


def _closer(one: Row) -> str:
    """Who closed it; Assay does by itself, half an hour after its last alert resolved."""
    by = one_line(one.get("closed_by"), 60)
    return "by itself" if by in ("", "assay") else by


def _lasted(one: Row) -> str | None:
    start, end = frame.moment(one.get("onset_at")), frame.moment(one.get("closed_at"))
    return None if start is None or end is None else words.lasting((end - start).total_seconds())
