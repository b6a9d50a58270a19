"""pass^k of stored trials: the chance that all of k tries of a task succeed, by release.

A session is a trial when its outcome's metadata names the task (task_id or example_id), as imported benchmarks do.
The standard error counts tasks, not trials: tries of one task are no new tasks.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any, Final

from server.cli.connection import add_connection_arguments, add_json_argument, client_of
from server.cli.filters import positive, since
from server.cli.outcome import CommandFailed, ExitCode

PATIENCE_S: Final = 60.0
ALL: Final = "1500w"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommand pass-k."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="{pass-k}")
    asked = actions.add_parser("pass-k", help="pass^k and pass@k of an app's trials", allow_abbrev=False)
    asked.add_argument("--app", required=True)
    asked.add_argument("--k", type=positive, default=1, help="tries that all have to succeed (default: 1)")
    asked.add_argument("--release", help="only this one")
    asked.add_argument("--evaluator", help="whose outcomes count; of trials of runs its scores too")
    asked.add_argument("--threshold", type=float, default=1.0, help="the least outcome of a success (default: 1)")
    window = asked.add_argument_group("window")
    window.add_argument("--since", type=since, help="how far back: 24h, 30d, all (default: all)")
    window.add_argument("--start", help="instead of --since: an RFC 3339 time")
    window.add_argument("--end", help="an RFC 3339 time (default: now)")
    add_connection_arguments(asked)
    add_json_argument(asked)


def run(args: argparse.Namespace) -> int:
    """Asks the server and prints the answer. Raises CommandFailed."""
    if args.since is not None and args.start is not None:
        raise CommandFailed("give --since or --start, not both", ExitCode.USAGE)
    names = ("app", "k", "release", "evaluator", "threshold", "start", "end")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    if args.start is None:
        given["since"] = args.since or ALL
    told = client_of(args, PATIENCE_S).get("/api/v1/metrics/pass-k", given)
    if args.json:
        from server.cli.rendering import print_json

        print_json(told)
    else:
        _print(told)
    return ExitCode.OK


def _print(told: dict[str, Any]) -> None:
    from rich.text import Text

    from server.cli.rendering import cell, print_table
    from server.cli.terminal import plain

    rows: list[list[Text | str]] = [
        [
            cell("-" if one["release"] is None else one["release"], 60),
            *(str(hat["k"]), f"{hat['value']:.4f}", _error(hat["se"]), _error(hat["se_iid"])),
            *(_ends(hat), f"{at['value']:.4f}", f"{one['n_tasks']:,}", f"{one['n_trials']:,}"),
        ]
        for one in told["items"]
        for hat, at in zip(one["pass_hat"], one["pass_at"], strict=True)
    ]
    figures = ("k", "pass^k", "SE by task", "SE as if iid", "95%", "pass@k", "tasks", "trials")
    print_table(("release", *figures), rows, right=figures)
    for one in told["items"]:
        if one["refused"]:
            print(f"{plain(one['release'] or '-', 60)}: {plain(one['refused'], 300)}", file=sys.stderr)
    left = [(told["n_without_task"], "name no task"), (told["n_unscored"], "have no value")]
    for n, why in left:
        if n:
            print(f"{n:,} outcomes of {plain(told['evaluator'], 60)} {why} and are left out", file=sys.stderr)


def _error(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _ends(one: dict[str, Any]) -> str:
    return "-" if one["low"] is None else f"{one['low']:.3f} to {one['high']:.3f}"
