"""The form of a label queue as one element: labels by digit, note, skip, the way to the next, all by keyboard.

What is chosen and written lives in the browser until it is sent, as one message: nothing waits for the server between
two keys, and no key is lost or counted twice. Texts enter the page as text nodes (label_form.js writes `textContent`
and nothing else), so none of them can become markup.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import streamlit as st

from dashboard.api import Row
from dashboard.text import inert, one_line

_HERE: Final = Path(__file__).parent
_WRAPPED: Final = re.compile(r"(?<=\S)\n(?=[^\s\-*#|>\d])")  # a line of a paragraph that goes on, as files have them
_KINDS: Final = {
    "pass_fail": "choose one",
    "ordinal": "choose one; from worst to best",
    "pairwise": "choose one",
    "multi_label": "choose one or several",
}


@dataclass(frozen=True, kw_only=True)
class Said:
    """What somebody pressed. `what` is complete, skip, next, previous or again; `task_id` is what they saw then."""

    number: int
    task_id: str
    what: str
    labels: tuple[str, ...] = ()
    note: str = ""
    reason: str = ""


def rubric_told(rubric: Row) -> Row:
    """What the form needs of a queue's rubric."""
    return {
        "title": f"{one_line(rubric['name'], 80)}, version {rubric['version']}",
        "how": _KINDS.get(str(rubric["kind"]), "choose"),
        "many": rubric["kind"] == "multi_label",
        "text": _WRAPPED.sub(" ", inert(rubric["text"], 20_000)),
        "labels": [
            {"name": str(name), "shown": inert(str(name), 100), "about": inert(rubric["anchors"].get(name, ""), 600)}
            for name in rubric["labels"]
        ],
    }


def show(drawn: Mapping[str, Any], key: str, take: Callable[[Said], None]) -> None:
    """Draws the form; `take` is called with what was pressed, before the page is drawn again."""

    def told() -> None:
        said = _read((st.session_state.get(key) or {}).get("said"))
        if said is not None:
            take(said)

    # In a list: Streamlit looks for data frames in a dict, and imports pandas to do so.
    _component()(key=key, data=[dict(drawn)], on_said_change=told)


def _read(value: object) -> Said | None:
    """A message of the browser, which may be anything; None for what is none."""
    if not isinstance(value, str):
        return None
    try:
        found = json.loads(value)
        return Said(
            number=int(found["number"]),
            task_id=str(found["id"]),
            what=str(found["what"]),
            labels=tuple(str(one) for one in found.get("labels", [])),
            note=str(found.get("note", "")),
            reason=str(found.get("reason", "")),
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


@st.cache_resource(show_spinner=False)
def _sources() -> dict[str, str]:
    return {kind: (_HERE / f"label_form.{kind}").read_text("utf-8") for kind in ("css", "js")}


def _component() -> Callable[..., Any]:
    sources = _sources()
    component: Callable[..., Any] = st.components.v2.component("assay_label_form", css=sources["css"], js=sources["js"])
    return component
