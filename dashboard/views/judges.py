"""Judges: which may be believed, and one judge with its evidence, `?judge=NAME&view=…`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import streamlit as st

from dashboard import human, links
from dashboard.api import Api, NotFound, Row
from dashboard.parts import (
    arrow,
    callers,
    corrected_rate,
    disagreements,
    estimates,
    frame,
    judge_actions,
    judge_agreement,
    judge_biases,
    judge_commands,
    judge_runs,
    states,
)
from dashboard.text import one_line

_VIEWS: Final = {
    "agreement": "Agreement",
    "rate": "Corrected rate",
    "biases": "Biases and canaries",
    "disagreements": "Disagreements",
    "runs": "Runs and cost",
}
_MOST: Final = 60  # judges of the list of which everything is told: those of here, and those that were calibrated
_RUNS: Final = 200
_SINCE: Final = {"7d": "7 days", "30d": "30 days", "90d": "90 days", "3650d": "All time"}


@st.cache_data(ttl=8, max_entries=8, show_spinner=False)
def _listed(_api: Api) -> tuple[list[tuple[Row, Row, Row, list[Row]]], int]:
    """Each judge with itself, its calibrations and its runs; how many more there are. An import can bring dozens that
    nobody calibrates: those of which something is known come first."""
    every = sorted(_api.page("/judges", {}).items, key=_place)
    items = every[:_MOST]
    parts = [("", {}), ("calibrations", {"limit": 100}), ("runs", {"limit": _RUNS})]
    wanted = [
        (_api.judge_path(str(one["name"]), *([part] if part else [])), given) for one in items for part, given in parts
    ]
    told = _api.objects(wanted)
    rows = [(one, told[3 * at], told[3 * at + 1], list(told[3 * at + 2]["items"])) for at, one in enumerate(items)]
    return rows, len(every) - len(items)


def _place(judge: Row) -> tuple[bool, bool, str]:
    elsewhere = all(str(one).startswith("imported:") for one in judge["models"])
    return elsewhere and judge["calibrated_at"] is None, elsewhere, str(judge["name"])


@st.cache_data(ttl=8, max_entries=32, show_spinner=False)
def _one(_api: Api, name: str) -> tuple[Row, Row, list[Row]]:
    """A judge, its calibrations, its runs."""
    paths = [(_api.judge_path(name), {}), (_api.judge_path(name, "calibrations"), {"limit": 100})]
    judge, calibrations, runs = _api.objects([*paths, (_api.judge_path(name, "runs"), {"limit": _RUNS})])
    return judge, calibrations, list(runs["items"])


@st.cache_data(ttl=8, max_entries=32, show_spinner=False)
def _newest(_api: Api, name: str) -> Row | None:
    """The newest calibration of the version that holds, None where there is none."""
    try:
        return _api.get(_api.judge_path(name, "calibrations", "newest"))
    except NotFound:
        return None


@states.guarded
def show() -> None:
    """The page."""
    name = st.query_params.get("judge", "").strip()
    if name:
        _judge(name)
    else:
        _list()


def _list() -> None:
    st.title("Judges", anchor=False)
    st.caption(
        "An LLM judge is a measuring instrument: it may block a release or page someone only while its agreement with "
        "people is proved."
    )
    with states.skeleton():
        rows, n_more = _listed(states.api())
    if not rows:
        _nothing()
        return
    counts = {state: sum(told["certificate"]["state"] == state for _, _, told, _ in rows) for state in
              judge_agreement.STATES}  # fmt: skip
    spent = human.usd(sum(judge_runs.week_usd(runs, told["items"]) for *_, told, runs in rows))
    cells = [(state.capitalize(), human.count(n)) for state, n in counts.items()]
    frame.numbers([*cells, ("Judging this week", spent)], "judges")
    chosen = _grid(rows)
    if chosen is not None and chosen < len(rows):
        links.open_judge(str(rows[chosen][0]["name"]))
    st.caption("A click on a row opens the judge. Kappa's 95% bounds are those that decide against the bar.")
    if n_more:
        st.caption(f"{n_more:,} more, imported and uncalibrated ones last: assay judges list shows them all.")


def _nothing() -> None:
    with st.container(border=True, key="assay-empty-judges"):
        st.subheader("No judges yet", anchor=False, icon=":material/gavel:")
        st.caption("A judge is a rubric and a model. Make one, see what a run would cost, let it judge:")
        st.code(
            "assay judges create helpfulness --rubric rubrics/helpfulness/v3.md --model openai:gpt-5-mini\n"
            f"{judge_commands.run('helpfulness')}",
            language="bash",
            wrap_lines=True,
        )
        st.caption("or bring verdicts and labels from elsewhere, and see what they are worth:")
        st.code("assay import verdicts FILE\nassay judges calibrate NAME", language="bash", wrap_lines=True)


def _grid(rows: Sequence[tuple[Row, Row, Row, list[Row]]]) -> int | None:
    column = st.column_config
    told = [calibrations["certificate"] for _, _, calibrations, _ in rows]
    newest = [_of_version(judge, calibrations["items"]) for judge, _, calibrations, _ in rows]
    cells: dict[str, Sequence[object]] = {
        "Judge": [one_line(judge["name"], 80) for judge, *_ in rows],
        "State": [[str(one["state"])] for one in told],
        "Kappa (95% bounds)": [_kappa(*both) for both in zip(told, newest, strict=True)],
        "Bar": [one["bar"] for one in told],
        "People": [one.get("human_ceiling") for one in newest],
        "Labels": [one["n"] or None for one in told],
        "What to do": [_next(one, last) for one, last in zip(told, newest, strict=True)],
        "Calibrated": [frame.moment(one["calibrated_at"]) for one in told],
        "This week": [human.usd(judge_runs.week_usd(runs, one["items"])) for *_, one, runs in rows],
        "Watches": [_watches(shown["schedules"]) for _, shown, *_ in rows],
        "Rubric": [one_line(f"{judge['rubric']} v{judge['rubric_version']}", 60) for judge, *_ in rows],
        "Models": [one_line(", ".join(judge["models"]), 120) for judge, *_ in rows],
    }
    with st.container(key="assay-table"):
        state: Any = st.dataframe(
            arrow.table(cells),
            height=min(560, 38 * (len(rows) + 1)),
            hide_index=True,
            row_height=38,
            key="judges-list",
            column_config={
                "Judge": column.TextColumn(width=230),
                "State": column.MultiselectColumn(
                    options=list(judge_agreement.STATES),
                    color=[colour for colour, _ in judge_agreement.STATES.values()],
                    width=125,
                ),
                "Kappa (95% bounds)": column.TextColumn(width=155),
                "Bar": column.NumberColumn(format="%.2g", width=50),
                "People": column.NumberColumn(
                    format="%.2f", width=68, help="Kappa of people among themselves: the ceiling"
                ),
                "Labels": column.NumberColumn(format="localized", width=65),
                "What to do": column.TextColumn(width=190),
                "Calibrated": column.DatetimeColumn(format="D MMM YYYY", width=105),
                "This week": column.TextColumn(width=80, alignment="right"),
                "Watches": column.TextColumn(width=105),
                "Rubric": column.TextColumn(width=150),
                "Models": column.TextColumn(width=180),
            },
            on_select="rerun",
            selection_mode="single-cell",
            placeholder="–",
            lazy=False,
        )
    picked = state["selection"]["cells"]
    return int(picked[0][0]) if picked else None


def _of_version(judge: Row, items: Sequence[Row]) -> Row:
    """The newest calibration where it is of the version that holds."""
    return items[0] if items and items[0]["version"] == judge["version"] else {}


def _kappa(certificate: Row, newest: Row) -> str | None:
    low, high, value = certificate["kappa_low"], certificate["kappa_high"], newest.get("kappa")
    if low is None or high is None:
        return None
    bounds = f"{estimates.number(low)} to {estimates.number(high)}"
    return bounds if value is None else f"{estimates.number(value)} ({bounds})"


def _watches(schedules: Sequence[Row]) -> str | None:
    on = [one for one in schedules if one["on"]]
    return one_line(", ".join(f"{one['app']} {100 * one['share']:.3g}%" for one in on), 120) or None


def _next(certificate: Row, newest: Row) -> str | None:
    """What would bring it on."""
    if certificate["state"] == "certified":
        return None
    if certificate["calibrated_at"] is None or not newest:
        return "calibrate it"
    if certificate["state"] == "failed":
        return "change the rubric or the model"
    more = newest.get("labels_more")
    return f"label {more:,} more" if more else one_line(certificate["reason"], 120)


def _judge(name: str) -> None:
    with states.skeleton():
        judge, calibrations, runs = _one(states.api(), name)
        told = _newest(states.api(), name)
        apps = _apps(states.api(), judge)
    caller = callers.current()
    with st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", key="assay-crumbs"
    ):
        if st.button("Judges", icon=":material/arrow_back:", type="tertiary", key="to-judges"):
            links.open_judges()
        with st.container(horizontal=True, width="content", vertical_alignment="center"):
            judge_actions.offer(caller, judge, apps)
            callers.offer(caller)
    _head(judge, calibrations)
    judge_actions.under_way(name, calibrations["under_way"])
    judge_agreement.statement(calibrations["certificate"], told)
    if told is not None:
        judge_agreement.figures(told)
    view = _view()
    if view == "rate":
        _rate(judge, apps)
    elif view == "disagreements":
        disagreements.show(name)
    elif view == "runs":
        judge_runs.show(judge, runs, calibrations["items"])
    elif told is None:
        _uncalibrated(name)
    elif view == "biases":
        judge_biases.show(told["report"])
    else:
        judge_agreement.details(told, [one for one in calibrations["items"] if one["version"] == judge["version"]])


def _head(judge: Row, calibrations: Row) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="assay-judge-head"):
        with st.container(width="content"):
            frame.heading(judge["name"], "judge", page="Judge")
        judge_agreement.badge(str(calibrations["certificate"]["state"]))
    frame.facts(
        (
            ("Rubric", f"{judge['rubric']} v{judge['rubric_version']}"),
            ("Models", ", ".join(judge["models"])),
            ("Version", judge["version"]),
            ("App", judge["app"]),
            ("Temperature", f"{judge['temperature']:g}"),
            ("Repeats", f"{judge['repeats']}" if judge["repeats"] > 1 else None),
            ("Calibrated", _day(calibrations["certificate"]["calibrated_at"])),
            ("Made by", judge["made_by"]),
        ),
        "judge",
    )


def _day(at: object) -> str | None:
    moment = frame.moment(at)
    return None if moment is None else f"{moment.day} {moment:%b %Y, %H:%M}"


def _view() -> str:
    wanted = st.query_params.get("view", "")
    chosen: str | None = st.segmented_control(
        "View",
        list(_VIEWS),
        default=wanted if wanted in _VIEWS else "agreement",
        format_func=_VIEWS.__getitem__,
        key="judge-view",
        label_visibility="collapsed",
        required=True,
    )
    view = chosen or "agreement"
    if view != wanted:
        st.query_params["view"] = view
    return view


def _uncalibrated(name: str) -> None:
    with st.container(border=True, key="assay-empty-calibration"):
        st.subheader("Not calibrated yet", anchor=False, icon=":material/straighten:")
        st.caption("Label some of what it judged, then compare; 50 labels are a beginning:")
        command = f"{judge_commands.label(name)}\n{judge_commands.calibrate(name)}"
        st.code(command, language="bash", wrap_lines=True)


@st.cache_data(ttl=30, max_entries=32, show_spinner=False)
def _apps(_api: Api, judge: Row) -> list[str]:
    """Apps that it judged, judges or is for, and then all others."""
    own = [judge["app"], *(one["app"] for one in judge["schedules"]), *(one["app"] for one in judge["runs"])]
    for target in ("session", "turn"):
        asked = {"evaluator": judge["name"], "kind": "judge", "target": target, "since": "3650d"}
        own += list(_api.get("/scores/figures", asked)["scores"][0]["apps"])
    others = [one.get("app") for one in _api.page("/apps", {"since": "3650d"}).items]
    return [str(one) for one in dict.fromkeys([*own, *others]) if one and not str(one).startswith("assay.")]


def _rate(judge: Row, apps: Sequence[str]) -> None:
    if not apps:
        st.text("No app has sent a session yet.")
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        app = st.selectbox(
            "App",
            apps,
            key="judge-rate-app",
            label_visibility="collapsed",
            format_func=lambda one: one_line(one, 40),
            width=260,
            icon=":material/smart_toy:",
        )
        since = st.segmented_control(
            "Sessions of the last", list(_SINCE), default="3650d", format_func=_SINCE.__getitem__, required=True,
            key="judge-rate-since", label_visibility="collapsed",
        )  # fmt: skip
    corrected_rate.show(str(judge["name"]), str(app), {"since": str(since or "3650d")}, "judge")
