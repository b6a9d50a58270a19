"""What is watched of a cluster, for everyone who reads its page: since when, from when on an alert, the last one."""

from __future__ import annotations

import streamlit as st

from dashboard import human
from dashboard.api import Row
from dashboard.parts import cluster_words as words
from dashboard.parts import finding, frame, verdict
from dashboard.text import inert


def show(cluster: Row) -> None:
    """Nothing where nobody watches it."""
    watch: Row | None = cluster.get("watch")
    if not watch:
        return
    alerts = list(watch.get("alerts") or [])
    with st.container(border=True, key="assay-cluster-watch", gap="small"):
        frame.facts(
            (
                ("Watched", "its share of the app's sessions"),
                ("Was, in the week before", words.share(watch.get("rate"))),
                ("An alert when surely over", f"{words.times(watch.get('min_ratio'))} that, or when it emerges"),
                ("Told", _told(watch)),
                ("Since", _when(watch.get("made_at"))),
                ("By", watch.get("made_by")),
                ("Alerts", human.count(len(alerts)) if alerts else "none yet"),
            ),
            "cluster-watch",
        )
        for last in alerts[:1]:
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                verdict.badge(verdict.of(finding.ALERTS, last.get("state")))
                st.text(f"{_when(last.get('at')) or ''}: {inert(last.get('text'), 300)}")


def _told(watch: Row) -> str:
    host = f", {inert(watch['host'], 120)}" if watch.get("host") else ""
    return f"page Emerging, addresses of the settings{host}"


def _when(at: object) -> str | None:
    moment = frame.moment(at)
    return None if moment is None else f"{moment.day} {moment:%b %Y, %H:%M}"
