"""Text from traces, made inert for the page: shown as it is spelled, never obeyed.

Streamlit's own st.text, st.code, st.json and st.dataframe never read Markdown or HTML, so content goes there. This
module covers what they leave open: control and bidirectional characters, sheer length, labels (which Streamlit reads
as Markdown) and chart text (which plotly reads as HTML).
"""

from __future__ import annotations

import json
import re
from typing import Final

# Embeddings, overrides and isolates reorder everything after them; marks (U+200E, U+200F, U+061C) do not, and stay.
_BIDI_CONTROLS: Final = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_RTL: Final = re.compile("[\u0590-\u08ff\u200f\ufb1d-\ufdff\ufe70-\ufefc]")
_EXACT: Final = 2**53  # beyond it, numbers of JavaScript lose digits
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_PUNCTUATION: Final = re.compile(r"([!-/:-@\[-`{-~])")
_COMBINING: Final = re.compile(
    "([\u0300-\u036f\u0483-\u0489\u20d0-\u20ff]{8})[\u0300-\u036f\u0483-\u0489\u20d0-\u20ff]+"
)

_VISIBLE: Final[dict[int, str]] = {
    **{code: f"[U+{code:04X}]" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n\r"},
    **{ord(char): f"[U+{ord(char):04X}]" for char in _BIDI_CONTROLS},
    **dict.fromkeys(range(55296, 57344), "�"),  # lone surrogates cannot be sent to a browser
}


def inert(value: object, limit: int | None = None) -> str:
    """`value` as text whose control and bidi-override characters are visible marks; cut after `limit` characters."""
    text = value if isinstance(value, str) else "" if value is None else as_json(value)
    if limit is not None and len(text) > limit:
        text = text[:limit] + "…"
    return _COMBINING.sub(r"\1", text.translate(_VISIBLE))


def one_line(value: object, limit: int = 200) -> str:
    """`value` on a single line for a table cell: no line breaks, no spreadsheet formula, right-to-left isolated."""
    text = value if isinstance(value, str) else "" if value is None else as_json(value)
    # Cutting first keeps a line of many megabytes cheap.
    text = " ".join(inert(text[: limit * 2]).split())
    if len(text) > limit:
        text = text[:limit] + "…"
    if text.startswith(_FORMULA):
        text = "\u200b" + text  # an exported cell must not start as a formula
    return f"\u2068{text}\u2069" if _RTL.search(text) else text


def label(value: object, limit: int = 80) -> str:
    """`value` for a place where Streamlit reads Markdown (labels of widgets, tabs, headings): every mark is escaped.

    Colons get a word joiner as well: Streamlit replaces `:name:` and `:colour[...]` after Markdown is read.
    """
    text = " ".join(inert(value, limit).split())
    return _PUNCTUATION.sub(r"\\\1", text).replace(":", ":\u2060")


def chart_text(value: object, limit: int = 60) -> str:
    """`value` for plotly names, ticks and hovers, which read a subset of HTML and, between dollars, LaTeX."""
    text = one_line(value, limit)
    return (
        text.replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace(">", "&gt;")
        .replace("$", "&#36;")
        .replace("%{", "%\u2060{")
    )


def as_json(value: object) -> str:
    """`value` as readable JSON; what JSON cannot say is said with `str`."""
    return json.dumps(value, ensure_ascii=False, indent=2, default=str)


def parsed(text: str) -> object | None:
    """The object or list that `text` spells as JSON; None when it is anything else."""
    stripped = text.strip()
    if not stripped.startswith(("{", "[")):
        return None
    try:
        value: object = json.loads(stripped)
    except (ValueError, RecursionError):
        return None
    return value


def inert_tree(value: object, limit: int = 20_000) -> object:
    """A copy of a JSON value whose texts and keys are inert and at most `limit` characters long, for st.json."""
    if isinstance(value, str):
        return inert(value, limit)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _EXACT:
        return str(value)  # a browser would round it
    if isinstance(value, dict):
        return {inert(str(key), 500): inert_tree(inner, limit) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [inert_tree(inner, limit) for inner in value]
    return value
