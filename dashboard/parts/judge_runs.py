"""What a judge did: its runs and how far they are, what they cost, verdicts that are missing, whom it watches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import streamlit as st

from dashboard import human
from dashboard.api import Row
from dashboard.parts import frame, horizontal, judge_commands, lists, states
from dashboard.text import one_line

_EVERY_S: Final = 3.0
_OPEN: Final = ("waiting", "running")
_COLOURS: Final = {
    "done": "green", "running": "blue", "waiting": "gray", "out_of_budget": "orange", "cancelled": "orange",
    "failed": "red",
}  # fmt: skip


def week_usd(runs: Sequence[Row], calibrations: Sequence[Row]) -> float:
    """What runs of the last seven days cost, and the canaries of calibrations."""
    since = datetime.now(UTC) - timedelta(days=7)
    paid = [(one["created_at"], one["cost_usd"]) for one in runs]
    paid += [(one["at"], one.get("canaries_usd") or 0.0) for one in calibrations]
    return sum(float(usd) for at, usd in paid if (frame.moment(at) or since) > since)


def show(judge: Row, runs: Sequence[Row], calibrations: Sequence[Row]) -> None:
    """All of it."""
    spent = human.usd(week_usd(runs, calibrations))
    cells = [
        ("This week", spent),
        ("All its runs", human.usd(judge["cost_usd"])),
        ("Verdicts paid for", human.count(judge["n_verdicts"])),
        ("Each", human.usd(judge["cost_usd"] / judge["n_verdicts"]) if judge["n_verdicts"] else human.UNKNOWN),
    ]
    frame.numbers(cells, "judge-cost")
    st.caption(
        "Judging is no cost of the product: it is counted apart, under the app assay.judges. The week has the canaries "
        "of calibrations in it."
    )
    if any(map(_is_going, runs)):
        st.fragment(_going, run_every=_EVERY_S)(str(judge["name"]))
    _runs(str(judge["name"]), runs)
    _missing(runs)
    _schedules(str(judge["name"]), judge["schedules"])
    _versions(judge["versions"])


def _is_going(one: Row) -> bool:
    """Whether there is something left to judge: a day's job of live sessions stays open without."""
    return one["status"] in _OPEN and one["n_left"] > 0


@states.guarded
def _going(name: str) -> None:
    """Runs under way, again and again until they are over."""
    api = states.api()
    runs = api.page(api.judge_path(name, "runs"), {"limit": 20}).items
    going = [one for one in runs if _is_going(one)]
    if not going:
        st.cache_data.clear()
        st.rerun(scope="app")
    for one in going:
        n_over = one["n_done"] + one["n_missing"]
        said = f"{n_over:,} of {one['n_targets']:,} judged, {human.usd(one['cost_usd'])} so far"
        limit = "" if one["budget_usd"] is None else f" of {human.usd(one['budget_usd'])}"
        st.progress(min(1.0, n_over / max(1, one["n_targets"])), text=(said + limit).replace("$", "\\$"))


def _runs(name: str, runs: Sequence[Row]) -> None:
    st.subheader("Runs", anchor=False)
    if not runs:
        with st.container(border=True, key="assay-empty-judge-runs"):
            st.text("It has judged nothing yet. See first what it would take, then let it judge:")
            st.code(judge_commands.run(name), language="bash", wrap_lines=True)
        return
    column = st.column_config
    number = column.NumberColumn(format="localized", width=88)
    lists.plain_table(
        {
            "Begun": [frame.moment(one["created_at"]) for one in runs],
            "Status": [[str(one["status"]).replace("_", " ")] for one in runs],
            "App": [one_line(one["app"], 60) for one in runs],
            "Judged": [one["n_done"] for one in runs],
            "Of": [one["n_targets"] for one in runs],
            "No verdict": [one["n_missing"] for one in runs],
            "From cache": [one["n_cached"] for one in runs],
            "Calls": [one["n_calls"] for one in runs],
            "Cost": [_cost(one) for one in runs],
            "Budget": [None if one["budget_usd"] is None else human.usd(one["budget_usd"]) for one in runs],
            "Version": [one_line(one["version"], 20) for one in runs],
            "Why it ended": [one_line(one["reason"], 200) or None for one in runs],
        },
        {
            "Begun": column.DatetimeColumn(format="D MMM YYYY HH:mm", width=130),
            "Status": column.MultiselectColumn(
                options=[one.replace("_", " ") for one in _COLOURS], color=list(_COLOURS.values()), width=125
            ),
            "App": column.TextColumn(width=100),
            **dict.fromkeys(("Judged", "Of", "No verdict", "From cache", "Calls"), number),
            **{one: column.TextColumn(width=80, alignment="right") for one in ("Cost", "Budget")},
            "Version": column.TextColumn(width=115),
            "Why it ended": column.TextColumn(width=260),
        },
        "judge-runs",
    )


