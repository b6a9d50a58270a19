"""A monitor is changed, or made, beside what the change would have done: every field redraws chart and backtest, and
nothing holds before it is saved."""

from __future__ import annotations

import json
from typing import Final

import streamlit as st

from dashboard import links
from dashboard.api import Api, ApiFailure, Row
from dashboard.parts import lists, monitor_backtest, monitor_defaults, monitor_form, states
from dashboard.parts import monitor_words as words
from dashboard.parts.callers import Caller
from dashboard.text import inert, one_line

_SAVED: Final = "monitor-saved"
_SERIES: Final = "monitor-new-series"
_LONG_S: Final = 120.0


def edit(caller: Caller, monitor: Row) -> None:
    """The form of a monitor with its preview; what is saved is another version."""
    name = str(monitor["name"])
    left, right = st.columns([5, 9], gap="large")
    with left, st.container(border=True, key="assay-monitor-form"):
        api = states.api()
        form = monitor_form.Form(
            kinds=kinds(api), channels=monitor_defaults.channels(api), key=f"{name}-{monitor['version']}"
        )
        wanted = monitor_form.fields(form, monitor["definition"])
    changed = {key: value for key, value in wanted.items() if value != monitor["definition"].get(key)}
    with right:
        since = monitor_backtest.since("monitor-edit-since", wanted["step"], "7d")
        told, before = _tried(name, changed, since), None
        if changed and told is not None:
            before = _tried(name, {}, since)
            _changes(words.changes(monitor["definition"], wanted))
        if told is not None:
            _save(caller, monitor, changed)
            monitor_backtest.show(told, _unit(kinds(states.api()), wanted, monitor), "monitor-edit", before)


def _unit(known: Row, wanted: Row, monitor: Row) -> str:
    """Of the series that is chosen now; how unlikely a distribution is has none."""
    if wanted["band"]["kind"] == "distribution":
        return ""
    now = monitor["definition"]
    if wanted["series"] == now.get("series") and now["band"].get("kind") != "distribution":
        return str(monitor["unit"])
    found = next((one["unit"] for one in known["series"] if one["name"] == wanted["series"]), None)
    return str(found or ("share" if str(wanted["series"]).startswith(("tool_errors", "agreement", "cluster")) else ""))


@st.cache_data(ttl=300, max_entries=2, show_spinner=False)
def kinds(_api: Api) -> Row:
    """What can be watched. Raises `ApiFailure`."""
    return _api.get("/monitors/kinds")


def _tried(name: str, changed: Row, since: str) -> Row | None:
    """What it would have done with these changes; a refusal is shown in its place."""
    try:
        return backtest(states.api(), name, json.dumps(changed, sort_keys=True), since)
    except ApiFailure as failure:
        monitor_backtest.refused(failure)
        return None


@st.cache_data(ttl=120, max_entries=48, show_spinner=False)
def backtest(_api: Api, name: str, changed: str, since: str) -> Row:
    """What a monitor would have done with some of its definition changed (a JSON object). Raises `ApiFailure`."""
    body: Row = {"since": since, **({"definition": json.loads(changed)} if changed != "{}" else {})}
    return _api.post(_api.monitor_path(name, "backtest"), body, timeout_s=_LONG_S)


@st.cache_data(ttl=120, max_entries=48, show_spinner=False)
def preview(_api: Api, definition: str, since: str) -> Row:
    """What a monitor that is not there yet would have done; its answer has every field. Raises `ApiFailure`."""
    return _api.post("/monitors/backtest", {"definition": json.loads(definition), "since": since}, timeout_s=_LONG_S)


def _changes(found: list[tuple[str, str, str]]) -> None:
    with st.container(border=True, key="assay-monitor-changes"):
        st.markdown("**What would change**")
        column = st.column_config
        lists.plain_table(
            {
                "Field": [name for name, _, _ in found],
                "Now": [one_line(now, 120) for _, now, _ in found],
                "Then": [one_line(then, 120) for _, _, then in found],
            },
            {name: column.TextColumn(width=width) for name, width in (("Field", 170), ("Now", 260), ("Then", 260))},
            "monitor-changes",
        )


def _save(caller: Caller, monitor: Row, changed: Row) -> None:
    after = int(monitor["version"]) + 1
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="assay-monitor-save"):
        pressed = st.button(
            f"Save as version {after}" if changed else "Nothing changed", type="primary", icon=":material/save:",
            disabled=not changed, key="monitor-save",
        )  # fmt: skip
        if changed and monitor["n_firing"]:
            st.text("What fires of it now ends with this version, and is told so.")
        else:
            st.caption("A version learns anew from the four weeks before it; versions are kept.", width="content")
    if pressed:
        _saved(caller, monitor, changed)


def _saved(caller: Caller, monitor: Row, changed: Row) -> None:
    path = caller.api.monitor_path(str(monitor["name"]))
    try:
        now = caller.api.get(path)
        if now["version"] != monitor["version"]:
            st.text(f"Somebody saved version {int(now['version'])} meanwhile: open the page again, and change that.")
            return
        made = caller.api.patch(path, {"definition": changed})
    except ApiFailure as failure:
        st.text(inert(failure.detail, 500))
        return
    st.cache_data.clear()
    st.session_state[_SAVED] = int(made["version"])
    links.open_monitor(str(made["name"]))


def told() -> None:
    """After a save: that it holds, once."""
    version = st.session_state.pop(_SAVED, None)
    if version:
        st.toast(f"Saved as version {version}. The next look is within a minute.", icon=":material/check_circle:")


def create(caller: Caller, app: str, begin: str = "resolution") -> None:
    """The form of a new monitor of an app, with its preview."""
    left, right = st.columns([5, 9], gap="large")
    with left, st.container(border=True, key="assay-monitor-form"):
        api = states.api()
        first = preview(api, json.dumps({"app": app, "series": _series_asked(begin)}, sort_keys=True), "3d")
        form = monitor_form.Form(
            kinds=kinds(api), channels=monitor_defaults.channels(api), key=f"new-{app}-{_series_asked(begin)}"
        )
        name = st.text_input("Name", value=str(first["definition"]["series"]), key="monitor-new-name", max_chars=100)
        wanted = monitor_form.fields(form, first["definition"])
    if wanted["series"] != first["definition"]["series"]:  # another series has other defaults: its form begins anew
        st.session_state[_SERIES] = wanted["series"]
        st.session_state.pop("monitor-new-name", None)
        st.rerun()
    with right:
        _created(caller, name.strip(), wanted)


def _series_asked(begin: str) -> str:
    return str(st.session_state.get(_SERIES) or begin)


def _created(caller: Caller, name: str, wanted: Row) -> None:
    since = monitor_backtest.since("monitor-new-since", wanted["step"], "7d")
    try:
        told = preview(states.api(), json.dumps(wanted, sort_keys=True), since)
    except ApiFailure as failure:
        monitor_backtest.refused(failure)
        return
    if st.button("Watch it from now on", type="primary", icon=":material/add_alert:", key="monitor-create",
                 disabled=not name):  # fmt: skip
        try:
            caller.api.post("/monitors", {"name": name, "definition": wanted})
        except ApiFailure as failure:
            st.text(inert(failure.detail, 500))
            return
        st.cache_data.clear()
        st.session_state.pop(_SERIES, None)
        links.open_monitor(name)
    monitor_backtest.show(told, _unit(kinds(states.api()), wanted, {"definition": {}}), "monitor-new")
