"""Add to a queue: a session is put before people who label, in two clicks."""

from __future__ import annotations

import streamlit as st

from dashboard import links
from dashboard.api import ApiFailure
from dashboard.parts import callers
from dashboard.text import inert, label, one_line


@st.cache_data(ttl=10, max_entries=4, show_spinner=False)
def _names(_caller: callers.Caller, app: str | None) -> list[str]:
    return [str(one["name"]) for one in _caller.api.page("/label-queues", {"app": app}).items]


def offer(session_id: str, app: object) -> None:
    """A button that opens the choice of a queue of the app, and there one that adds."""
    with st.popover("Add to queue", icon=":material/rate_review:"), st.container(width=340):
        try:
            caller = callers.current()
            names = _names(caller, app if isinstance(app, str) else None)
        except ApiFailure as failure:
            st.text(inert(failure.detail, 300))
            return
        if not caller.may("power_user"):
            st.caption("Filling a queue takes a key of role power_user. Yours is kept for this visit only.")
            callers.ask(caller)
            return
        if not names:
            st.caption("This app has no label queue yet.")
            if st.button("Make one", icon=":material/add:", key="to-queue-make"):
                links.open_queues()
            return
        name = st.selectbox(
            "Queue", names, key=f"to-queue-name-{session_id}", format_func=lambda one: one_line(one, 60), width=300
        )
        if st.button("Add", type="primary", icon=":material/add:", key=f"to-queue-{session_id}") and name:
            _add(caller, str(name), session_id)
        _told(session_id)


def _add(caller: callers.Caller, name: str, session_id: str) -> None:
    path = caller.api.queue_path(name, "tasks")
    try:
        done = caller.api.post(path, {"items": [{"session_id": session_id}]})
    except ApiFailure as failure:
        st.session_state[f"to-queue-told-{session_id}"] = (inert(failure.detail, 400), None)
        return
    said = "Added, at the end of the queue." if done["n_new"] else "It is in this queue already."
    st.session_state[f"to-queue-told-{session_id}"] = (said, name)


def _told(session_id: str) -> None:
    said, name = st.session_state.get(f"to-queue-told-{session_id}", (None, None))
    if said:
        st.text(said)
    if name and st.button(
        f"Open {label(name, 40)}", icon=":material/rate_review:", type="tertiary", key=f"to-queue-open-{session_id}"
    ):
        links.open_queue(name, "overview")
