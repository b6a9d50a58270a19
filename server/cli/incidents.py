"""Incidents: list and show them, acknowledge, give to somebody, note, close."""

from __future__ import annotations

import argparse
import sys
from typing import Any, Final
from urllib.parse import quote

from server.cli.connection import ApiClient, add_connection_arguments, add_json_argument, client_of
from server.cli.filters import positive
from server.cli.outcome import ExitCode

PATIENCE_S: Final = 60.0  # examples are looked for among many sessions
PATH: Final = "/api/v1/incidents"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """list, show, ack, assign, note and close."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="{list,show,ack,assign,note,close}")
    listed = actions.add_parser("list", help="incidents, newest first", allow_abbrev=False)
    listed.add_argument("--status", choices=("open", "acknowledged", "closed"), help="only those in this status")
    listed.add_argument("--app", help="only those of one app")
    listed.add_argument("--monitor", metavar="NAME", help="only those with an alert of one monitor")
    listed.add_argument("--limit", type=positive, default=50, metavar="N", help="at most so many (default: 50)")
    shown = actions.add_parser("show", help="one incident: timeline, cause, where, examples", allow_abbrev=False)
    taken = actions.add_parser("ack", help="you look after it: nobody is called again", allow_abbrev=False)
    given = actions.add_parser("assign", help="give it to somebody", allow_abbrev=False)
    noted = actions.add_parser("note", help="write into its timeline, also afterwards", allow_abbrev=False)
    closed = actions.add_parser("close", help="close it, when nothing of it fires any more", allow_abbrev=False)
    for one in (shown, taken, given, noted, closed):
        one.add_argument("incident", metavar="ID", help="such as I-17")
    given.add_argument("owner", metavar="OWNER")
    noted.add_argument("text", metavar="TEXT")
    closed.add_argument("--why", default="", metavar="TEXT", help="what it was")
    for one in (listed, shown, taken, given, noted, closed):
        add_connection_arguments(one)
        add_json_argument(one)


def run(args: argparse.Namespace) -> int:
    """Asks the server and prints the answer. Raises CommandFailed."""
    api = client_of(args, PATIENCE_S)
    match args.action:
        case "list":
            return _list(args, api)
        case "show":
            return _show(args, api)
        case "ack":
            return _act(args, api, "ack", {})
        case "assign":
            return _act(args, api, "assign", {"owner": args.owner})
        case "note":
            return _act(args, api, "note", {"text": args.text})
        case _:
            return _act(args, api, "close", {"why": args.why})


def _list(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.monitors_shown import print_incidents
    from server.cli.rendering import print_json

    asked = {"status": args.status, "app": args.app, "monitor": args.monitor, "limit": args.limit}
    found = api.get(PATH, asked)
    if args.json:
        print_json(found)
    elif not found["items"]:
        print("no incidents", file=sys.stderr)
    else:
        print_incidents(found["items"])
    return ExitCode.OK


def _show(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.monitors_shown import print_incident
    from server.cli.rendering import print_json

    told = api.get(f"{PATH}/{quote(args.incident, safe='')}")
    if args.json:
        print_json(told)
    else:
        print_incident(told)
    return ExitCode.OK


def _act(args: argparse.Namespace, api: ApiClient, what: str, body: dict[str, Any]) -> int:
    from server.cli.monitors_shown import print_incidents
    from server.cli.rendering import print_json

    told = api.post(f"{PATH}/{quote(args.incident, safe='')}/{what}", body)
    if args.json:
        print_json(told)
    else:
        print_incidents([told])
    return ExitCode.OK
