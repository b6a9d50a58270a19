"""Agent: how one turn reasoned, as a picture and step by step. `?trace_id=…` leads to a turn; without, the latest."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import streamlit as st

from dashboard import human, links
from dashboard.api import Api, ApiFailure, Row
from dashboard.parts import content, frame, lists, picture, states, turn_steps
from dashboard.parts.gist import gist
from dashboard.parts.reasoning import Memory, Reasoning, attributes, cited, documents, number, read, recalled
from dashboard.text import inert, one_line

_MOST_SPANS: Final = 1_000
_MOST_TURNS: Final = 100  # of a session, to walk through
_REDACTED: Final = re.compile(r"(?:\W*\[[A-Z_]{3,30}\])+\W*")  # [EMAIL]
_HORIZONS: Final = {
    "context": "pinned in this session",
    "session": "an earlier session",
    "profile": "the user's profile",
}
_ENDS: Final = {
    "answered": "green",
    "waiting_approval": "orange",
    "refused": "orange",
    "limit": "red",
    "failed": "red",
}


@st.cache_data(ttl=60, max_entries=16, show_spinner=False)
def _read(_api: Api, trace_id: str) -> Row:
    return _api.trace_whole(trace_id, limit=_MOST_SPANS)


@st.cache_data(ttl=60, max_entries=16, show_spinner=False)
def _limits(_api: Api, app: str, release: str) -> Row:
    """The limits that the release was registered with; none when it was not."""
    try:
        parameters = _api.release(app, release).get("parameters") or {}
    except ApiFailure:
        return {}
    found = parameters.get("limits")
    return found if isinstance(found, dict) else {}


@st.cache_data(ttl=10, max_entries=32, show_spinner=False)
def _turns(_api: Api, session_id: str) -> list[str]:
    """The trace ids of a session's first turns, in order; none when it cannot be read."""
    try:
        return [str(turn["trace_id"]) for turn in _api.session(session_id, limit=_MOST_TURNS).get("turns") or []]
    except ApiFailure:
        return []


@states.guarded
def show() -> None:
    """The page."""
    trace_id = st.query_params.get("trace_id", "").strip().lower()
    if not trace_id:
        _latest()
        return
    with states.skeleton():
        answer = _read(states.api(), trace_id)
    trace, found = answer["trace"], read(answer["spans"])
    _head(trace, found)
    if int(answer.get("n_spans") or 0) > len(answer["spans"]):
        st.caption(f"Showing the first {len(answer['spans']):,} of {int(answer['n_spans']):,} spans.")
    picture.turn(found, "agent-turn")
    left, right = st.columns([8, 5], gap="medium")
    with left:
        sources = _said(trace, found)
        turn_steps.plan(found.plan)
        turn_steps.steps(found, sources)
    with right:
        _route(found.route)
        _used(trace, found)
        _guardrails(found.guardrails)
        _memory(found.memory)


def _latest() -> None:
    window, _ = frame.head("Agent", "How a turn reasoned: choose one of the latest")
    wanted: dict[str, Any] = {**window.parameters, "kind": "AGENT", "limit": 50}
    with states.skeleton():
        rows = lists.read_page(states.api(), "/traces", wanted).items
    if not rows:
        if states.anything_stored():
            states.no_match("agent turns", "No trace of this time range has a span of an agent (invoke_agent).")
        else:
            states.first_steps()
        return
    shared = lists.shared_values(rows)
    columns: dict[str, list[object]] = {
        "started": shared["started"],
        "status": [lists.outcome(row) for row in rows],
        "input": [lists.said(row, row.get("input")) for row in rows],
        "output": [lists.said(row, row.get("output"), answer=True) for row in rows],
        "app": shared["app"],
        "release": shared["release"],
        "seconds": [lists.seconds(row) for row in rows],
        "tokens": shared["tokens"],
        "cost": shared["cost"],
    }
    if not any(columns["status"]):
        del columns["status"]
    width = 232
    if len(set(columns["app"])) == 1:
        del columns["app"]
        width = 296
    wide = {"input": lists.text_column("Input", width), "output": lists.text_column("Output", width)}
    row = lists.grid(columns, "agent-grid", height=640, renamed=wide)
    if row is not None and row < len(rows):
        links.open_agent(str(rows[row]["trace_id"]))


