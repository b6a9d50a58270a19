"""Inputs, outputs, messages: text and JSON of traces, shown as they are and never longer than a page bears."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, assert_never

import streamlit as st

from dashboard import human
from dashboard.parts import frame
from dashboard.parts.messages import Message, Part, PartKind, answer_of, messages_of
from dashboard.text import as_json, inert, inert_tree, parsed

SHORT: Final = 1_500
LONG: Final = 200_000
_SHOWN_MESSAGES: Final = 12
_ROLES: Final = {
    "user": ("User", ":material/person:"),
    "human": ("User", ":material/person:"),
    "assistant": ("Assistant", ":material/smart_toy:"),
    "ai": ("Assistant", ":material/smart_toy:"),
    "model": ("Assistant", ":material/smart_toy:"),
    "system": ("System", ":material/policy:"),
    "developer": ("Developer", ":material/policy:"),
    "tool": ("Tool", ":material/build:"),
    "function": ("Tool", ":material/build:"),
}


def preview(title: str, value: object, key: str) -> None:
    """A titled excerpt (`title` is ours)."""
    if value in (None, ""):
        return
    st.caption(title)
    with st.container(border=True, key=f"assay-block-{key}"):
        text(value, key, short=700)


def block(title: str, value: object, key: str) -> None:
    """A titled value, whole: JSON as a tree that folds, anything else as text."""
    st.caption(title)
    if value in (None, ""):
        st.caption("(empty)")
        return
    spelled = parsed(value) if isinstance(value, str) else value
    with st.container(border=True, key=f"assay-block-{key}"):
        if isinstance(spelled, (dict, list)):
            json_tree(spelled)
        else:
            text(value, key)


def json_tree(value: object, *, depth: int | bool = 3) -> None:
    """A JSON value as a tree that folds; long texts in it are cut."""
    shown = inert_tree(value)
    if isinstance(shown, (dict, list)):
        st.json(shown, expanded=depth)
    else:
        st.text(inert(shown, LONG))


def text(value: object, key: str, *, short: int = SHORT) -> None:
    """Plain text; beyond `short` characters the rest is a click away, beyond `LONG` a download."""
    whole = value if isinstance(value, str) else as_json(value)
    opened = f"{key}-whole"
    cut = LONG if st.session_state.get(opened) else short
    st.text(inert(whole[:cut]) + ("…" if len(whole) > cut else ""))
    if len(whole) <= short:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        if len(whole) <= LONG or cut == short:
            words = "Show less" if cut > short else f"Show all {len(whole):,} characters"
            if len(whole) > LONG:
                words = f"Show the first {LONG:,} characters"
            st.button(words, type="tertiary", key=f"{key}-toggle", on_click=_toggle, args=(opened,))
        if len(whole) > LONG:
            st.caption(f"{len(whole):,} characters in all", width="content")
            st.download_button(
                "Download",
                whole,
                file_name="content.txt",
                mime="text/plain",
                key=f"{key}-download",
                type="tertiary",
                icon=":material/download:",
                on_click="ignore",
            )


def _toggle(key: str) -> None:
    st.session_state[key] = not st.session_state.get(key, False)


def conversation(value: object, key: str, *, answer: bool = False) -> bool:
    """`value` as a chat if it is one; says whether it was. Of a long one the last messages, the rest on demand.

    Of an `answer` that repeats the conversation, only what follows the last question.
    """
    messages = messages_of(value)
    if answer:
        messages = answer_of(messages)
    if not messages:
        return False
    opened = f"{key}-earlier"
    hidden = 0 if st.session_state.get(opened) else max(0, len(messages) - _SHOWN_MESSAGES)
    if hidden:
        st.button(
            f"Show {human.plural(hidden, 'earlier message')}",
            type="tertiary",
            icon=":material/expand_less:",
            key=f"{opened}-button",
            on_click=_toggle,
            args=(opened,),
        )
    for place, message in enumerate(messages[hidden : hidden + 400], start=hidden):
        _message(message, f"{key}-{place}")
    return True


def _message(message: Message, key: str) -> None:
    known = _ROLES.get(message.role.lower())
    title, avatar = known or (inert(message.role, 40), ":material/chat_bubble:")
    if message.parts and all(part.kind is PartKind.TOOL_RESULT for part in message.parts):
        title, avatar = "Tool result", ":material/build:"
    with st.chat_message("user" if title == "User" else "assistant", avatar=avatar):
        with st.container(key=f"assay-role-{key}"):
            st.text(title)
        _parts(message.parts, key)


def _parts(parts: Sequence[Part], key: str) -> None:
    if not parts:
        st.caption("(empty)")
    for place, part in enumerate(parts):
        one = f"{key}-{place}"
        match part.kind:
            case PartKind.TEXT:
                text(part.content, one)
            case PartKind.REASONING:
                with st.expander("Reasoning", icon=":material/psychology:"):
                    text(part.content, one, short=LONG)
            case PartKind.TOOL_CALL:
                _tool("Calls tool", part, one)
            case PartKind.TOOL_RESULT:
                _tool("Result of", part, one)
            case PartKind.MEDIA | PartKind.OTHER:
                with st.container(border=True):
                    st.caption(
                        "Media, described only: nothing is fetched" if part.kind is PartKind.MEDIA else "Other content"
                    )
                    json_tree(part.content, depth=1)
            case _:
                assert_never(part.kind)


def _tool(words: str, part: Part, key: str) -> None:
    with st.container(border=True, gap="small", key=f"assay-tool-{key}"):
        if part.name or part.call_id:
            frame.facts(((words, part.name or "(unnamed)"), ("Call id", part.call_id)), f"tool-{key}")
        content = parsed(part.content) if isinstance(part.content, str) else part.content
        if isinstance(content, (dict, list)) and content:
            json_tree(content, depth=2)
        elif part.content in (None, "", {}, []):
            st.caption("No arguments" if part.kind is PartKind.TOOL_CALL else "Empty")
        else:
            text(part.content, key)
