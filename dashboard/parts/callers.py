"""Who acts on this visit: the dashboard's own key, or one that the viewer gave for themselves.

An annotator is the name of a key. Who opens the dashboard shares its key with all who do, so that two people who label
have to say who they are: with a key of their own, which is kept for this visit and in no address.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import streamlit as st

from dashboard.api import Api, ApiFailure
from dashboard.parts import states
from dashboard.text import inert, label

_OWN: Final = "own-caller"
_RANKS: Final = {"ingest": -1, "viewer": 0, "user": 1, "power_user": 2, "admin": 3}


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Whose key is used. `own`: they gave it themselves."""

    api: Api
    name: str
    role: str
    tenant: str
    own: bool = False

    def may(self, role: str) -> bool:
        """Whether this role includes `role`."""
        return _RANKS.get(self.role, -1) >= _RANKS[role]


def current() -> Caller:
    """Who acts. Raises `ApiFailure`."""
    found = st.session_state.get(_OWN)
    return found if isinstance(found, Caller) else _shared()


def offer(caller: Caller) -> None:
    """Says who acts, and takes the key of another."""
    with (
        st.popover(label(caller.name, 30) or "nobody", icon=":material/badge:", key="assay-caller"),
        st.container(width=420),
    ):
        st.text(f"You act as {inert(caller.name, 80)} (role {inert(caller.role, 20)}).")
        if caller.own:
            if st.button("Forget this key", icon=":material/logout:", key="caller-forget"):
                st.session_state.pop(_OWN, None)
                st.rerun()
            return
        st.caption(
            "That is this dashboard's key, shared by all who open it: what two people say with it counts as one "
            "person's. To label as yourself, give a key of your own. It is kept for this visit only."
        )
        ask(caller)
        st.caption("An admin makes one, with role power_user for who fills queues and decides:")
        st.code("assay keys create --role user --name NAME", language="bash", wrap_lines=True)


def ask(caller: Caller) -> None:
    """A field for a key of one's own; it is used from then on."""
    with st.form("own-key", border=False, enter_to_submit=True):
        given = st.text_input("Your key", type="password", placeholder="ask_…", key="own-key-text")
        if st.form_submit_button("Use it", type="primary") and given.strip():
            _take(given.strip(), caller.tenant)


def needed(role: str, what: str) -> None:
    """Says that `what` (ours) takes a higher role, and how one comes to it."""
    st.caption(f"{what} takes a key of role {role}. Give it above, where it says who you are. An admin makes one:")
    st.code(f"assay keys create --role {role} --name NAME", language="bash", wrap_lines=True)


def _take(key: str, tenant: str) -> None:
    try:
        found = _of(states.api().with_key(key), own=True)
    except ApiFailure as failure:
        st.text(inert(failure.detail, 300))
        return
    if found.tenant != tenant:
        st.text(f"This key is of the tenant {inert(found.tenant, 60)}; this dashboard shows {inert(tenant, 60)}.")
        return
    st.session_state[_OWN] = found
    st.rerun()


@st.cache_resource(ttl=30, max_entries=1, show_spinner=False)
def _shared() -> Caller:
    return _of(states.api(), own=False)


def _of(api: Api, *, own: bool) -> Caller:
    said = api.get("/me")
    return Caller(api=api, name=str(said["name"]), role=str(said["role"]), tenant=str(said["tenant"]), own=own)