def _head(trace: Row, found: Reasoning) -> None:
    trace_id = str(trace["trace_id"])
    with st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", key="assay-crumbs"
    ):
        if st.button("Latest turns", icon=":material/arrow_back:", type="tertiary", key="agent-back"):
            st.query_params.clear()
            st.rerun()
        with st.container(horizontal=True, width="content", vertical_alignment="center"):
            _neighbours(trace)
            if trace.get("session_id") and st.button("Open session", icon=":material/forum:", key="agent-session"):
                links.open_session(str(trace["session_id"]))
            if st.button("Open trace", icon=":material/account_tree:", shortcut="o", key="agent-trace"):
                links.open_trace(trace_id)
    about = attributes(found.root or {})
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        with st.container(width="content"):
            frame.heading(_title(trace), "agent", page="Agent")
        turn_steps.badge(about.get("assay.turn.status"), _ENDS)
        frame.status_badge(trace.get("status") if trace.get("status") == "error" else None)
    approaches = [attributes(step.span).get("assay.step.approach") for step in found.steps]
    strategies = {str(attributes(step.span).get("assay.step.strategy")) for step in found.steps}
    said = about.get("assay.turn.strategy") or ", ".join(sorted(strategies - {"None"}))
    frame.facts(
        (
            ("Strategy", str(said).replace("_", " ") if said else None),
            ("Agents", " → ".join(found.agents)),
            ("Latency", human.duration(trace.get("duration_ms"))),
            ("Model calls", human.count(trace.get("n_model_calls"))),
            ("Tool calls", human.count(trace.get("n_tool_calls"))),
            ("Tokens", human.in_and_out(trace)),
            ("Cost", human.usd(trace.get("cost_usd"))),
        ),
        "agent",
    )
    frame.facts(
        (
            ("App", trace.get("app")),
            ("Release", trace.get("release")),
            ("Variant", trace.get("variant")),
            ("Started", frame.started(trace.get("start_ns"))),
            ("Turn", _ordinal(about)),
            ("Error", about.get("error.type")),
            ("Approach", next((a for a in approaches if a), None)),
        ),
        "agent-from",
    )


def _title(trace: Row) -> object:
    """What was asked; a message of which redaction has left nothing says so."""
    asked = gist(trace.get("input"))
    if _REDACTED.fullmatch(asked):
        return f"{asked.strip()} (all of the message, redacted)"
    return asked or trace.get("name")


def _neighbours(trace: Row) -> None:
    """Buttons to the turns before and after this one in its session; none where it has only this one."""
    ids = _turns(states.api(), str(trace["session_id"])) if trace.get("session_id") else []
    if len(ids) < 2 or str(trace["trace_id"]) not in ids:
        return
    place = ids.index(str(trace["trace_id"]))
    for label, icon, key, to in (
        ("Earlier turn", "keyboard_arrow_up", "k", place - 1),
        ("Later turn", "keyboard_arrow_down", "j", place + 1),
    ):
        known = 0 <= to < len(ids)
        if st.button(label, icon=f":material/{icon}:", shortcut=key, disabled=not known, key=f"agent-{key}") and known:
            st.query_params["trace_id"] = ids[to]
            st.rerun()


def _ordinal(about: Mapping[str, Any]) -> str | None:
    """The turn's place in its session for a person, who counts from 1; after an approval or a crash it goes on."""
    known = number(about.get("assay.turn.index"))
    if known is None:
        return None
    after = {"approval": " after approval", "declined_approval": " after declined approval"}
    why = after.get(str(about.get("assay.turn.resumed_after")), "")
    return f"{human.count(known + 1)}{f', resumed{why}' if about.get('assay.turn.resumed') is True else ''}"


def _said(trace: Row, found: Reasoning) -> list[str]:
    """Question and answer, and the documents that the answer names; gives their ids."""
    about = attributes(found.root or {})
    resumed, shown = "assay.turn.resumed_after" in about, ""
    for role, title, name, value in (
        ("user", "System" if resumed else "User", "gen_ai.input.messages", trace.get("input")),
        ("assistant", "Agent", "gen_ai.output.messages", trace.get("output")),
    ):
        shown = gist(about.get(name) or value, answer=role == "assistant")
        person = ":material/policy:" if resumed else ":material/person:"
        with st.chat_message(role, avatar=person if role == "user" else ":material/smart_toy:"):
            with st.container(key=f"assay-role-agent-{role}"):
                st.text(title)
            if shown:
                content.text(shown, f"agent-{role}", short=1_200)
            else:
                st.caption("(nothing)")
    known = {one.doc_id: one for step in found.steps for span in step.retrievals for one in documents(span)}
    named = [one for one in cited(shown) if one in known or not known]
    if named:
        st.caption("Sources of the answer")
    for place, doc_id in enumerate(named[:12]):
        with st.container(horizontal=True, gap="small", key=f"assay-source-{place}"):
            st.badge("cited", icon=":material/format_quote:", color="green")
            with st.container(width="content"):
                st.text(inert(doc_id, 120))
            if doc_id in known:
                with st.container(key=f"assay-quiet-source-{place}"):
                    st.text(one_line(known[doc_id].text, 240))
    return named


