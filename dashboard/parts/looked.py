"""Who looks at the monitors, and when last: what "nothing fires" is worth. Nobody looking is said in red."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import streamlit as st

from dashboard import human
from dashboard.api import Row
from dashboard.parts import alert_words as words
from dashboard.parts import frame
from dashboard.text import inert

JOB: Final = "monitors"
LATE: Final = timedelta(minutes=2)  # behind its time, or at one look: it may be busy, and no more than that


@dataclass(frozen=True, kw_only=True)
class Looked:
    """How it stands. `problem` None: somebody looks. `at` is when the last look was over."""

    at: datetime | None
    n_on: int
    n_series: int
    problem: str | None
    failed: Sequence[str] = ()

    def words(self, now: datetime) -> str:
        """Who looked, and when: "5 monitors with 9 series were looked at 23 s ago"."""
        if self.at is None:
            return f"{human.plural(self.n_on, 'monitor')}, not looked at yet"
        verb = "was" if self.n_on == 1 else "were"
        what = f"{human.plural(self.n_on, 'monitor')} with {self.n_series:,} series"
        return f"{what} {verb} looked at {words.ago(self.at, now)} ago"


def looked(monitors: Sequence[Row], jobs: Sequence[Row], now: datetime) -> Looked:
    """From the lists of monitors and of jobs, as of `now`."""
    on = [one for one in monitors if one.get("status") == "on"]
    job = next((one for one in jobs if one.get("name") == JOB), None)
    n_series = sum(int(one.get("n_series") or 0) for one in on)
    at = None if job is None else frame.moment(job.get("succeeded_at"))
    failed = (job or {}).get("told") or {}
    return Looked(
        at=at,
        n_on=len(on),
        n_series=n_series,
        problem=_problem(on, job, at, now),
        failed=[f"{name}: {why}" for name, why in dict(failed.get("failed") or {}).items()],
    )


def _problem(on: Sequence[Row], job: Row | None, at: datetime | None, now: datetime) -> str | None:
    """Why nobody looks; None where somebody does, or nothing is to be looked at."""
    if not on:
        return None
    since = max((found for one in on if (found := frame.moment(one.get("changed_at"))) is not None), default=now)
    if job is None or (at is None and job.get("state") in ("queued", None)):
        return None if now - since < LATE else "No server has looked at them since they were made."
    if job.get("state") == "dead":
        return f"Looking was given up after {int(job.get('tries') or 0)} tries: {job.get('error') or 'not known why'}"
    last = "It never succeeded." if at is None else f"The last look was {words.ago(at, now)} ago."
    if job.get("error") and (at is None or now - at > LATE):
        return f"{last} It fails: {job['error']}"
    begun = frame.moment(job.get("started_at"))
    if job.get("state") == "running":
        waits = begun is not None and now - begun > 5 * LATE
        return f"{last} The one under way began {words.ago(begun, now)} ago and does not end." if waits else None
    due = frame.moment(job.get("due"))
    if due is not None and now - due > LATE:
        return f"{last} The next was due {words.ago(due, now)} ago, and no server takes it."
    return None


def show(found: Looked, now: datetime | None = None) -> None:
    """One line where somebody looks; a red box where nobody does."""
    now = now or datetime.now(UTC)
    if found.problem is not None:
        with st.container(border=True, key="assay-unhealthy-looked", gap="small"):
            st.badge("nobody looks", icon=":material/visibility_off:", color="red")
            with st.container(key="assay-strong-looked"):
                st.text(inert(found.problem, 400))
            st.caption("Nothing new can fire while nobody looks. Is a server running?")
            st.code("assay doctor", language="bash")
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="assay-quiet-looked"):
        st.text(f"{found.words(now)}.")
    for one in found.failed[:4]:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.badge("not looked at", icon=":material/visibility_off:", color="orange")
            st.text(inert(one, 300))
