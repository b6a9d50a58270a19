"""From an experiment to what it rests on, the sessions of each arm, and to what is done with what it says."""

from __future__ import annotations

import shlex
from typing import Final

import streamlit as st

from dashboard import links
from dashboard.api import Row
from dashboard.parts import frame
from dashboard.text import inert, label

_MOST: Final = 6  # arms with a button


def out(definition: Row) -> None:
    """A row of links: the sessions of each arm since the start, the releases and rollouts of the app."""
    since = frame.whole_days(definition.get("started_at"))
    app = str(definition["app"])
    with st.container(horizontal=True, gap="medium", key="assay-experiment-ways"):
        for at, arm in enumerate(definition["arms"][:_MOST] if since else []):
            name = str(arm["variant"])
            if st.button(f"Sessions of {label(name, 30)}", icon=":material/forum:", type="tertiary",
                         key=f"experiment-sessions-{at}"):  # fmt: skip
                links.open_sessions(app, variant=name, since=since)
        if st.button("Releases", icon=":material/new_releases:", type="tertiary", key="experiment-releases"):
            links.open_releases(app)
        if any(arm.get("release") for arm in definition["arms"]) and st.button(
            "Rollouts", icon=":material/rocket_launch:", type="tertiary", key="experiment-rollouts"
        ):
            links.open_rollouts()


def onwards(told: Row) -> None:
    """The commands that act on a decision; nothing while there is none, or where nothing runs that could be stopped."""
    word, name = str(told["decision"]["word"]), shlex.quote(inert(told["experiment"], 120))
    if not told.get("app") or word not in ("ship", "do_not_ship", "inconclusive"):
        return
    said = [f"assay experiments stop {name} --reason {word}"] if told["status"] == "running" else []
    winner: Row = next((one for one in told["arms"] if one["variant"] == told["decision"].get("variant")), {})
    if word == "ship" and winner.get("release"):
        app, release = (shlex.quote(inert(one, 120)) for one in (told["app"], winner["release"]))
        said.append(f"assay deploy {app} {release} --canary 1,5,25,50,100 --bake 30m")
    if said:
        with st.container(key="assay-experiment-onwards", gap=None):
            st.caption("What to do now:")
            st.code("\n".join(said), language="bash", wrap_lines=True)
