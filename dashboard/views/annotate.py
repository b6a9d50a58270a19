"""Annotate: the label queues, and one of them to work in by keyboard, `?queue=…&view=…`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import streamlit as st

from dashboard import human, links
from dashboard.api import Row
from dashboard.parts import adjudicating, annotating, callers, frame, new_queue, queue_overview, states
from dashboard.parts.callers import Caller

_VIEWS: Final = {"annotate": ("Annotate", "A"), "overview": ("Overview", "O"), "adjudicate": ("Adjudicate", "D")}
_MOST: Final = 60  # queues with their progress at once


@states.guarded
def show() -> None:
    """The page."""
    caller = callers.current()
    name = st.query_params.get("queue", "").strip()
    if name:
        _queue(name, caller)
    else:
        _list(caller)


def _list(caller: Caller) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        with st.container(width="content", gap=None):
            st.title("Annotate", anchor=False)
            st.caption("What people say of conversations: the truth that judges are held against")
        callers.offer(caller)
    queues = caller.api.page("/label-queues", {}).items
    if not queues:
        _nothing(caller)
        return
    told = [(one, caller.api.get(caller.api.queue_path(str(one["name"]), "progress"))) for one in queues[:_MOST]]
    for place, (one, progress) in enumerate(sorted(told, key=_finished), start=1):
        _card(place, one, progress, caller)
    if len(queues) > _MOST:
        st.caption(f"{len(queues) - _MOST:,} more: assay labels list shows them all.")
    with st.expander("New queue", icon=":material/add:"):
        new_queue.offer(caller)


def _nothing(caller: Caller) -> None:
    with st.container(border=True, key="assay-empty-queues"):
        st.subheader("No label queue yet", anchor=False, icon=":material/rate_review:")
        st.caption(
            "A queue asks people to label conversations by a rubric, without seeing what a judge or anybody else said. "
            "Make one here, or in a terminal:"
        )
        st.code(
            "assay labels create triage --app APP --judge JUDGE --annotators 2\n"
            "assay labels sample triage --since 7d --n 50",
            language="bash",
        )
        new_queue.offer(caller)


def _finished(told: tuple[Row, Row]) -> bool:
    """Whether all its tasks have their label, as those of an import have: such queues stand below the others."""
    return 0 < int(told[1]["n_tasks"]) <= int(told[1]["n_completed"])


def _card(place: int, queue: Row, progress: Row, caller: Caller) -> None:
    """A queue: what it is, how far it is, and the way in."""
    name = str(queue["name"])
    with st.container(border=True, key=f"assay-queue-{place}"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            with st.container(horizontal=True, vertical_alignment="center", gap="small", width="content"):
                frame.heading(name, f"queue-{place}", size="small")
                if progress["n_needs_adjudication"]:
                    st.badge(
                        f"{progress['n_needs_adjudication']:,} to decide", icon=":material/balance:", color="orange"
                    )
            with st.container(horizontal=True, width="content", vertical_alignment="center"):
                if st.button("Overview", type="tertiary", icon=":material/monitoring:", key=f"overview-{place}"):
                    links.open_queue(name, "overview")
                if st.button(
                    "Annotate",
                    type="primary" if place == 1 and not _finished((queue, progress)) else "secondary",
                    icon=":material/rate_review:",
                    key=f"annotate-{place}",
                    shortcut=str(place) if place < 10 else None,
                ):
                    links.open_queue(name)
        frame.facts(_about(queue), f"queue-{place}")
        total, done = int(progress["n_tasks"]), int(progress["n_completed"])
        if total:
            st.progress(done / total, text=f"{done:,} / {total:,} have their label")
        else:
            st.caption("It has no tasks yet: draw some under Overview.")


def _about(queue: Row) -> Sequence[tuple[str, object]]:
    rubric = queue["rubric"]
    return (
        ("App", queue["app"]),
        ("Rubric", f"{rubric['name']}, version {rubric['version']}"),
        ("Holds to account", queue["judge"]),
        ("People per task", human.count(queue["n_annotators"])),
        ("Note", queue["note"]),
    )


def _queue(name: str, caller: Caller) -> None:
    view = st.query_params.get("view", "annotate")
    view = view if view in _VIEWS else "annotate"
    _head(name, view, caller)
    if view == "annotate":
        annotating.show(name, caller)
        return
    queue = caller.api.get(caller.api.queue_path(name))
    if view == "adjudicate":
        adjudicating.show(name, queue["rubric"], caller)
        return
    frame.facts(_about(queue), "queue")
    new_queue.draw(queue, caller)
    if queue["n_tasks"]:
        queue_overview.show(queue, caller)


def _head(name: str, view: str, caller: Caller) -> None:
    with st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", key="assay-crumbs"
    ):
        with st.container(horizontal=True, width="content", vertical_alignment="center", gap="small"):
            if st.button("Queues", icon=":material/arrow_back:", type="tertiary", key="to-queues"):
                links.open_queues()
            with st.container(width="content"):
                frame.heading(name, "queue", page="Annotate")
        with st.container(horizontal=True, width="content", vertical_alignment="center", gap="small"):
            for each, (title, key) in _VIEWS.items():
                chosen = each == view
                if st.button(title, type="primary" if chosen else "tertiary", shortcut=key, key=f"view-{each}"):
                    links.open_queue(name, each)
            callers.offer(caller)
