"""`assay monitors budget`: the false pages that are allowed, how they are divided, and what of them is used."""

from __future__ import annotations

import argparse
from typing import Any, Final

from server.cli.connection import ApiClient
from server.cli.outcome import CommandFailed, ExitCode

PATH: Final = "/api/v1/monitors/budget"


def add_arguments(made: argparse.ArgumentParser) -> None:
    """What the command takes."""
    made.add_argument("--app", help="of this app only (default: of all together)")
    how = made.add_mutually_exclusive_group()
    how.add_argument("--per-week", type=float, metavar="N", help="allow so many false pages a week")
    how.add_argument("--none", action="store_true", help="allow no number: every monitor goes by its own again")
    made.add_argument("--dry-run", action="store_true", help="say how it would be divided, change nothing")


def run(args: argparse.Namespace, api: ApiClient) -> int:
    """Asks, or changes, and prints the answer. Raises CommandFailed."""
    from server.cli.rendering import print_json  # not needed to say how the command is used

    changes = args.none or args.per_week is not None
    if args.dry_run and not changes:
        raise CommandFailed("--dry-run is of a change: give --per-week or --none", ExitCode.USAGE)
    if changes:
        body = {"app": args.app, "false_pages_per_week": args.per_week, "dry_run": args.dry_run}
        told = api.request("PUT", PATH, body=body).json()
    else:
        told = api.get(PATH, {"app": args.app})
    if args.json:
        print_json(told)
    else:
        _print(told)
    return ExitCode.OK


def _print(told: dict[str, Any]) -> None:
    from server.cli.rendering import cell, console, print_table

    out = console()
    for one in told["budgets"]:
        whose = "altogether" if one["app"] is None else f"of {one['app']}"
        out.print(cell(f"allowed {whose}: {one['false_pages_per_week']:g} false pages a week", 300))
    if not told["budgets"]:
        out.print("no budget: every monitor has its own; set one with assay monitors budget --per-week N")
    tried = " (a dry run: nothing was changed)" if told["dry_run"] else ""
    used = f"expected: {told['expected_per_week']:.3g} a week; paged in four weeks: {told['pages_per_week']:.3g} a week"
    out.print(cell(used + tried, 300))
    rows = [
        (
            *(cell(one["name"], 40), cell(one["app"], 40), cell(one["series"], 40), one["severity"]),
            *(str(one["n_series"]), f"{one['asked']:g}", _share(one), _points(one), _expected(one), str(one["pages"])),
        )
        for one in told["monitors"]
    ]
    columns = ("name", "app", "series", "tells by", "n", "asks", "allotted", "one in", "expected", "paged")
    print_table(columns, rows, right=("n", "asks", "allotted", "one in", "expected", "paged"))


def _share(one: dict[str, Any]) -> str:
    return "-" if one["allotted"] is None else f"{one['allotted']:.3g}"


def _points(one: dict[str, Any]) -> str:
    return "-" if one["points"] is None else f"{one['points']:,.0f} points of {one['step']}"


def _expected(one: dict[str, Any]) -> str:
    return "not known" if one["expected"] is None else f"{one['expected']:.3g}"
