"""The steps of a rollout in a row: which are passed, where it stands, what each still waits for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Literal

import streamlit as st

from dashboard import human
from dashboard.api import Row
from dashboard.parts import frame

_ENDED_BADLY: Final = frozenset({"roll_back", "rolled_back", "abort", "aborted"})
_MARKS: Final[dict[str, tuple[str, str, Literal["green", "red", "blue", "orange", "gray"]]]] = {
    "passed": ("passed", "check_circle", "green"),
    "left": ("rolled back", "assignment_return", "red"),
    "here": ("here", "play_circle", "blue"),
    "held": ("held", "pause_circle", "orange"),
    "ahead": ("ahead", "radio_button_unchecked", "gray"),
}


def show(rollout: Row) -> None:
    """One card per step."""
    steps: Sequence[Row] = rollout["steps"]
    with st.container(horizontal=True, gap="small", key="assay-steps"):
        for at, step in enumerate(steps):
            _card(rollout, step, at, _state(rollout, step, at))


def _state(rollout: Row, step: Row, at: int) -> str:
    if step.get("decision") in _ENDED_BADLY:
        return "left"
    if step.get("left_at"):
        return "passed"
    if not step.get("entered_at") or at != rollout["step"]:
        return "ahead" if not step.get("entered_at") else "passed"
    match str(rollout["status"]):
        case "running":
            return "here"
        case "promoted":
            return "passed"
        case "rolled_back" | "aborted":
            return "left"
        case _:
            return "held"


def _card(rollout: Row, step: Row, at: int, state: str) -> None:
    title, icon, colour = _MARKS[state]
    if state == "left" and rollout["status"] == "aborted":
        title, icon = "aborted", "cancel"
    with st.container(border=True, gap="small", key=f"assay-step-{state}-{at}", height="stretch"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            with st.container(key=f"assay-heading-small-step-{at}", width="content"):
                st.text(weight(step["weight"]))
            st.badge(title, icon=f":material/{icon}:", color=colour)
        with st.container(key=f"assay-quiet-step-{at}", gap=None):
            for line in _lines(step, state):
                st.text(line)


def _lines(step: Row, state: str) -> list[str]:
    """Units seen of those asked for, how long it took and has to bake, and how it was left."""
    if step["weight"] >= 1:
        return ["not reached" if state == "ahead" else "all sessions"]
    seen, least = step.get("n_candidate"), step.get("min_units")
    baked = _seconds(step.get("entered_at"), step.get("left_at"))
    asked = _length(step["bake_s"]) if step.get("bake_s") else None
    if state == "ahead":
        wanted = [f"at least {human.plural(least, 'unit')}" if least else "", f"bake {asked}" if asked else ""]
        return [one for one in wanted if one] or ["not reached"]
    said = [human.plural(seen or 0, "unit") + (f", {human.count(least)} asked for" if least else "")]
    if step.get("n_baseline") is not None:
        said.append(f"{human.count(step['n_baseline'])} of the baseline")
    if baked is not None:  # a step bakes only while sessions come in, so that neither is a part of the other
        said.append(("since " if state in ("here", "held") else "took ") + _length(baked))
        said += [f"bake time {asked} of traffic"] if asked else []
    return said


def _seconds(entered: object, left: object) -> float | None:
    start = frame.moment(entered)
    if start is None:
        return None
    return max(0.0, ((frame.moment(left) or datetime.now(UTC)) - start).total_seconds())


def _length(seconds: float) -> str:
    return human.duration(1000 * seconds).removesuffix(" 00 s")


def weight(found: float) -> str:
    """A share of the sessions: 0.01 -> "1%"."""
    return f"{100 * found:.3g}%"
