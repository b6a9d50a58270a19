"""Bring a release into traffic step by step. The gateway obeys; a release that harms is taken off the road by itself.

  assay deploy shop v2 --canary 1,5,25,50,100 --bake 30m

A terminal shows it live; Ctrl-C, or --detach, leaves it to the server. Exit codes of a watched one: 0 promoted, 1
rolled back or aborted. See docs/rollouts.md.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any, Final

from server.cli.connection import add_connection_arguments, add_json_argument, client_of
from server.cli.outcome import CommandFailed, ExitCode
from server.cli.terminal import plain

CANARY: Final = "1,5,25,50,100"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """APP and RELEASE with the policy."""
    parser.add_argument("app", metavar="APP")
    parser.add_argument("release", metavar="RELEASE", help="the candidate, registered with an endpoint")
    parser.add_argument("--baseline", metavar="RELEASE", help="default: the baseline of the app's plan")
    parser.add_argument("--canary", metavar="W,W,...", help=f"per cent of sessions, rising (default: {CANARY})")
    parser.add_argument("--bake", type=_seconds, default=1800.0, metavar="TIME", help="of each step (30m)")
    parser.add_argument("--min-units", type=int, default=20, metavar="N", help="of the candidate in a step (20)")
    parser.add_argument("--mature", type=_seconds, default=60.0, metavar="TIME", help="age at which units count (60s)")
    parser.add_argument("--unit", choices=("session", "user"), default="session", help="what is counted (session)")
    parser.add_argument("--alpha", type=float, default=0.05, help="chance of a false rollback, over all of it (0.05)")
    parser.add_argument(
        "--guardrail", action="append", default=[], metavar="NAME[=MARGIN]",
        help="beside resolution, safety, error_rate, p95_latency and cost; repeatable",
    )  # fmt: skip
    parser.add_argument("--without", action="append", default=[], metavar="NAME", help="leave a guardrail out")
    parser.add_argument("--max-missing", type=float, default=0.1, metavar="SHARE", help="units without a score (0.1)")
    needs = parser.add_argument_group("before the first step")
    needs.add_argument("--require-gate", action="store_true", help="the newest decision of a gate on both passes")
    needs.add_argument("--require-approval", action="store_true", help="somebody else with the role admin approves")
    needs.add_argument("--check", action="append", default=[], metavar="NAME", help="this check was reported as passed")
    parser.add_argument("--bypass", metavar="REASON", help="all sessions at once, untested; kept in the audit log")
    parser.add_argument("--endpoint-elsewhere", action="store_true", help="the gateway's file says where it is")
    parser.add_argument("--watch", action="store_true", help="show it until it has ended, also without a terminal")
    parser.add_argument("--detach", action="store_true", help="begin it and go")
    parser.add_argument("--dry-run", action="store_true", help="say what would be, change nothing")
    add_connection_arguments(parser)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Begins the rollout. Raises CommandFailed."""
    from server.cli.rendering import console, print_json
    from server.cli.rollout_shown import EXITS, picture, watch

    if args.watch and args.detach:
        raise CommandFailed("--watch shows it, --detach goes; give one of them", ExitCode.USAGE)
    api = client_of(args, timeout_s=60.0)
    told = api.post("/api/v1/rollouts", _body(args))
    for warning in told["warnings"]:
        print(f"warning: {plain(warning, 500)}", file=sys.stderr)
    watches = args.watch or (console().is_terminal and not args.detach and not args.json)
    if args.dry_run or not watches:
        if args.json:
            print_json(told)
        else:
            console().print(picture(told))
            _say(args, told)
        return ExitCode.OK
    try:
        told = watch(api, told)
    except KeyboardInterrupt:
        print(f"\nit goes on without you: assay rollouts show {plain(args.app, 80)}", file=sys.stderr)
        return ExitCode.INTERRUPTED
    if args.json:
        print_json(told)
    return EXITS[told["status"]]


def _say(args: argparse.Namespace, told: dict[str, Any]) -> None:
    app = plain(args.app, 80)
    if args.dry_run:
        print("a dry run: nothing changed", file=sys.stderr)
    elif told["status"] == "promoted":
        print("the candidate has all sessions from now on, untested", file=sys.stderr)
    else:
        print(f"watch it: assay rollouts show {app} --watch; end it: assay rollouts abort {app}", file=sys.stderr)


def _body(args: argparse.Namespace) -> dict[str, Any]:
    body: dict[str, Any] = {
        "app": args.app,
        "candidate": args.release,
        "baseline": args.baseline,
        "weights": weights_of(args.canary or CANARY),
        "bake_s": args.bake,
        "min_units": args.min_units,
        "mature_s": args.mature,
        "unit": args.unit,
        "alpha": args.alpha,
        "guardrails": [_guardrail(one) for one in args.guardrail],
        "without": args.without,
        "max_missing_share": args.max_missing,
        "requires": {"gate": args.require_gate, "checks": args.check, "approval": args.require_approval},
        "endpoint_elsewhere": args.endpoint_elsewhere,
        "dry_run": args.dry_run,
    }
    if args.bypass is not None:
        body["bypass"] = {"reason": args.bypass}
    return body


def weights_of(text: str) -> list[float]:
    """Shares from per cents, "1,5,100" -> [0.01, 0.05, 1.0]. Raises CommandFailed."""
    try:
        numbers = [float(one) for one in text.split(",")]
    except ValueError:
        raise CommandFailed(
            f"--canary {text[:80]!r} is not a list of per cents, e.g. {CANARY}", ExitCode.USAGE
        ) from None
    if any(not 0 < one <= 100 for one in numbers):
        raise CommandFailed(f"--canary {text[:80]!r}: per cents are above 0 and at most 100", ExitCode.USAGE)
    return [one / 100 for one in numbers]


def _guardrail(text: str) -> str | dict[str, Any]:
    name, separator, margin = text.partition("=")
    if not separator:
        return name
    try:
        return {"name": name, "margin": float(margin)}
    except ValueError:
        raise CommandFailed(f"--guardrail {text[:80]!r} is not NAME or NAME=MARGIN", ExitCode.USAGE) from None


def _seconds(text: str) -> float:
    """90s, 30m, 2h or a number of seconds. Raises argparse's error otherwise."""
    from core.errors import InvalidInput
    from core.windows import parse_duration_s

    try:
        return float(text)
    except ValueError:
        pass
    try:
        return float(parse_duration_s(text))
    except InvalidInput as error:
        raise argparse.ArgumentTypeError(str(error)) from None
