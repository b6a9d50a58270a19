"""One cluster: how often it fails, exemplars as transcripts, what sets it apart, how it lived, `?id=C-0042`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import streamlit as st

from dashboard import human, links
from dashboard.api import Api, Row
from dashboard.parts import (
    callers,
    cluster_actions,
    cluster_exemplars,
    cluster_lineage,
    cluster_profile,
    cluster_sessions,
    cluster_watch,
    estimates,
    frame,
    states,
    verdict,
)
from dashboard.parts import cluster_words as words
from dashboard.text import inert, label

_TERMS: Final = 12
_SIBLINGS: Final = 6


@st.cache_data(ttl=8, max_entries=32, show_spinner=False)
def _read(_api: Api, cluster_id: str) -> Row:
    return _api.get(_api.cluster_path(cluster_id))


@states.guarded
def show() -> None:
    """The page."""
    cluster_id = st.query_params.get("id", "").strip()
    if not cluster_id:
        _ask()
        return
    with states.skeleton():
        cluster = _read(states.api(), cluster_id)
    _head(cluster)
    _numbers(cluster)
    _emerging(cluster)
    cluster_watch.show(cluster)
    st.subheader("Exemplars", anchor=False)
    cluster_exemplars.show(cluster)
    st.subheader("Beside the rest of the app", anchor=False)
    st.caption(_as_of_run(cluster))
    cluster_profile.show(cluster)
    st.subheader("Lineage", anchor=False)
    cluster_lineage.show(cluster)
    st.subheader("Sessions", anchor=False)
    st.fragment(_sessions)(cluster)
    _foot(cluster)


def _ask() -> None:
    st.title("Cluster", anchor=False)
    with st.form("find-cluster", border=True, width=560):
        given = st.text_input("Cluster id", placeholder="C-0042")
        if st.form_submit_button("Open", type="primary") and given:
            links.open_cluster(given.strip())
    st.page_link(links.CLUSTERS.page(), label="All clusters", icon=":material/arrow_back:")


def _head(cluster: Row) -> None:
    caller = callers.current()
    with st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", key="assay-crumbs"
    ):
        if st.button("Clusters", icon=":material/arrow_back:", type="tertiary", key="to-clusters"):
            links.open_clusters(str(cluster["app"]))
        with st.container(horizontal=True, width="content", vertical_alignment="center"):
            cluster_actions.offer(caller, cluster)
            callers.offer(caller)
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="assay-cluster-head"):
        with st.container(width="content"):
            frame.heading(cluster["title"], "cluster", page="Cluster")
        verdict.badge(verdict.of(words.STATES, cluster["state"]))
        if cluster.get("stable") is False:
            about = "Other samples of the same sessions do not give this cluster again"
            st.badge("unstable", icon=":material/grain:", color="orange", help=about)
    if cluster.get("sentence"):
        with st.container(key="assay-quiet-cluster-sentence"):
            st.text(inert(cluster["sentence"], 400))
    with st.container(horizontal=True, gap="small", key="assay-cluster-terms"):
        for one in list(cluster.get("terms") or [])[:_TERMS]:
            st.badge(label(one["term"], 40), color="gray")
    topic: Row = cluster.get("topic") or {}
    frame.facts(
        (
            ("Id", cluster["id"]),
            ("App", cluster["app"]),
            ("Topic", topic.get("title")),
            ("First seen", _when(cluster.get("first_seen"))),
            ("Last seen", _when(cluster.get("last_seen"))),
            ("Named by", "a model" if cluster.get("title_by") == "model" else "its terms"),
            ("Releases, last run", _releases(cluster.get("releases") or [])),
            ("Stability, last run", _stability(cluster)),
            ("Last run that saw it", _when(cluster.get("run_at"))),
            ("Times in", frame.zone_words()),
        ),
        "cluster",
    )


def _when(at: object) -> str | None:
    moment = frame.moment(at)
    return None if moment is None else f"{moment.day} {moment:%b %Y, %H:%M}"


def _releases(found: Sequence[Row]) -> str:
    return ", ".join(f"{inert(one['release'], 30)} ({int(one['n']):,})" for one in found[:3])


def _stability(cluster: Row) -> str | None:
    found = words.known(cluster.get("stability"))
    return None if found is None else estimates.number(found)


def _numbers(cluster: Row) -> None:
    more = words.beyond(cluster)
    cells = [
        ("Sessions", human.count(cluster["n_sessions"])),
        ("Users", human.count(cluster.get("n_users"))),
        ("Fail", words.failure_rate(cluster.get("failure_rate"))),
        ("The rest fail", words.failure_rate(cluster.get("rest_rate"))),
        ("Failures beyond", human.UNKNOWN if more is None else human.count(round(more))),
        ("Cost of one, last run", human.usd(words.known(cluster.get("cost_usd")))),
    ]
    score = words.known(cluster.get("score"))
    frame.numbers([*cells, *([("Score, last run", human.score(score))] if score is not None else [])], "cluster")
    st.caption(_known(cluster))
    for said in list(cluster.get("says") or [])[:4]:
        st.text(inert(said, 400))


def _known(cluster: Row) -> str:
    """As of when, of how many it is known how they ended, and how sure the rate is. Numbers only: captions read
    Markdown."""
    low, high = words.known(cluster.get("failure_low")), words.known(cluster.get("failure_high"))
    between = "" if low is None or high is None else f", 95% interval {words.percent(low)} to {words.percent(high)}"
    when, run = _when(cluster.get("counted_at")), _when(cluster.get("run_at"))
    parts = [
        f"Now{'' if when is None else f' ({when})'}: {words.percent(cluster.get('share'))} of the app's sessions",
        f"{int(cluster['n_failed']):,} failed, {words.known_of(cluster)}{between}",
        f"the rest {words.rest_known_of(cluster)}",
    ]
    last = "Last run: one that is not kept any more" if run is None else f"Last run: the one that ended {run}"
    return f"{' · '.join(parts)}. {last}."


def _as_of_run(cluster: Row) -> str:
    """What of the tables and pictures below is of now."""
    run = _when(cluster.get("run_at"))
    ended = "that saw it last" if run is None else f"that ended {run}"
    return f"As of the run {ended}, but for the failure rate, which is counted now."


def _emerging(cluster: Row) -> None:
    """That it is new or grows, with a way to the feed."""
    found: Row | None = cluster.get("emerging")
    if not found:
        return
    with st.container(
        border=True, horizontal=True, vertical_alignment="center", gap="small", key="assay-loud-emerging"
    ):
        verdict.badge(verdict.of(words.KINDS, found.get("kind")))
        st.text(f"It fails {words.ratio(found)} as often as before, {words.q_value(found.get('q_value'))}")
        if st.button("What changed", icon=":material/notifications_active:", type="tertiary", key="to-emerging"):
            links.open_emerging(str(cluster["app"]))


@states.guarded
def _sessions(cluster: Row) -> None:
    cluster_sessions.of_cluster(cluster)


def _foot(cluster: Row) -> None:
    """Its neighbours in the topic, and what else is to be known."""
    others: Sequence[Row] = cluster.get("siblings") or []
    if others:
        with st.container(horizontal=True, vertical_alignment="center", gap="small", key="assay-cluster-siblings"):
            st.caption("Of the same topic:", width="content")
            for one in others[:_SIBLINGS]:
                if st.button(label(one["title"], 50), type="tertiary", icon=":material/bubble_chart:",
                             key=f"sibling-{words.shown_id(one['id'])}"):  # fmt: skip
                    links.open_cluster(words.shown_id(one["id"]))
    with st.container(key="assay-quiet-cluster-foot"):
        st.text(f"Embedder {inert(cluster.get('embedder'), 80)}; figures of run {inert(cluster.get('run_id'), 60)}.")
