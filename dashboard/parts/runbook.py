"""A monitor's runbook: words are shown as they are; an address of the web can be opened."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

import streamlit as st

from dashboard.text import inert, label

_SCHEMES: Final = frozenset({"http", "https"})
_MOST: Final = 2_000


def offer(said: object, key: str) -> None:
    """The button that opens it, where it is an address; its host stands on it, so that one sees where it leads."""
    text = str(said or "").strip()
    host = host_of(text)
    if host is not None:
        st.link_button(f"Open it at {label(host, 60)}", text, icon=":material/open_in_new:", type="tertiary", key=key)


def show(said: object, key: str) -> None:
    """Its words, ready to copy, and the button."""
    st.code(inert(said, 500), language=None, wrap_lines=True)
    offer(said, key)


def host_of(text: str) -> str | None:
    """The host that an address leads to; None for anything that is not plainly one: other schemes, blanks, controls,
    marks that browsers read as another host than people do."""
    if len(text) > _MOST or not text.isascii() or not text.isprintable() or any(one in text for one in ' \\@<>"'):
        return None
    try:
        parts = urlsplit(text)
        return parts.hostname if parts.scheme in _SCHEMES else None
    except ValueError:
        return None
