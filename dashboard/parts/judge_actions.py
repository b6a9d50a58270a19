"""What a power user does with a judge from its page: calibrate it, let it judge. A forecast comes before either."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import streamlit as st

from dashboard import human
from dashboard.api import ApiFailure, Row
from dashboard.parts import judge_commands, states
from dashboard.parts.callers import Caller
from dashboard.text import inert

_PATIENCE_S: Final = 900.0  # of a calibration, which asks its canaries before it answers
_EVERY_S: Final = 2.0
_IMPORTED: Final = "imported:"  # a judge elsewhere, which nobody can ask from here
_SINCE: Final = {"24h": "last 24 hours", "7d": "last 7 days", "30d": "last 30 days", "3650d": "all time"}
_STAGES: Final = {"reading": "reading verdicts and labels", "canaries": "asking the canaries",
                  "computing": "computing"}  # fmt: skip


@st.cache_resource(show_spinner=False)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=4, thread_name_prefix="calibrating")


def offer(caller: Caller, judge: Row, apps: list[str]) -> None:
    """Both, where the caller may; else the commands that do the same."""
    name = str(judge["name"])
    with st.container(
        horizontal=True, vertical_alignment="center", gap="small", width="content", key="assay-judge-actions"
    ):
        if not caller.may("power_user"):
            with st.popover("Calibrate or run", icon=":material/terminal:"):
                st.caption("This takes a key of role power_user: give one above, or use the command line.")
                st.code(f"{judge_commands.calibrate(name)}\n{judge_commands.run(name)}", language="bash")
            return
        with st.popover("Calibrate", icon=":material/straighten:"):
            _calibrate(caller, name, apps)
        if any(not str(one).startswith(_IMPORTED) for one in judge["models"]):
            with st.popover("Let it judge", icon=":material/play_arrow:"):
                _run(caller, judge, apps)


def _calibrate(caller: Caller, name: str, apps: list[str]) -> None:
    st.caption("Compares its verdicts with the labels, and asks the canaries anew.")
    app = _app(apps, "calibrate", judge_app=None, all_too=True)
    bar = st.number_input("Bar that kappa's lower bound has to reach", 0.05, 0.99, 0.7, 0.05, key="calibrate-bar")
    body: Row = {"bar": bar} | ({"app": app} if app else {})
    key = f"calibration-forecast-{name}"
    if st.button("What would it take?", icon=":material/request_quote:", key="calibrate-forecast"):
        st.session_state[key] = (body, _asked(caller, caller.api.judge_path(name, "calibrations", "forecast"), body))
    foreseen = st.session_state.get(key)
    if not foreseen or foreseen[0] != body or foreseen[1] is None:
        return
    told: Row = foreseen[1]
    labels = f"{human.plural(told['n_labels'], 'label')} beside {human.plural(told['n_verdicts'], 'verdict')}"
    st.text(f"{labels}; {human.plural(told['n_canaries'], 'canary').replace('canarys', 'canaries')}, "
            f"{human.plural(told['n_calls'], 'call')}, {_money(told)}.")  # fmt: skip
    if told["why_not"]:
        st.text(inert(f"No canaries: {told['why_not']}. Without them it is not certified.", 400))
    if st.button("Calibrate", type="primary", icon=":material/straighten:", key="calibrate-start"):
        path = caller.api.judge_path(name, "calibrations")
        st.session_state[_key(name)] = _pool().submit(caller.api.post, path, body, _PATIENCE_S)
        st.session_state.pop(key, None)
        st.rerun()


def under_way(name: str, step: Row | None) -> None:
    """How far a calibration is that was begun here or elsewhere; the page is drawn anew when it is over."""
    if step is not None or st.session_state.get(_key(name)) is not None:
        st.fragment(_going, run_every=_EVERY_S)(name)
    failure = st.session_state.pop(f"calibration-failed-{name}", None)
    if failure:
        with st.container(border=True, key="assay-error-text-calibration"):
            st.text(inert(failure, 500))


@states.guarded
def _going(name: str) -> None:
    api = states.api()
    future: Future[Row] | None = st.session_state.get(_key(name))
    step = api.get(api.judge_path(name, "calibrations"), {"limit": 1})["under_way"]
    if (future is None or future.done()) and step is None:
        st.session_state.pop(_key(name), None)
        error = future.exception() if future is not None else None
        if error is not None:
            said = error.detail if isinstance(error, ApiFailure) else type(error).__name__
            st.session_state[f"calibration-failed-{name}"] = said
        st.cache_data.clear()
        st.rerun(scope="app")
    told = step or {"stage": "reading", "n_done": 0, "n_all": 0}
    part = told["n_done"] / told["n_all"] if told["n_all"] else 0.0
    n = f" {told['n_done']:,} of {told['n_all']:,}" if told["n_all"] else ""
    st.progress(min(1.0, part), text=f"Calibrating: {_STAGES.get(told['stage'], 'working')}{n}")


def _key(name: str) -> str:
    return f"calibrating-{name}"


def _run(caller: Caller, judge: Row, apps: list[str]) -> None:
    name = str(judge["name"])
    st.caption("Judges sessions that are stored. What it judged already is not paid for twice.")
    app = _app(apps, "run", judge_app=judge["app"])
    since = st.selectbox("Sessions of the", list(_SINCE), format_func=_SINCE.__getitem__, key="run-since")
    share = st.slider("Share of them, in percent", 1, 100, 20, key="run-share")
    budget = st.number_input("Budget in dollars (0: none)", 0.0, 10_000.0, 1.0, 0.5, key="run-budget")
    limit = st.number_input("At most so many (0: all)", 0, 1_000_000, 0, 50, key="run-limit")
    body: Row = {"since": since, "share": share / 100} | ({"app": app} if app else {})
    body |= ({"budget_usd": budget} if budget else {}) | ({"limit": int(limit)} if limit else {})
    key = f"run-forecast-{name}"
    if st.button("What would it take?", icon=":material/request_quote:", key="run-forecast"):
        st.session_state[key] = (body, _asked(caller, caller.api.judge_path(name, "forecast"), body))
    foreseen = st.session_state.get(key)
    if not foreseen or foreseen[0] != body or foreseen[1] is None:
        return
    told: Row = foreseen[1]
    _foreseen(told)
    if not told["n_targets"]:
        return
    if st.button("Start", type="primary", icon=":material/play_arrow:", key="run-start"):
        made = _asked(caller, caller.api.judge_path(name, "runs"), body)
        if made is not None:
            st.session_state.pop(key, None)
            st.cache_data.clear()
            st.query_params["view"] = "runs"
            st.session_state.pop("judge-view", None)
            st.rerun()


def _foreseen(told: Row) -> None:
    if not told["n_targets"]:
        st.text(f"Nothing to judge: {told['n_all']:,} sessions begin in that time.")
        return
    st.text(
        f"{told['n_targets']:,} of {human.plural(told['n_all'], 'target')}, {told['n_cached']:,} judged already; "
        f"{human.plural(told['n_calls'], 'call')}, {_money(told)}."
    )
    if told["budget_usd"] is not None and told["n_within_budget"] < told["n_targets"]:
        st.text(f"The budget is expected to end after {told['n_within_budget']:,} of them.")
    for warning in told["warnings"][:3]:
        st.text(inert(warning, 300))


def _money(told: Row) -> str:
    if told["usd"] is None:
        return "at a price that is not known"
    return f"about {human.usd(told['usd'])}, at the very most {human.usd(told['usd_most'])}"


def _app(apps: list[str], key: str, *, judge_app: str | None, all_too: bool = False) -> str | None:
    """The app, chosen among those that are known."""
    options = list(dict.fromkeys([*([judge_app] if judge_app else []), *apps]))
    chosen: str | None = st.selectbox(
        "App",
        options,
        index=None if all_too or not options else 0,
        placeholder="all apps" if all_too else "name an app",
        format_func=lambda one: inert(one, 60),
        accept_new_options=True,
        key=f"{key}-app",
    )
    return chosen


def _asked(caller: Caller, path: str, body: Row) -> Row | None:
    """What the server answers; None where it refuses, with its words on the page."""
    try:
        return caller.api.post(path, body)
    except ApiFailure as failure:
        st.text(inert(failure.detail, 500))
        return None
