"""The spans of a trace as tree, waterfall or log: one element of the page, whatever the number of spans.

The browser draws only the rows in view. Texts of spans reach it as JSON and enter the page as text nodes (span_list.js
writes `textContent` and nothing else), so none of them can become markup.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import streamlit as st

from dashboard import human
from dashboard.api import Row
from dashboard.parts import palette
from dashboard.parts.arrange import arrange
from dashboard.parts.gist import gist
from dashboard.text import inert, one_line

_HERE: Final = Path(__file__).parent
_KINDS: Final = list(palette.KIND_ICON)
GATEWAY: Final = "assay.gateway"  # the scope of what the gateway says of a call


_KEPT: Final = (
    *("span_id", "parent_span_id", "name", "kind", "start_ns", "duration_ms", "status", "status_message"),
    *("input_tokens", "output_tokens", "total_tokens", "cost_usd", "usage_counted", "scope_name"),
    *("input_preview", "output_preview"),
)


def kept(span: Row) -> Row:
    """What this list needs of a span; the rest of tens of thousands of spans is not worth its memory."""
    row = {name: span.get(name) for name in _KEPT}
    for name in ("status_message", "input_preview", "output_preview"):
        row[name] = one_line(gist(row[name]), 160) if row[name] else None
    return row


def payload(spans: Sequence[Row], start_ns: int) -> dict[str, Any]:
    """What the browser needs of the spans, column by column, in tree order; times in ms after `start_ns`."""
    placed = arrange(spans)
    rows = [place.span for place in placed]
    starts = [((row.get("start_ns") or start_ns) - start_ns) / 1e6 for row in rows]
    return {
        "id": [inert(row.get("span_id"), 64) for row in rows],
        "name": [one_line(row.get("name") or "(no name)", 160) for row in rows],
        "kind": [_KINDS.index(row["kind"]) if row.get("kind") in palette.KIND_ICON else -1 for row in rows],
        "depth": [place.depth for place in placed],
        "below": [place.n_below for place in placed],
        "orphan": [index for index, place in enumerate(placed) if place.orphan],
        "error": [index for index, row in enumerate(rows) if row.get("status") == "error"],
        "start": [round(start, 3) for start in starts],
        "ms": [round(row.get("duration_ms") or 0.0, 3) for row in rows],
        "time": [human.duration(row.get("duration_ms")) for row in rows],
        "gateway": [index for index, row in enumerate(rows) if row.get("scope_name") == GATEWAY],
        "uncounted": [index for index, row in enumerate(rows) if _uncounted(row)],
        "tokens": [_counted(row, human.tokens(_tokens(row)) if _tokens(row) else "") for row in rows],
        "cost": [_counted(row, human.usd(row["cost_usd"]) if row.get("cost_usd") else "") for row in rows],
        "about": [_about(row) for row in rows],
    }


def show(columns: dict[str, Any], *, trace_id: str, selected: str | None, on_select: Callable[[], None]) -> None:
    """Draws the spans; a click (or j, k, arrows) puts the span's id in the state of `span_list_key(trace_id)`.

    `selected` is the span of the address; it is opened and scrolled to when the element appears.
    """
    colours = palette.colours()
    drawn = {
        "columns": columns,
        "kinds": _KINDS,
        "icons": [palette.KIND_ICON[kind] for kind in _KINDS],
        "other_icon": palette.OTHER_ICON,
        "colours": [colours[palette.KIND_COLOUR[kind]] for kind in _KINDS],
        "other_colour": colours["grey"],
        "error_colour": colours["red"],
        "selected": selected,
    }
    # In a list: Streamlit looks for data frames in a dict, and imports pandas to do so.
    _component()(key=span_list_key(trace_id), data=[drawn], on_selected_change=on_select)


def span_list_key(trace_id: str) -> str:
    """Where the session state keeps the choice for this trace."""
    return f"spans-{trace_id}"


@st.cache_resource(show_spinner=False)
def _sources() -> dict[str, str]:
    return {kind: (_HERE / f"span_list.{kind}").read_text("utf-8") for kind in ("css", "js")}


def _component() -> Callable[..., Any]:
    sources = _sources()
    component: Callable[..., Any] = st.components.v2.component("assay_span_list", css=sources["css"], js=sources["js"])
    return component


def _tokens(row: Row) -> int:
    return int(row.get("total_tokens") or (row.get("input_tokens") or 0) + (row.get("output_tokens") or 0))


def _uncounted(row: Row) -> bool:
    """It has tokens or a cost that another span has too: the trace's totals leave them out."""
    return row.get("usage_counted") is False and bool(_tokens(row) or row.get("cost_usd"))


def _counted(row: Row, amount: str) -> str:
    return f"({amount})" if amount and _uncounted(row) else amount


def _about(row: Row) -> str:
    """One line of the log: what went wrong, else what came out, else what went in."""
    said = row.get("status_message") if row.get("status") == "error" else None
    return one_line(said or row.get("output_preview") or row.get("input_preview") or "", 160)
