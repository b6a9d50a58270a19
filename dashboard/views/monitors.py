"""Monitors: what is watched, that which hurts most first; without any, those that an agent begins with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import streamlit as st

from dashboard import human, links
from dashboard.api import Api, Row
from dashboard.parts import address, app_choice, arrow, callers, frame, monitor_budget, monitor_defaults, states
from dashboard.parts import monitor_words as words
from dashboard.parts.callers import Caller
from dashboard.text import inert, one_line

_EVERY_S: Final = 10.0
_RECENT: Final = "24h"
_SHOWN: Final = 300


@st.cache_data(ttl=6, max_entries=8, show_spinner=False)
def _listed(_api: Api) -> list[Row]:
    return _api.page("/monitors", {}).items


@st.cache_data(ttl=60, max_entries=8, show_spinner=False)
def _recent(_api: Api, names: tuple[str, ...]) -> dict[str, list[float]]:
    """By name the course of the last day; it takes the server a query for each source, so it is read once a minute."""
    items = _api.page("/monitors", {"recent": _RECENT}).items
    told = {str(one["name"]): (one.get("recent") or {}).get("value") or [] for one in items}
    return {name: [found for value in told.get(name, []) if (found := words.number(value)) is not None]
            for name in names}  # fmt: skip


@states.guarded
def show() -> None:
    """The page."""
    caller = callers.current()
    with st.container(
        horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute", key="assay-head"
    ):
        with st.container(width="content", gap=None):
            st.title("Monitors", anchor=False)
            st.caption(f"What is watched, and how it stands against what is usual · times in {frame.zone_words()}")
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="right", width="content"):
            app = app_choice.choose("monitors", all_too=True)
            asked = _search()
            if caller.may(monitor_defaults.ROLE) and st.button("New monitor", icon=":material/add:", key="monitor-new"):
                links.open_new_monitor(app)
            callers.offer(caller)
    monitor_defaults.told()
    with states.skeleton():
        rows = _listed(states.api())
    mine = [one for one in rows if app in (None, one["app"])]
    if not mine:
        _nothing(caller, app, bool(rows))
        return
    with st.container(key="assay-live-monitors"):
        st.fragment(_rows, run_every=_EVERY_S)(app, asked)
    monitor_budget.show(caller, app)
    if app is not None and caller.may(monitor_defaults.ROLE):
        with st.expander("The default monitors of this app", icon=":material/add_alert:", key="monitors-more"):
            monitor_defaults.offer(caller, app)


def _search() -> str:
    asked = st.text_input(
        "Search",
        value=address.first("monitors", "q") or "",
        key="monitors-q",
        placeholder="Name, series, owner, channel",
        label_visibility="collapsed",
        icon=":material/search:",
        width=230,
    )
    address.keep("monitors", "q", asked.strip() or None)
    return asked.strip()


@states.refreshed
def _rows(app: str | None, asked: str) -> None:
    """All of them, read anew while one looks."""
    listed = [one for one in _listed(states.api()) if app in (None, one["app"])]
    found = words.worst_first([one for one in listed if _matches(one, asked)])
    counts = [(word, sum(one["health"] == word for one in listed)) for word in words.HEALTH]
    n_silenced = sum(bool(one.get("silenced")) for one in listed)
    cells = [(words.HEALTH[word].title.capitalize(), human.count(n)) for word, n in counts if n or word in _ALWAYS]
    frame.numbers([*cells, *([("Silenced", human.count(n_silenced))] if n_silenced else [])], "monitors")
    if not found:
        with st.container(border=True, key="assay-empty-monitors-search"):
            st.text(f"No monitor has “{inert(asked, 80)}” in its name, series, owner or channels.")
        return
    shown = found[:_SHOWN]
    chosen = _grid(shown)
    if chosen is not None and chosen < len(shown):
        links.open_monitor(str(shown[chosen]["name"]))
    more = f" The first {_SHOWN} of {len(found):,}: search, or choose an app." if len(found) > _SHOWN else ""
    st.caption(
        f"A click on a row opens the monitor. What fires stands first, then what is farthest out.{more} The line is "
        "the last 24 hours of the series that is farthest out; hours without traffic are left out of it."
    )


_ALWAYS: Final = ("firing", "pending", "no_data", "ok")


def _matches(one: Row, asked: str) -> bool:
    said = one["definition"]
    texts = (one["name"], one["app"], said["series"], said.get("owner") or "", *said["channels"])
    return all(any(word in str(text).casefold() for text in texts) for word in asked.casefold().split())


def _grid(rows: Sequence[Row]) -> int | None:
    with st.container(key="assay-table"):
        state: Any = st.dataframe(
            arrow.table(_cells(rows)),
            height=min(620, 40 * len(rows) + 39),
            hide_index=True,
            row_height=40,
            key="monitors-list",
            column_config=_columns(),
            on_select="rerun",
            selection_mode="single-cell",
            placeholder="–",
            lazy=False,
        )
    picked = state["selection"]["cells"]
    return int(picked[0][0]) if picked else None


def _cells(rows: Sequence[Row]) -> dict[str, Sequence[object]]:
    recent = _recent(states.api(), tuple(sorted(str(one["name"]) for one in rows)))
    worst = [(one["series"] or [{}])[0] for one in rows]
    return {
        "State": [words.states(one) for one in rows],
        "Monitor": [one_line(one["name"], 80) for one in rows],
        "App": [one_line(one["app"], 60) for one in rows],
        "Series": [_series(one) for one in rows],
        "Last 24 hours": [recent.get(str(one["name"])) or None for one in rows],
        "Now": [words.value(each.get("value"), str(one["unit"])) for one, each in zip(rows, worst, strict=True)],
        "Usual": [words.band(each, str(one["unit"])) for one, each in zip(rows, worst, strict=True)],
        "Owner": [one_line(one["definition"].get("owner"), 60) or None for one in rows],
        "Tells": [_tells(one["definition"]) for one in rows],
        "Budget": [float(one["definition"]["false_pages_per_week"]) for one in rows],
    }


def _columns() -> dict[str, Any]:
    column = st.column_config
    titles = {said.title: said.colour for said in (*words.HEALTH.values(), words.SILENCED)}
    return {
        "State": column.MultiselectColumn(options=list(titles), color=list(titles.values()), width=135),
        "Monitor": column.TextColumn(width=128),
        "App": column.TextColumn(width=72),
        "Series": column.TextColumn(width=122),
        "Last 24 hours": column.LineChartColumn(width=122, color="blue"),
        "Now": column.TextColumn(width=62, alignment="right"),
        "Usual": column.TextColumn(width=122, help="Its band: outside it a point is a breach"),
        "Owner": column.TextColumn(width=68),
        "Tells": column.TextColumn(width=92),
        "Budget": column.NumberColumn(
            format="%.3g", width=60, help="False pages a week that it asks for; what it was allotted stands below"
        ),
    }


def _tells(definition: Row) -> str:
    """How loud it is, and to whom: "page oncall"."""
    severity = str(definition["severity"])
    return one_line(f"{severity} {', '.join(definition['channels']) or 'nobody'}", 80)


def _series(one: Row) -> str:
    """Its series, or how many of them there are and which of them is meant."""
    said, worst = one["definition"], (one["series"] or [{}])[0].get("series")
    if said.get("by") and worst:
        return one_line(f"{worst} (worst of {one['n_series']})", 120)
    return one_line(said["series"], 80)


def _nothing(caller: Caller, app: str | None, others: bool) -> None:
    with st.container(border=True, key="assay-empty-monitors"):
        which = "of this app yet" if others else "yet"
        st.subheader(f"No monitors {which}", anchor=False, icon=":material/monitor_heart:")
        st.caption(
            "A monitor watches a series of an app, knows what is usual at this hour, and pages when it is not so any "
            "more. Five are what an agent begins with; each learns from the four weeks before it:"
        )
        chosen = app or _which()
        if chosen is None:
            st.text("No app has sent anything yet: its first trace names it.")
            return
        monitor_defaults.offer(caller, chosen)


def _which() -> str | None:
    """Of several apps the one whose monitors are offered."""
    known = app_choice.known()
    if len(known) < 2:
        return known[0] if known else None
    return str(
        st.selectbox("App", known, key="defaults-app", format_func=lambda one: one_line(one, 60), width=300,
                     icon=":material/smart_toy:")
    )  # fmt: skip
