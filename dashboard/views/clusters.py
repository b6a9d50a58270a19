"""Clusters: the groups that an app's sessions form by themselves, on a map, as cards and as a list."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import streamlit as st

from dashboard import human, links
from dashboard.api import Api, Row
from dashboard.parts import (
    address,
    app_choice,
    arrow,
    callers,
    cluster_cards,
    cluster_map,
    cluster_run,
    cluster_sessions,
    frame,
    states,
    verdict,
)
from dashboard.parts import cluster_words as words
from dashboard.text import inert, one_line

_SORTS: Final = {
    "failures": "Most failures beyond the rest",
    "size": "Largest",
    "growth": "Growing most",
    "cost": "Dearest",
    "newest": "Newest",
}
_MOST: Final = 500
_CARDS: Final = 24
_POINTS: Final = 20_000
_MAP: Final = "clusters-map"
_GRID: Final = "clusters-list"


@st.cache_data(ttl=8, max_entries=16, show_spinner=False)
def _read(_api: Api, app: str, sort: str, ended: bool) -> tuple[Row, Row | None]:
    """The clusters of an app, with those that ended or only those that live, and its newest run."""
    states_of = ",".join(words.STATES) if ended else None
    asked = {"app": app, "sort": sort, "state": states_of, "limit": _MOST}
    told, runs = _api.objects([("/clusters", asked), ("/clusters/runs", {"app": app, "limit": 1})])
    return told, next(iter(runs["items"]), None)


@st.cache_data(ttl=30, max_entries=4, show_spinner=False)
def _map(_api: Api, app: str) -> Row:
    return _api.get("/clusters/map", {"app": app, "most": _POINTS})


@states.guarded
def show() -> None:
    """The page."""
    caller = callers.current()
    with st.container(
        horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute", key="assay-head"
    ):
        with st.container(width="content", gap=None):
            st.title("Clusters", anchor=False)
            st.caption(f"What sessions have in common, and where they fail · times in {frame.zone_words()}")
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="right", width="content"):
            app = app_choice.choose("clusters")
            place = st.container(width="content")
            callers.offer(caller)
    if app is None:
        states.first_steps()
        return
    with states.skeleton():
        told, newest = _read(states.api(), app, _sort(), bool(_states()))
    with place:
        cluster_run.offer(caller, app, newest)
    if newest is not None and cluster_run.is_open(newest):
        cluster_run.progress(newest, caller)
    cluster_run.failed(newest)
    if not told["items"]:
        _none(caller, app, told, newest)
        return
    _numbers(told)
    st.caption(_counted(told))
    for said in list(told.get("says") or [])[:4]:
        st.text(inert(said, 400))
    _clusters(app, told)


def _counted(told: Row) -> str:
    """As of when the figures are, and how much their rates stand on. Numbers only: captions read Markdown."""
    at = frame.moment(told.get("counted_at"))
    when = "" if at is None else f" at {at:%H:%M}"
    known = f"Counted{when}, with the outcomes that had come: whether a session failed is {words.known_of(told)}."
    return " ".join(one for one in (known, words.lag(told)) if one)


def _sort() -> str:
    """What the list was sorted by; its box stands further down."""
    known = st.session_state.get("clusters-sort") or address.first("clusters", "sort")
    return known if known in _SORTS else "failures"


def _states() -> list[str]:
    """The states that are chosen, likewise."""
    told: list[str] | None = st.session_state.get("clusters-state")
    known = (address.first("clusters", "state") or "").split(",") if told is None else told
    return [one for one in known if one in words.STATES]


def _none(caller: callers.Caller, app: str, told: Row, newest: Row | None) -> None:
    if cluster_run.is_open(newest):
        st.text("Clusters appear here when the first run is over.")
        return
    if newest is None or str(newest.get("status")) != "done":
        cluster_run.nothing(caller, app)
        return
    with st.container(border=True, key="assay-empty-clusters"):
        st.subheader("The newest run found no group of sessions", anchor=False, icon=":material/bubble_chart:")
        n = newest.get("n_sessions")
        if n is not None:
            st.text(f"It saw {human.plural(int(n), 'session')}.")
        for said in [*(newest.get("says") or []), *(told.get("says") or [])][:4]:
            st.text(inert(said, 400))
        st.caption("A longer window sees more of them:")
        st.code(cluster_run.command(app).replace("7d", "30d"), language="bash", wrap_lines=True)
    cluster_run.facts(newest)


def _numbers(told: Row) -> None:
    items = [one for one in told["items"] if one["alive"]]
    noise: Row = told.get("noise") or {}
    share = words.known(noise.get("share"))
    unsaid = all(one.get("fails_more") is None for one in items)
    failing = words.NOT_KNOWN if unsaid else human.count(sum(words.worse(one) for one in items))
    frame.numbers(
        [
            ("Clusters", human.count(told["n_all"])),
            ("Fail more", failing),
            ("Emerging", human.count(sum(one.get("emerging") is not None for one in items))),
            ("Born or back", human.count(sum(one.get("state") in ("born", "regressed") for one in items))),
            ("In no cluster", human.UNKNOWN if share is None else words.percent(share)),
            ("Waiting", human.count(told.get("n_waiting"))),
        ],
        "clusters",
    )


def _clusters(app: str, told: Row) -> None:
    every: Sequence[Row] = told["items"]
    rows = _filtered(every, told.get("n_by_state") or {})
    st.fragment(_drawn)(app, every, rows)
    if rows:
        _list(rows)
    _run(told)


@states.refreshed
def _drawn(app: str, every: Sequence[Row], rows: Sequence[Row]) -> None:
    """The map beside the cards, and below both what its lasso holds."""
    left, right = st.columns([3, 2], gap="medium")
    with left, st.container(key="assay-chart-clusters-map"):
        found, places = _mapped(app, every)
    with right, st.container(key="assay-cards-clusters"):
        if rows:
            cluster_cards.show(rows[:_CARDS], "clusters-cards", tall=True)
        else:
            st.text("No cluster is in one of these states.")
    if places:
        cluster_sessions.held(found, places, every, app, _MAP)


def _run(told: Row) -> None:
    """What the newest run was made of."""
    if told.get("run"):
        with st.expander("The newest run", icon=":material/memory:", key="clusters-run-facts"):
            cluster_run.facts(told["run"])


def _filtered(every: Sequence[Row], counts: Mapping[str, int]) -> list[Row]:
    """The choice of states (`counts`: how many were ever in each) and of what comes first, both kept in the address."""
    offered = [word for word in words.STATES if counts.get(word)]
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="assay-cluster-filters"):
        st.selectbox(
            "First",
            list(_SORTS),
            index=list(_SORTS).index(_sort()),
            format_func=_SORTS.__getitem__,
            key="clusters-sort",
            label_visibility="collapsed",
            width=270,
            icon=":material/sort:",
        )
        chosen = st.pills(
            "State",
            offered,
            selection_mode="multi",
            default=[one for one in _states() if one in offered],
            format_func=lambda word: f"{word} {counts[word]:,}",
            key="clusters-state",
            label_visibility="collapsed",
        )
    address.keep("clusters", "sort", st.session_state["clusters-sort"])
    address.keep("clusters", "state", ",".join(chosen) or None)
    return [one for one in every if (one["state"] in chosen if chosen else one["alive"])]


def _mapped(app: str, every: Sequence[Row]) -> tuple[Row, list[int]]:
    """The map, and the places in it that are chosen."""
    found = _map(states.api(), app)
    if not found["points"]["x"]:
        with st.container(border=True):
            st.text("No map yet: it is drawn by the next full run.")
        return found, []
    places = cluster_map.show(found, every, _MAP)
    n, n_all = int(found["n_shown"]), int(found["n"])
    drawn = f" {n:,} of {n_all:,} sessions are drawn." if n < n_all else ""
    later = "".join(f" {inert(one[0].upper() + one[1:], 400)}." for one in found["says"][1:])  # that some are not on it
    st.caption(f"{cluster_map.HONEST}{drawn}{later}")
    return found, places


def _list(rows: Sequence[Row]) -> None:
    st.subheader("All clusters", anchor=False)
    generation = int(st.session_state.get(f"{_GRID}-generation", 0))
    with st.container(key="assay-table"):
        state: Any = st.dataframe(
            arrow.table({name: cells for name, cells in _cells(rows).items() if any(_told(one) for one in cells)}),
            height=min(640, 38 * (len(rows) + 1) + 2),
            hide_index=True,
            row_height=38,
            key=f"{_GRID}-{generation}",
            column_config=_columns(),
            on_select="rerun",
            selection_mode="single-cell",
            placeholder="–",
            lazy=False,
        )
    picked = state["selection"]["cells"]
    if picked and int(picked[0][0]) < len(rows):
        st.session_state[f"{_GRID}-generation"] = generation + 1
        links.open_cluster(words.shown_id(rows[int(picked[0][0])]["id"]))
    st.caption(
        "A click on a row opens the cluster; the table goes on to the right. Fail more: their interval lies above the "
        "rest's rate. Waiting: fits nowhere, and is clustered with the next. Failures beyond: how many more of its "
        "sessions failed than of as many others of the app. Rates are of the sessions of which it is known by now "
        "whether they failed; cost, score and stability are of the run that saw the cluster last."
    )


def _cells(rows: Sequence[Row]) -> dict[str, Sequence[object]]:
    def each(take: Callable[[Row], object]) -> list[object]:
        return [take(one) for one in rows]

    return {
        "Cluster": each(lambda one: one_line(one["title"], 120)),
        "Id": each(lambda one: words.shown_id(one["id"])),
        "State": each(lambda one: [verdict.of(words.STATES, one["state"]).title]),
        "Sessions": each(lambda one: one["n_sessions"]),
        "Failures beyond": each(_beyond),
        "Fails": each(lambda one: words.failure_rate(one.get("failure_rate"))),
        "Interval": each(_interval),
        "Known of": each(words.of_known),
        "The rest": each(lambda one: words.failure_rate(one.get("rest_rate"))),
        "Rest known of": each(lambda one: words.of_known(one, "rest_n_known", "rest_n_sessions")),
        "Growth": each(lambda one: words.ratio(one["emerging"]) if one.get("emerging") else None),
        "Users": each(lambda one: one.get("n_users")),
        "Cost": each(lambda one: words.known(one.get("cost_usd"))),
        "Score": each(lambda one: words.known(one.get("score"))),
        "First seen": each(lambda one: frame.moment(one.get("first_seen"))),
        "Last seen": each(lambda one: frame.moment(one.get("last_seen"))),
        "Topic": each(lambda one: one_line((one.get("topic") or {}).get("title"), 80) or None),
        "Stability": each(lambda one: words.known(one.get("stability"))),
    }


def _told(cell: object) -> bool:
    """Whether a cell says something: a column of none would only take room."""
    return cell is not None and cell != []


def _beyond(one: Row) -> int | None:
    found = words.beyond(one)
    return None if found is None else round(found)


def _interval(one: Row) -> str | None:
    low, high = words.known(one.get("failure_low")), words.known(one.get("failure_high"))
    return None if low is None or high is None else f"{words.percent(low)} to {words.percent(high)}"


def _columns() -> dict[str, Any]:
    column = st.column_config
    return {
        "Cluster": column.TextColumn(width=270),
        "State": column.MultiselectColumn(
            options=[one.title for one in words.STATES.values()],
            color=[one.colour for one in words.STATES.values()],
            width=100,
        ),
        "Sessions": column.NumberColumn(format="localized", width=80),
        "Failures beyond": column.NumberColumn(format="localized", width=110),
        "Fails": column.TextColumn(width=80, alignment="right"),
        **{
            name: column.TextColumn(
                width=110, alignment="right", help="Sessions of which it is known whether they failed"
            )
            for name in ("Known of", "Rest known of")
        },
        "Interval": column.TextColumn(width=125, alignment="right", help="95% interval of the failure rate"),
        "The rest": column.TextColumn(width=80, alignment="right", help="Failure rate of the app's other sessions"),
        "Growth": column.TextColumn(width=150, help="Its rate now against before, where it emerges"),
        "Users": column.NumberColumn(format="localized", width=65),
        "Cost": column.NumberColumn(format="$%.4f", width=85, help="Mean of a session"),
        "Score": column.NumberColumn(format="%.2f", width=65),
        **{name: column.DatetimeColumn(format="D MMM HH:mm", width=105) for name in ("First seen", "Last seen")},
        "Topic": column.TextColumn(width=160),
        "Stability": column.NumberColumn(
            format="%.2f",
            width=80,
            help="How well other samples of the same sessions give it again; below 0.75 unstable",
        ),
        "Id": column.TextColumn(width=80),
    }
