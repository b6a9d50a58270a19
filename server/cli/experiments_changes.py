"""Start, ramp and stop an experiment, and give testers a variant."""

from __future__ import annotations

import argparse
import sys
from typing import Any
from urllib.parse import quote

from server.cli.connection import client_of
from server.cli.filters import duration
from server.cli.outcome import CommandFailed, ExitCode


def name_arguments(parser: argparse.ArgumentParser) -> None:
    """NAME, --coverage and --dry-run."""
    _named(parser)
    parser.add_argument(
        "--coverage", type=share, default=1.0, metavar="SHARE", help="of its units that take part, as 0.1 or 10%%"
    )
    parser.add_argument(
        "--since",
        type=duration,
        metavar="48h",
        help="how long the app has assigned units already (--assigned-by app)",
    )


def ramp_arguments(parser: argparse.ArgumentParser) -> None:
    """NAME, COVERAGE and --dry-run."""
    _named(parser)
    parser.add_argument("coverage", type=share, metavar="SHARE", help="of its units that take part, as 0.5 or 50%%")


def stop_arguments(parser: argparse.ArgumentParser) -> None:
    """NAME, --reason and --dry-run."""
    _named(parser)
    parser.add_argument("--reason", help="kept with it and in the audit log")


def override_arguments(parser: argparse.ArgumentParser) -> None:
    """NAME, UNIT, and the variant or --remove."""
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("unit_id", metavar="UNIT", help="a user's or a session's id, as the experiment's unit is")
    parser.add_argument("variant", metavar="VARIANT", nargs="?", help="which one it gets from now on")
    parser.add_argument("--remove", action="store_true", help="by hash again; what the tester did still never counts")


def run_start(args: argparse.Namespace) -> int:
    """Starts the newest version. Raises CommandFailed."""
    return _changed(args, "start", {"coverage": args.coverage, "since": args.since})


def run_ramp(args: argparse.Namespace) -> int:
    """Lets more units in. Raises CommandFailed."""
    return _changed(args, "ramp", {"coverage": args.coverage})


def run_stop(args: argparse.Namespace) -> int:
    """Stops the newest version. Raises CommandFailed."""
    return _changed(args, "stop", {"reason": args.reason})


def run_override(args: argparse.Namespace) -> int:
    """Sets or ends a tester's variant. Raises CommandFailed."""
    from server.cli.rendering import print_json

    if (args.variant is None) is not args.remove:
        raise CommandFailed("name a VARIANT, or --remove", ExitCode.USAGE)
    body = {"overrides": {args.unit_id: args.variant}}
    told = client_of(args).put(f"{path_of(args.name)}/overrides", body)
    if args.json:
        print_json(told)
        return ExitCode.OK
    said = "is placed by hash again" if args.remove else f"gets {args.variant} from now on"
    print(f"{args.unit_id} {said}; it never counts in {told['name']} version {told['version']}", file=sys.stderr)
    return ExitCode.OK


def share(text: str) -> float:
    """A share from 0 to 1, also as a percentage. Raises argparse's error."""
    try:
        found = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 1:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no share: give 0 to 1, or 0% to 100%")
    return found


def path_of(name: str) -> str:
    """Where an experiment is in the API."""
    return f"/api/v1/experiments/{quote(name, safe='')}"


def _named(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--dry-run", action="store_true", help="say what would be, change nothing")


def _changed(args: argparse.Namespace, verb: str, body: dict[str, Any]) -> int:
    from server.cli.rendering import print_json
    from server.cli.terminal import plain

    told = client_of(args).post(f"{path_of(args.name)}/{verb}", {**body, "dry_run": args.dry_run})
    if args.json:
        print_json(told)
        return ExitCode.OK
    for warning in told["warnings"]:
        print(f"warning: {plain(warning, 300)}", file=sys.stderr)
    if args.dry_run:
        print("a dry run: nothing changed; it would be:", file=sys.stderr)
    print(f"{told['name']} version {told['version']}: {told['status']}, coverage {100 * told['coverage']:.4g} %")
    return ExitCode.OK
