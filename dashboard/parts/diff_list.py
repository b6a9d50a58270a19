"""Two aligned trajectories as one element of the page: rows side by side, equal runs folded, the divergence marked.

Texts of traces reach the browser as JSON and enter the page as text nodes (diff_list.js writes `textContent` and
nothing else), so none of them can become markup.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import streamlit as st

from dashboard import human
from dashboard.api import Row
from dashboard.text import as_json, inert, one_line

_HERE: Final = Path(__file__).parent
_ICONS: Final = {"user": "person", "assistant": "smart_toy", "tool": "build", "model": "psychology", "system": "tune"}
_MOST: Final = 4_000
_WORDS: Final = {"changed": "changed", "only_a": "only in A", "only_b": "only in B"}


def show(diff: Row, heads: tuple[str, str], key: str) -> tuple[str, str, str] | None:
    """Draws the rows; gives side, trace id and span id of a step that was just clicked open."""
    rows = [_row(row) for row in diff["rows"]]
    legend = [(kind, f"{diff[f'n_{kind}']:,} {words}") for kind, words in _WORDS.items()]
    drawn = {
        "signature": sha256(as_json([diff["a"]["id"], diff["b"]["id"], len(rows)]).encode()).hexdigest(),
        "rows": rows,
        "first": diff["first_divergence"],
        "heads": [one_line(head, 120) for head in heads],
        "legend": [("equal", f"{diff['n_equal']:,} equal"), *legend],
    }
    # In a list: Streamlit looks for data frames in a dict, and imports pandas to do so.
    told = _component()(key=key, data=[drawn], on_opened_change=lambda: None)
    opened = getattr(told, "opened", None)
    if not isinstance(opened, list) or len(opened) != 3:
        return None
    side, trace_id, span_id = map(str, opened)
    return (side, trace_id, span_id) if trace_id else None


def _row(row: Row) -> Row:
    told = [one for one in row["differences"] if one["path"] != "text"]
    return {
        "match": row["match"],
        "a": None if row["a"] is None else _step(row["a"]),
        "b": None if row["b"] is None else _step(row["b"]),
        "differences": [[inert(one["path"], 200), _value(one["a"]), _value(one["b"])] for one in told],
    }


def _value(value: Any) -> str | None:
    return None if value is None else inert(_short(value), _MOST)


def _step(step: Row) -> Row:
    kind = str(step["kind"])
    tokens = (step.get("input_tokens") or 0) + (step.get("output_tokens") or 0)
    measures = [human.duration(step["duration_ms"])] if step.get("duration_ms") is not None else []
    measures += [human.tokens(tokens)] if tokens else []
    measures += [human.usd(step["cost_usd"])] if step.get("cost_usd") else []
    return {
        "icon": _ICONS.get(kind, "tune"),
        "title": one_line(step["name"] or "(no name)", 120) if kind in ("tool", "model") else kind,
        "measures": " · ".join(measures),
        "text": _said(step),
        "error": inert(step["error"], 500) if step.get("error") else "",
        "trace": step.get("trace_id"),
        "span": step.get("span_id"),
    }


def _said(step: Row) -> str:
    if step["kind"] != "tool":
        return inert(step["text"], _MOST)
    given = step["arguments"]
    if not isinstance(given, dict):
        return inert(given, _MOST)
    return "\n".join(f"{inert(str(name), 200)}: {inert(_short(value), _MOST)}" for name, value in given.items())


def _short(value: Any) -> str:
    """On one line, where it is no text."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@st.cache_resource(show_spinner=False)
def _sources() -> dict[str, str]:
    return {kind: (_HERE / f"diff_list.{kind}").read_text("utf-8") for kind in ("css", "js")}


def _component() -> Callable[..., Any]:
    sources = _sources()
    component: Callable[..., Any] = st.components.v2.component("assay_diff_list", css=sources["css"], js=sources["js"])
    return component
