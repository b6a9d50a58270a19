"""Jobs, and work that was asked for, as the commands print them. Names and texts are untrusted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from rich.text import Text

from server.cli.rendering import cell, console, duration, moment, print_table

Row = dict[str, Any]
MOST_RUNS: Final = 20
_STYLE: Final = {
    "dead": "bold red",
    "failed": "red",
    "retrying": "yellow",
    "queued": "cyan",
    "running": "cyan",
    "succeeded": "green",
}


def print_jobs(items: Sequence[Row]) -> None:
    """A line for each."""
    rows = [
        (
            *(cell(one["name"], 40), _state(one), cell(one["schedule"], 40)),
            *(moment(one["started_at"]), duration(one["took_ms"]), moment(one["due"])),
            cell(one["error"] or one["said"], 80),
        )
        for one in items
    ]
    print_table(("job", "state", "schedule", "last run (UTC)", "took", "next (UTC)", "result"), rows, right=("took",))


def print_job(one: Row) -> None:
    """One job with its newest runs, the last one first."""
    out = console()
    out.print(cell(f"{one['title']} ({one['name']}): {one['schedule']}", 300))
    line = Text("  ").append_text(_state(one))
    line.append(f", {one['n_runs']:,} runs; due {moment(one['due'])} UTC")
    out.print(line)
    if one["owner"]:
        out.print(cell(f"  being done by {one['owner']}", 300))
    if one["tries"]:
        out.print(cell(f"  failed {one['tries']} times in a row: {one['error'] or ''}", 1000))
    elif one["said"]:
        out.print(cell(f"  {one['said']}", 300))
    if one["runs"]:
        rows = [
            (
                str(run["number"]),
                _state(run),
                moment(run["at"]),
                duration(run["took_ms"]),
                cell(run["error"] or "", 100),
            )
            for run in reversed(one["runs"][-MOST_RUNS:])
        ]
        print_table(("run", "state", "begun (UTC)", "took", "error"), rows, right=("run", "took"))


def print_asked(items: Sequence[Row]) -> None:
    """Work that is not over."""
    rows = [
        (
            *(cell(one["kind"], 20), cell(one["what"], 40), cell(one["app"] or "-", 40), _state(one), _share(one)),
            *(moment(one["asked_at"]), cell(one["asked_by"], 40), cell(one["id"], 60)),
        )
        for one in items
    ]
    print_table(("kind", "what", "app", "state", "done", "asked (UTC)", "by", "id"), rows, right=("done",))


def _share(one: Row) -> str:
    if one["n_all"] is None:
        return "-"
    return f"{one['n_all']:,}" if one["n_done"] is None else f"{one['n_done']:,} of {one['n_all']:,}"


def _state(one: Row) -> Text:
    return cell(one["state"], 20, _STYLE.get(one["state"], ""))
