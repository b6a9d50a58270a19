"""`assay metrics pass-k`: the chance that all of k tries of a task succeed, by release.

The standard error counts tasks, not trials: tries of one task are no new tasks.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any, Final

from server.cli.connection import client_of
from server.cli.outcome import ExitCode

PATIENCE_S: Final = 60.0
ALL: Final = "1500w"


def run(args: argparse.Namespace) -> int:
    """Asks the server and prints the answer. Raises CommandFailed."""
    told = of_outcomes(args, "pass-k", "k", "threshold")
    if args.json:
        from server.cli.rendering import print_json

        print_json(told)
    else:
        _print(told)
    return ExitCode.OK


def of_outcomes(args: argparse.Namespace, metric: str, *more: str) -> dict[str, Any]:
    """What the server says of a metric of outcomes, asked with what was given. Raises CommandFailed."""
    names = ("app", "release", "evaluator", "start", "end", *more)
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    if args.start is None:
        given["since"] = args.since or ALL
    told: dict[str, Any] = client_of(args, PATIENCE_S).get(f"/api/v1/metrics/{metric}", given)
    return told


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