def _cost(one: Row) -> str:
    """In dollars; where some of its calls have no known price, at least."""
    return ("at least " if one["n_unpriced"] else "") + human.usd(one["cost_usd"])


def _missing(runs: Sequence[Row]) -> None:
    """Targets that were asked about and have no verdict, by reason. None of them counts as a fail."""
    counts: Counter[str] = Counter()
    for one in runs:
        counts.update(one["missing"])
    n_over = sum(one["n_done"] + one["n_missing"] for one in runs)
    if not counts:
        return
    rows = [(name.replace("_", " "), n) for name, n in counts.most_common(10)]
    horizontal.counts("Without a verdict, by reason", rows, "judge-missing", "orange")
    st.caption(f"{human.share(sum(counts.values()), n_over)} of what was asked. A missing verdict is never a fail.")


def _schedules(name: str, schedules: Sequence[Row]) -> None:
    st.subheader("Watching live sessions", anchor=False)
    if not schedules:
        with st.container(border=True, key="assay-empty-judge-schedule"):
            st.text("It watches no app. Let it look at a share of the sessions as they end:")
            st.code(judge_commands.watch(name), language="bash", wrap_lines=True)
        return
    column = st.column_config
    number = column.NumberColumn(format="localized")
    lists.plain_table(
        {
            "App": [one_line(one["app"], 60) for one in schedules],
            "State": [["watching" if one["on"] else "off"] for one in schedules],
            "Share": [one["share"] for one in schedules],
            "Budget a day": [human.usd(one["budget_per_day_usd"]) for one in schedules],
            "Sessions given": [one["n_sessions"] for one in schedules],
            "Left out, no budget": [one["n_left_out"] for one in schedules],
            "Waiting": [one["n_waiting"] for one in schedules],
            "Last looked": [frame.moment(one["last_look_at"]) for one in schedules],
            "Set by": [one_line(one["changed_by"], 60) for one in schedules],
        },
        {
            "State": column.MultiselectColumn(options=["watching", "off"], color=["green", "gray"], width=110),
            "Share": column.NumberColumn(format="percent"),
            **dict.fromkeys(("Sessions given", "Left out, no budget", "Waiting"), number),
            "Last looked": column.DatetimeColumn(format="D MMM HH:mm:ss"),
        },
        "judge-schedule",
    )


def _versions(versions: Sequence[Row]) -> None:
    st.subheader("Versions", anchor=False)
    lists.plain_table(
        {
            "Version": [one_line(one["version"], 20) for one in versions],
            "Rubric": [one_line(f"{one['rubric']} v{one['rubric_version']}", 80) for one in versions],
            "Models": [one_line(", ".join(one["models"]), 200) for one in versions],
            "Made": [frame.moment(one["made_at"]) for one in versions],
            "By": [one_line(one["made_by"], 60) for one in versions],
        },
        {
            "Models": st.column_config.TextColumn(width=320),
            "Made": st.column_config.DatetimeColumn(format="D MMM YYYY HH:mm"),
        },
        "judge-versions",
    )
    st.caption("A version is another instrument: it has verdicts and a calibration of its own.")
