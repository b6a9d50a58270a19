"""Sessions: conversations of one user with one agent, the newest first. A click opens the transcript."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from dashboard import human, links
from dashboard.api import Page, Row
from dashboard.parts import filters, frame, lists, states
from dashboard.text import one_line

_CURSORS = "sessions-cursors"


@states.guarded
def show() -> None:
    """The page."""
    window, every_s = frame.head(
        "Sessions", "One row per conversation of a user with an agent", live_key="sessions-live"
    )
    chosen = filters.bar("sessions", window.parameters, placeholder="Search conversations")
    wanted = {**window.parameters, **chosen}
    if st.session_state.get("sessions-wanted") != wanted:
        st.session_state.update({"sessions-wanted": wanted, _CURSORS: []})
    st.fragment(_list, run_every=None if st.session_state[_CURSORS] else every_s)(wanted, window.words)


@states.guarded
def _list(wanted: filters.Chosen, words: str) -> None:
    cursors: list[str] = st.session_state[_CURSORS]
    parameters = {**wanted, "limit": lists.PAGE_SIZE, "cursor": cursors[-1] if cursors else None}
    page = lists.read_page(states.api(), "/sessions", parameters)
    if not page.items:
        _nothing(wanted)
        return
    st.caption(f"{_count(len(page.items), len(cursors), page)} {words}. Click a row to read the conversation.")
    generation = st.session_state.get("sessions-generation", 0)
    renamed = {
        "input": lists.text_column("First message", 322),
        "seconds": st.column_config.NumberColumn("Lasted", format="%.1f s", width=80),
    }
    row = lists.grid(_columns(page.items), f"sessions-grid-{generation}", height=640, renamed=renamed)
    lists.turn_pages(_CURSORS, page, cursors)
    if row is not None and row < len(page.items):
        st.session_state["sessions-generation"] = generation + 1  # coming back finds no cell selected
        links.open_session(str(page.items[row]["session_id"]))


def _count(shown: int, pages_before: int, page: Page) -> str:
    """How many these are: all of them, the newest, or which ones of the list."""
    if pages_before:
        first = pages_before * lists.PAGE_SIZE + 1
        return f"Sessions {first:,} to {first + shown - 1:,}"
    return f"The newest {human.plural(shown, 'session')}" if page.next_cursor else human.plural(shown, "session")


def _nothing(wanted: filters.Chosen) -> None:
    if set(wanted) - {"since", "start", "end"}:
        states.no_match(
            "sessions",
            "No session in this time range passes all of these filters. Widen the range or clear a filter.",
            app=wanted.get("app"),
        )
    elif states.anything_stored():
        hint = (
            "No span in this time range names a session. Widen the range, or let the agent set "
            "gen_ai.conversation.id (or session.id) on its spans to tie turns together."
        )
        states.no_match("sessions", hint, app=None)
    else:
        states.first_steps()


def _columns(rows: Sequence[Row]) -> dict[str, list[object]]:
    shared = lists.shared_values(rows)
    return {
        "started": shared["started"],
        "input": [lists.said(row, row.get("first_input")) for row in rows],
        "turns": [row.get("n_turns") for row in rows],
        "seconds": [lists.seconds(row) for row in rows],
        "tokens": shared["tokens"],
        "cost": shared["cost"],
        "app": shared["app"],
        "release": shared["release"],
        "variant": shared["variant"],
        "errors": [row.get("n_errors") or None for row in rows],
        "user": shared["user"],
        "session": [one_line(row.get("session_id"), 80) for row in rows],
        "spans": shared["spans"],
    }
