"""Incidents: list and show them, acknowledge, give to somebody, note, close."""

from __future__ import annotations

import argparse
import sys
from typing import Any, Final
from urllib.parse import quote

from server.cli.actions import Actions, add_actions
from server.cli.connection import ApiClient, client_of
from server.cli.filters import positive
from server.cli.outcome import ExitCode

PATIENCE_S: Final = 60.0  # examples are looked for among many sessions
PATH: Final = "/api/v1/incidents"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A subcommand for each of ACTIONS."""
    add_actions(parser, "incidents", ACTIONS)


def run(args: argparse.Namespace) -> int:
    """Asks the server and prints the answer. Raises CommandFailed."""
    return ACTIONS[args.action][2](args, client_of(args, PATIENCE_S))


def _list_arguments(made: argparse.ArgumentParser) -> None:
    made.add_argument("--status", choices=("open", "acknowledged", "closed"), help="only those in this status")
    made.add_argument("--app", help="only those of one app")
    made.add_argument("--monitor", metavar="NAME", help="only those with an alert of one monitor")
    made.add_argument("--limit", type=positive, default=50, metavar="N", help="at most so many (default: 50)")


def _id_argument(made: argparse.ArgumentParser) -> None:
    made.add_argument("incident", metavar="ID", help="such as I-17")


def _assign_arguments(made: argparse.ArgumentParser) -> None:
    _id_argument(made)
    made.add_argument("owner", metavar="OWNER", help="who looks after it from now on")


def _note_arguments(made: argparse.ArgumentParser) -> None:
    _id_argument(made)
    made.add_argument("text", metavar="TEXT", help="what it was, or what was done")


def _close_arguments(made: argparse.ArgumentParser) -> None:
    _id_argument(made)
    made.add_argument("--why", default="", metavar="TEXT", help="what it was")


def _list(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.monitors_shown import print_incidents
    from server.cli.rendering import print_json

    asked = {"status": args.status, "app": args.app, "monitor": args.monitor}
    items = list(api.items(PATH, asked, args.limit))
    if args.json:
        print_json({"items": items})
    elif not items:
        print("no incidents", file=sys.stderr)
    else:
        print_incidents(items)
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


def _ack(args: argparse.Namespace, api: ApiClient) -> int:
    return _done(args, api, {})


def _assign(args: argparse.Namespace, api: ApiClient) -> int:
    return _done(args, api, {"owner": args.owner})


def _note(args: argparse.Namespace, api: ApiClient) -> int:
    return _done(args, api, {"text": args.text})


def _close(args: argparse.Namespace, api: ApiClient) -> int:
    return _done(args, api, {"why": args.why})


def _done(args: argparse.Namespace, api: ApiClient, body: dict[str, Any]) -> int:
    from server.cli.monitors_shown import print_incidents
    from server.cli.rendering import print_json

    told = api.post(f"{PATH}/{quote(args.incident, safe='')}/{args.action}", body)
    if args.json:
        print_json(told)
    else:
        print_incidents([told])
    return ExitCode.OK


ACTIONS: Final[Actions] = {
    "list": ("incidents, newest first", _list_arguments, _list, "--status open --app shop"),
    "show": ("one incident: timeline, cause, where, examples", _id_argument, _show, "I-17"),
    "ack": ("say that you look after it: nobody is called again", _id_argument, _ack, "I-17"),
    "assign": ("give it to somebody", _assign_arguments, _assign, "I-17 ann"),
    "note": ("write into its timeline, also afterwards", _note_arguments, _note, 'I-17 "rolled back at 14:10"'),
    "close": (
        *("close it, when nothing of it fires any more", _close_arguments, _close),
        'I-17 --why "a prompt without the refund rule"',
    ),
}