def _route(route: Row) -> None:
    if not route:
        return
    with st.container(border=True, key="assay-agent-route", gap="small"):
        st.caption("Routing")
        names = ("agent", "intent", "risk", "ambiguous", "confidence")
        frame.facts([(name.capitalize(), _word(route.get(name))) for name in names], "agent-route")


def _word(value: object) -> object:
    return ("yes" if value else "no") if isinstance(value, bool) else value


def _used(trace: Row, found: Reasoning) -> None:
    """What the turn took of what its release allows."""
    app, release = trace.get("app"), trace.get("release")
    limits = _limits(states.api(), str(app), str(release)) if app and release else {}
    tokens = (trace.get("input_tokens") or 0) + (trace.get("output_tokens") or 0)
    used: tuple[tuple[str, str, float | None, Any], ...] = (
        ("steps", "Steps", _n_steps(found), human.count),
        ("tokens", "Tokens", tokens, human.count),
        ("dollars", "Cost", trace.get("cost_usd"), human.usd),
        ("seconds", "Time", (trace.get("duration_ms") or 0.0) / 1000, lambda s: human.duration(1000 * s)),
    )
    with st.container(border=True, key="assay-agent-limits", gap="small"):
        st.caption("Limits of the turn" if limits else "Taken by the turn (the release registered no limits)")
        for name, title, taken, words in used:
            most = _amount(limits.get(name))
            if most and taken is not None:
                text = f"{title}: {words(taken)} of {words(most)}".replace("$", "\\$")
                st.progress(min(1.0, taken / most), text=text)
        if found.route and _n_steps(found) > len(found.steps):
            st.caption("Routing and planning are steps too.")
        if not limits:
            frame.facts([(title, words(taken)) for _, title, taken, words in used], "agent-used")


def _n_steps(found: Reasoning) -> float:
    """As the turn counted them, routing and planning included; else those that there are spans of."""
    told = number(attributes(found.root or {}).get("assay.turn.n_steps"))
    return len(found.steps) if told is None else told


def _amount(value: object) -> float | None:
    try:
        found = float(value) if isinstance(value, (int, float, str)) else None
    except ValueError:
        return None
    return found if found and found > 0 else None


def _guardrails(guardrails: Sequence[Row]) -> None:
    if not guardrails:
        return
    with st.container(border=True, key="assay-agent-guardrails", gap="small"):
        st.caption("Guardrails, in order")
        turn_steps.decided(guardrails, "all")


def _memory(memory: Sequence[Row]) -> None:
    if not memory:
        return
    with st.container(border=True, key="assay-agent-memory", gap="small"):
        st.caption("Memory")
        for place, span in enumerate(memory[:20]):
            about = attributes(span)
            pieces = recalled(span)
            frame.facts(
                (
                    ("What", span.get("name")),
                    ("Recalled", human.count(len(pieces)) if "assay.memory.pieces" in about else None),
                    ("Left away", about.get("assay.memory.n_left_away")),
                    ("Written", about.get("assay.memory.n_written")),
                    ("Took", human.duration(span.get("duration_ms"))),
                ),
                f"agent-memory-{place}",
            )
            if about.get("assay.memory.summary"):
                st.caption("Instead of what was left away")
                content.text(about["assay.memory.summary"], f"agent-memory-summary-{place}", short=300)
            for rank, piece in enumerate(pieces[:20]):
                _piece(piece, f"{place}-{rank}")


def _piece(piece: Memory, key: str) -> None:
    words = [_HORIZONS.get(piece.horizon, inert(piece.horizon, 40))]
    words += [f"score {human.score(piece.score)}"] if piece.score is not None else []
    words += [_age(piece.age_days)] if piece.age_days is not None else []
    with st.container(gap=None, key=f"assay-memory-{key}"):
        st.text(inert(piece.text, 400))
        with st.container(key=f"assay-quiet-memory-{key}"):
            st.text(" · ".join(word for word in words if word))


def _age(days: float) -> str:
    """ "12 days old"; what was said today is "today's", under an hour "just now"."""
    if days < 1:
        return "just now" if days < 1 / 24 else f"{24 * days:.0f} h old"
    return f"{human.plural(round(days), 'day')} old"
