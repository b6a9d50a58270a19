"""List plans, show one with its versions, and set how an app's sessions are split over its releases.

A baseline without a weight gets what the others leave of 1.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any, Final
from urllib.parse import quote

from server.cli.connection import ApiClient, add_connection_arguments, add_json_argument, client_of
from server.cli.outcome import CommandFailed, ExitCode

NO_ENDPOINT: Final = "in the gateway's file or nowhere"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands list, show and set."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="{list,show,set}")
    listed = actions.add_parser("list", help="the plan of every app", allow_abbrev=False)
    shown = actions.add_parser("show", help="an app's plan and the versions before it", allow_abbrev=False)
    made = actions.add_parser("set", help="split an app's sessions otherwise from now on", allow_abbrev=False)
    for action in (shown, made):
        action.add_argument("app", metavar="APP")
    made.add_argument("--baseline", required=True, metavar="RELEASE", help="the release to fall back on")
    made.add_argument(
        *("--weight", "-w"), type=_weight, action="append", default=[], metavar="RELEASE=W", help="repeatable"
    )
    made.add_argument("--reason", help="kept with the version and in the audit log")
    made.add_argument("--if-version", type=int, metavar="N", help="only if the plan is at version N (0: has none)")
    made.add_argument("--dry-run", action="store_true", help="say what would be, change nothing")
    for action in (listed, shown, made):
        add_connection_arguments(action)
        add_json_argument(action)


def run(args: argparse.Namespace) -> int:
    """Asks the server and prints the answer; an empty list is a success. Raises CommandFailed."""
    api = client_of(args)
    match args.action:
        case "set":
            return _set(args, api)
        case "show":
            return _show(args, api)
        case _:
            return _list(args, api)


def _list(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.rendering import cell, moment, print_json, print_table

    items = api.get("/api/v1/plans")["items"]
    if args.json:
        print_json({"items": items})
        return ExitCode.OK
    if not items:
        print("no plans: set one with assay plan set APP --baseline RELEASE --weight RELEASE=0.1", file=sys.stderr)
        return ExitCode.OK
    columns = ("app", "version", "baseline", "since (UTC)", "split")
    rows = [
        (cell(one["app"], 60), str(one["version"]), cell(one["baseline"], 40), moment(one["made_at"]), _split(one))
        for one in items
    ]
    print_table(columns, rows, right=("version",))
    return ExitCode.OK


def _show(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.rendering import cell, console, moment, print_json, print_table

    one = api.get(_path(args.app))
    if args.json:
        print_json(one)
        return ExitCode.OK
    _print_plan(one)
    console().print()
    rows = [
        (str(v["version"]), moment(v["made_at"]), cell(v["made_by"], 60), _split(v), cell(v["reason"], 200))
        for v in one["versions"]
    ]
    print_table(("version", "made (UTC)", "by", "split", "reason"), rows, right=("version",))
    return ExitCode.OK


def _set(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.rendering import print_json
    from server.cli.terminal import plain

    weights = dict(args.weight)
    if len(weights) < len(args.weight):
        raise CommandFailed("a release has two weights; give each --weight once", ExitCode.USAGE)
    body = {"baseline": args.baseline, "weights": weights, "reason": args.reason, "dry_run": args.dry_run}
    one = api.put(_path(args.app), {**body, "if_version": args.if_version})
    if args.json:
        print_json(one)
        return ExitCode.OK
    _print_plan(one)
    for warning in one["warnings"]:
        print(f"warning: {plain(warning, 300)}", file=sys.stderr)
    if not one["changed"]:
        said = "that is the plan already: nothing changed"
    elif args.dry_run:
        said = f"a dry run: nothing changed; without --dry-run this becomes version {one['version']}"
    else:
        said = f"version {one['version']} holds from now on"
    print(said, file=sys.stderr)
    return ExitCode.OK


def _print_plan(one: dict[str, Any]) -> None:
    from server.cli.rendering import cell, print_table

    rows = [
        (
            *(cell(name, 60), "baseline" if name == one["baseline"] else "candidate"),
            *(f"{weight:g}", f"{100 * one['shares'][name]:.4g} %", cell(one["endpoints"][name] or NO_ENDPOINT, 200)),
        )
        for name, weight in one["weights"].items()
    ]
    print_table(("release", "role", "weight", "share", "endpoint"), rows, right=("weight", "share"))


def _split(version: dict[str, Any]) -> str:
    """'v1 90 %, v2 10 %': the baseline first."""
    from server.cli.terminal import plain

    shares = sorted(version["shares"].items(), key=lambda one: (one[0] != version["baseline"], one[0]))
    return ", ".join(f"{plain(name, 60)} {100 * share:.4g} %" for name, share in shares)


def _path(app: str) -> str:
    return f"/api/v1/plans/{quote(app, safe='')}"


def _weight(text: str) -> tuple[str, float]:
    """RELEASE=W; a release may contain '='. Raises argparse's error otherwise."""
    name, separator, number = text.rpartition("=")
    try:
        weight = float(number)
    except ValueError:
        weight = -1.0
    if not separator or not name or not 0 <= weight < float("inf"):
        raise argparse.ArgumentTypeError(f"{text[:80]!r} is not RELEASE=W with a number W from 0 on, e.g. v2=0.1")
    return name, weight
