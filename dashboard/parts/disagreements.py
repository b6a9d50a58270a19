"""Where a judge and people differ: one target at a time, both words side by side, and the conversation below."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import streamlit as st

from dashboard import human, links
from dashboard.api import Api, NotFound, Row
from dashboard.parts import arrow, content, frame, judge_commands, states
from dashboard.text import inert, label, one_line

_MOST: Final = 200
_TURNS: Final = 20
_ALL: Final = "All"


@st.cache_data(ttl=15, max_entries=16, show_spinner=False)
def _read(_api: Api, judge: str) -> Row:
    return _api.get(_api.judge_path(judge, "disagreements"), {"limit": _MOST})


@st.cache_data(ttl=60, max_entries=32, show_spinner=False)
def _session(_api: Api, session_id: str) -> Row | None:
    """The conversation, None where it is not stored."""
    try:
        return _api.session(session_id, limit=_TURNS)
    except NotFound:
        return None


@st.cache_data(ttl=60, max_entries=32, show_spinner=False)
def _verdict(_api: Api, judge: str, key: str) -> Row | None:
    """The verdict as it was paid for, None where it is kept no more."""
    try:
        return _api.get(_api.judge_path(judge, "verdicts", key))
    except NotFound:
        return None


def show(judge: str) -> None:
    """The list, and one of it."""
    told = _read(states.api(), judge)
    items: Sequence[Row] = told["items"]
    if not items:
        _none(told)
        return
    st.caption(
        f"{told['n']:,} of {told['n_labels']:,} labelled targets; the verdicts the judge was surest of come first. "
        "Read some before you trust or blame the judge: the rubric may say two things, or the label be wrong."
    )
    items = _chosen(items)
    clicked = _list(items)
    _one(judge, items[clicked if clicked is not None and clicked < len(items) else 0])


def _none(told: Row) -> None:
    with st.container(border=True, key="assay-empty-disagreements"):
        if told["n_labels"]:
            st.subheader("They never disagree", anchor=False, icon=":material/handshake:")
            st.text(f"On all {told['n_labels']:,} labelled targets the judge says what people say.")
            return
        st.subheader("Nobody labelled what this judge judged", anchor=False, icon=":material/rate_review:")
        st.caption("Make a queue, draw targets into it, and label them; or import labels:")
        st.code(judge_commands.label(told["judge"]), language="bash", wrap_lines=True)


def _chosen(items: Sequence[Row]) -> Sequence[Row]:
    """Those of one kind of disagreement."""
    kinds = Counter((str(one["verdict"]), str(one["label"])) for one in items)
    if len(kinds) < 2:
        return items
    names = {
        f"Judge {one_line(verdict, 30)}, label {one_line(said, 30)} ({n:,})": (verdict, said)
        for (verdict, said), n in kinds.most_common(8)
    }
    wanted = st.selectbox(
        "Which", [_ALL, *names], key="disagreement-kind", label_visibility="collapsed", width=360,
        icon=":material/filter_alt:",
    )  # fmt: skip
    return items if wanted == _ALL else [one for one in items if (one["verdict"], one["label"]) == names[wanted]]


def _list(items: Sequence[Row]) -> int | None:
    column = st.column_config
    with st.container(key="assay-table"):
        state = st.dataframe(
            arrow.table(
                {
                    "Judge": [one_line(one["verdict"], 60) for one in items],
                    "Label": [one_line(one["label"], 60) for one in items],
                    "Confidence": [one["confidence"] for one in items],
                    "Why, says the judge": [one_line(one["explanation"], 300) or None for one in items],
                    "Segment": [one_line(one["segment"], 60) or None for one in items],
                    "Judged": [frame.moment(one["at"]) for one in items],
                    "Target": [one_line(one["target"], 120) for one in items],
                }
            ),
            height=min(270, 38 * (len(items) + 1)),
            hide_index=True,
            row_height=38,
            key="disagreements-list",
            column_config={
                "Judge": column.TextColumn(width=110),
                "Label": column.TextColumn(width=110),
                "Confidence": column.NumberColumn(format="%.2f", width=95),
                "Why, says the judge": column.TextColumn(width=520),
                "Segment": column.TextColumn(width=130),
                "Judged": column.DatetimeColumn(format="D MMM YYYY HH:mm", width=140),
                "Target": column.TextColumn(width=220),
            },
            on_select="rerun",
            selection_mode="single-cell",
            placeholder="–",
            lazy=False,
        )
    cells = state["selection"]["cells"]
    return int(cells[0][0]) if cells else None


def _one(judge: str, one: Row) -> None:
    session = _session(states.api(), str(one["session_id"])) if one["session_id"] else None
    with st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", key="assay-disagreement"
    ):
        with st.container(width="content"):
            frame.heading(one["target"], "disagreement", size="small")
        if session is not None and st.button("Open session", icon=":material/forum:", key="disagreement-session"):
            links.open_session(str(one["session_id"]))
    left, right = st.columns(2, gap="medium")
    with left, st.container(border=True, key="assay-said-judge", gap="small"):
        st.caption("The judge says")
        st.badge(_plain(one["verdict"]), icon=":material/gavel:", color="orange")
        content.text(one["explanation"] or "(no explanation is kept)", "disagreement-judge", short=1200)
        sure = [] if one["confidence"] is None else [f"confidence {one['confidence']:.2f}"]
        st.caption(", ".join([*sure, _when(one["at"])]))
        _reply(judge, one)
    with right, st.container(border=True, key="assay-said-people", gap="small"):
        st.caption("People say" if one["label_kind"] == "human" else "The outcome says")
        st.badge(_plain(one["label"]), icon=":material/person:", color="blue")
        content.text(one["label_explanation"] or "(no note)", "disagreement-people", short=1200)
        n = one["n_annotators"]
        who = [human.plural(n, "person").replace("persons", "people")] if n else []
        st.caption(", ".join([*who, _when(one["labelled_at"])]))
        if one["queue"]:
            st.text(f"queue {inert(one['queue'], 80)}")
    _conversation(one, session)


def _plain(text: object) -> str:
    """A label for a badge, which reads Markdown."""
    return label(text, 60) or "none"


def _when(at: object) -> str:
    moment = frame.moment(at)
    return "" if moment is None else f"{moment.day} {moment:%b %Y}"


def _reply(judge: str, one: Row) -> None:
    """The reply as it came, on demand."""
    if not one["verdict_key"]:
        return
    with st.expander("The reply as it came", icon=":material/raw_on:"):
        found = _verdict(states.api(), judge, str(one["verdict_key"]))
        if found is None:
            st.caption("It is kept no more.")
            return
        content.text(found["raw"] or "(empty)", "disagreement-raw", short=3000)
        if found["repaired"]:
            st.caption("It took a second question to be readable.")


def _conversation(one: Row, session: Row | None) -> None:
    if session is None:
        st.caption("The conversation itself is not stored here: these verdicts came from elsewhere.")
        return
    turns = session["turns"]
    trace = str(one["target"]).removeprefix("turn:") if str(one["target"]).startswith("turn:") else None
    with st.container(border=True, key="assay-disagreement-conversation", height=620):
        for number, turn in enumerate(turns, start=1):
            marked = trace is not None and turn["trace_id"] == trace
            st.caption(f"**Turn {number}**{', the one that is judged' if marked else ''}")
            for role, value in (("user", turn.get("input")), ("assistant", turn.get("output"))):
                _said(role, value, f"disagreement-{turn['trace_id']}-{role}")
    if session.get("next_cursor"):
        st.caption(f"The first {_TURNS} turns; the session's page has all.")


def _said(role: str, value: object, key: str) -> None:
    if value in (None, "") or content.conversation(value, key, answer=role == "assistant"):
        return
    with st.chat_message(role, avatar=":material/person:" if role == "user" else ":material/smart_toy:"):
        content.text(value, key)
