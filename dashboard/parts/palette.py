"""The colours of charts and span kinds, after Okabe and Ito (2008): told apart with every form of colour blindness."""

from __future__ import annotations

from typing import Final

import streamlit as st

_LIGHT: Final = {
    "blue": "#0072B2",
    "orange": "#D98E00",
    "green": "#00875F",
    "pink": "#B85C93",
    "sky": "#3D9BD1",
    "red": "#C8501A",
    "grey": "#6B7787",
}
_DARK: Final = {
    "blue": "#4FA8E0",
    "orange": "#F0B232",
    "green": "#2CC295",
    "pink": "#E39BC5",
    "sky": "#96D2F7",
    "red": "#FF8552",
    "grey": "#93A0B0",
}

KIND_COLOUR: Final = {
    "AGENT": "green",
    "LLM": "blue",
    "TOOL": "orange",
    "CHAIN": "grey",
    "RETRIEVER": "pink",
    "RERANKER": "pink",
    "EMBEDDING": "sky",
    "GUARDRAIL": "red",
    "EVALUATOR": "sky",
    "PROMPT": "grey",
}

# Names in the Material Symbols font that Streamlit itself serves.
KIND_ICON: Final = {
    "AGENT": "support_agent",
    "LLM": "auto_awesome",
    "TOOL": "build",
    "CHAIN": "link",
    "RETRIEVER": "manage_search",
    "RERANKER": "swap_vert",
    "EMBEDDING": "scatter_plot",
    "GUARDRAIL": "shield",
    "EVALUATOR": "grading",
    "PROMPT": "edit_note",
}
OTHER_ICON: Final = "radio_button_unchecked"


def dark() -> bool:
    """Whether this viewer's page is dark."""
    return st.context.theme.type == "dark"


def colours() -> dict[str, str]:
    """Colour by name, for this viewer's theme."""
    return _DARK if dark() else _LIGHT


def sequence() -> list[str]:
    """The colours in the order in which series take them."""
    return list(colours().values())
