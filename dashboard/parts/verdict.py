"""What an experiment or a rollout says in one word: large, with an icon and a colour, and never by colour alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import streamlit as st

Colour = Literal["green", "red", "orange", "blue", "gray"]


@dataclass(frozen=True, kw_only=True)
class Said:
    """A word as people read it, its colour, and the name of its icon."""

    title: str
    colour: Colour
    icon: str


EXPERIMENT: Final = {
    "not_started": Said(title="Not started", colour="gray", icon="hourglass_empty"),
    "keep_running": Said(title="Keep running", colour="blue", icon="hourglass_top"),
    "ship": Said(title="Ship", colour="green", icon="rocket_launch"),
    "do_not_ship": Said(title="Do not ship", colour="red", icon="block"),
    "unhealthy": Said(title="Unhealthy", colour="red", icon="heart_broken"),
    "inconclusive": Said(title="Inconclusive", colour="orange", icon="help"),
}
STATUS: Final = {
    "draft": Said(title="draft", colour="gray", icon="edit_note"),
    "running": Said(title="running", colour="blue", icon="play_circle"),
    "stopped": Said(title="stopped", colour="gray", icon="stop_circle"),
}
ROLLOUT: Final = {
    "waiting": Said(title="Waiting", colour="orange", icon="how_to_reg"),
    "running": Said(title="Running", colour="blue", icon="play_circle"),
    "paused": Said(title="Paused", colour="orange", icon="pause_circle"),
    "promoted": Said(title="Promoted", colour="green", icon="verified"),
    "rolled_back": Said(title="Rolled back", colour="red", icon="assignment_return"),
    "aborted": Said(title="Aborted", colour="gray", icon="cancel"),
}


def of(words: dict[str, Said], word: object) -> Said:
    """How a word of the API is shown; one that is not known is shown as it is spelled, without a colour."""
    known = words.get(str(word))
    spelled = "".join(one if one.isalnum() else " " for one in str(word or "unknown"))[:40].strip()
    return known or Said(title=spelled.capitalize() or "Unknown", colour="gray", icon="help")


def large(said: Said, key: str) -> None:
    """The word as the largest text of the page after its title."""
    with st.container(key=f"assay-verdict-{key}", width="content"):
        st.header(f":{said.colour}[:material/{said.icon}: {said.title}]", anchor=False)


def badge(said: Said, note: str | None = None) -> None:
    """The word in small, beside a name."""
    st.badge(said.title, icon=f":material/{said.icon}:", color=said.colour, help=note)
