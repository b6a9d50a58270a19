"""Traces: the newest first, filtered; a click opens a peek beside the list."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from dashboard import human, links
from dashboard.api import Row
from dashboard.parts import filters, frame, lists, states
from dashboard.parts.content import preview
from dashboard.parts.gist import gist
from dashboard.text import one_line

_CURSORS = "traces-cursors"
_PEEK = "traces-peek"
_GENERATION = "traces-generation"
_PLACES = {"name": "name", "input": "input", "output": "output", "attributes": "attributes"}


@states.guarded
def show() -> None:
    """The page."""
    window, every_s = frame.head(
        "Traces", "One row per trace: a user's message to the agent's reply", live_key="traces-live"
    )
    chosen = filters.bar("traces", window.parameters, placeholder="Search traces")
    wanted = {**window.parameters, **chosen}
    if st.session_state.get("traces-wanted") != wanted:
        st.session_state.update({"traces-wanted": wanted, _CURSORS: [], _PEEK: None})
    paused = st.session_state.get(_PEEK) is not None or st.session_state[_CURSORS]
    st.fragment(_list, run_every=None if paused else every_s)(wanted, window.words)


@states.guarded
def _list(wanted: filters.Chosen, words: str) -> None:
    cursors: list[str] = st.session_state[_CURSORS]
    cursor = cursors[-1] if cursors else None
    page = lists.read_page(states.api(), "/traces", {**wanted, "limit": lists.PAGE_SIZE, "cursor": cursor})
    if not page.items:
        _nothing(wanted)
        return
    peeked = st.session_state.get(_PEEK)
    _count(wanted, words, len(page.items))
    listing, peek = st.columns([5, 4], gap="medium") if peeked else (st.container(), None)
    ids = [row["trace_id"] for row in page.items]
    place = ids.index(peeked) if peeked in ids else None
    with listing:
        # A new generation forgets the clicked cell, so that closing the peek does not open it again.
        key = f"traces-grid-{st.session_state.get(_GENERATION, 0)}{'-beside' if peeked else ''}"
        columns = _columns(page.items, beside=peeked is not None)
        renamed = {"input": lists.text_column("Input", 330)} if peeked else None
        row = lists.grid(columns, key, height=640, chosen=place, renamed=renamed)
        lists.turn_pages(_CURSORS, page, cursors)
    clicked = page.items[row]["trace_id"] if row is not None and row < len(page.items) else None
    if clicked is not None and clicked != peeked:
        st.session_state[_PEEK] = clicked
        st.rerun()
    if peek is not None:
        with peek:
            _peek(page.items, str(peeked), wanted.get("q"))


def _nothing(wanted: filters.Chosen) -> None:
    chosen = set(wanted) - {"since", "start", "end"}
    if chosen - {"app"}:
        hint = "No trace in this time range passes all of these filters. Widen the range or clear a filter."
        states.no_match("traces", hint, app=wanted.get("app"))
    elif chosen or states.anything_stored():
        whose = "This app sent nothing" if chosen else "Nothing arrived"
        states.no_match("traces", f"{whose} in this time range.", app=wanted.get("app"))
    else:
        states.first_steps()


def _count(wanted: filters.Chosen, words: str, shown: int) -> None:
    statuses = lists.read_facets(states.api(), ("status",), wanted)["status"]
    total, errors = max(shown, sum(statuses.values())), statuses.get("error", 0)
    wrong = f" · {human.plural(errors, 'error')}" if errors else ""
    st.caption(f"{human.plural(total, 'trace')} {words}{wrong}")


def _columns(rows: Sequence[Row], *, beside: bool) -> dict[str, list[object]]:
    """What tells traces apart stands first; `beside` an open peek, which has the rest, there is room for three."""
    shared = lists.shared_values(rows)
    first: dict[str, list[object]] = {
        "started": shared["started"],
        "status": [lists.outcome(row) for row in rows],
        "input": [one_line(gist(row.get("input"))) for row in rows],
    }
    if beside:
        return first
    return first | {
        "output": [one_line(gist(row.get("output"), answer=True)) for row in rows],
        "seconds": [lists.seconds(row) for row in rows],
        "cost": shared["cost"],  # a number that is cut at the edge of the list would read as another number
        "app": shared["app"],
        "release": shared["release"],
        "variant": shared["variant"],
        "model": [one_line(", ".join(row.get("models") or []), 80) for row in rows],
        "tokens": shared["tokens"],
        "spans": shared["spans"],
        "session": [one_line(row.get("session_id"), 80) for row in rows],
        "user": shared["user"],
        "name": [
            one_line(row.get("name") or ("(root not arrived)" if row.get("root_missing") else ""), 80) for row in rows
        ],
    }


def _found(row: Row, text: object) -> None:
    """Where in this trace the searched text stands: the latest span that has it."""
    when = {"start": str(row["start_ns"]), "end": str(row["end_ns"] + 1)}
    found = lists.read_page(states.api(), "/search", {"q": str(text), **when, "limit": 1000}).items
    for span in found:
        place = span.get("matched_in")
        if span.get("trace_id") == row["trace_id"] and place in _PLACES:
            preview(f"Found in the {_PLACES[place]} of a span", span.get("snippet"), "peek-found")
            return


def _peek(rows: Sequence[Row], trace_id: str, searched: object) -> None:
    """The side panel of one trace of the list; of a search also where the text was found."""
    ids = [str(row["trace_id"]) for row in rows]
    place = ids.index(trace_id) if trace_id in ids else None
    if place is None:
        _close()
        st.rerun()
    row = rows[place]
    with st.container(border=True, key="assay-peek"):
        _peek_buttons(ids, place)
        frame.heading(row.get("name"), "peek", size="small")
        with st.container(horizontal=True, vertical_alignment="center"):
            frame.status_badge(row.get("status"))
            st.caption(human.clock(row.get("start_ns"), frame.timezone()), width="content")
        _peek_numbers(row)
        if searched:
            _found(row, searched)
        preview("Input", gist(row.get("input")), "peek-input")
        preview("Output", gist(row.get("output"), answer=True), "peek-output")
        cells = (
            ("App", row.get("app")),
            ("Release", row.get("release")),
            ("Model", ", ".join(row.get("models") or [])),
            ("User", row.get("user_id")),
            ("Session", row.get("session_id")),
        )
        frame.facts(cells, "peek")
        st.code(trace_id, language=None)
        session_id = row.get("session_id")
        if session_id and st.button("Open session", icon=":material/forum:", key="peek-session"):
            links.open_session(str(session_id))


def _peek_buttons(ids: Sequence[str], place: int) -> None:
    """Opens the trace, goes to its neighbours in the list, or closes the panel."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if st.button("Open trace", type="primary", icon=":material/open_in_full:", shortcut="o", key="peek-open"):
            links.open_trace(ids[place])
        for label, icon, key, name, step in (
            ("Up", "keyboard_arrow_up", "k", "peek-previous", -1),
            ("Down", "keyboard_arrow_down", "j", "peek-next", 1),
        ):
            to = min(max(place + step, 0), len(ids) - 1)
            st.button(
                label,
                icon=f":material/{icon}:",
                shortcut=key,
                key=name,
                disabled=to == place,
                on_click=_move,
                args=(ids[to],),
            )
        st.button("Close", icon=":material/close:", type="tertiary", key="peek-close", on_click=_close)


def _peek_numbers(row: Row) -> None:
    tokens = (row.get("input_tokens") or 0) + (row.get("output_tokens") or 0)
    frame.numbers(
        (
            ("Latency", human.duration(row.get("duration_ms"))),
            ("Spans", human.count(row.get("n_spans"))),
            ("Tokens", human.count(tokens)),
            ("Cost", human.usd(row.get("cost_usd"))),
        ),
        "peek",
    )


def _move(trace_id: str) -> None:
    st.session_state[_PEEK] = trace_id
    st.session_state[_GENERATION] = st.session_state.get(_GENERATION, 0) + 1


def _close() -> None:
    st.session_state[_PEEK] = None
    st.session_state[_GENERATION] = st.session_state.get(_GENERATION, 0) + 1
