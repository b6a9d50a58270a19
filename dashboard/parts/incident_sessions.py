"""Ten sessions of an incident to open: bad ones since it began, of where it happened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import streamlit as st

from dashboard import links
from dashboard.api import Api, Row
from dashboard.parts import frame, lists, states
from dashboard.parts.gist import gist
from dashboard.text import inert, one_line

_KEY: Final = "incident-examples"


@st.cache_data(ttl=60, max_entries=32, show_spinner="Reading what was said…")
def _read(_api: Api, ids: tuple[str, ...]) -> list[Row | None]:
    return _api.sessions(ids, limit=1)


def show(incident: Row) -> None:
    """A list; a click opens one."""
    ids = tuple(str(one) for one in incident.get("examples") or [])
    if not ids:
        why = "It was not diagnosed yet." if incident.get("diagnosis") is None else (
            "No session since it began was scored as bad, or none is stored any more."
        )  # fmt: skip
        st.text(why)
        return
    found = [(one or {}).get("session") or {} for one in _read(states.api(), ids)]
    _grid(ids, found)
    st.caption("The worst since it began, of where it happened, at most two of one user. A click opens one.")


def _grid(ids: Sequence[str], sessions: Sequence[Row]) -> None:
    column = st.column_config
    columns: dict[str, Sequence[object]] = {
        "Began": [frame.moment(one.get("start_ns")) for one in sessions],
        "First message": [
            one_line(gist(one.get("first_input")), 240) or (None if one else "(no longer stored)") for one in sessions
        ],
        "Turns": [one.get("n_turns") for one in sessions],
        "Release": [one_line(one.get("release"), 60) or None for one in sessions],
        "User": [one_line(one.get("user_id"), 60) or None for one in sessions],
        "Session": [one_line(inert(one, 200), 120) for one in ids],
    }
    config = {
        "Began": column.DatetimeColumn(format="D MMM HH:mm:ss", width=130),
        "First message": column.TextColumn(width=520),
        "Turns": column.NumberColumn(format="localized", width=65),
        "Release": column.TextColumn(width=110),
        "User": column.TextColumn(width=110),
        "Session": column.TextColumn(width=170),
    }
    cell = lists.picked(columns, config, _KEY)
    if cell is not None and cell[0] < len(ids):
        links.open_session(ids[cell[0]])
