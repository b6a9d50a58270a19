"""Choices that live in the address of the page, so that a link shows what its sender saw.

Within one visit they are also remembered, so that coming back to a page finds it as it was left.
"""

from __future__ import annotations

from typing import Final

import streamlit as st

_KEPT: Final = "kept-choices"


def first(page: str, name: str) -> str | None:
    """What the widget `name` of `page` starts with: the address, else the choice made earlier in this visit."""
    told = st.query_params.get(name)
    if told:
        return told
    kept: str | None = st.session_state.setdefault(_KEPT, {}).get((page, name))
    return kept


def keep(page: str, name: str, value: str | None) -> None:
    """Writes the choice into the address and remembers it; None takes it out of both."""
    st.session_state.setdefault(_KEPT, {})[(page, name)] = value
    if value:
        if st.query_params.get(name) != value:
            st.query_params[name] = value
    elif name in st.query_params:
        del st.query_params[name]


def forget(page: str) -> None:
    """Takes all choices of `page` out of the memory of this visit."""
    kept = st.session_state.setdefault(_KEPT, {})
    for key in [key for key in kept if key[0] == page]:
        del kept[key]
