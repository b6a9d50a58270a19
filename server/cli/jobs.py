"""What servers do by the clock: list and show it, do what failed again, do something before its time."""

from __future__ import annotations

import argparse
import sys
from typing import Final
from urllib.parse import quote

from server.cli.actions import Actions, add_actions, no_arguments
from server.cli.connection import ApiClient, client_of
from server.cli.outcome import ExitCode

STATES: Final = ("queued", "running", "succeeded", "failed", "retrying", "dead")
PATH: Final = "/api/v1/jobs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A subcommand for each of ACTIONS."""
    add_actions(parser, "jobs", ACTIONS)


def run(args: argparse.Namespace) -> int:
    """Asks the server and prints the answer. Raises CommandFailed."""
    return ACTIONS[args.action][2](args, client_of(args))


def _list_arguments(made: argparse.ArgumentParser) -> None:
    made.add_argument("--state", choices=STATES, help="only those in this state")


def _name_argument(made: argparse.ArgumentParser) -> None:
    made.add_argument("job", metavar="NAME", help="as `assay jobs list` names it")


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


def _one(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.jobs_shown import print_job
    from server.cli.rendering import print_json

    path = f"{PATH}/{quote(args.job, safe='')}"
    told = api.get(path) if args.action == "show" else api.post(f"{path}/{args.action}", {})
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


ACTIONS: Final[Actions] = {
    "list": ("jobs, with when each ran last and runs next", _list_arguments, _list, "--state dead"),
    "show": ("one job with its newest runs", _name_argument, _one, "monitors"),
    "run": ("do a job before its time", _name_argument, _one, "monitors"),
    "replay": ("do a job that failed again, a dead one too", _name_argument, _one, "monitors"),
    "asked": ("runs and jobs of judges that wait or are worked on", no_arguments, _asked, ""),
}
