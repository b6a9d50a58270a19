"""The health of an experiment: what failed comes first and says what it means; the rest is a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal

import streamlit as st

from dashboard.api import Row
from dashboard.parts import lists
from dashboard.parts import metric_words as words
from dashboard.text import inert, one_line

_TITLES: Final = {
    "srm": "Sample ratio",
    "stratum_srm": "Sample ratio within a stratum",
    "mix": "Mix of strata in the arms",
    "multiple_exposure": "Units in more than one arm",
    "crossover": "Units in another arm than assigned",
    "missing_outcomes": "Missing outcomes",
    "telemetry_loss": "Lost telemetry",
    "novelty": "Novelty",
    "outcomes_before_exposure": "Outcomes before exposure",
    "clock_skew": "Clock skew",
    "renamed_variant": "Unknown variants",
}
_STATES: Final[dict[str, tuple[Literal["red", "orange", "gray", "green"], str]]] = {
    "failed": ("red", "cancel"),
    "warning": ("orange", "warning"),
    "unknown": ("gray", "help"),
    "ok": ("green", "check_circle"),
}
_ORDER: Final = list(_STATES)
_SPELLED_OUT: Final = 6


def failed(checks: Sequence[Row]) -> None:
    """Each check that failed, before anything else is said: while one does, there is no verdict."""
    found = [one for one in checks if one["status"] == "failed"]
    for at, one in enumerate(found[:_SPELLED_OUT]):
        with st.container(border=True, key=f"assay-unhealthy-{at}", gap="small"):
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.badge("failed", icon=":material/heart_broken:", color="red")
                with st.container(key=f"assay-heading-small-unhealthy-{at}", width="content"):
                    st.text(_title(one))
            st.text(inert(one["text"], 900))
            if numbers := _numbers(one):
                with st.container(key=f"assay-quiet-unhealthy-{at}"):
                    st.text(numbers)
    if len(found) > _SPELLED_OUT:
        st.caption(f"and {len(found) - _SPELLED_OUT} more, in the table of all checks below")


def counts(checks: Sequence[Row], key: str) -> None:
    """How many checks are in which state, in one line beside the decision."""
    found = {state: sum(_state(one) == state for one in checks) for state in _ORDER}
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"assay-health-counts-{key}"):
        if any(found.values()):
            st.caption("Health checks:", width="content")
        for state, n in found.items():
            if n:
                colour, icon = _STATES[state]
                st.badge(f"{n} {state}", icon=f":material/{icon}:", color=colour)


def table(checks: Sequence[Row]) -> None:
    """All checks, the failed ones first."""
    rows = sorted(checks, key=lambda one: _ORDER.index(_state(one)))
    if not rows:
        st.text("Nothing can be checked before the first unit.")
        return
    column = st.column_config
    lists.plain_table(
        {
            "Check": [_title(one) for one in rows],
            "State": [[_state(one)] for one in rows],
            "What was found": [one_line(one["text"], 600) for one in rows],
            "E-value": [_e_value(one) for one in rows],
            "p": [None if one.get("p_value") is None else words.p_value(one["p_value"]) for one in rows],
        },
        {
            "Check": column.TextColumn(width=240),
            "State": column.MultiselectColumn(
                options=_ORDER, color=[colour for colour, _ in _STATES.values()], width=95
            ),
            "What was found": column.TextColumn(width=620),
            "E-value": column.TextColumn(
                width=90, alignment="right", help="Evidence against it, valid at every moment: fails at its bar"
            ),
            "p": column.TextColumn(width=80, alignment="right", help="Of a single look, for comparison"),
        },
        "experiment-health",
    )


def _state(one: Row) -> str:
    return str(one["status"]) if one["status"] in _STATES else "unknown"


def _title(one: Row) -> str:
    name = str(one["check"])
    title = _TITLES.get(name) or one_line(name.replace("_", " ").capitalize(), 60)
    return f"{title}: {one_line(one['stratum'], 60).replace('=', ' ', 1)}" if one.get("stratum") else title


def _numbers(one: Row) -> str:
    said = []
    if one.get("e_value") is not None:
        said.append(f"evidence against it (e-value) {_e_value(one)}")
    if one.get("p_value") is not None:
        said.append(f"p of a single look {words.p_value(one['p_value'])}")
    return " · ".join(said)


def _e_value(one: Row) -> str | None:
    found = one.get("e_value")
    if found is None:
        return None
    return words.e_value(math.log10(found)) if found > 0 else "0"
