"""Rollouts: canaries under way and past, and one with its evidence, `?app=APP&id=…`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import streamlit as st

from dashboard import human, links
from dashboard.api import Api, Row
from dashboard.parts import (
    arrow,
    callers,
    frame,
    lists,
    rollout_actions,
    rollout_evidence,
    rollout_steps,
    rollout_timeline,
    states,
    verdict,
)
from dashboard.text import inert, label, one_line

_EVERY_S: Final = 3.0
_LIST_EVERY_S: Final = 5.0
_OPEN: Final = frozenset({"waiting", "running", "paused"})
_DRAWN: Final = "rollout-drawn-status"


@st.cache_data(ttl=4, max_entries=8, show_spinner=False)
def _listed(_api: Api) -> list[Row]:
    return _api.page("/rollouts", {}).items


@st.cache_data(ttl=2, max_entries=16, show_spinner=False)
def _one(_api: Api, app: str, rollout_id: str) -> Row:
    """Kept for less than the time between two refreshes, so that viewers of one page share an answer."""
    return _api.get(_api.rollout_path(app), {"id": rollout_id})


@states.guarded
def show() -> None:
    """The page."""
    app = st.query_params.get("app", "").strip()
    if app:
        _rollout(app, st.query_params.get("id", "").strip())
    else:
        _list()


def _list() -> None:
    with st.container(width="content", gap=None, key="assay-head"):
        st.title("Rollouts", anchor=False)
        st.caption(f"Releases on their way into traffic, step by step · times in {frame.zone_words()}")
    with states.skeleton():
        rows = _listed(states.api())
    if not rows:
        _nothing()
        return
    with st.container(key="assay-live-rollouts"):
        st.fragment(_rows, run_every=_LIST_EVERY_S)()


@states.refreshed
def _rows() -> None:
    """All of them, drawn anew while one looks."""
    rows = _listed(states.api())
    counts = [(said.title, sum(one["status"] == word for one in rows)) for word, said in verdict.ROLLOUT.items()]
    frame.numbers([(title, human.count(n)) for title, n in counts], "rollouts")
    chosen = _grid(rows, "rollouts-list")
    if chosen is not None and chosen < len(rows):
        _open(rows[chosen])
    st.caption("A click on a row opens the rollout. The list is read anew every five seconds.")


def _open(one: Row) -> None:
    links.open_rollout(str(one["app"]), str(one["id"]))


def _nothing() -> None:
    with st.container(border=True, key="assay-empty-rollouts"):
        st.subheader("No rollouts yet", anchor=False, icon=":material/rocket_launch:")
        st.caption("Send a release to 1% of the traffic, and on while its guardrails hold:")
        st.code(
            "assay deploy APP RELEASE --canary 1,5,25,50,100 --bake 30m\nassay rollouts show APP",
            language="bash",
            wrap_lines=True,
        )


def _grid(rows: Sequence[Row], key: str) -> int | None:
    column = st.column_config
    titles = {said.title: said.colour for said in verdict.ROLLOUT.values()}
    with st.container(key="assay-table" if key == "rollouts-list" else f"assay-grid-{key}"):
        state: Any = st.dataframe(
            arrow.table(
                {
                    **({"App": [one_line(one["app"], 60) for one in rows]} if key == "rollouts-list" else {}),
                    "Status": [[verdict.of(verdict.ROLLOUT, one["status"]).title] for one in rows],
                    "Candidate": [one_line(one["candidate"], 60) for one in rows],
                    "Baseline": [one_line(one["baseline"], 60) for one in rows],
                    "Step": [_step(one) for one in rows],
                    "Why": [one_line("; ".join(map(str, one.get("reasons") or [])), 240) or None for one in rows],
                    "Started": [frame.moment(one.get("started_at")) for one in rows],
                    "Ended": [frame.moment(one.get("ended_at")) for one in rows],
                }
            ),
            height=min(430, 38 * (len(rows) + 1) + 2),
            hide_index=True,
            row_height=38,
            key=key,
            column_config={
                **{name: column.TextColumn(width=110) for name in ("App", "Candidate", "Baseline")},
                "Status": column.MultiselectColumn(options=list(titles), color=list(titles.values()), width=115),
                "Step": column.TextColumn(width=105),
                "Why": column.TextColumn(width=385),
                **{name: column.DatetimeColumn(format="D MMM HH:mm", width=100) for name in ("Started", "Ended")},
            },
            on_select="rerun",
            selection_mode="single-cell",
            placeholder="–",
            lazy=False,
        )
    picked = state["selection"]["cells"]
    return int(picked[0][0]) if picked else None


def _step(one: Row) -> str | None:
    steps: Sequence[Row] = one.get("steps") or []
    at = one.get("step")
    if at is None or not 0 <= int(at) < len(steps):
        return None
    return f"{rollout_steps.weight(steps[int(at)]['weight'])} ({int(at) + 1} of {len(steps)})"


def _rollout(app: str, rollout_id: str) -> None:
    with states.skeleton():
        told = _one(states.api(), app, rollout_id)
        earlier = [one for one in _listed(states.api()) if one["app"] == app and one["id"] != told["id"]]
    caller = callers.current()
    is_open = str(told["status"]) in _OPEN
    with st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", key="assay-crumbs"
    ):
        if st.button("Rollouts", icon=":material/arrow_back:", type="tertiary", key="to-rollouts"):
            links.open_rollouts()
        with st.container(horizontal=True, width="content", vertical_alignment="center"):
            live = is_open and st.toggle("Live", value=True, key="rollout-live", persist_state="session")
            rollout_actions.offer(caller, told)
            callers.offer(caller)
    with st.container(width="content"):
        frame.heading(f"{app}: {told['candidate']} in place of {told['baseline']}", "rollout", page="Rollout")
    _ways(told)
    st.session_state[_DRAWN] = (told["id"], told["status"])
    with st.container(key="assay-live-rollout"):
        st.fragment(_standing, run_every=_EVERY_S if live else None)(app, str(told["id"]))
    if earlier:
        st.subheader("Other rollouts of this app", anchor=False)
        chosen = _grid(earlier, "rollouts-earlier")
        if chosen is not None and chosen < len(earlier):
            _open(earlier[chosen])


def _ways(told: Row) -> None:
    """To what both releases did, and what they are."""
    app = str(told["app"])
    with st.container(horizontal=True, gap="medium", vertical_alignment="center", key="assay-rollout-ways"):
        for role in ("candidate", "baseline"):
            name = str(told[role])
            if st.button(f"Traces of {label(name, 30)}", icon=":material/account_tree:", type="tertiary",
                         key=f"rollout-traces-{role}"):  # fmt: skip
                links.open_traces(app, name, since=frame.whole_days(told.get("started_at")))
        if st.button("Releases", icon=":material/new_releases:", type="tertiary", key="rollout-releases"):
            links.open_releases(app)
        st.caption(f"times in {frame.zone_words()}", width="content")


@states.refreshed
def _standing(app: str, rollout_id: str) -> None:
    """What changes while one looks; where its status did, the whole page is drawn anew, buttons too."""
    told = _one(states.api(), app, rollout_id)
    if st.session_state.get(_DRAWN) != (told["id"], told["status"]):
        st.rerun(scope="app")
    _status(told)
    _required(told)
    rollout_steps.show(told)
    st.subheader("Evidence", anchor=False)
    rollout_evidence.show(told)
    st.subheader("Timeline", anchor=False)
    rollout_timeline.show(told)
    _policy(told)


def _status(told: Row) -> None:
    said = verdict.of(verdict.ROLLOUT, told["status"])
    with st.container(border=True, key="assay-rollout-status", gap="small"):
        with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
            verdict.large(said, "rollout")
            if told["status"] == "running" and told["timeline"] and told["timeline"][-1]["kind"] == "hold":
                st.badge("holds where it is", icon=":material/hourglass_top:", color="orange")
        with st.container(key="assay-rollout-reasons", gap=None):
            for reason in _together(told)[:8]:
                st.text(inert(reason, 500))
            if told["status"] == "waiting" and not told["reasons"]:
                st.text("It begins with its first step once it has what it requires.")
        if told.get("bypass"):
            with st.container(horizontal=True, gap="small", key="assay-rollout-bypass"):
                st.badge("not tested", icon=":material/gpp_maybe:", color="orange")
                st.text(inert(told["bypass"], 400))
        frame.facts(
            (
                ("Step", _step(told)),
                ("Started", _when(told.get("started_at"))),
                ("Ended", _when(told.get("ended_at"))),
                ("Requires", _requires(told.get("requires"))),
                ("Approved by", told.get("approved_by")),
                ("Begun by", told.get("started_by")),
                ("Policy", str(told.get("policy_hash") or "")[:12]),
            ),
            "rollout",
        )


def _together(told: Row) -> list[str]:
    """The reasons, what is said of several guardrails in the same words once: "cost, resolution: 0 mature units…"."""
    names = {str(one["name"]) for one in told["guardrails"]}
    found: dict[str, list[str]] = {}
    for reason in map(str, told["reasons"]):
        name, colon, rest = reason.partition(": ")
        whose, text = ([name], rest) if colon and name in names else ([], reason)
        found.setdefault(text, []).extend(whose)
    return [f"{', '.join(whose)}: {text}" if whose else text for text, whose in found.items()]


def _required(told: Row) -> None:
    """What a waiting one still waits for, check by check."""
    requires = told.get("requires") or {}
    wanted = list(requires.get("checks") or [])
    if str(told["status"]) != "waiting" or not (wanted or requires.get("approval") or requires.get("gate")):
        return
    api = states.api()
    reported = api.get(api.rollout_path(str(told["app"]), "checks"), {"release": told["candidate"]})["items"]
    newest = {str(one["name"]): one for one in reversed(reported)}
    with st.container(border=True, key="assay-rollout-checks", gap="small"):
        st.markdown("**What it requires**")
        if requires.get("gate"):
            _requirement(None, "the newest decision of its gate passes", "gate")
        if requires.get("approval"):
            by = told.get("approved_by")
            _requirement(by is not None, f"approval{f' by {by}' if by else ''}", "approval")
        for at, name in enumerate(wanted):
            one = newest.get(str(name))
            said = [str(name), *([one["note"], f"by {one['made_by']}"] if one else ["not reported"])]
            failed = one is not None and not one["passed"]
            _requirement(one is not None and one["passed"], " · ".join(part for part in said if part), f"{at}", failed)


def _requirement(there: bool | None, said: str, key: str, failed: bool = False) -> None:
    """One line; `there` None: this page does not know."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"assay-required-{key}"):
        if failed:
            st.badge("failed", icon=":material/cancel:", color="red")
        elif there:
            st.badge("there", icon=":material/check_circle:", color="green")
        elif there is None:
            st.badge("required", icon=":material/traffic:", color="gray")
        else:
            st.badge("missing", icon=":material/hourglass_empty:", color="orange")
        st.text(inert(said, 300))


