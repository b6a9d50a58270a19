"""Judges and their jobs as the terminal shows them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from server.cli.rendering import cell, console, counted, duration, moment, money, print_table, tokens
from server.cli.terminal import plain

POLL_S: Final = 0.5
OVER: Final = frozenset({"done", "out_of_budget", "failed", "cancelled"})
STYLES: Final = {
    "done": "green",
    "out_of_budget": "yellow",
    "failed": "bold red",
    "cancelled": "yellow",
    "running": "cyan",
    "waiting": "dim",
    "certified": "bold green",
    "undetermined": "bold yellow",
}
Row = Mapping[str, Any]


def follow(ask: Callable[[], dict[str, Any]], told: dict[str, Any]) -> dict[str, Any]:
    """The job when it is over; until then its id and, where that is a terminal, a bar on standard error."""
    err = Console(stderr=True)
    err.print(cell(f"{told['job_id']}: {counted(told['n_targets'], 'target')}; Ctrl-C leaves it going in the server"))
    since, before = time.monotonic(), _n_judged(told)
    columns = (BarColumn(24), MofNCompleteColumn(), TextColumn("{task.fields[said]}"))
    with Progress(*columns, TimeElapsedColumn(), console=err, transient=True) as bar:
        task = bar.add_task("", total=told["n_targets"], said="")
        while told["status"] not in OVER:
            time.sleep(POLL_S)
            told = ask()
            n = _n_judged(told)
            bar.update(task, completed=n, said=_pace(told, n, n - before, time.monotonic() - since))
    return told


def _n_judged(told: Row) -> int:
    """Verdicts that are there, in the scores or on their way."""
    return int(min(told["n_targets"], max(told["n_done"] + told["n_missing"], told["n_paid"] + told["n_cached"])))


def _pace(told: Row, n: int, n_new: int, seconds: float) -> str:
    """'3 missing, $0.0100 of $5.00, 30/min, 2 min 00 s left'."""
    if told["status"] == "waiting":
        return "waits for its turn"
    parts = [f"{told['n_missing']} missing"] if told["n_missing"] else []
    parts.append(_spent(told))
    if n_new and seconds:
        left = (told["n_targets"] - n) * seconds / n_new
        parts += [f"{60 * n_new / seconds:.0f}/min", f"{duration(1000 * left)} left"]
    return ", ".join(parts)


def _spent(told: Row) -> str:
    of = "" if told["budget_usd"] is None else f" of {money(told['budget_usd'])}"
    return f"{money(told['cost_usd'])}{of}" + (
        f" (+{told['n_unpriced']} without a price)" if told["n_unpriced"] else ""
    )


def forecast_line(told: Row) -> str:
    """What a job would take, on a line."""
    usd = (
        "no price is known" if told["usd"] is None else f"about {money(told['usd'])}, {money(told['usd_most'])} at most"
    )
    cached = f", {told['n_cached']:,} judged before" if told["n_cached"] else ""
    over = told["budget_usd"] is not None and told["n_within_budget"] < told["n_targets"]
    fits = f"; the budget is good for about {told['n_within_budget']:,}" if over else ""
    targets, calls = counted(told["n_targets"], "target"), counted(told["n_calls"], "call")
    return f"{targets} of {told['n_all']:,}{cached}: {calls}, {usd}{fits}"


def print_forecast(told: Row) -> None:
    """What a job would take."""
    out = console()
    out.print(plain(f"{told['judge']} {told['version']} over {told['app']}", 300), soft_wrap=True)
    out.print(plain(forecast_line(told), 400), soft_wrap=True)
    out.print(
        f"tokens in > out: {tokens(told['input_tokens'], told['output_tokens'])}; told from {told['n_read']:,} of them"
    )
    out.print(f"each was chosen with probability {told['probability']:.4g}")
    for warning in told["warnings"]:
        out.print(f"warning: {plain(warning, 400)}", style="yellow", soft_wrap=True)


def print_job(told: Row) -> None:
    """What came of a job."""
    out = console()
    out.print(told["status"].replace("_", " "), style=STYLES.get(told["status"], ""), end="")
    out.print(
        f"  {plain(told['job_id'], 60)}: {plain(told['judge'], 80)} {told['version']} over {plain(told['app'], 80)}"
    )
    out.print(
        f"{counted(told['n_done'], 'verdict')} of {told['n_targets']:,}, {told['n_missing']:,} missing, "
        f"{told['n_cached']:,} judged before, {told['n_left']:,} left"
    )
    for reason, n in sorted(told["missing"].items(), key=lambda one: -one[1]):
        out.print(f"  missing: {n:,} {plain(reason, 60)}")
    paid = f"{counted(told['n_calls'], 'call')}, {tokens(told['input_tokens'], told['output_tokens'])} tokens"
    out.print(f"{paid}, {_spent(told)}")
    if told["reason"]:
        out.print(plain(told["reason"], 600), soft_wrap=True)
    for warning in told["params"].get("warnings", ()):
        out.print(f"warning: {plain(warning, 400)}", style="yellow", soft_wrap=True)


def print_jobs(items: Sequence[Row]) -> None:
    """Jobs as a table."""
    rows = [
        (
            *(cell(one["job_id"], 60), cell(one["status"], 20, STYLES.get(one["status"], "")), cell(one["app"], 60)),
            *(f"{one['n_done']:,}", f"{one['n_missing']:,}", f"{one['n_left']:,}", money(one["cost_usd"])),
            moment(one["created_at"]),
        )
        for one in items
    ]
    columns = ("job", "status", "app", "verdicts", "missing", "left", "cost", "begun (UTC)")
    print_table(columns, rows, right=("verdicts", "missing", "left", "cost"))


def print_made(told: Row) -> None:
    """A judge that was made."""
    models, rubric = plain(", ".join(told["models"]), 200), plain(told["rubric"], 80)
    said = f"{plain(told['name'], 80)} {told['version']}: {models} by {rubric} v{told['rubric_version']}"
    console().print(said, soft_wrap=True)
    print(f"{told['state']}: calibrate it before anything depends on it", file=sys.stderr)


def print_judges(items: Sequence[Row]) -> None:
    """Judges as a table."""
    rows = [
        (
            *(cell(one["name"], 80), cell(one["version"], 12), cell(f"{one['rubric']} v{one['rubric_version']}", 80)),
            *(cell(", ".join(one["models"]), 120), cell(one["state"], 20, STYLES.get(one["state"], "")), _kappa(one)),
            moment(one["made_at"]),
        )
        for one in items
    ]
    print_table(("judge", "version", "rubric", "models", "state", "kappa's bounds", "made (UTC)"), rows)


def print_judge(told: Row) -> None:
    """One judge with all that is known of it."""
    print_judges([told])
    out = console()
    out.print(f"{counted(told['n_verdicts'], 'verdict')} paid for, {money(told['cost_usd'])} in all")
    if len(told["versions"]) > 1:
        for one in told["versions"][1:]:
            models = plain(", ".join(one["models"]), 120)
            out.print(f"before: {one['version']} {models}, {plain(one['rubric'], 80)} v{one['rubric_version']}")
    if told["schedules"]:
        print_schedules(told["schedules"])
    if told["runs"]:
        print_jobs(told["runs"])


def print_schedules(items: Sequence[Row]) -> None:
    """Schedules as a table."""
    if not items:
        print("it watches no app: assay judges watch NAME --app APP --budget-per-day 5usd", file=sys.stderr)
        return
    rows = [
        (
            *(cell(one["app"], 80), "on" if one["on"] else "off", f"{100 * one['share']:.4g} %"),
            *(money(one["budget_per_day_usd"]), f"{one['n_sessions']:,}", f"{one['n_left_out']:,}"),
            *(f"{one['n_waiting']:,}", moment(one["last_look_at"]) if one["last_look_at"] else "-"),
        )
        for one in items
    ]
    columns = ("watches", "", "share", "a day", "given", "left out", "open", "last look (UTC)")
    print_table(columns, rows, right=("share", "a day", "given", "left out", "open"))


def print_watching(told: Row) -> None:
    """A schedule that was set, or would be."""
    usd = "" if told["usd_day"] is None else f", for about {money(told['usd_day'])}"
    would = f"of the {told['n_day_all']:,} sessions of the last day it would have judged {told['n_day']:,}{usd}"
    if told["dry_run"]:
        print(f"a dry run: nothing changed; {would}")
    elif not told["on"]:
        print("off from now on; scores stay")
    else:
        print(f"judges new sessions of {plain(told['app'], 80)} from now on; {would}")
    for warning in told["warnings"]:
        print(f"warning: {plain(warning, 400)}", file=sys.stderr)


def print_deleted(told: Row) -> None:
    """What went, or would go."""
    counts = ", ".join(f"{n:,} rows of {name}" for name, n in told["n"].items() if n)
    print(f"{'would delete' if told['dry_run'] else 'deleted'} {plain(told['name'], 80)}: {counts}; scores stay")
    if told["dry_run"]:
        print("nothing was changed; add --yes to delete", file=sys.stderr)


def print_rubrics(items: Sequence[Row]) -> None:
    """Rubrics as a table, and the text of a single one."""
    rows = [
        (
            *(cell(one["name"], 80), f"v{one['version']}", one["kind"], one["target"]),
            *(cell(", ".join(one["labels"]), 120), cell(one["digest"][:12], 12), cell(one["made_by"], 60)),
        )
        for one in items
    ]
    print_table(("rubric", "", "kind", "target", "labels", "digest", "by"), rows)
    if len(items) == 1:
        print()
        print(plain_lines(items[0]["text"]))


def plain_lines(text: str) -> str:
    """A text of several lines that cannot write to the terminal what it likes."""
    return "\n".join(plain(line, 2_000) for line in text.splitlines())


def _kappa(one: Row) -> str:
    low, high = one["kappa_low"], one["kappa_high"]
    return "-" if low is None or high is None else f"{low:.2f} to {high:.2f}"
