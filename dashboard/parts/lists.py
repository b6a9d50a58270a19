"""Lists of traces and sessions as grids: a click on a row opens a peek, newest first, one page at a time."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import streamlit as st

from dashboard import human
from dashboard.api import Api, Page, Parameters, Row
from dashboard.parts import arrow
from dashboard.parts.frame import timezone
from dashboard.parts.gist import gist
from dashboard.text import one_line

PAGE_SIZE: Final = 100
RUNNING: Final = "(still running)"
_MAY_RUN_NS: Final = 120 * 1_000_000_000  # since its last span, a turn whose root has not come may still run


@st.cache_data(ttl=5, max_entries=32, show_spinner=False)
def read_page(_api: Api, path: str, parameters: Parameters) -> Page:
    """One page of a list, kept for the seconds in which a click reruns the page."""
    return _api.page(path, parameters)


@st.cache_data(ttl=10, max_entries=64, show_spinner=False)
def read_facets(_api: Api, fields: Sequence[str], parameters: Parameters) -> dict[str, dict[str, int]]:
    """For each field its values with the number of traces that have them, most frequent first."""
    answers = _api.together([("/facets", {**parameters, "field": field}) for field in fields])
    return {
        field: {str(one["value"]): int(one["count"]) for one in items if one.get("value") is not None}
        for field, items in zip(fields, answers, strict=True)
    }


def text_column(title: str, width: int) -> Any:
    """A column of data: always a text column, which draws characters and nothing else."""
    return st.column_config.TextColumn(title, width=width)


def common_columns() -> dict[str, Any]:
    """The columns that both lists have."""
    column = st.column_config
    return {
        "status": column.MultiselectColumn(
            "Status", options=["error", "inner error", "ok"], color=["red", "orange", "green"], width=92
        ),
        "name": text_column("Name", 165),
        "input": text_column("Input", 180),
        "output": text_column("Output", 180),
        "seconds": column.NumberColumn("Latency", format="%.2f s", width=75),
        "errors": column.NumberColumn("Error spans", format="localized", width=85),
        "turns": column.NumberColumn("Turns", format="localized", width=60),
        "spans": column.NumberColumn("Spans", format="localized", width=60),
        "tokens": column.NumberColumn("Tokens", format="compact", width=70),
        "cost": column.NumberColumn("Cost", format="$%.4f", width=80),
        "app": text_column("App", 130),
        "release": text_column("Release", 100),
        "variant": text_column("Variant", 85),
        "model": text_column("Model", 110),
        "session": text_column("Session", 130),
        "user": text_column("User", 90),
    }


def grid(
    columns: Mapping[str, Sequence[object]],
    key: str,
    *,
    height: int,
    chosen: int | None = None,
    renamed: Mapping[str, Any] | None = None,
) -> int | None:
    """Draws the columns; returns the row that was clicked, counted from the top. `chosen` starts marked."""
    known = {**common_columns(), **(renamed or {}), "started": _started(columns["started"])}
    marked: Any = {"selection": {"cells": [(chosen, "input")]}} if chosen is not None else None
    state = st.dataframe(
        arrow.table(dict(columns)),
        height=min(height, 38 * (len(columns["started"]) + 1)),
        hide_index=True,
        row_height=38,
        key=key,
        column_config={name: known[name] for name in columns},
        on_select="rerun",
        selection_mode="single-cell",
        selection_default=marked,
        placeholder="–",
        lazy=False,
    )
    cells = state["selection"]["cells"]
    return int(cells[0][0]) if cells else None


def _started(moments: Sequence[object]) -> Any:
    """The column of start times; with the year when one of them is not of this year."""
    years = {moment.year for moment in moments if isinstance(moment, datetime)}
    if years <= {datetime.now(timezone()).year}:
        return st.column_config.DatetimeColumn("Started", format="D MMM HH:mm:ss", width=120)
    return st.column_config.DatetimeColumn("Started", format="D MMM YYYY HH:mm:ss", width=155)


def shared_values(rows: Sequence[Row]) -> dict[str, list[object]]:
    """The cells that traces and sessions have in common."""
    tz = timezone()
    return {
        "started": [human.moment(row.get("start_ns"), tz) for row in rows],
        "spans": [row.get("n_spans") for row in rows],
        "tokens": [_tokens(row) for row in rows],
        "cost": [row.get("cost_usd") for row in rows],
        "app": [one_line(row.get("app"), 60) for row in rows],
        "release": [one_line(row.get("release"), 60) for row in rows],
        "variant": [one_line(row.get("variant"), 60) for row in rows],
        "user": [one_line(row.get("user_id"), 60) for row in rows],
    }


def said(row: Row, text: object, *, answer: bool = False) -> str | None:
    """What was said, for a cell; where nothing is known of a turn that may still run, that it does."""
    if found := one_line(gist(text, answer=answer)):
        return found
    last = row.get("end_ns") or row.get("start_ns") or 0
    return RUNNING if time.time_ns() - int(last) < _MAY_RUN_NS else None


def _tokens(row: Row) -> int | None:
    told = [row[name] for name in ("input_tokens", "output_tokens") if row.get(name) is not None]
    return sum(told) if told else None


def outcome(row: Row) -> list[str]:
    """The status cell: the root ended in an error, only a span inside it did, or the root says that all went well."""
    if row.get("status") == "error":
        return ["error"]
    return ["inner error"] if row.get("n_errors") else ["ok"] if row.get("status") == "ok" else []


def seconds(row: Row) -> float | None:
    """Latency in seconds; None when a time is missing."""
    ms = row.get("duration_ms")
    return None if ms is None else ms / 1000


def turn_pages(key: str, page: Page, cursors: list[str]) -> None:
    """Buttons to newer and older pages. `cursors` is the way taken so far, kept in the session state under `key`."""
    if not cursors and page.next_cursor is None:
        return
    with st.container(horizontal=True, horizontal_alignment="center", vertical_alignment="center"):
        if st.button("Newer", icon=":material/chevron_left:", disabled=not cursors, key=f"{key}-newer"):
            st.session_state[key] = cursors[:-1]
            st.rerun()
        st.caption(f"Page {len(cursors) + 1}", width="content")
        if st.button(
            "Older",
            icon=":material/chevron_right:",
            icon_position="right",
            disabled=page.next_cursor is None,
            key=f"{key}-older",
        ):
            st.session_state[key] = [*cursors, page.next_cursor]
            st.rerun()


def picked(
    columns: Mapping[str, Sequence[object]], config: dict[str, Any], key: str, *, most_px: int | None = None
) -> tuple[int, str] | None:  # fmt: skip
    """A table of all of its rows, those beyond `most_px` to be scrolled to, whose cells can be clicked: the row, from
    the top, and the column of the one that was. Who comes back finds no cell chosen."""
    generation = f"{key}-generation"
    n = int(st.session_state.get(generation, 0))
    n_rows = len(next(iter(columns.values())))
    height: Any = "content" if most_px is None else min(most_px, 36 * (n_rows + 1) + 2)
    with st.container(key=f"assay-grid-{key}"):
        state: Any = st.dataframe(
            arrow.table(columns), hide_index=True, column_config=config, placeholder="–", row_height=36,
            height=height, lazy=False, key=f"{key}-{n}", on_select="rerun", selection_mode="single-cell",
        )  # fmt: skip
    cells = state["selection"]["cells"]
    if not cells:
        return None
    st.session_state[generation] = n + 1
    return int(cells[0][0]), str(cells[0][1])


def plain_table(columns: Mapping[str, Sequence[object]], config: dict[str, Any], key: str) -> None:
    """A table that is only looked at, all of its rows at once."""
    with st.container(key=f"assay-grid-{key}"):
        st.dataframe(
            arrow.table(columns),
            hide_index=True,
            column_config=config,
            placeholder="–",
            row_height=36,
            height="content",
            lazy=False,  # asking would import pandas
        )
