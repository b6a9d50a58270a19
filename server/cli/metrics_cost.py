"""What a resolved session costs, by release: `assay metrics cost-per-resolved`."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from server.cli.metrics_pass_k import of_outcomes
from server.cli.outcome import ExitCode


def run(args: argparse.Namespace) -> int:
    """Asks the server and prints the answer. Raises CommandFailed."""
    told = of_outcomes(args, "cost-per-resolved")
    if args.json:
        from server.cli.rendering import print_json

        print_json(told)
    else:
        _print(told["items"])
    return ExitCode.OK


def _print(releases: list[dict[str, Any]]) -> None:
    from rich.text import Text

    from server.cli.rendering import cell, print_table
    from server.cli.terminal import plain

    figures = ("per resolved session", "SE by user", "resolved", "sessions", "unknown")
    rows: list[list[Text | str]] = [
        [
            cell("-" if one["release"] is None else one["release"], 60),
            *(_usd(one["value_usd"]), _usd(one["se_usd"])),
            *(f"{one[name]:,}" for name in ("n_resolved", "n_sessions", "n_unknown")),
        ]
        for one in releases
    ]
    print_table(("release", *figures), rows, right=figures)
    for one in releases:
        if one["unscored"]:
            print(f"{plain(one['release'] or '-', 60)}: {plain(one['unscored'], 300)}", file=sys.stderr)


def _usd(value: float | None) -> str:
    return "-" if value is None else f"${value:,.6f}"
