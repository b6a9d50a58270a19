"""The pages and their addresses. A page is reached from another through the functions here."""

from __future__ import annotations

from typing import Final, NoReturn

import streamlit as st


def _overview() -> None:
    from dashboard.views import overview

    overview.show()


def _traces() -> None:
    from dashboard.views import traces

    traces.show()


def _trace() -> None:
    from dashboard.views import trace

    trace.show()


def _sessions() -> None:
    from dashboard.views import sessions

    sessions.show()


def _session() -> None:
    from dashboard.views import session

    session.show()


def _releases() -> None:
    from dashboard.views import releases

    releases.show()


def _agent() -> None:
    from dashboard.views import agent

    agent.show()


def _gateway() -> None:
    from dashboard.views import gateway

    gateway.show()


OVERVIEW: Final = st.Page(_overview, title="Overview", icon=":material/monitoring:", url_path="overview", default=True)
TRACES: Final = st.Page(_traces, title="Traces", icon=":material/account_tree:", url_path="traces")
TRACE: Final = st.Page(_trace, title="Trace", icon=":material/timeline:", url_path="trace", visibility="hidden")
SESSIONS: Final = st.Page(_sessions, title="Sessions", icon=":material/forum:", url_path="sessions")
SESSION: Final = st.Page(_session, title="Session", icon=":material/chat:", url_path="session", visibility="hidden")
RELEASES: Final = st.Page(_releases, title="Releases", icon=":material/new_releases:", url_path="releases")
AGENT: Final = st.Page(_agent, title="Agent", icon=":material/psychology:", url_path="agent")
GATEWAY: Final = st.Page(_gateway, title="Gateway", icon=":material/hub:", url_path="gateway")
PAGES: Final = (OVERVIEW, TRACES, TRACE, SESSIONS, SESSION, AGENT, RELEASES, GATEWAY)


def open_trace(trace_id: str, span_id: str | None = None) -> NoReturn:
    """Goes to the page of a trace, with one span selected if given."""
    where = {"trace_id": trace_id} | ({"span_id": span_id} if span_id else {})
    st.switch_page(TRACE, query_params=where)


def open_session(session_id: str) -> NoReturn:
    """Goes to the page of a session."""
    st.switch_page(SESSION, query_params={"session_id": session_id})


def open_traces(app: str, release: str) -> NoReturn:
    """Goes to the traces of one release."""
    st.switch_page(TRACES, query_params={"app": app, "release": release})


def open_agent(trace_id: str) -> NoReturn:
    """Goes to the reasoning of one turn."""
    st.switch_page(AGENT, query_params={"trace_id": trace_id})
