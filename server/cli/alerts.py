"""Alerts of monitors, and the messages that tell them."""

from __future__ import annotations

import argparse
import sys
from urllib.parse import quote

from server.cli.connection import ApiClient, add_connection_arguments, add_json_argument, client_of
from server.cli.filters import positive
from server.cli.outcome import ExitCode

STATES = ("queued", "running", "succeeded", "retrying", "dead")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """list, deliveries and replay."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="{list,deliveries,replay}")
    listed = actions.add_parser("list", help="alerts, newest first", allow_abbrev=False)
    which = listed.add_mutually_exclusive_group()
    for status in ("firing", "pending", "resolved"):
        which.add_argument(
            f"--{status}", dest="status", action="store_const", const=status, help=f"only those {status}"
        )
    listed.add_argument("--monitor", metavar="NAME", help="only those of one monitor")
    listed.add_argument("--app", help="only those of one app")
    listed.add_argument("--limit", type=positive, default=50, metavar="N", help="at most so many (default: 50)")
    sent = actions.add_parser("deliveries", help="messages to channels, newest first", allow_abbrev=False)
    sent.add_argument("--state", choices=STATES, help="only those in this state")
    sent.add_argument("--limit", type=positive, default=50, metavar="N", help="at most so many (default: 50)")
    again = actions.add_parser("replay", help="send a message that was given up once more", allow_abbrev=False)
    again.add_argument("delivery", metavar="ID")
    for one in (listed, sent, again):
        add_connection_arguments(one)
        add_json_argument(one)


def run(args: argparse.Namespace) -> int:
    """Asks the server and prints the answer. Raises CommandFailed."""
    match args.action:
        case "list":
            return _list(args, client_of(args))
        case "deliveries":
            return _deliveries(args, client_of(args))
        case _:
            return _replay(args, client_of(args))


def _list(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.monitors_shown import print_alerts
    from server.cli.rendering import print_json

    asked = {"status": args.status, "monitor": args.monitor, "app": args.app, "limit": args.limit}
    found = api.get("/api/v1/alerts", asked)
    if args.json:
        print_json(found)
    elif not found["items"]:
        print("no alerts", file=sys.stderr)
    else:
        print_alerts(found["items"])
    return ExitCode.OK


def _deliveries(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.monitors_shown import print_deliveries
    from server.cli.rendering import print_json

    found = api.get("/api/v1/deliveries", {"state": args.state, "limit": args.limit})
    if args.json:
        print_json(found)
    elif not found["items"]:
        print("no messages", file=sys.stderr)
    else:
        print_deliveries(found["items"])
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
