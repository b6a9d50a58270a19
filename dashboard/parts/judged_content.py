"""What is to be labelled, as the server shows it to judges and people alike: entries in order, as a transcript."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import streamlit as st

from dashboard import human
from dashboard.api import Row
from dashboard.parts import content
from dashboard.text import inert

_MOST: Final = 200  # entries at first
_SHORT_RESULT: Final = 400
_SAID: Final = {
    "user": ("user", ":material/person:"),
    "assistant": ("assistant", ":material/smart_toy:"),
    "system": ("assistant", ":material/policy:"),
    "question": ("user", ":material/help:"),
    "answer": ("assistant", ":material/smart_toy:"),
}
_TITLES: Final = {
    "before": "Before it",
    "turn": "The turn to label",
    "answer_1": "Answer 1",
    "answer_2": "Answer 2",
    "reference": "Reference answer",
    "question": "Question",
    "output": "Output",
}


def show(shown: Row, key: str) -> None:
    """Every part; the two answers of a pair stand side by side."""
    parts: Sequence[Row] = shown["parts"]
    for part in parts[:-2] if shown["pair"] else parts:
        _part(part, key, titled=len(parts) > 1)
    if shown["pair"]:
        for column, part in zip(st.columns(2, gap="small"), parts[-2:], strict=False):
            with column:
                _part(part, key, titled=True)
    gone = [(shown["n_cut"], "left out, being too long"), (shown["n_hidden"], "hidden, taken out")]
    for n, why in gone:
        if n:
            st.caption(f"{human.plural(int(n), 'character')} {why}: a judge is not shown them either.")


def _part(part: Row, key: str, *, titled: bool) -> None:
    name = str(part["name"])
    if titled:
        st.caption(f"**{_TITLES.get(name, 'Part')}**")
    entries: Sequence[Mapping[str, Any]] = part["entries"]
    opened = f"{key}-{name}-all"
    most = len(entries) if st.session_state.get(opened) else _MOST
    turn = None
    turns = {entry.get("turn") for entry in entries}  # where each entry is a turn of its own, none is told
    for place, entry in enumerate(entries[:most]):
        if len(turns) < len(entries) and entry.get("turn") not in (None, turn):
            turn = entry["turn"]
            st.caption(f"Turn {int(turn) + 1}")
        _entry(entry, f"{key}-{name}-{place}")
    if len(entries) > most and st.button(
        f"Show {human.plural(len(entries) - most, 'more entry').replace('entrys', 'entries')}", key=f"{opened}-button"
    ):
        st.session_state[opened] = True
        st.rerun()


def _entry(entry: Mapping[str, Any], key: str) -> None:
    for name, (role, avatar) in _SAID.items():
        if name in entry:
            with st.chat_message(role, avatar=avatar):
                content.text(entry[name], key) if entry[name] else st.caption("(empty)")
            return
    if "tool_call" in entry:
        _call(entry, key)
    elif "document" in entry:
        with st.container(border=True, gap="small", key=f"assay-tool-{key}"):
            _named("Document", entry["document"], key)
            content.text(entry.get("text") or "(empty)", key, short=_SHORT_RESULT)
    elif "left_out_entries" in entry:
        st.caption(f"… {human.plural(int(entry['left_out_entries']), 'message or call')} left out here …")
    else:
        content.text({name: value for name, value in entry.items() if name != "turn"}, key)


def _call(entry: Mapping[str, Any], key: str) -> None:
    with st.container(border=True, gap="small", key=f"assay-tool-{key}"):
        _named("Tool", entry["tool_call"], key)
        if entry.get("arguments") not in (None, "", "{}"):
            with st.container(key=f"assay-quiet-{key}"):
                content.text(entry["arguments"], f"{key}-asked", short=_SHORT_RESULT)
        if entry.get("error") is not None:
            st.badge("error", icon=":material/error:", color="red")
            content.text(entry["error"] or "(no message)", f"{key}-error", short=_SHORT_RESULT)
        else:
            content.text(f"→ {entry.get('result') or '(nothing)'}", f"{key}-result", short=_SHORT_RESULT)


def _named(what: str, name: object, key: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"assay-named-{key}"):
        st.badge(what, icon=":material/build:" if what == "Tool" else ":material/description:", color="grey")
        with st.container(key=f"assay-role-{key}", width="content"):
            st.text(inert(name, 120))
