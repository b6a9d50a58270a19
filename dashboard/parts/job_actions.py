"""What a person may do with a job: have it done again after it failed, or before its time."""

from __future__ import annotations

import shlex

import streamlit as st

from dashboard.api import ApiFailure, Row
from dashboard.parts import job_words as words
from dashboard.parts.callers import Caller
from dashboard.text import inert


def offer(caller: Caller, job: Row, key: str) -> None:
    """The button that its state and the caller's role allow; for the others the command."""
    state = str(job["state"])
    if state in ("running", "queued"):
        return
    failing = state in words.FAILING
    action = "replay" if failing else "run"
    title, icon = ("Replay", "replay") if failing else ("Run now", "play_arrow")
    if not caller.may("power_user"):
        with st.popover(title, icon=":material/terminal:", key=f"{key}-command"):
            st.caption("This takes a key of role power_user: give one above, or use the command line.")
            st.code(f"assay jobs {action} {shlex.quote(inert(job['name'], 100))}", language="bash", wrap_lines=True)
    elif st.button(title, icon=f":material/{icon}:", type="primary" if failing else "secondary", key=f"{key}-{action}"):
        _do(caller, job, action)


def _do(caller: Caller, job: Row, action: str) -> None:
    try:
        caller.api.post(caller.api.job_path(str(job["name"]), action), {})
    except ApiFailure as failure:
        st.toast(inert(failure.detail, 300), icon=":material/error:")
        return
    st.cache_data.clear()
    st.rerun()
