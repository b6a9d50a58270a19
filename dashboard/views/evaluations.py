"""Evaluations: runs of datasets on releases, and one run with its figures and trials (`?run=RUN`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import streamlit as st

from dashboard import human, links
from dashboard.api import Api, Row
from dashboard.parts import address, frame, online_card, states
from dashboard.parts.differences import value
from dashboard.text import inert, one_line

_MOST_RUNS: Final = 200
_MOST_TRIALS: Final = 500
_MOST_METRICS: Final = 6  # columns of the table of trials
_EVERY_S: Final = 3.0
_ALL: Final = "All trials"
_COLOURS: Final = {"done": "green", "failed": "red", "cancelled": "orange", "running": "blue", "waiting": "gray"}
_ICONS: Final = {
    "done": "check_circle",
    "failed": "error",
    "cancelled": "cancel",
    "running": "progress_activity",
    "waiting": "schedule",
}


@states.guarded
def show() -> None:
    """The page."""
    run_id = st.query_params.get("run", "").strip()
    if run_id:
        _run(run_id)
    else:
        _list()
        online_card.card(states.api().get("/evaluators/online"))


def _list() -> None:
    st.title("Evaluations", anchor=False)
    st.caption("Runs of a dataset on a release. Means are over examples, with their 95% interval.")
    items = states.api().page("/runs", _asked() | {"limit": _MOST_RUNS}).items
    if not items:
        _nothing()
        return
    columns: dict[str, Sequence[object]] = {
        "begun": [frame.wall_clock(one["created_at"]) for one in items],
        "app": [one_line(one["app"], 60) for one in items],
        "release": [one_line(one["release"], 60) for one in items],
        "dataset": [one_line(_dataset(one), 80) for one in items],
        "status": [_status(one) for one in items],
        "cost": [human.usd(one["cost_usd"]) for one in items],
        "means": [one_line("  ·  ".join(map(_mean, one["metrics"][:4])), 300) for one in items],
        "run": [one["run_id"] for one in items],
    }
    chosen = _grid(columns, "runs", opens=True)
    if chosen is not None:
        links.open_run(str(items[chosen]["run_id"]))
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.caption("A click on a row opens the run.")
        if len(items) > 1 and st.button("Compare two runs", icon=":material/compare_arrows:", key="compare-runs"):
            links.open_comparison("", "")


def _asked() -> dict[str, str]:
    """Filters of the address: app, release, dataset."""
    given = {name: address.first("evaluations", name) for name in ("app", "release", "dataset")}
    return {name: text for name, text in given.items() if text}


def _nothing() -> None:
    with st.container(border=True, key="assay-empty-evaluations"):
        st.subheader("No runs yet", anchor=False, icon=":material/science:")
        st.caption("Try a dataset on a release; see first what that would cost:")
        st.code(
            "assay eval run DATASET --release RELEASE --dry-run\nassay eval run DATASET --release RELEASE --trials 4",
            language="bash",
            wrap_lines=True,
        )
        st.caption("or score what is stored already:")
        st.code("assay eval run --sessions-of-release --app APP --release RELEASE", language="bash", wrap_lines=True)


def _run(run_id: str) -> None:
    told = states.api().run(run_id)
    with st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", key="assay-crumbs"
    ):
        if st.button("Evaluations", icon=":material/arrow_back:", type="tertiary", key="to-evaluations"):
            links.open_evaluations()
        if st.button("Compare with a baseline", icon=":material/compare_arrows:", key="compare-run"):
            links.open_comparison("", run_id)
    frame.heading(f"{told['release']} on {_dataset(told)}", "run", page="Evaluation run")
    if told["status"] in ("waiting", "running"):
        st.fragment(_going, run_every=_EVERY_S)(run_id)
    else:
        _how(told)
    _facts(told)
    _figures(told["metrics"])
    _trials(told)


@states.guarded
def _going(run_id: str) -> None:
    """How far a run is, again and again until it is over."""
    told = states.api().run(run_id)
    if told["status"] not in ("waiting", "running"):
        st.rerun()
    _how(told)
    n_over = told["n_done"] + told["n_failed"]
    st.progress(min(1.0, n_over / max(1, told["n_trials"])), text=f"{n_over:,} of {told['n_trials']:,} trials")


def _how(told: Row) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="assay-run-state"):
        status = str(told["status"])
        st.badge(status, icon=f":material/{_ICONS[status]}:", color=_COLOURS[status])  # type: ignore[arg-type]
        failed = f", {told['n_failed']:,} failed" if told["n_failed"] else ""
        st.text(f"{told['n_done']:,} of {human.plural(told['n_trials'], 'trial')} done{failed}")
    if told["reason"]:
        with st.container(border=True, key="assay-error-text-run"):
            st.text(inert(told["reason"], 500))


def _facts(told: Row) -> None:
    frame.facts(
        (
            ("App", told["app"]),
            ("Outputs of", {"release": "the release", "traces": "stored traces", "file": "a file"}[told["source"]]),
            ("Trials of each example", f"{told['trials']}"),
            ("Cost", human.usd(told["cost_usd"])),
            ("Begun", human.clock(frame.nanoseconds(told["created_at"]), frame.timezone())),
            ("By", told["created_by"]),
            ("Took", human.duration(_took(told))),
            ("Run", told["run_id"]),
            ("Content hash", told["content_hash"][:16]),
        ),
        "run",
    )


def _figures(metrics: Sequence[Row]) -> None:
    if not metrics:
        st.caption("Figures come when the run is over.")
        return
    columns: dict[str, Sequence[object]] = {
        "metric": [one_line(one["metric"], 60) for one in metrics],
        "mean": [value(one["mean"], one["unit"]) for one in metrics],
        "interval": [_interval(one) for one in metrics],
        "n_examples": [one["n_examples"] for one in metrics],
        "n_trials": [one["n_trials"] for one in metrics],
        "better": [one["direction"] for one in metrics],
        "unscored": [_unscored(one) for one in metrics],
    }
    _grid(columns, "metrics", opens=False)


def _trials(told: Row) -> None:
    items, scores = _read(states.api(), told["run_id"], f"{told['n_done']} {told['n_failed']} {told['n_scored']}")
    if not items:
        return
    chosen = st.segmented_control(
        "Which", [_ALL, "Failed"], default=_ALL, key="run-which", label_visibility="collapsed"
    )
    if chosen == "Failed":
        items = [one for one in items if one["status"] == "failed"]
        if not items:
            st.caption("No trial failed.")
            return
    by_trial: dict[tuple[str, int], dict[str, Row]] = {}
    for score in scores:
        by_trial.setdefault((score["example_id"], score["trial"]), {})[score["metric"]] = score
    units = {one["metric"]: one["unit"] for one in told["metrics"]}
    known = [one["metric"] for one in told["metrics"] if one["mean"] is not None]
    metrics = [one for one in known if any(one in found for found in by_trial.values())][:_MOST_METRICS]
    columns: dict[str, Sequence[object]] = {
        "example": [one_line(one["example_id"], 60) for one in items],
        "trial": [one["trial"] for one in items],
        "status": [one["status"] for one in items],
        "said": [one_line(one["error"] or one["output"], 300) for one in items],
        **{
            f"metric {name}": [_value(by_trial.get(_key(one), {}).get(name), units[name]) for one in items]
            for name in metrics
        },
    }
    if "latency_ms" not in metrics:
        columns["latency"] = [human.duration(one["latency_ms"]) for one in items]
    if "cost_usd" not in metrics:
        columns["cost"] = [human.usd(one["cost_usd"]) for one in items]
    titles = {f"metric {name}": _text(one_line(name, 40), 110) for name in metrics} | {"status": _text("Status", 80)}
    at = _grid(columns, f"trials-{chosen}", opens=True, titles=titles)
    if told["n_trials"] > _MOST_TRIALS:
        st.caption(f"The first {_MOST_TRIALS} of {told['n_trials']:,} trials: assay eval show RUN --trials has all.")
    if at is None:
        st.caption("A click on a row shows the trial.")
        return
    _trial(items[at], by_trial.get(_key(items[at]), {}), units)


@st.cache_data(ttl=60, max_entries=8, show_spinner=False)
def _read(_api: Api, run_id: str, state: str) -> tuple[list[Row], list[Row]]:
    """Trials and scores of a run; `state` makes one that went on another."""
    asked = {"limit": _MOST_TRIALS}
    trials, scores = _api.together([(_api.run_path(run_id, part), asked) for part in ("trials", "scores")])
    return trials, scores


def _trial(one: Row, scores: Mapping[str, Row], units: Mapping[str, str]) -> None:
    with st.container(border=True, key="assay-trial"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            with st.container(width="content"):
                frame.heading(f"{one['example_id']}, trial {one['trial']}", "trial", size="small")
            with st.container(horizontal=True, width="content"):
                if one["trace_ids"] and st.button("Open session", icon=":material/forum:", key="trial-session"):
                    links.open_session(str(one["session_id"]))
                if one["trace_ids"] and st.button("Open trace", icon=":material/timeline:", key="trial-trace"):
                    links.open_trace(str(one["trace_ids"][0]))
        if one["error"]:
            with st.container(border=True, key="assay-error-text-trial"):
                st.text(inert(one["error"], 1000))
        said, found = st.columns(2, gap="medium")
        with said:
            turns = one["detail"].get("turns") or [{"text": one["output"]}]
            st.caption("The agent answered" if len(turns) < 2 else f"The agent answered, in {len(turns)} turns")
            for number, turn in enumerate(turns):
                with st.container(border=True, key=f"assay-text-answer-{number}"):
                    st.text(inert(turn.get("text") or "(nothing is kept)", 20_000))
        with found:
            st.caption("Scores")
            for name, score in scores.items():
                with st.container(border=True, key=f"assay-score-{name}"):
                    st.text(f"{one_line(name, 60)}: {_value(score, units.get(name, ''))}")
                    if score["explanation"] or score["unscored"]:
                        st.caption("why")
                        st.text(inert(score["explanation"] or score["unscored"], 1000))


def _grid(
    columns: Mapping[str, Sequence[object]], key: str, *, opens: bool, titles: Mapping[str, Any] | None = None
) -> int | None:
    """Draws the columns; the row that was clicked, counted from the top."""
    event: Any = st.dataframe(
        dict(columns),
        key=f"grid-{key}",
        hide_index=True,
        width="stretch",
        height=min(520, 37 + 35 * max(1, len(next(iter(columns.values()))))),
        on_select="rerun" if opens else "ignore",
        selection_mode="single-cell",
        column_config={**_CONFIG, **(titles or {})},
    )
    cells = event["selection"]["cells"] if opens else []
    return int(cells[0][0]) if cells else None


def _text(title: str, width: int | None = None) -> Any:
    return st.column_config.TextColumn(title, width=width)


_CONFIG: Final[dict[str, Any]] = {
    "begun": st.column_config.DatetimeColumn("Begun", format="YYYY-MM-DD HH:mm", width=130),
    "app": _text("App", 120),
    "release": _text("Release", 110),
    "dataset": _text("Dataset", 150),
    "status": _text("Status", 130),
    "cost": _text("Cost", 80),
    "means": _text("Means", 520),
    "run": _text("Run", 120),
    "metric": _text("Metric", 220),
    "mean": _text("Mean", 90),
    "interval": _text("95% interval", 170),
    "n_examples": st.column_config.NumberColumn("Examples", format="localized", width=85),
    "n_trials": st.column_config.NumberColumn("Trials", format="localized", width=70),
    "better": _text("Better", 70),
    "unscored": _text("Unscored", 260),
    "example": _text("Example", 190),
    "trial": st.column_config.NumberColumn("Trial", width=50),
    "latency": _text("Latency", 80),
    "said": _text("Output, or why there is none", 300),
}


def _key(one: Row) -> tuple[str, int]:
    return str(one["example_id"]), int(one["trial"])


def _dataset(told: Row) -> str:
    return "its stored sessions" if told["dataset"] == "-" else f"{told['dataset']}@{told['dataset_version']}"


def _status(told: Row) -> str:
    n_over = told["n_done"] + told["n_failed"]
    failed = f", {told['n_failed']} failed" if told["n_failed"] else ""
    return f"{told['status']} {n_over}/{told['n_trials']}{failed}"


def _mean(metric: Row) -> str:
    found = f"{metric['metric']} {value(metric['mean'], metric['unit'])}"
    return found if metric["low"] is None else f"{found} ({_interval(metric)})"


def _interval(metric: Row) -> str:
    if metric["low"] is None or metric["high"] is None:
        return human.UNKNOWN
    return f"{value(metric['low'], metric['unit'])} to {value(metric['high'], metric['unit'])}"


def _unscored(metric: Row) -> str:
    return one_line(", ".join(f"{name.replace('_', ' ')} {n}" for name, n in metric["unscored"].items()), 200)


def _value(score: Row | None, unit: str) -> str:
    if score is None:
        return human.UNKNOWN
    if score["value"] is None:
        return one_line(str(score["unscored"]).split(":")[0].replace("_", " "), 40)
    return value(score["value"], unit)


def _took(told: Row) -> float | None:
    start, end = frame.nanoseconds(told["started_at"]), frame.nanoseconds(told["finished_at"])
    return None if start is None or end is None else (end - start) / 1e6
