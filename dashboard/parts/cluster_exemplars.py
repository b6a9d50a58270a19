"""The sessions that stand for a cluster, as transcripts: what was asked, what was answered, how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import streamlit as st

from dashboard import human, links
from dashboard.api import Api, Row
from dashboard.parts import cluster_words as words
from dashboard.parts import content, frame, states
from dashboard.parts.gist import gist
from dashboard.text import inert

_FIRST: Final = 2
_MOST: Final = 8
_TURNS: Final = 3
_LETTERS: Final = 420


@st.cache_data(ttl=60, max_entries=32, show_spinner=False)
def _read(_api: Api, ids: tuple[str, ...]) -> list[Row | None]:
    return _api.sessions(ids, limit=_TURNS)


def show(cluster: Row) -> None:
    """The best ones beside each other; the others on demand."""
    every: Sequence[Row] = cluster.get("exemplars") or []
    if not every:
        st.text("No session stands out for it yet: they come with the next run.")
        return
    key = f"exemplars-{words.shown_id(cluster['id'])}"
    n = _MOST if st.session_state.get(key) else _FIRST
    shown = every[: min(n, _MOST)]
    told = _read(states.api(), tuple(str(one["session_id"]) for one in shown))
    both = list(zip(shown, told, strict=True))
    for first in range(0, len(both), 2):
        with st.container(key=f"assay-pair-exemplar-{first}"):
            for column, (one, session) in zip(st.columns(2, gap="medium"), both[first : first + 2], strict=False):
                with column:
                    _one(one, session, f"{first}-{one['session_id']}"[:60])
    if len(every) > len(shown) and st.button(
        f"Show {human.plural(min(len(every), _MOST) - len(shown), 'more exemplar')}", key=f"{key}-more"
    ):
        st.session_state[key] = True
        st.rerun()


def _one(one: Row, session: Row | None, key: str) -> None:
    session_id = str(one["session_id"])
    with st.container(border=True, key=f"assay-exemplar-{words.shown_id(key)}", gap="small"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            with st.container(horizontal=True, width="content", vertical_alignment="center", gap="small"):
                _ended(one.get("failed"))
                started = frame.moment(one.get("started_at"))
                if started is not None:
                    st.caption(f"{started.day} {started:%b, %H:%M}", width="content")
                confidence = words.known(one.get("confidence"))
                if confidence is not None:
                    st.caption(f"confidence {confidence:.2f}", width="content")
            if session is not None and st.button(
                "Open session", icon=":material/open_in_full:", type="tertiary", key=f"exemplar-open-{key}"
            ):
                links.open_session(session_id)
        with st.container(key=f"assay-quiet-exemplar-{words.shown_id(key)}"):
            st.text(inert(session_id, 200))
        turns: Sequence[Row] = (session or {}).get("turns") or []
        if not turns:
            _said("user", one.get("first_input"), f"{key}-in")
            _said("assistant", one.get("outcome_text"), f"{key}-out")
            return
        for at, turn in enumerate(turns):
            _said("user", turn.get("input"), f"{key}-{at}-in")
            _said("assistant", turn.get("error") if _silent(turn) else turn.get("output"), f"{key}-{at}-out")
        n_more = int((session or {})["session"].get("n_turns") or len(turns)) - len(turns)
        if n_more > 0:
            st.caption(f"… and {human.plural(n_more, 'more turn')}")


def _silent(turn: Row) -> bool:
    return turn.get("output") in (None, "") and turn.get("status") == "error"


def _ended(failed: bool | None) -> None:
    if failed is None:
        st.badge("not known how it ended", color="gray")
    elif failed:
        st.badge("failed", icon=":material/error:", color="red")
    else:
        st.badge("went well", icon=":material/check_circle:", color="green")


def _said(role: str, value: object, key: str) -> None:
    """The words of one side, cut where they go on."""
    if value in (None, ""):
        return
    with st.chat_message(role, avatar=":material/person:" if role == "user" else ":material/smart_toy:"):
        content.text(inert(gist(value, answer=role == "assistant")), f"exemplar-{key}", short=_LETTERS)