def _requires(found: object) -> str | None:
    """What has to be there before the first step: "gate, approval"."""
    if not isinstance(found, dict):
        return None
    said = [name for name in ("gate", "approval") if found.get(name)]
    return ", ".join([*said, *map(str, found.get("checks") or [])]) or None


def _when(at: object) -> str | None:
    moment = frame.moment(at)
    return None if moment is None else f"{moment.day} {moment:%b %Y, %H:%M:%S}"


def _policy(told: Row) -> None:
    with st.expander("Policy", icon=":material/policy:", key="rollout-policy"):
        policy: Row = told.get("policy") or {}
        column = st.column_config
        steps: Sequence[Row] = policy.get("steps") or []
        lists.plain_table(
            {
                "Weight": [rollout_steps.weight(one["weight"]) for one in steps],
                "At least": [human.plural(one.get("min_units") or 0, "unit") for one in steps],
                "Bake": [human.duration(1000 * (one.get("bake_s") or 0)) for one in steps],
            },
            {name: column.TextColumn(width=130) for name in ("Weight", "At least", "Bake")},
            "rollout-policy",
        )
        frame.facts(
            (
                ("Alpha", f"{policy['alpha']:g}" if policy.get("alpha") else None),
                ("Unit", policy.get("unit")),
                ("Outcomes mature after", _seconds(policy.get("mature_s"))),
                ("Hash", told.get("policy_hash")),
            ),
            "rollout-policy",
        )


def _seconds(found: float | None) -> str | None:
    return human.duration(1000 * found) if found else None
