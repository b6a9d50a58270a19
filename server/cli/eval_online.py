"""Rules that look at sessions as they end: what looks at which app, how far behind, and how to choose."""

from __future__ import annotations

import argparse
import sys
from typing import Any
from urllib.parse import quote

from server.cli.connection import ApiClient, add_connection_arguments, add_json_argument, client_of
from server.cli.outcome import CommandFailed, ExitCode


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands list and set."""
    actions = parser.add_subparsers(dest="online", required=True, metavar="{list,set}")
    listed = actions.add_parser(
        "list", help="what looks at which app's sessions, and how far behind", allow_abbrev=False
    )
    made = actions.add_parser("set", help="choose what looks at an app's sessions from now on", allow_abbrev=False)
    made.add_argument("app", metavar="APP", help="'*': every app without a choice of its own")
    chosen = made.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--evaluators", metavar="NAMES", help="with commas")
    chosen.add_argument("--off", action="store_true", help="nothing looks at its sessions any more")
    made.add_argument("--share", type=float, default=1.0, metavar="S", help="of the sessions, 0 to 1 (default: 1)")
    made.add_argument(
        "--idle", type=float, default=30.0, metavar="SECONDS", help="after its last span one has ended (default: 30)"
    )
    made.add_argument("--dry-run", action="store_true", help="say what would be, change nothing")
    for action in (listed, made):
        add_connection_arguments(action)
        add_json_argument(action)


def run(args: argparse.Namespace) -> int:
    """Asks the server and prints the answer. Raises CommandFailed."""
    api = client_of(args)
    return _set(args, api) if args.online == "set" else _list(args, api)


def _list(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.rendering import cell, moment, print_json, print_table

    found = api.get("/api/v1/evaluators/online")
    if args.json:
        print_json(found)
        return ExitCode.OK
    if not found["items"]:
        print("nothing looks at sessions: assay eval online set APP --evaluators NAMES", file=sys.stderr)
        return ExitCode.OK
    rows = [
        (
            *(cell(one["app"], 60), cell(", ".join(one["evaluators"]) or "(off)", 200), f"{100 * one['share']:.4g} %"),
            *(f"{one['idle_s']:g} s", moment(one["changed_at"]), cell(one["changed_by"], 60)),
        )
        for one in found["items"]
    ]
    print_table(
        ("app", "evaluators", "share", "ended after", "since (UTC)", "by"), rows, right=("share", "ended after")
    )
    print(_status(found["status"]), file=sys.stderr)
    return ExitCode.OK


def _set(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.rendering import print_json

    names = [] if args.off else [name.strip() for name in args.evaluators.split(",") if name.strip()]
    if not names and not args.off:
        raise CommandFailed("name evaluators, or say --off", ExitCode.USAGE)
    body = {"evaluators": names, "share": args.share, "idle_s": args.idle, "dry_run": args.dry_run}
    found = api.put(f"/api/v1/evaluators/online/{quote(args.app, safe='')}", body)
    if args.json:
        print_json(found)
        return ExitCode.OK
    would = f"of the {found['n_day_all']:,} sessions of the last day it would have looked at {found['n_day']:,}"
    if args.dry_run:
        print(f"a dry run: nothing changed; {would}")
    elif args.off:
        print("off from now on; scores stay")
    else:
        print(f"looks at new sessions from now on; {would}")
    return ExitCode.OK


def _status(status: dict[str, Any]) -> str:
    if not status["interval_s"]:
        return "this server does not look (online_interval_s is 0)"
    lag = status["lag_ms"]
    return (
        f"{status['n_sessions']:,} sessions and {status['n_scores']:,} scores so far; {status['n_waiting']:,} sessions "
        f"open or waiting{'' if lag is None else f'; the last ones were scored within {lag / 1000:.0f} s of their end'}"
    )
