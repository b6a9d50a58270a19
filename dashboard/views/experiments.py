"""Experiments: which run and what each says, and one with its evidence, `?experiment=NAME`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import streamlit as st

from dashboard import human, links
from dashboard.api import Api, Row
from dashboard.parts import (
    address,
    arrow,
    experiment_decision,
    experiment_definition,
    experiment_figures,
    experiment_ways,
    frame,
    states,
    table_analysis,
    verdict,
)
from dashboard.text import inert, one_line

_WORDS: Final = {said.title: said for said in verdict.EXPERIMENT.values()}
_UNSEEN: Final = "Not looked at"
_OLD: Final = timedelta(days=1)
_COUNTED: Final = ("keep_running", "ship", "do_not_ship", "unhealthy", "inconclusive")


@st.cache_data(ttl=8, max_entries=8, show_spinner=False)
def _listed(_api: Api) -> list[Row]:
    return _api.page("/experiments", {}).items


@st.cache_data(ttl=20, max_entries=32, show_spinner=False)
def _one(_api: Api, name: str) -> Row:
    """The newest version, with all of them."""
    return _api.get(_api.experiment_path(name))


@st.cache_data(ttl=20, max_entries=32, show_spinner=False)
def _analysis(_api: Api, name: str) -> Row:
    return _api.get(_api.experiment_path(name, "analysis"))


@states.guarded
def show() -> None:
    """The page."""
    name = st.query_params.get("experiment", "").strip()
    if name:
        _experiment(name)
    elif st.query_params.get("view") == "table":
        if st.button("Experiments", icon=":material/arrow_back:", type="tertiary", key="to-experiments"):
            links.open_experiments()
        table_analysis.show()
    else:
        _list()


def _list() -> None:
    with st.container(
        horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute", key="assay-head"
    ):
        with st.container(width="content", gap=None):
            st.title("Experiments", anchor=False)
            st.caption(f"Variants beside each other on live traffic · times in {frame.zone_words()}")
        with st.container(horizontal=True, width="content", gap="small"):
            if st.button("A table of yours", icon=":material/table_view:", key="experiments-table"):
                links.open_table_analysis()
            if st.button("Plan one", icon=":material/calculate:", key="experiments-plan"):
                links.open_planner()
    with states.skeleton():
        every = _listed(states.api())
    if not every:
        _nothing()
        return
    app = _app(every)
    rows = [one for one in every if app is None or one["app"] == app]
    cells = [("Running", human.count(sum(one["status"] == "running" for one in rows)))]
    cells += [
        (verdict.EXPERIMENT[word].title, human.count(sum(one.get("word") == word for one in rows)))
        for word in _COUNTED
    ]  # fmt: skip
    frame.numbers(cells, "experiments")
    chosen = _grid(rows)
    if chosen is not None and chosen < len(rows):
        links.open_experiment(str(rows[chosen]["name"]))
    st.caption("A click on a row opens the experiment. What is said is of its last look, which opening it renews.")
    _not_looked_at(rows)


def _not_looked_at(rows: Sequence[Row]) -> None:
    """Offers to look at what runs and was not looked at for a day: a list that says nothing is no all-clear."""
    now = datetime.now(UTC)
    seen = [(one, frame.moment(one.get("looked_at"))) for one in rows if one["status"] == "running"]
    old = [str(one["name"]) for one, at in seen if at is None or now - at > _OLD]
    if not old:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="assay-not-looked-at"):
        st.badge("not looked at", icon=":material/visibility_off:", color="orange")
        st.text(f"{human.plural(len(old), 'running experiment')} in the last day.")
        if st.button("Look now", icon=":material/visibility:", key="experiments-look"):
            api = states.api()
            with st.spinner("Reading the traces of each…"):
                api.objects([(api.experiment_path(name, "analysis"), {}) for name in old])
            _listed.clear()
            st.rerun()


def _nothing() -> None:
    with st.container(border=True, key="assay-empty-experiments"):
        st.subheader("No experiments yet", anchor=False, icon=":material/experiment:")
        st.caption("Plan how many users it takes, register it, start it:")
        st.code(
            "assay experiments plan --metric resolution --baseline 0.86 --mde 0.03 --users 800/day\n"
            "assay experiments create NAME --app APP --control v1 --treatment v2 --split 50/50 --primary resolution "
            "--guardrail safety,cost,p95_latency\n"
            "assay experiments start NAME",
            language="bash",
            wrap_lines=True,
        )
        st.caption("or analyze a table that you have, without any traffic:")
        st.code(
            "assay experiments analyze FILE.csv --unit user --variant arm --outcome success --strata department",
            language="bash",
            wrap_lines=True,
        )


def _app(every: Sequence[Row]) -> str | None:
    apps = sorted({str(one["app"]) for one in every})
    known = address.first("experiments", "app")
    if len(apps) < 2 and known is None:
        return None
    options = apps if known is None or known in apps else [*apps, known]
    chosen: str | None = st.selectbox(
        "App",
        options,
        index=options.index(known) if known else None,
        key="experiments-app",
        placeholder="All apps",
        label_visibility="collapsed",
        format_func=lambda value: one_line(value, 40),
        width=260,
        icon=":material/smart_toy:",
    )
    address.keep("experiments", "app", chosen)
    return chosen


def _grid(rows: Sequence[Row]) -> int | None:
    column = st.column_config
    with st.container(key="assay-table"):
        state: Any = st.dataframe(
            arrow.table(
                {
                    "Experiment": [one_line(one["name"], 80) for one in rows],
                    "Says": [_says(one) for one in rows],
                    "Status": [[str(one["status"])] for one in rows],
                    "App": [one_line(one["app"], 60) for one in rows],
                    "Units": [one.get("n_units") for one in rows],
                    "Headline": [_headline(one) for one in rows],
                    "Looked at": [frame.moment(one.get("looked_at")) for one in rows],
                    "Primary": [one_line(one["primary"], 60) for one in rows],
                    "Arms": [_arms(one["arms"]) for one in rows],
                    "Taking part": [one.get("coverage") for one in rows],
                    "Started": [frame.moment(one.get("started_at")) for one in rows],
                    "Version": [one["version"] for one in rows],
                }
            ),
            height=min(560, 38 * (len(rows) + 1) + 2),
            hide_index=True,
            row_height=38,
            key="experiments-list",
            column_config={
                "Experiment": column.TextColumn(width=165),
                "Status": column.MultiselectColumn(
                    options=list(verdict.STATUS), color=[one.colour for one in verdict.STATUS.values()], width=95
                ),
                "Says": column.MultiselectColumn(
                    options=[*_WORDS, _UNSEEN], color=[*(one.colour for one in _WORDS.values()), "orange"], width=125
                ),
                "Headline": column.TextColumn(width=430),
                "Looked at": column.DatetimeColumn(format="D MMM HH:mm", width=100),
                **{name: column.TextColumn(width=95) for name in ("App", "Primary")},
                "Units": column.NumberColumn(format="localized", width=80),
                "Arms": column.TextColumn(width=150),
                "Taking part": column.NumberColumn(format="percent", width=95),
                "Started": column.DatetimeColumn(format="D MMM YYYY", width=105),
                "Version": column.NumberColumn(width=70),
            },
            on_select="rerun",
            selection_mode="single-cell",
            placeholder="–",
            lazy=False,
        )
    picked = state["selection"]["cells"]
    return int(picked[0][0]) if picked else None


def _says(one: Row) -> list[str]:
    word = one.get("word")
    if word is None:
        return [_UNSEEN] if one["status"] == "running" else []
    return [verdict.of(verdict.EXPERIMENT, word).title]


def _headline(one: Row) -> str | None:
    if not one.get("headline"):
        return None
    return one_line(experiment_decision.headline(one), 240)


def _arms(arms: Sequence[Any]) -> str:
    return one_line(" · ".join(str(one["variant"]) if isinstance(one, dict) else str(one) for one in arms), 120)


def _experiment(name: str) -> None:
    with states.skeleton():
        found = _one(states.api(), name)
        told = _analysis(states.api(), name)
    definition = _version(found, told)
    if st.button("Experiments", icon=":material/arrow_back:", type="tertiary", key="to-experiments"):
        links.open_experiments()
    _head(definition, told)
    experiment_ways.out(definition)
    if int(found["version"]) != int(definition["version"]):
        st.caption(f"This is the version that was begun; version {int(found['version'])} is a draft.")
    if told["decision"]["word"] == "not_started":
        _not_begun(definition)
        experiment_definition.show(definition)
        return
    experiment_figures.show(told, definition.get("strata") or [])
    experiment_definition.show(definition)
    experiment_definition.commands(definition)


def _version(found: Row, told: Row) -> Row:
    """The version that was analysed, its whole definition on one level."""
    one = next((each for each in found["versions"] if each["version"] == told["version"]), found)
    return {**one["definition"], **one}


def _head(definition: Row, told: Row) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="assay-experiment-head"):
        with st.container(width="content"):
            frame.heading(definition["name"], "experiment", page="Experiment")
        verdict.badge(verdict.of(verdict.STATUS, definition.get("status")))
        if definition["version"] > 1:
            st.badge(f"version {int(definition['version'])}", icon=":material/history:", color="gray")
    experiment_definition.facts(definition, told)


def _not_begun(definition: Row) -> None:
    with st.container(border=True, key="assay-experiment-verdict", gap="small"):
        verdict.large(verdict.EXPERIMENT["not_started"], "experiment")
        st.text("It is registered and nobody is assigned yet. Starting it fixes everything below:")
        st.code(f"assay experiments start {shlex.quote(inert(definition['name'], 120))}", language="bash")
