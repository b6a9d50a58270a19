"""How far a label queue is, how its annotators agree, and how its tasks were drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import streamlit as st

from dashboard import human
from dashboard.api import Row
from dashboard.parts import arrow, frame, horizontal, new_queue, picture
from dashboard.parts.callers import Caller
from dashboard.text import inert, one_line

BAR: Final = 0.7  # what a judge has to reach, unless a policy says otherwise
_WHY: Final = {
    "no_labels": "Nothing can be said yet: no task has all its answers.",
    "few_annotators": "Nothing can be said yet: agreement takes two people who answered the same task.",
    "one_class": "Everybody always gave the same label: agreement beyond chance cannot be told from that.",
}


def show(queue: Row, caller: Caller) -> None:
    """The figures. Raises `ApiFailure`."""
    name = str(queue["name"])
    progress = queue["progress"]
    agreement = caller.api.get(caller.api.queue_path(name, "agreement"))
    _progress(progress)
    left, right = st.columns([1, 1], gap="medium")
    with left:
        _agreement(agreement)
    with right:
        _annotators(progress, agreement)
        if caller.may("power_user") and progress["labels"]:
            rows = sorted(progress["labels"].items(), key=lambda one: -one[1])
            horizontal.counts("Labels", rows[:12], "queue-labels", "green")
    if caller.may("power_user"):
        _draws(queue["draws"])


def _progress(progress: Row) -> None:
    total = int(progress["n_tasks"])
    done = int(progress["n_completed"])
    st.progress(done / total if total else 0.0, text=f"{done:,} of {total:,} have their label")
    answers = f"{human.count(progress['n_answers'])} / {human.count(progress['n_answers_wanted'])}"
    frame.numbers(
        [
            ("Not answered", human.count(progress["n_needs_review"])),
            ("Wait for others", human.count(progress["n_needs_others_review"])),
            ("To decide", human.count(progress["n_needs_adjudication"])),
            ("Completed", human.count(done)),
            ("Skipped", human.count(progress["n_skipped"])),
            ("Answers", answers),
            ("Held now", human.count(progress["n_reserved"])),
        ],
        "queue",
    )
    if progress["n_waiting"]:
        st.caption(f"{human.plural(int(progress['n_waiting']), 'label')} will be in the lake within seconds.")
    if progress["n_erased"]:
        st.caption(f"{human.plural(int(progress['n_erased']), 'task')} erased with their users.")


def _agreement(found: Row) -> None:
    """Kappa and alpha with their intervals: the most that can be asked of a judge."""
    weighted = "weighted kappa" if found["weighting"] == "quadratic" else "kappa"
    rows = [(f"mean {weighted} of pairs", found["kappa"]), ("Krippendorff's alpha", found["alpha"])]
    told = [
        (name, {"mean": one["value"], "low": one["low"], "high": one["high"], "n": one["n"]})
        for name, one in rows
        if one["value"] is not None
    ]
    drawable = [one for one in told if picture.is_drawable(one[1])]
    if drawable:
        picture.intervals("Agreement among annotators", drawable, "queue-agreement")
    with st.container(border=not drawable, key="assay-agreement"):
        if not drawable:
            st.markdown("**Agreement among annotators**")
        if not told:
            lacking = found["kappa"]
            st.text(_WHY.get(str(lacking["lack"]), inert(lacking["detail"], 300) or "Not known yet."))
            return
        for name, one in rows:
            said = _said(one) if one["value"] is not None else _WHY.get(str(one["lack"]), "not known yet")
            st.text(f"{name[:1].upper()}{name[1:]}: {said}")
        n = human.plural(int(found["n_items"]), "task")
        st.caption(
            f"Over {n} that two or more people answered. This is the ceiling: no judge can be asked to agree with "
            f"people better than people do with each other. A judge has to reach {BAR}."
        )


def _said(one: Row) -> str:
    if one["low"] is None:
        return f"{one['value']:.2f}, too few answers for an interval"
    return f"{one['value']:.2f}, with 95 % between {one['low']:.2f} and {one['high']:.2f}"


def _annotators(progress: Row, agreement: Row) -> None:
    people = progress["annotators"]
    if not people:
        return
    against = {one["annotator"]: one for one in agreement["annotators"]}
    found = [against.get(one["annotator"], {}) for one in people]
    st.markdown("**Annotators**")
    with st.container(key="assay-table"):
        st.dataframe(
            arrow.table(
                {
                    "Annotator": [one_line(one["annotator"], 60) for one in people],
                    "Labels": [one["n_labels"] for one in people],
                    "Skips": [one["n_skips"] for one in people],
                    "As the label": [
                        f"{one['n_as_label']:,} of {one['n']:,}" if one.get("n") else None for one in found
                    ],
                    "Median time": [
                        human.duration(one["median_duration_ms"]) if one.get("median_duration_ms") is not None else None
                        for one in found
                    ],
                }
            ),
            hide_index=True,
            key="queue-annotators",
            placeholder="–",
            row_height=36,
            height=min(330, 38 + 36 * len(people)),
            lazy=False,
        )


def _draws(draws: Sequence[Row]) -> None:
    """How the tasks came here: the chance of each is stored with its label."""
    if not draws:
        return
    with st.expander(f"How its tasks were drawn ({human.plural(len(draws), 'draw')})", icon=":material/casino:"):
        for number, one in enumerate(draws, start=1):
            st.text(_draw(number, one))
            new_queue.strata(one["strata"], f"queue-draw-{number}")


def _draw(number: int, one: Row) -> str:
    at = human.clock(int(one["at_ns"]), frame.timezone())
    what = f"verdicts of {inert(one['judge'], 80)}" if one["judge"] else "sessions"
    return f"Draw {number}, {at}: {human.count(one['n_asked'])} of {human.count(one['n_population'])} {what}"
