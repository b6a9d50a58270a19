"""Runs as the terminal shows them: a bar while one goes on, tables of runs, figures and trials."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from server.cli.rendering import cell, console, counted, duration, moment, money, print_table
from server.cli.terminal import plain

POLL_S: Final = 0.5
MOST_FAILED: Final = 10
STYLES: Final = {"done": "green", "failed": "bold red", "cancelled": "yellow", "running": "cyan", "waiting": "dim"}
_OVER: Final = frozenset({"done", "failed", "cancelled"})

Row = Mapping[str, Any]


def follow(ask: Callable[[], dict[str, Any]], told: dict[str, Any]) -> dict[str, Any]:
    """The run when it is over; until then its id and, where that is a terminal, a bar on standard error."""
    err = Console(stderr=True)
    err.print(cell(f"{told['run_id']}: {counted(told['n_trials'], 'trial')}; Ctrl-C leaves it going in the server"))
    since, before = time.monotonic(), told["n_scored"]
    columns = (BarColumn(24), MofNCompleteColumn(), TextColumn("{task.fields[said]}"))
    with Progress(*columns, TimeElapsedColumn(), console=err, transient=True) as bar:
        task = bar.add_task("", total=told["n_trials"], said="")
        while told["status"] not in _OVER:
            time.sleep(POLL_S)
            told = ask()
            said = _pace(told, told["n_scored"] - before, time.monotonic() - since)
            bar.update(task, completed=told["n_scored"], said=said)
    return told


def _pace(told: Row, n: int, seconds: float) -> str:
    """'1 failed, $0.0100, 30/min, 2 min 00 s left'."""
    if told["status"] == "waiting":
        return "waits for its turn: four runs go at once"
    parts = [f"{told['n_failed']} failed"] if told["n_failed"] else []
    parts.append(money(told["cost_usd"]))
    if n and seconds:
        left = (told["n_trials"] - told["n_scored"]) * seconds / n
        parts += [f"{60 * n / seconds:.0f}/min", f"{duration(1000 * left)} left"]
    return ", ".join(parts)


def print_forecast(told: Row) -> None:
    """What a run would take."""
    out = console()
    calls = counted(told["n_calls"], "call")
    out.print(f"{counted(told['n_examples'], 'example')}, {counted(told['n_trials'], 'trial')}, {calls}")
    out.print(f"evaluators: {plain(', '.join(told['evaluators']), 2000)}")
    if not told["n_calls"]:
        out.print("nothing is asked, so nothing is paid")
    elif told["usd"] is None:
        said = "unknown: no stored session of this app says what one costs"
        out.print(f"cost: {said}" + (f"; about {told['tokens']:,.0f} tokens" if told["tokens"] else ""))
    else:
        sessions = counted(told["n_sessions"], "session")
        spread = f"{money(told['usd_p50'])} at the median turn, {money(told['usd_p95'])} at the 95th percentile"
        out.print(f"cost: about {money(told['usd'])} ({spread}), {told['tokens'] or 0:,.0f} tokens")
        out.print(f"as {sessions} of the {told['of']} cost", style="dim")
    out.print("a dry run: nothing was begun", style="dim")


def print_runs(items: Sequence[Row]) -> None:
    """A line per run."""
    columns = ("run", "begun (UTC)", "app", "release", "dataset", "status", "trials", "cost", "means")
    rows = [
        (
            *(cell(one["run_id"], 60), moment(one["created_at"]), cell(one["app"], 40), cell(one["release"], 40)),
            cell(f"{one['dataset']}@{one['dataset_version']}", 60),
            cell(one["status"], 20, STYLES.get(one["status"], "")),
            *(f"{one['n_done'] + one['n_failed']}/{one['n_trials']}", money(one["cost_usd"])),
            cell(", ".join(f"{m['metric']} {_mean(m)}" for m in one["metrics"][:3])),
        )
        for one in items
    ]
    print_table(columns, rows, right=("trials", "cost"))


def print_run(told: Row, failed: Sequence[Row]) -> None:
    """One run: how it stands, its figures, and why trials failed."""
    out = console()
    out.print(
        cell(f"{told['run_id']}  {told['app']} {told['release']}  on {told['dataset']}@{told['dataset_version']}")
    )
    failures = f", {told['n_failed']} failed" if told["n_failed"] else ""
    done = f"{told['n_done']} of {counted(told['n_trials'], 'trial')} done{failures}"
    out.print(cell(f"{told['status']}: {done}, {money(told['cost_usd'])}", style=STYLES.get(told["status"], "")))
    if told["reason"]:
        out.print(cell(told["reason"], 500))
    if told["metrics"]:
        out.print()
        columns = ("metric", "mean", "95 %", "examples", "trials", "unscored")
        rows = [
            (
                *(cell(one["metric"], 60), _mean(one), _interval(one), str(one["n_examples"]), str(one["n_trials"])),
                cell(", ".join(f"{name} {n}" for name, n in one["unscored"].items()) or "-"),
            )
            for one in told["metrics"]
        ]
        print_table(columns, rows, right=("mean", "examples", "trials"))
    for one in failed[:MOST_FAILED]:
        out.print(cell(f"failed: {one['example_id']}, trial {one['trial']}: {one['error']}", 300))
    if len(failed) > MOST_FAILED:
        out.print(f"and {len(failed) - MOST_FAILED} more: assay eval show {plain(told['run_id'], 60)} --trials")


def print_trials(items: Sequence[Row]) -> None:
    """A line per trial."""
    columns = ("example", "trial", "status", "cost", "latency", "trace", "output")
    rows = [
        (
            *(cell(one["example_id"], 60), str(one["trial"]), cell(one["status"], 20, STYLES.get(one["status"], ""))),
            *(money(one["cost_usd"]), duration(one["latency_ms"]), cell(next(iter(one["trace_ids"]), "-"), 40)),
            cell(one["error"] or one["output"], 300),
        )
        for one in items
    ]
    console().print()
    print_table(columns, rows, right=("trial", "cost", "latency"))


def _mean(metric: Row) -> str:
    value = metric["mean"]
    if value is None:
        return "-"
    match metric["unit"]:
        case "share":
            return f"{100 * value:.1f} %"
        case "ms":
            return duration(value)
        case "usd":
            return money(value)
        case _:
            return f"{value:,.4g}"


def _interval(metric: Row) -> str:
    if metric["low"] is None or metric["high"] is None:
        return "-"
    return f"{_mean({**metric, 'mean': metric['low']})} to {_mean({**metric, 'mean': metric['high']})}"
