"""What a person does with an incident: look after it, give it to somebody, close it, note what it was."""

from __future__ import annotations

import shlex
from typing import Final

import streamlit as st

from dashboard.api import ApiFailure, Row
from dashboard.parts.alert_cards import incident_id
from dashboard.parts.callers import Caller
from dashboard.text import inert

ROLE: Final = "user"


def offer(caller: Caller, incident: Row) -> None:
    """The buttons that its status allows; for who may not press them the commands."""
    if incident["status"] == "closed":
        return
    if not caller.may(ROLE):
        _commands(incident)
        return
    with st.container(
        horizontal=True, vertical_alignment="center", gap="small", width="content", key="assay-incident-actions"
    ):
        if incident["status"] == "open" and st.button(
            "Acknowledge", icon=":material/how_to_reg:", type="primary", key="incident-ack",
            help="You look after it: nobody is called again, unless it becomes louder.",
        ):  # fmt: skip
            _act(caller, incident, "ack", {})
        with st.popover("Give to", icon=":material/person_add:", key="incident-assign"):
            _assign(caller, incident)
        with st.popover("Close", icon=":material/task_alt:", key="incident-close"):
            _close(caller, incident)


def _commands(incident: Row) -> None:
    with st.popover("Acknowledge or close", icon=":material/terminal:"):
        st.caption(f"This takes a key of role {ROLE}: give one beside, or use the command line.")
        name = shlex.quote(incident_id(incident["id"]))
        said = [f"assay incidents {one} {name}" for one in ("ack", "assign", "close")]
        said[1] += " OWNER"
        st.code("\n".join(said), language="bash", wrap_lines=True)


def _assign(caller: Caller, incident: Row) -> None:
    owner = st.text_input("Who looks after it", str(incident.get("owner") or ""), key="incident-owner", max_chars=200)
    if st.button("Give it", type="primary", icon=":material/person_add:", key="incident-assign-yes") and owner.strip():
        _act(caller, incident, "assign", {"owner": owner.strip()})


def _close(caller: Caller, incident: Row) -> None:
    if int(incident.get("n_firing") or 0):
        st.text("Alerts of it fire: nobody would hear of them any more. Silence them, or change the monitor.")
        st.caption("It closes by itself half an hour after the last one has resolved.")
        return
    why = st.text_area("What it was (kept in its timeline)", key="incident-why", max_chars=20_000, height=100)
    if st.button("Close it", type="primary", icon=":material/task_alt:", key="incident-close-yes"):
        _act(caller, incident, "close", {"why": why.strip()})


def note(caller: Caller, incident: Row) -> None:
    """A note for the timeline, also after it was closed; the form stays while the page around it is read anew."""
    if not caller.may(ROLE):
        return
    after = incident["status"] == "closed"
    title = "Note after the incident" if after else "Note"
    about = "What it was, what was done, what keeps it from coming back" if after else "What was found or done"
    with st.form("incident-note", border=True, clear_on_submit=True):
        st.markdown(f"**{title}**")
        text = st.text_area(about, key="incident-note-text", max_chars=20_000, height=120)
        if st.form_submit_button("Write it into the timeline", icon=":material/edit_note:") and text.strip():
            _act(caller, incident, "note", {"text": text.strip()})


def _act(caller: Caller, incident: Row, action: str, body: Row) -> None:
    """Does it and draws the page anew; a refusal stands where the button is."""
    try:
        caller.api.post(caller.api.incident_path(str(incident["id"]), action), body)
    except ApiFailure as failure:
        st.text(inert(failure.detail, 500))
        return
    st.cache_data.clear()
    st.rerun(scope="app")
