"""What servers do by the clock: list and show it, do what failed again, do something before its time."""

from __future__ import annotations

import argparse
import sys
from urllib.parse import quote

from server.cli.connection import ApiClient, add_connection_arguments, add_json_argument, client_of
from server.cli.outcome import ExitCode

STATES = ("queued", "running", "succeeded", "failed", "retrying", "dead")
PATH = "/api/v1/jobs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """list, show, run, replay and asked."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="{list,show,run,replay,asked}")
    listed = actions.add_parser("list", help="jobs, with when each ran last and runs next", allow_abbrev=False)
    listed.add_argument("--state", choices=STATES, help="only those in this state")
    shown = actions.add_parser("show", help="one job with its newest runs", allow_abbrev=False)
    now = actions.add_parser("run", help="do a job before its time", allow_abbrev=False)
    again = actions.add_parser("replay", help="do a job that failed again, a dead one too", allow_abbrev=False)
    for one in (shown, now, again):
        one.add_argument("job", metavar="NAME")
    asked = actions.add_parser("asked", help="runs and jobs of judges that wait or are worked on", allow_abbrev=False)
    for one in (listed, shown, now, again, asked):
        add_connection_arguments(one)
        add_json_argument(one)


def run(args: argparse.Namespace) -> int:
    """Asks the server and prints the answer. Raises CommandFailed."""
    api = client_of(args)
    match args.action:
        case "list":
            return _list(args, api)
        case "asked":
            return _asked(args, api)
        case action:
            return _one(args, api, action)


def _list(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.jobs_shown import print_jobs
    from server.cli.rendering import print_json

    found = api.get(PATH)
    items = [one for one in found["items"] if args.state in (None, one["state"])]
    if args.json:
        print_json({**found, "items": items})
    elif not items:
        print("no jobs" if args.state is None else f"no jobs that are {args.state}", file=sys.stderr)
    else:
        print_jobs(items)
    return ExitCode.OK


def _one(args: argparse.Namespace, api: ApiClient, action: str) -> int:
    from server.cli.jobs_shown import print_job
    from server.cli.rendering import print_json

    path = f"{PATH}/{quote(args.job, safe='')}"
    told = api.get(path) if action == "show" else api.post(f"{path}/{action}", {})
    if args.json:
        print_json(told)
    else:
        print_job(told)
    return ExitCode.OK


def _asked(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.jobs_shown import print_asked
    from server.cli.rendering import print_json

    found = api.get("/api/v1/work")
    if args.json:
        print_json(found)
    elif not found["items"]:
        print("nothing waits", file=sys.stderr)
    else:
        print_asked(found["items"])
    return ExitCode.OK
