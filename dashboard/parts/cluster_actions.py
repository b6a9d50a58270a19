"""What a person does with a cluster: freeze its sessions into a dataset, watch it, stop watching."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Final

import streamlit as st

from dashboard import human, links
from dashboard.api import Api, ApiFailure, Row
from dashboard.parts import cluster_words as words
from dashboard.parts import states
from dashboard.parts.callers import Caller
from dashboard.text import inert, label, one_line

_ROLE: Final = "user"
_FROZEN: Final = "cluster-frozen"


def offer(caller: Caller, cluster: Row) -> None:
    """Both buttons; for whom may not the commands that do the same."""
    cluster_id = words.shown_id(cluster["id"])
    with st.container(
        horizontal=True, vertical_alignment="center", gap="small", width="content", key="assay-cluster-actions"
    ):
        if not caller.may(_ROLE):
            with st.popover("Freeze or watch", icon=":material/terminal:"):
                st.caption(f"This takes a key of role {_ROLE}: give one beside, or use the command line.")
                commands = f"assay clusters freeze {cluster_id} --dataset NAME\nassay clusters watch {cluster_id}"
                st.code(commands, language="bash", wrap_lines=True)
            return
        with st.popover("Freeze", icon=":material/ac_unit:", key="cluster-freeze"):
            _freeze(caller, cluster, cluster_id)
        title, icon = ("Watched", "visibility") if cluster.get("watched") else ("Watch", "add_alert")
        with st.popover(title, icon=f":material/{icon}:", key="cluster-watch"):
            _watch(caller, cluster, cluster_id)


@st.cache_data(ttl=10, max_entries=4, show_spinner=False)
def _names(_api: Api) -> list[str]:
    return [str(one["name"]) for one in _api.page("/datasets", {}).items]


def _freeze(caller: Caller, cluster: Row, cluster_id: str) -> None:
    st.caption("Its sessions become examples of a dataset: what was asked of the agent, for evaluations and gates.")
    known = _names(states.api())
    proposed = f"{inert(cluster['app'], 60)}-{cluster_id.lower()}".replace("/", "-")
    name = st.selectbox(
        "Dataset",
        list(dict.fromkeys([proposed, *known])),
        key=f"freeze-name-{cluster_id}",
        format_func=lambda value: one_line(value, 60),
        accept_new_options=True,
        help="Write another name to make a new one.",
    )
    path, body = caller.api.cluster_path(cluster_id, "freeze"), {"dataset": str(name or proposed)}
    key = f"{_FROZEN}-{cluster_id}"
    with st.container(horizontal=True, gap="small"):
        if st.button("What would it do?", icon=":material/request_quote:", key="freeze-forecast"):
            _keep(key, caller, path, {**body, "dry_run": True})
        if st.button("Freeze", type="primary", icon=":material/ac_unit:", key="freeze-do"):
            _keep(key, caller, path, {**body, "dry_run": False})
            _names.clear()
    told: Row | None = st.session_state.get(key)
    if told and told["dataset"] == body["dataset"]:
        _frozen(told)


def _keep(key: str, caller: Caller, path: str, body: Row) -> None:
    try:
        st.session_state[key] = caller.api.post(path, body)
    except ApiFailure as failure:
        st.session_state.pop(key, None)
        st.text(inert(failure.detail, 500))


def _frozen(told: Row) -> None:
    n, left = int(told["n_examples"]), int(told.get("n_left_out") or 0)
    if told.get("dry_run"):
        st.text(f"It would add {human.plural(int(told['n_added']), 'example')} of {n:,}.")
    else:
        st.text(f"Added {human.plural(int(told['n_added']), 'example')}: version {int(told['version'])}.")
    if told.get("n_same"):
        st.text(f"{int(told['n_same']):,} were there already.")
    if left:
        st.text(f"{human.plural(left, 'session')} left out.")
    for said in list(told.get("says") or [])[:4]:
        st.text(inert(said, 300))
    if not told.get("dry_run"):
        name = str(told["dataset"])
        if st.button(f"Open {label(name, 40)}", icon=":material/dataset:", type="tertiary", key="freeze-open"):
            links.open_dataset(name)


def _watch(caller: Caller, cluster: Row, cluster_id: str) -> None:
    path = caller.api.cluster_path(cluster_id, "watch")
    watch: Row = cluster.get("watch") or {}
    if cluster.get("watched"):
        ratio = words.known(watch.get("min_ratio"))
        st.text("It is watched" + ("" if ratio is None else f": an alert from {words.times(ratio)} its rate on") + ".")
        if watch.get("host"):
            st.text(f"Also told: {inert(watch['host'], 120)}")
        if st.button("Stop watching", icon=":material/visibility_off:", key="watch-stop"):
            _act(lambda: caller.api.delete(path))
        return
    if cluster.get("alive") is False:
        st.text("It ended, and no session joins it any more; its lineage says what became of it.")
        return
    st.caption("When it grows, an alert stands on the page Emerging, and is sent to an address if you give one.")
    ratio = st.number_input(
        "Tell when its rate grew by at least this factor, surely", 1.05, 100.0, 1.5, 0.25, key="watch-ratio"
    )
    url = st.text_input("Address that is told (a signed POST)", placeholder="https://…", key="watch-url")
    body = {"min_ratio": ratio} | ({"url": url.strip()} if url.strip() else {})
    if st.button("Watch", type="primary", icon=":material/add_alert:", key="watch-do"):
        _act(lambda: caller.api.put(path, body))
    st.code(f"assay clusters watch {shlex.quote(cluster_id)}", language="bash")


def _act(do: Callable[[], object]) -> None:
    """Does it and draws the page anew; a refusal stands where the button is."""
    try:
        do()
    except ApiFailure as failure:
        st.text(inert(failure.detail, 500))
        return
    st.cache_data.clear()
    st.rerun()
