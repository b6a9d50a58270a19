"""Silence alerts for a while: they live, stand in their incidents, and what still fires afterwards is told then."""

from __future__ import annotations

import argparse
import sys
from typing import Any
from urllib.parse import quote

from server.cli.connection import add_connection_arguments, add_json_argument, client_of
from server.cli.filters import duration
from server.cli.outcome import CommandFailed, ExitCode

PATH = "/api/v1/silences"
DAYS = "mon,tue,wed,thu,fri,sat,sun"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """MONITOR and for how long, or --list, or --end."""
    parser.add_argument("monitor", nargs="?", metavar="MONITOR", help="of which monitor; none: of all that --app says")
    parser.add_argument("lasts", nargs="?", type=duration, metavar="FOR", help="such as 2h, 30m, 3d")
    parser.add_argument("--why", metavar="TEXT", help="who misses a page asks")
    parser.add_argument("--app", help="only alerts of this app")
    parser.add_argument("--series", help="only alerts of this series, such as resolution{release=v2}")
    parser.add_argument("--severity", choices=("page", "ticket"), help="only alerts as loud as this")
    parser.add_argument("--start", help="an RFC 3339 time (default: now)")
    parser.add_argument("--weekly", metavar="DAYS", help="only in windows every week, on these days: sat,sun")
    parser.add_argument("--between", metavar="HH:MM-HH:MM", help="the windows of --weekly")
    parser.add_argument("--zone", help="whose clock --between is by, such as Europe/Berlin (default: UTC)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be silent, silence nothing")
    parser.add_argument("--list", action="store_true", help="the silences there are")
    parser.add_argument("--end", metavar="ID", help="end this silence now")
    add_connection_arguments(parser)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Asks the server and prints the answer. Raises CommandFailed."""
    api = client_of(args)
    if args.list:
        return _shown(args, api.get(PATH))
    if args.end is not None:
        return _shown(args, api.delete(f"{PATH}/{quote(args.end, safe='')}"))
    return _shown(args, api.post(PATH, _wanted(args)))


def _wanted(args: argparse.Namespace) -> dict[str, Any]:
    if args.lasts is None and args.monitor is not None and args.app is not None:
        args.monitor, args.lasts = None, args.monitor  # of all monitors of an app; the server reads how long
    if args.lasts is None or args.why is None:
        raise CommandFailed("say for how long and why: assay silence resolution 2h --why deploy", ExitCode.USAGE)
    named = {"monitor": args.monitor, "app": args.app, "series": args.series, "severity": args.severity}
    body: dict[str, Any] = {
        "matcher": {name: value for name, value in named.items() if value is not None},
        "lasts": args.lasts,
        "why": args.why,
        "dry_run": args.dry_run,
    }
    if args.start is not None:
        body["start"] = args.start
    if (args.weekly is None) != (args.between is None):
        raise CommandFailed("--weekly says the days, --between the times: give both", ExitCode.USAGE)
    if args.weekly is not None:
        start, _, end = args.between.partition("-")
        body["weekly"] = {"days": args.weekly.split(","), "start": start, "end": end, "zone": args.zone or "UTC"}
    return body


def _shown(args: argparse.Namespace, told: dict[str, Any]) -> int:
    from server.cli.monitors_shown import print_silences
    from server.cli.rendering import print_json

    items = told.get("items", [told])
    if args.json:
        print_json(told)
    elif not items:
        print("no silences", file=sys.stderr)
    else:
        print_silences(items)
    return ExitCode.OK
