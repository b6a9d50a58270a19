"""Runs of clustering: how far one is, stage by stage, what a run would take, and what to do where there is none yet."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any, Final

import streamlit as st

from dashboard import human
from dashboard.api import ApiFailure, Row
from dashboard.parts import cluster_words as words
from dashboard.parts import frame, states, verdict
from dashboard.parts.callers import Caller
from dashboard.text import inert, label

_EVERY_S: Final = 2.0
_OPEN: Final = frozenset({"waiting", "running"})
_SINCE: Final = {"24h": "last 24 hours", "7d": "last 7 days", "30d": "last 30 days", "90d": "last 90 days"}
_STAGES: Final = {
    "read": "reading sessions",
    "retell": "letting a model retell sessions",
    "fit": "learning the words of this app",
    "embed": "embedding",
    "reduce": "reducing dimensions",
    "cluster": "clustering",
    "stability": "clustering samples, for stability",
    "map": "drawing the map",
    "lineage": "following the clusters of before",
    "profile": "comparing with the rest of the app",
    "write": "writing it down",
}
_ROLE: Final = "power_user"


def is_open(run: Row | None) -> bool:
    """Whether it is waiting or under way."""
    return run is not None and str(run.get("status")) in _OPEN


def offer(caller: Caller, app: str, run: Row | None) -> None:
    """A run for whom may start one, after what it would take; the command for others. Nothing while one is open."""
    if is_open(run):
        return
    if not caller.may(_ROLE):
        with st.popover("Run", icon=":material/terminal:"):
            st.caption(f"This takes a key of role {_ROLE}: give one beside, or use the command line.")
            st.code(command(app), language="bash", wrap_lines=True)
        return
    with st.popover("Run", icon=":material/play_arrow:", key="cluster-run"):
        st.caption("Embeds what is new, clusters the whole window, and follows each cluster by its id.")
        since = st.selectbox(
            "Sessions of the", list(_SINCE), index=1, format_func=_SINCE.__getitem__, key="cluster-run-since"
        )
        body: Row = {"app": app, "since": since}
        if st.button("What would it take?", icon=":material/request_quote:", key="cluster-run-forecast"):
            st.session_state["cluster-run-foreseen"] = (body, _asked(caller, {**body, "dry_run": True}))
        foreseen = st.session_state.get("cluster-run-foreseen")
        if foreseen and foreseen[0] == body and foreseen[1]:
            _foreseen(foreseen[1])
        if st.button("Start", type="primary", icon=":material/play_arrow:", key="cluster-run-start"):
            start(caller, body)


def start(caller: Caller, body: Row) -> None:
    """Begins a run and draws the page anew; a refusal stands where the button is."""
    if _asked(caller, body) is not None:
        st.session_state.pop("cluster-run-foreseen", None)
        st.cache_data.clear()
        st.rerun()


def command(app: object) -> str:
    """What does the same on the command line."""
    return f"assay clusters run --app {shlex.quote(inert(app, 120))} --since 7d"


def _asked(caller: Caller, body: Row) -> Row | None:
    try:
        return caller.api.post("/clusters/runs", body)
    except ApiFailure as failure:
        st.text(inert(failure.detail, 500))
        return None


def _foreseen(told: Row) -> None:
    n_all, n_new = int(told["n_sessions"]), int(told["n_to_embed"])
    st.text(f"{human.plural(n_all, 'session')}, {n_new:,} of them to embed with {inert(told.get('embedder'), 80)}.")
    st.text(f"Whether they failed is {words.known_of(told)}.")
    for said in list(told.get("says") or [])[:4]:
        st.text(inert(said, 300))


def progress(run: Row, caller: Caller) -> None:
    """How far it is, drawn anew until it is over."""
    with st.container(border=True, key="assay-live-cluster-run", gap="small"):
        st.fragment(_going, run_every=_EVERY_S)(str(run["id"]), caller)


@states.refreshed
def _going(run_id: str, caller: Caller) -> None:
    run = states.api().get(states.api().cluster_path("runs", run_id))
    if not is_open(run):
        st.cache_data.clear()
        st.rerun(scope="app")
    stages: Sequence[Row] = run.get("stages") or []
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="assay-cluster-run-head"):
        verdict.badge(verdict.of(words.RUN, run["status"]))
        st.text(_headline(run))
        if caller.may(_ROLE) and st.button(
            "Cancel", icon=":material/cancel:", type="tertiary", key="cluster-run-cancel"
        ):
            caller.api.post(caller.api.cluster_path("runs", run_id, "cancel"), {})
            st.rerun(scope="app")
    if run["status"] == "waiting" or not stages:
        waits = run["status"] == "waiting"
        st.progress(0.0, text="One run goes at a time: its turn comes next" if waits else "Its process begins")
        return
    last = stages[-1]
    done, total = int(last.get("done") or 0), int(last.get("total") or 0)
    far = f" {done:,} of {total:,}" if total > 1 else ""
    st.progress(min(1.0, done / total) if total else 0.0, text=f"{label(_stage(last), 60)}{far}")
    if stages[:-1]:
        said = " · ".join(f"{_stage(one)} {human.duration(1000 * (one.get('seconds') or 0))}" for one in stages[:-1])
        with st.container(key="assay-quiet-cluster-stages"):
            st.text(inert(said, 600))


def _stage(one: Row) -> str:
    return _STAGES.get(str(one["name"]), str(one["name"]))


def _headline(run: Row) -> str:
    n = run.get("n_sessions")
    what = "what fitted nowhere" if run.get("scope") == "waiting" else "the window"
    return f"A run over {what}" + ("" if n is None else f", {human.plural(int(n), 'session')}")


def failed(run: Row | None) -> None:
    """Why the newest run has no result, where it has none."""
    if run is None or str(run.get("status")) not in ("failed", "cancelled"):
        return
    with st.container(
        border=True, key="assay-error-text-cluster-run", horizontal=True, vertical_alignment="center", gap="small"
    ):
        verdict.badge(verdict.of(words.RUN, run["status"]))
        ended = frame.moment(run.get("ended_at"))
        when = "" if ended is None else f" on {ended.day} {ended:%b, %H:%M}"
        why = inert(run.get("error"), 400) or "What stands below is of the run before."
        st.text(f"The newest run ended{when}. {why}")


def facts(run: Row) -> None:
    """What a run was made of, in one line."""
    ended = frame.moment(run.get("ended_at"))
    used: Row = run.get("used") or {}
    peak = run.get("peak_mib")
    cells: list[tuple[str, Any]] = [
        ("Run", run.get("id")),
        ("Ended", None if ended is None else f"{ended.day} {ended:%b %Y, %H:%M}"),
        ("Window", _window(run.get("window"))),
        ("Sessions", human.count(run.get("n_sessions"))),
        ("Failures known of", None if run.get("n_known") is None else words.of_known(run)),
        ("Embedder", run.get("embedder")),
        ("Method", used.get("method")),
        ("Smallest cluster", used.get("min_cluster_size")),
        ("Took", _took(run)),
        ("Peak memory", None if peak is None else f"{peak:,.0f} MiB"),
        ("Parameters", run.get("params_hash")),
        ("Asked by", run.get("asked_by")),
    ]
    frame.facts(cells, "cluster-run")


def _took(run: Row) -> str | None:
    begun, ended = frame.moment(run.get("started_at")), frame.moment(run.get("ended_at"))
    return None if begun is None or ended is None else human.duration(1000 * (ended - begun).total_seconds())


def _window(window: Row | None) -> str | None:
    begun, ended = (frame.moment((window or {}).get(name)) for name in ("start", "end"))
    return None if begun is None or ended is None else f"{begun.day} {begun:%b} to {ended.day} {ended:%b %Y}"


def nothing(caller: Caller, app: str) -> None:
    """No clusters: what has to happen first."""
    with st.container(border=True, key="assay-empty-clusters"):
        st.subheader("No clusters yet", anchor=False, icon=":material/bubble_chart:")
        st.caption("A run embeds each session, groups those that are alike, names the groups and says which ones fail:")
        st.code(command(app), language="bash", wrap_lines=True)
        if caller.may(_ROLE) and st.button(
            "Run now over the last 7 days", type="primary", icon=":material/play_arrow:", key="cluster-run-first"
        ):
            start(caller, {"app": app, "since": "7d"})
        st.caption("After that it runs every night, and new sessions join their clusters within a minute.")
