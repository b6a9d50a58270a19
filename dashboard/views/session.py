"""One session: its transcript, a card per turn, with what each turn cost, how long it took and how it was scored."""

from __future__ import annotations

from typing import Final

import streamlit as st

from dashboard import human, links
from dashboard.api import Api, Row
from dashboard.parts import content, frame, score_cards, states, to_dataset, to_queue
from dashboard.parts.gist import gist
from dashboard.text import inert

_TURNS: Final = 30
_IDLE_MS: Final = 60_000


@st.cache_data(ttl=10, max_entries=8, show_spinner=False)
def _read(_api: Api, session_id: str, wanted: int) -> Row:
    answer = _api.session(session_id, limit=min(wanted, 1000))
    while answer.get("next_cursor") and len(answer["turns"]) < wanted:
        more = _api.session(session_id, limit=min(1000, wanted - len(answer["turns"])), cursor=answer["next_cursor"])
        answer["turns"] += more["turns"]
        answer["next_cursor"] = more.get("next_cursor")
    return answer


@st.cache_data(ttl=10, max_entries=8, show_spinner=False)
def _scores(_api: Api, session_id: str) -> list[Row]:
    """Scores of the whole session; those of its turns come with the turns."""
    page = _api.page("/scores", {"session_id": session_id, "since": "3650d", "limit": 200})
    return [score for score in page.items if score.get("target") == "session"]


@states.guarded
def show() -> None:
    """The page."""
    session_id = st.query_params.get("session_id", "")
    if not session_id:
        _ask()
        return
    wanted = int(st.session_state.get(f"turns-{session_id}", _TURNS))
    answer = _read(states.api(), session_id, wanted)
    session, turns = answer["session"], answer["turns"]
    _head(session, _scores(states.api(), session_id))
    for number, turn in enumerate(turns, start=1):
        _gap(turn)
        _turn(number, turn)
    if answer.get("next_cursor") and st.button(
        f"Show more turns ({len(turns)} of {session.get('n_turns')} shown)", key="more-turns"
    ):
        st.session_state[f"turns-{session_id}"] = wanted + _TURNS
        st.rerun()


def _ask() -> None:
    st.title("Session", anchor=False)
    with st.form("find-session", border=True, width=560):
        given = st.text_input("Session id")
        if st.form_submit_button("Open", type="primary") and given:
            links.open_session(given.strip())
    st.page_link(links.SESSIONS.page(), label="All sessions", icon=":material/arrow_back:")


def _head(session: Row, scores: list[Row]) -> None:
    with st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", key="assay-crumbs"
    ):
        st.page_link(links.SESSIONS.page(), label="Sessions", icon=":material/arrow_back:")
        with st.container(horizontal=True, width="content", vertical_alignment="center"):
            to_dataset.offer("sessions", str(session.get("session_id")), session.get("app"))
            to_queue.offer(str(session.get("session_id")), session.get("app"))
            with st.popover("Copy ids", icon=":material/content_copy:"):
                for name, value in (("Session id", session.get("session_id")), ("User id", session.get("user_id"))):
                    if value:
                        st.caption(name)
                        st.code(inert(value, 500), language=None, wrap_lines=True)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        with st.container(width="content"):
            frame.heading(gist(session.get("first_input")) or session.get("session_id"), "session", page="Session")
        verdicts, others = score_cards.split(scores)
        score_cards.badges(verdicts, "session")
    frame.facts(
        (
            ("Started", frame.started(session.get("start_ns"))),
            ("Lasted", human.duration(session.get("duration_ms"))),
            ("Turns", human.count(session.get("n_turns"))),
            ("Spans", human.count(session.get("n_spans"))),
            ("Error spans", human.count(session["n_errors"]) if session.get("n_errors") else None),
            (
                "Tokens",
                human.in_and_out(session),
            ),
            ("Cost", human.usd(session.get("cost_usd"))),
            ("App", session.get("app")),
            ("Release", session.get("release")),
            ("Variant", session.get("variant")),
            ("User", session.get("user_id")),
            ("Session id", session.get("session_id")),
        ),
        "session",
    )
    if others:
        score_cards.line(others, "session")


def _gap(turn: Row) -> None:
    gap = turn.get("gap_ms")
    if gap is None or gap < _IDLE_MS:
        return
    with st.container(
        horizontal=True, horizontal_alignment="center", vertical_alignment="center", key=f"assay-gap-{turn['trace_id']}"
    ):
        st.caption(f":material/hourglass_empty: idle for {human.duration(gap)}", width="content")


def _turn(number: int, turn: Row) -> None:
    trace_id = str(turn["trace_id"])
    with st.container(border=True, key=f"assay-turn-{trace_id}"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            with st.container(horizontal=True, width="content", vertical_alignment="center", gap="small"):
                st.caption(f"**Turn {number}**", width="content")
                if turn.get("n_errors"):
                    st.badge(human.plural(int(turn["n_errors"]), "error span"), icon=":material/error:", color="red")
                st.caption(_measures(turn), width="content")
            if st.button("Open trace", icon=":material/open_in_full:", type="tertiary", key=f"open-{trace_id}"):
                links.open_trace(trace_id)
        _said("user", turn.get("input"), f"{trace_id}-in", "The root span carries no input.")
        if turn.get("status") != "error" or turn.get("output") not in (None, ""):
            _said("assistant", turn.get("output"), f"{trace_id}-out", "The root span carries no output.")
        if turn.get("status") == "error":
            _failure(turn, trace_id)
        if turn.get("scores"):
            score_cards.line(turn["scores"], trace_id)


def _measures(turn: Row) -> str:
    """Time, latency, cost and calls of a turn. Numbers only: captions read Markdown."""
    tokens = (turn.get("input_tokens") or 0) + (turn.get("output_tokens") or 0)
    said = [human.clock(turn.get("start_ns"), frame.timezone())[:-4], human.duration(turn.get("duration_ms"))]
    said += [human.tokens(tokens)] if tokens else []
    said += [human.usd(turn["cost_usd"]).replace("$", "\\$")] if turn.get("cost_usd") else []
    said += [human.plural(int(turn["n_tool_calls"]), "tool call")] if turn.get("n_tool_calls") else []
    return " · ".join(said)


def _failure(turn: Row, trace_id: str) -> None:
    """What the turn's root says of its failure, where the agent's words would stand."""
    with st.container(border=True, key=f"assay-error-text-{trace_id}", horizontal=True, vertical_alignment="center"):
        st.badge("error", icon=":material/error:", color="red")
        st.text(inert(turn.get("error"), 4_000) or "The turn failed and gives no message.")


def _said(role: str, value: object, key: str, nothing: str) -> None:
    if content.conversation(value, key, answer=role == "assistant"):
        return
    with st.chat_message(role, avatar=":material/person:" if role == "user" else ":material/smart_toy:"):
        if value in (None, ""):
            st.caption(nothing)
        else:
            content.text(value, key)
