"""Jobs: what servers do by the clock, what of it fails and is done again from here, and work that waits;
`?job=NAME` is one of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import streamlit as st

from dashboard import human, links
from dashboard.api import Api, Row
from dashboard.parts import arrow, callers, frame, job_actions, job_runs, lists, states, verdict
from dashboard.parts import job_words as words
from dashboard.text import inert, one_line

_EVERY_S: Final = 5.0
_GRID: Final = "jobs-list"


@st.cache_data(ttl=4, max_entries=8, show_spinner=False)
def _listed(_api: Api) -> tuple[list[Row], list[Row]]:
    """All jobs, and the work that was asked for."""
    jobs, asked = _api.together([("/jobs", {}), ("/work", {})])
    return words.ranked(jobs), asked


@st.cache_data(ttl=4, max_entries=16, show_spinner=False)
def _one(_api: Api, name: str) -> Row:
    return _api.get(_api.job_path(name))


@states.guarded
def show() -> None:
    """The page."""
    name = st.query_params.get("job", "").strip()
    if name:
        _job(name)
    else:
        _list()


def _list() -> None:
    caller = callers.current()
    with st.container(
        horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute", key="assay-head"
    ):
        with st.container(width="content", gap=None):
            st.title("Jobs", anchor=False)
            st.caption(f"What servers do by the clock, each job by one of them · times in {frame.zone_words()}")
        callers.offer(caller)
    with states.skeleton():
        jobs, asked = _listed(states.api())
    if not jobs and not asked:
        _nothing()
        return
    with st.container(key="assay-live-jobs"):
        st.fragment(_drawn, run_every=_EVERY_S)()


@states.refreshed
def _drawn() -> None:
    """All of it, drawn anew while one looks."""
    jobs, asked = _listed(states.api())
    caller, now = callers.current(), datetime.now(UTC)
    counts = {state: sum(one["state"] == state for one in jobs) for state in words.STATES}
    frame.numbers(
        [
            ("Jobs", human.count(len(jobs))),
            ("Dead", human.count(counts["dead"])),
            ("Failing", human.count(counts["retrying"] + counts["failed"])),
            ("Running", human.count(counts["running"])),
            ("Asked for, not over", human.count(len(asked))),
        ],
        "jobs",
    )
    for at, one in enumerate(one for one in jobs if one["state"] in words.FAILING):
        _card(caller, one, at, now)
    if any(words.is_late(one, now) for one in jobs):
        st.text("Some jobs were due minutes ago and no server has begun them: is one running that does them?")
    chosen = _grid(jobs, now) if jobs else None
    if chosen is not None and chosen < len(jobs):
        st.session_state[f"{_GRID}-generation"] = int(st.session_state.get(f"{_GRID}-generation", 0)) + 1
        links.open_job(str(jobs[chosen]["name"]))
    st.caption("A click on a row opens the job. The page is read anew every five seconds.")
    _asked(asked, now)


def _nothing() -> None:
    with st.container(border=True, key="assay-empty-jobs"):
        st.subheader("No jobs yet", anchor=False, icon=":material/manage_history:")
        st.caption("Jobs come with what there is to do. Score sessions as they end, and watch how they go:")
        st.code(
            "assay eval online set APP --evaluators loop_free,tokens\nassay monitors create --defaults --app APP",
            language="bash",
            wrap_lines=True,
        )


def _card(caller: callers.Caller, one: Row, at: int, now: datetime) -> None:
    """A job that fails: what it says, what becomes of it, and the button that does it again."""
    with st.container(border=True, key=f"assay-job-card-{at}", gap="small"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            with st.container(horizontal=True, vertical_alignment="center", gap="small", width="content"):
                verdict.badge(verdict.of(words.STATES, one["state"]))
                with st.container(key=f"assay-heading-small-job-{at}", width="content"):
                    st.text(inert(one["title"], 80))
                after = words.following(one, now)
                st.caption(after if after.startswith("due") else f"next {after}", width="content")
            job_actions.offer(caller, one, f"job-card-{at}")
        with st.container(key=f"assay-error-text-job-{at}"):
            st.text(inert(one["error"], 600))
        st.caption(words.asks(one))


def _grid(jobs: Sequence[Row], now: datetime) -> int | None:
    with st.container(key="assay-table"):
        state: Any = st.dataframe(
            arrow.table(
                {
                    "Job": [one_line(one["title"], 80) for one in jobs],
                    "State": [[verdict.of(words.STATES, one["state"]).title] for one in jobs],
                    "Schedule": [one_line(one["schedule"], 60) or None for one in jobs],
                    "Last run": [frame.moment(one["started_at"]) for one in jobs],
                    "Took": [human.duration(one["took_ms"]) for one in jobs],
                    "Trend": [words.course(one) or None for one in jobs],
                    "Next": [words.following(one, now) for one in jobs],
                    "What it did": [one_line(words.result(one), 240) or None for one in jobs],
                    "Runs": [one["n_runs"] for one in jobs],
                }
            ),
            height=min(560, 42 * (len(jobs) + 1) + 2),
            hide_index=True,
            row_height=42,
            key=f"{_GRID}-{st.session_state.get(f'{_GRID}-generation', 0)}",
            column_config=_columns(),
            on_select="rerun",
            selection_mode="single-cell",
            placeholder="–",
            lazy=False,
        )
    picked = state["selection"]["cells"]
    return int(picked[0][0]) if picked else None


def _columns() -> dict[str, Any]:
    column = st.column_config
    return {
        "Job": column.TextColumn(width=180),
        "State": column.MultiselectColumn(
            options=[one.title for one in words.STATES.values()],
            color=[one.colour for one in words.STATES.values()],
            width=110,
        ),
        "Schedule": column.TextColumn(width=160),
        "Last run": column.DatetimeColumn(format="D MMM HH:mm:ss", width=125),
        "Took": column.TextColumn(width=75, alignment="right"),
        "Trend": column.BarChartColumn(width=120, y_min=0, help="How long the newest runs took"),
        "Next": column.TextColumn(width=130),
        "What it did": column.TextColumn(width=300),
        "Runs": column.NumberColumn(format="localized", width=70),
    }


def _asked(asked: Sequence[Row], now: datetime) -> None:
    """Work that people, or jobs, asked for; each kind has a page of its own for what is over."""
    st.subheader("Asked for, not over", anchor=False)
    if not asked:
        st.text("No evaluation run, job of a judge or run of clusters waits.")
        return
    column = st.column_config
    lists.plain_table(
        {
            "What": [words.KINDS.get(str(one["kind"]), "Other") for one in asked],
            "Of": [one_line(one["what"], 80) or None for one in asked],
            "App": [one_line(one["app"], 80) or None for one in asked],
            "State": [[verdict.of(words.STATES, one["state"]).title] for one in asked],
            "Done": [_share(one) for one in asked],
            "Asked": [words.apart(one["asked_at"], now) for one in asked],
            "By": [one_line(one["asked_by"], 60) or None for one in asked],
            "Id": [one_line(one["id"], 60) for one in asked],
        },
        {
            "State": column.MultiselectColumn(options=["Queued", "Running"], color=["blue", "blue"], width=110),
            "Done": column.TextColumn(width=120, alignment="right"),
        },
        "jobs-asked",
    )


def _share(one: Row) -> str | None:
    if one["n_all"] is None:
        return None
    return f"{one['n_all']:,}" if one["n_done"] is None else f"{one['n_done']:,} of {one['n_all']:,}"


def _job(name: str) -> None:
    with states.skeleton():
        _one(states.api(), name)
    caller = callers.current()
    with st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", key="assay-crumbs"
    ):
        if st.button("Jobs", icon=":material/arrow_back:", type="tertiary", key="to-jobs"):
            links.open_jobs()
        callers.offer(caller)
    with st.container(key="assay-live-job"):
        st.fragment(_details, run_every=_EVERY_S)(name)


@states.refreshed
def _details(name: str) -> None:
    """One job with its runs, drawn anew while one looks."""
    job, caller, now = _one(states.api(), name), callers.current(), datetime.now(UTC)
    with st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", key="assay-job-head"
    ):
        with st.container(horizontal=True, vertical_alignment="center", gap="small", width="content"):
            with st.container(width="content"):
                frame.heading(job["title"], "job", page="Job")
            verdict.badge(verdict.of(words.STATES, job["state"]))
        job_actions.offer(caller, job, "job")
    frame.facts(
        (
            ("Schedule", job["schedule"]),
            ("Next", words.following(job, now)),
            ("Last run", words.apart(job["started_at"], now) if job["started_at"] else None),
            ("Last done", words.apart(job["succeeded_at"], now) if job["succeeded_at"] else None),
            ("Took", human.duration(job["took_ms"])),
            ("Runs", f"{job['n_runs']:,}"),
            ("It did", job["said"]),
            ("Done by", job["owner"]),
            ("Name", job["name"]),
        ),
        "job",
    )
    if job["state"] in words.FAILING:
        with st.container(key="assay-loud-job"):
            st.text(inert(job["error"], 1_000))
            st.caption(words.asks(job))
    job_runs.show(job)
