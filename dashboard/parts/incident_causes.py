"""Why an incident may be: what to do first, what came before, and the causes with what speaks for and against each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import streamlit as st

from dashboard import links
from dashboard.api import Row
from dashboard.parts import alert_words as words
from dashboard.parts import runbook
from dashboard.parts.alert_cards import moment
from dashboard.text import inert

_MOST_STEPS: Final = 8
_MOST_REASONS: Final = 8
_SHOWN: Final = 3
_LEAST_SHARE: Final = 0.01


def first(incident: Row, runbooks: Sequence[tuple[str, str]]) -> None:
    """The runbook's first steps, with where to read on; `runbooks` are those of the monitors, by name."""
    with st.container(border=True, key="assay-beside-first", gap="small"):
        st.markdown("**What to do first**")
        steps = list(incident.get("first") or [])
        causes = (incident.get("diagnosis") or {}).get("causes") or []
        if not steps and causes and causes[0].get("first"):
            steps = list(causes[0]["first"])
            with st.container(key="assay-quiet-first"):
                st.text(f"No cause is sure. Of the likeliest, “{inert(causes[0]['title'], 120)}”:")
        if not steps:
            st.text("No pattern fits, so no runbook is known. Open the sessions below, and read what went wrong.")
        for at, step in enumerate(steps[:_MOST_STEPS], 1):
            with st.container(key=f"assay-step-text-{at}"):
                st.text(f"{at}. {inert(step, 600)}")
        page = incident.get("runbook") or (causes[0].get("runbook") if causes and steps else None)
        every = [*runbooks, *([("the pattern", str(page))] if page else [])]
        for at, (whose, said) in enumerate(every):
            with st.container(key=f"assay-quiet-runbook-{at}", gap=None):
                st.text(f"Runbook of {inert(whose, 80)}:")
                runbook.show(said, f"incident-runbook-{at}")


def before(incident: Row) -> None:
    """What was deployed before it began, and since when it seems to be."""
    diagnosis: Row = incident.get("diagnosis") or {}
    nearest: Row = diagnosis.get("nearest") or {}
    onset: Row = diagnosis.get("onset") or {}
    with st.container(border=True, key="assay-beside-before", gap="small"):
        st.markdown("**What came before it**")
        found: Row | None = nearest.get("found")
        if found:
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.badge(inert(found.get("what"), 20) or "change", icon=":material/rocket_launch:", color="blue")
                st.text(f"{inert(found.get('name'), 200)}, {moment(found.get('at_ns'))}")
            st.text(inert(nearest.get("said"), 300))
            _ways(incident, found)
        else:
            st.text(inert(nearest.get("said"), 300) or "Not known: it was not diagnosed yet.")
        if onset:
            with st.container(key="assay-quiet-onset"):
                low, high = moment(onset.get("low_ns")), moment(onset.get("high_ns"))
                between = "" if low == high else f"; between {low} and {high} with 95%"
                st.text(f"It began about {moment(onset.get('at_ns'))}{between}.")


def _ways(incident: Row, found: Row) -> None:
    app = str(incident["app"])
    with st.container(horizontal=True, gap="small"):
        if found.get("what") == "rollout":
            if st.button("The rollout", icon=":material/rocket_launch:", type="tertiary", key="incident-rollout"):
                if not found.get("id"):  # a diagnosis of an earlier version does not say which
                    links.open_rollouts()
                links.open_rollout(app, str(found["id"]))
        elif st.button("Releases", icon=":material/new_releases:", type="tertiary", key="incident-releases"):
            links.open_releases(app)


def causes(incident: Row) -> None:
    """The patterns by how well each fits."""
    diagnosis: Row = incident.get("diagnosis") or {}
    found: Sequence[Row] = [one for one in diagnosis.get("causes") or [] if _share(one) >= _LEAST_SHARE]
    if not diagnosis:
        st.text("It was not diagnosed yet: that is done with the next look, once a minute.")
        return
    if diagnosis.get("told") is None:
        with st.container(key="assay-strong-cause"):
            st.text(inert(diagnosis.get("why"), 500) or "No pattern fits.")
    for at, one in enumerate(found[:_SHOWN]):
        _cause(one, at, told=at == 0 and diagnosis.get("told") is not None)
    if len(found) > _SHOWN:
        with st.expander(f"{len(found) - _SHOWN} less likely", icon=":material/lightbulb:", key="incident-causes-more"):
            for at, one in enumerate(found[_SHOWN:], _SHOWN):
                _cause(one, at, told=False)
    unknown = list(diagnosis.get("unknown") or [])
    if unknown:
        with st.container(key="assay-quiet-unknown"):
            said = ", ".join(str(one).replace("_", " ") for one in unknown)
            st.text(inert(f"Nothing is known of: {said}. What nobody measures can speak for no cause.", 900))


def _share(one: Row) -> float:
    return words.known(one.get("share")) or 0.0


def _cause(one: Row, at: int, *, told: bool) -> None:
    with st.container(border=True, key=f"assay-cause-{at}", gap="small"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            with st.container(key=f"assay-heading-small-cause-{at}", width="content"):
                st.text(f"{at + 1}. {inert(one.get('title'), 160)}")
            if told:
                st.badge("to be checked first", icon=":material/flag:", color="red")
            st.text(f"{100 * _share(one):.0f}% of what fits", width="content")
        left, right = st.columns(2, gap="medium")
        with left:
            _reasons("Speaks for it", list(one.get("reasons") or []), "+", f"for-{at}")
        with right:
            _reasons("Speaks against it", list(one.get("against") or []), "\u2212", f"against-{at}")


def _reasons(title: str, reasons: Sequence[object], mark: str, key: str) -> None:
    with st.container(key=f"assay-beside-{key}", gap=None):
        st.caption(title)
        if not reasons:
            st.text("nothing")
        for reason in reasons[:_MOST_REASONS]:
            st.text(f"{mark} {inert(reason, 300)}")
