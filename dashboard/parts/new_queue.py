"""A label queue is made here, and drawn for: by verdict and confidence where a judge spoke, else from sessions."""

from __future__ import annotations

import re
from typing import Final

import streamlit as st

from dashboard import human, links
from dashboard.api import Api, ApiFailure, Row
from dashboard.parts import arrow, callers
from dashboard.parts.callers import Caller
from dashboard.text import inert, one_line

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_MONTHS: Final = "90d"
_SINCE: Final = {"24h": "last 24 hours", "7d": "last 7 days", "30d": "last 30 days", _MONTHS: "last 90 days"}


@st.cache_data(ttl=10, max_entries=2, show_spinner=False)
def _known(_api: Api) -> tuple[list[str], list[Row]]:
    """Apps that sent something, and the newest version of each rubric."""
    apps = [str(one["app"]) for one in _api.page("/apps", {"since": "3650d"}).items if one.get("app")]
    newest: dict[str, Row] = {}
    for one in _api.page("/rubrics", {}).items:
        if one["version"] > newest.get(one["name"], {"version": 0})["version"]:
            newest[str(one["name"])] = one
    return sorted(set(apps)), list(newest.values())


@st.cache_data(ttl=10, max_entries=2, show_spinner=False)
def _judges(_api: Api) -> list[str]:
    return [str(one["name"]) for one in _api.page("/judges", {}).items]


def offer(caller: Caller) -> None:
    """The form that makes a queue. Raises `ApiFailure`."""
    if not caller.may("power_user"):
        callers.needed("power_user", "Making a queue")
        return
    apps, rubrics = _known(caller.api)
    if not rubrics:
        st.caption("There is no rubric yet. A rubric comes with the first judge that is made of one:")
        st.code(
            "assay judges create helpfulness --rubric rubrics/helpfulness/v3.md --model openai:gpt-5-mini",
            language="bash",
            wrap_lines=True,
        )
        return
    _form(caller, apps, {str(one["name"]): one for one in rubrics}, _judges(caller.api))


def _form(caller: Caller, apps: list[str], rubrics: dict[str, Row], judges: list[str]) -> None:
    with st.form("new-queue", border=False):
        with st.container(horizontal=True, vertical_alignment="bottom"):
            name = st.text_input("Name", key="new-queue-name", placeholder="triage", width=220)
            app = st.selectbox("App", apps, key="new-queue-app", accept_new_options=True, width=240)
            rubric = st.selectbox(
                "Rubric",
                list(rubrics),
                key="new-queue-rubric",
                format_func=lambda one: _title(rubrics[one]),
                width=260,
            )
            judge = st.selectbox(
                "To hold a judge to account",
                judges,
                index=None,
                key="new-queue-judge",
                placeholder="no judge",
                help="Its verdicts decide what is drawn; nobody who labels sees them. Its rubric is used.",
                width=240,
            )
        with st.container(horizontal=True, vertical_alignment="bottom"):
            people = st.number_input("People per task", 1, 20, 2, key="new-queue-people", width=150)
            minutes = st.number_input("Minutes to hold a task", 1, 10_080, 30, key="new-queue-minutes", width=190)
            if st.form_submit_button("Make the queue", type="primary", icon=":material/add:"):
                chosen = {"judge": judge} if judge else {"rubric": rubric}
                limits = {"n_annotators": int(people), "reservation_s": int(minutes) * 60}
                _make(caller, {"name": name.strip(), "app": app, **chosen, **limits})


def _title(one: Row) -> str:
    return f"{one_line(one['name'], 60)}, version {one['version']}"


def _make(caller: Caller, body: Row) -> None:
    if not _NAME.fullmatch(body["name"]) or not body["app"]:
        st.text("Give it a name of letters, digits, dots, dashes and underscores, and an app.")
        return
    try:
        caller.api.post("/label-queues", body)
    except ApiFailure as failure:
        st.text(inert(failure.detail, 400))
        return
    links.open_queue(body["name"], "overview")


def draw(queue: Row, caller: Caller) -> None:
    """The form that fills a queue: first the plan of a draw, then the draw. Raises `ApiFailure`."""
    name, empty = str(queue["name"]), not queue["n_tasks"]
    with st.expander("Draw tasks", icon=":material/casino:", expanded=empty, key="queue-draw"):
        if not caller.may("power_user"):
            callers.needed("power_user", "Drawing tasks")
            return
        with st.form("draw-tasks", border=False), st.container(horizontal=True, vertical_alignment="bottom"):
            n = st.number_input("How many", 1, 5_000, 50, key="draw-n", width=140)
            since = st.selectbox(
                "From", list(_SINCE), index=1, format_func=lambda one: _SINCE[one], key="draw-since", width=180
            )
            plan = st.form_submit_button("Show the plan", icon=":material/visibility:")
            go = st.form_submit_button("Draw", type="primary", icon=":material/casino:")
        st.caption(_how(queue))
        if plan or go:
            judged = {} if queue["judge"] is None else {"judge": queue["judge"]}
            _draw(name, caller, {"n": int(n), "since": since, "dry_run": not go, **judged})


def _how(queue: Row) -> str:
    if queue["judge"] is None:
        return "Sessions of the app that began in this time, each with the same chance."
    return (
        "Of what the judge said in this time: more of what its verdicts are unsure about, at least ten of each kind "
        "where there are so many, two in a hundred at random. The chance of each is kept with its label."
    )


def _draw(name: str, caller: Caller, body: Row) -> None:
    try:
        told = caller.api.post(caller.api.queue_path(name, "sample"), body)
    except ApiFailure as failure:
        st.text(inert(failure.detail, 400))
        return
    population = human.count(told["n_population"])
    if body["dry_run"]:
        n = min(sum(one["n_drawn"] for one in told["strata"]) + told["n_random"], told["n_population"])
        st.text(f"Would draw about {n:,} of {population}:")
    else:
        new = human.plural(told["n_new"], "task")
        st.text(f"{new} drawn from {population}; {told['n_there']:,} were there already.")
    strata(told["strata"], f"plan-{name}")


def strata(found: list[Row], key: str) -> None:
    """What is drawn of each stratum, and with what chance."""
    st.dataframe(
        arrow.table(
            {
                "Stratum": [one_line(one["name"], 80) for one in found],
                "Things": [one["n"] for one in found],
                "Drawn": [one["n_drawn"] for one in found],
                "Chance of each": [one["probability"] for one in found],
            }
        ),
        hide_index=True,
        key=key,
        row_height=34,
        column_config={"Chance of each": st.column_config.NumberColumn(format="%.3f")},
        lazy=False,
    )
