"""The script that every visit runs: which pages there are, and the frame around them."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from dashboard import links
from dashboard.api import ApiFailure
from dashboard.parts import states
from dashboard.parts.states import api
from dashboard.text import inert

_HERE = Path(__file__).parent


@st.cache_data(ttl=30, max_entries=1, show_spinner=False)
def _whoami() -> tuple[str, str]:
    me = api().get("/me")
    return inert(me.get("tenant"), 40), inert(me.get("role"), 20)


def _foot() -> None:
    """Whose data this is, at the bottom of the sidebar."""
    with st.sidebar, st.container(key="assay-quiet-foot"):
        try:
            tenant, role = _whoami()
        except ApiFailure:
            st.badge("not connected", icon=":material/cloud_off:", color="red")
            return
        st.text(f"Tenant: {tenant}\nRole of this dashboard: {role}")


@st.cache_data(ttl=30, max_entries=1, show_spinner=False)
def _degraded() -> bool:
    return api().degraded()


def _damage() -> None:
    """A line above every page while files of the lake are damaged."""
    try:
        degraded = _degraded()
    except ApiFailure:  # the page itself says that the server is not there
        return
    if degraded:
        st.warning(
            "Files of the lake are damaged and left out: figures and lists may be incomplete. Run assay doctor.",
            icon=":material/broken_image:",
        )


def main() -> None:
    """Runs the chosen page."""
    st.set_page_config(
        page_title="Assay", page_icon=str(_HERE / "parts/mark.svg"), layout="wide", initial_sidebar_state=232
    )
    st.html(_HERE / "parts/page.css")
    st.logo(str(_HERE / "parts/logo.svg"), icon_image=str(_HERE / "parts/mark.svg"), size="large")
    page = st.navigation(links.sections(), expanded=True)
    with states.waiting():
        _foot()
        _damage()
    page.run()


main()
