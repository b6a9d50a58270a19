"""Runs of clusters as the commands print them: how far one is while it goes on, what it took, what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from server.cli.clusters_rates import known_of, rate
from server.cli.rendering import cell, console, counted, duration, moment, print_table

POLL_S: Final = 0.5
OVER: Final = frozenset({"done", "failed", "cancelled"})
_TITLES: Final = {
    "read": "sessions read",
    "fit": "embedder fitted",
    "embed": "embedded",
    "reduce": "reduced",
    "cluster": "clustered",
    "stability": "clustered again, for stability",
    "map": "placed on the map",
    "lineage": "matched to the registry",
    "names": "named",
    "profile": "compared with the rest",
    "write": "written",
}

Row = dict[str, Any]


def follow(ask: Callable[[], Row], told: Row, poll_s: float = POLL_S) -> Row:
    """The run when it is over; until then its stages on standard error: with bars on a terminal, else a line for each
    once it is done, since a file keeps no bar."""
    err = Console(stderr=True, highlight=False)
    err.print(cell(f"{told['id']}: Ctrl-C leaves it going in the server"))
    going = _going(ask, told, poll_s)
    return _drawn(going, err) if err.is_terminal else _listed(going, err)


def _going(ask: Callable[[], Row], told: Row, poll_s: float) -> Iterator[Row]:
    """The run now and again until it is over, which is the last."""
    yield told
    while told["status"] not in OVER:
        time.sleep(poll_s)
        told = ask()
        yield told


def _listed(going: Iterator[Row], err: Console) -> Row:
    n_said, waited, told = 0, False, Row()
    for told in going:
        if told["status"] == "waiting" and not waited:
            waited = True
            err.print("waits for its turn: one run goes at a time")
        over = told["status"] in OVER
        stages = told["stages"] if over else told["stages"][:-1]
        for stage in stages[n_said:]:
            steps = "" if stage["total"] <= 1 else f" {_steps(stage)}"
            err.print(cell(f"{_title(stage)}{steps} ({duration(1000 * stage['seconds'])})"))
        n_said = max(n_said, len(stages))
    return told


def _drawn(going: Iterator[Row], err: Console) -> Row:
    columns = (TextColumn("{task.description}"), BarColumn(24), TextColumn("{task.fields[said]}"), TimeElapsedColumn())
    told = Row()
    with Progress(*columns, console=err, transient=True) as bar:
        queue = bar.add_task("waits for its turn", total=None, said="", visible=False)
        tasks: dict[str, Any] = {}
        for told in going:
            bar.update(queue, visible=told["status"] == "waiting")
            for stage in told["stages"]:
                name = _title(stage)
                if name not in tasks:
                    tasks[name] = bar.add_task(name, total=None, said="")
                total = stage["total"] or None
                said = f"{stage['done']:,} of {stage['total']:,}" if stage["total"] > 1 else ""
                bar.update(tasks[name], total=total, completed=stage["done"], said=said)
    return told


def _title(stage: Row) -> str:
    return _TITLES.get(stage["name"], str(stage["name"]))


def print_forecast(told: Row) -> None:
    """What a run would take."""
    out = console()
    of = f"{told['app']}: {counted(told['n_sessions'], 'session')} from {moment(told['window']['start'])}"
    out.print(cell(f"{of} to {moment(told['window']['end'])} (UTC)", 300))
    out.print(cell(f"{told['n_to_embed']:,} of them to embed by {told['embedder']}", 300))
    out.print(cell(f"whether they failed: {known_of(told['n_known'], told['n_sessions'])}", 300))
    if told["method"] is not None:
        out.print(cell(f"clustered by {told['method']}, at least {told['min_cluster_size']} sessions a cluster", 300))
    print_says(told)
    out.print("a dry run: nothing was begun")


def print_runs(items: Sequence[Row]) -> None:
    """A line for each run."""
    columns = ("run", "app", "status", "began (UTC)", "sessions", "clusters", "noise", "by", "what")
    rows = [
        (
            one["id"], cell(one["app"], 60), one["status"], moment(one["started_at"]), shown_count(one["n_sessions"]),
            shown_count(one["n_clusters"]), shown_share(one["noise_share"]), cell(one["asked_by"], 40), _what(one),
        )
        for one in items
    ]  # fmt: skip
    print_table(columns, rows, right=("sessions", "clusters", "noise"))


def print_run(one: Row) -> None:
    """A run with its stages."""
    out = console()
    out.print(cell(f"{one['id']}  {one['status']}  {one['app']}", 300))
    window = one["window"]
    out.print(cell(f"sessions that began from {moment(window['start'])} to {moment(window['end'])} (UTC)", 300))
    if one["stages"]:
        rows = [
            (_TITLES.get(each["name"], each["name"]), _steps(each), duration(1000 * each["seconds"]))
            for each in one["stages"]
        ]
        print_table(("stage", "steps", "took"), rows, right=("steps",))
    if one["status"] == "done":
        noise = "" if one["noise_share"] is None else f", {one['noise_share']:.1%} noise"
        out.print(
            cell(f"{counted(one['n_clusters'], 'cluster')} of {counted(one['n_sessions'], 'session')}{noise}", 300)
        )
        if one["n_known"] is not None:
            share = rate(one["n_failed"] / one["n_known"] if one["n_known"] else None)
            out.print(cell(f"failing {share}, {known_of(one['n_known'], one['n_sessions'])}, as of this run", 300))
    if one["embedder"]:
        out.print(cell(f"embedded by {one['embedder']}; parameters {one['params_hash']}; {_peak(one)}", 300))
    if one["error"]:
        out.print(cell(one["error"], 500, "bold red" if one["status"] == "failed" else ""))
    print_says(one)
    if one["status"] == "done" and one["n_clusters"]:
        out.print(cell(f"look at them with: assay clusters list --app {one['app']}", 300))


def _steps(stage: Row) -> str:
    """'148', '20 of 148' while it is under way, a dash where they are not known."""
    if not stage["total"]:
        return "-"
    return f"{stage['total']:,}" if stage["done"] == stage["total"] else f"{stage['done']:,} of {stage['total']:,}"


def _what(one: Row) -> str:
    if one["status"] == "running":
        return _TITLES.get(one["stage"], one["stage"] or "begins")
    return "what waited" if one["scope"] == "waiting" else "-"


def _peak(one: Row) -> str:
    return "its memory is not known" if one["peak_mib"] is None else f"{one['peak_mib']:,.0f} MiB at most"


def print_says(told: Row) -> None:
    """What a person should know of an answer, a line each."""
    for line in told["says"]:
        console().print(cell(line, 500))


def shown_count(n: int | None) -> str:
    """1,234; a dash when it is not known."""
    return "-" if n is None else f"{n:,}"


def shown_share(share: float | None) -> str:
    """12.3%; a dash when it is not known."""
    return "-" if share is None else f"{share:.1%}"
