"""The analysis of a table that never met this server, as `assay experiments analyze` wrote it, on the same page."""

from __future__ import annotations

import json
from typing import Any, Final

import streamlit as st

from dashboard.api import Row
from dashboard.parts import experiment_definition, experiment_figures, frame
from dashboard.text import inert

_NEEDED: Final = frozenset(
    {"experiment", "decision", "health", "metrics", "sequence", "strata", "arms", "exposure", "alpha", "unit"}
)


def show() -> None:
    """What to run, a field for what it wrote, and what that says. Nothing of it is sent on or kept."""
    st.title("A table of yours", anchor=False)
    st.caption("Any table of outcomes is analyzed on your machine; this draws what came out, and keeps nothing.")
    st.code(
        "assay experiments analyze FILE.csv --unit user --variant arm --outcome success --strata department "
        "--json > analysis.json",
        language="bash",
        wrap_lines=True,
    )
    given: Any = st.file_uploader("analysis.json", type="json", key="table-analysis")
    if given is None:
        return
    try:
        told = _read(given.getvalue())
        _draw(told)
    except (ValueError, KeyError, TypeError, AttributeError):
        with st.container(border=True, key="assay-table-refused", gap="small"):
            st.badge("not an analysis", icon=":material/block:", color="orange")
            st.text("This file is not what assay experiments analyze --json writes. Run it again, and give its output.")


def _read(content: bytes) -> Row:
    """The analysis in a file. Raises ValueError for what is none."""
    told = json.loads(content)
    if not isinstance(told, dict) or not told.keys() >= _NEEDED:
        raise ValueError("not an analysis")
    return told


def _draw(told: Row) -> None:
    with st.container(width="content"):
        frame.heading(told["experiment"], "table")
    arms = [{**one, "share": one["expected_share"]} for one in told["arms"]]
    experiment_definition.facts({**told, "arms": arms, "started_at": None}, {})
    for note in list(told.get("notes") or [])[:8]:
        with st.container(horizontal=True, gap="small"):
            st.badge("note", icon=":material/lightbulb:", color="orange")
            st.text(inert(note, 400))
    plain = [{"unit_text": "as in the table", **{k: v for k, v in one.items() if k != "unit_text" or v}} for one in
             told["metrics"]]  # fmt: skip
    experiment_figures.show({**told, "metrics": plain}, [])
