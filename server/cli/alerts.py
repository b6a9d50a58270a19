"""Alerts of monitors, and the messages that tell them."""

from __future__ import annotations

import argparse
import sys
from typing import Final
from urllib.parse import quote

from server.cli.actions import Actions, add_actions
from server.cli.connection import ApiClient, client_of
from server.cli.filters import positive
from server.cli.outcome import ExitCode

STATES: Final = ("queued", "running", "succeeded", "retrying", "dead")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A subcommand for each of ACTIONS."""
    add_actions(parser, "alerts", ACTIONS)


def run(args: argparse.Namespace) -> int:
    """Asks the server and prints the answer. Raises CommandFailed."""
    return ACTIONS[args.action][2](args, client_of(args))


def _list_arguments(made: argparse.ArgumentParser) -> None:
    which = made.add_mutually_exclusive_group()
    for status in ("firing", "pending", "resolved"):
        which.add_argument(
            f"--{status}", dest="status", action="store_const", const=status, help=f"only those {status}"
        )
    made.add_argument("--monitor", metavar="NAME", help="only those of one monitor")
    made.add_argument("--app", help="only those of one app")
    made.add_argument("--limit", type=positive, default=50, metavar="N", help="at most so many (default: 50)")


def _deliveries_arguments(made: argparse.ArgumentParser) -> None:
    made.add_argument("--state", choices=STATES, help="only those in this state")
    made.add_argument("--limit", type=positive, default=50, metavar="N", help="at most so many (default: 50)")


def _replay_arguments(made: argparse.ArgumentParser) -> None:
    made.add_argument("delivery", metavar="ID", help="as `assay alerts deliveries --state dead` lists it")


def _list(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.monitors_shown import print_alerts
    from server.cli.rendering import print_json

    asked = {"status": args.status, "monitor": args.monitor, "app": args.app}
    items = list(api.items("/api/v1/alerts", asked, args.limit))
    if args.json:
        print_json({"items": items})
    elif not items:
        print("no alerts", file=sys.stderr)
    else:
        print_alerts(items)
    return ExitCode.OK


def _deliveries(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.monitors_shown import print_deliveries
    from server.cli.rendering import print_json

    items = list(api.items("/api/v1/deliveries", {"state": args.state}, args.limit))
    if args.json:
        print_json({"items": items})
    elif not items:
        print("no messages", file=sys.stderr)
    else:
        print_deliveries(items)
    return ExitCode.OK


def _replay(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.monitors_shown import print_deliveries
    from server.cli.rendering import print_json

    told = api.post(f"/api/v1/deliveries/{quote(args.delivery, safe='')}/replay", {})
    if args.json:
        print_json(told)
    else:
        print_deliveries([told])
    return ExitCode.OK


ACTIONS: Final[Actions] = {
    "list": ("alerts, newest first", _list_arguments, _list, "--firing --app shop"),
    "deliveries": ("messages to channels, newest first", _deliveries_arguments, _deliveries, "--state dead"),
    "replay": ("send a message that was given up once more", _replay_arguments, _replay, "ID"),
}
