"""Metrics of an app: pass^k of stored trials, and what a judge says, corrected for its errors.

  assay metrics pass-k --app A --k 4         the chance that all of k tries of a task succeed, by release
  assay metrics cost-per-resolved --app A    US dollars per resolved session, by release
  assay metrics NAME --app A --corrected     the rate of a judge (or of its rubric) as people would give it
  assay metrics corrected NAME --app A       the same

A session is a trial when its outcome's metadata names the task (task_id or example_id), as imported benchmarks do.
What a judge says alone is never shown: it stands beside the corrected rate.
"""

from __future__ import annotations

import argparse
from typing import Final

from server.cli import metrics_corrected, metrics_cost, metrics_pass_k
from server.cli.connection import add_connection_arguments, add_json_argument
from server.cli.filters import positive, since
from server.cli.outcome import CommandFailed, ExitCode

_OF_PASS_K: Final = ("k", "threshold")
_OF_OUTCOMES: Final = (*_OF_PASS_K, "evaluator")
_OF_JUDGE: Final = ("version", "variant", "segment", "method", "labels", "level", "baseline", "arl_days")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """pass-k, cost-per-resolved, corrected NAME, or NAME --corrected."""
    parser.add_argument(
        "what", metavar="{pass-k,cost-per-resolved,corrected,NAME}", help="the metric; NAME with --corrected"
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="after 'corrected': a judge, or its rubric")
    parser.add_argument("--corrected", action="store_true", help="of a judge: with its errors taken out")
    parser.add_argument("--app", required=True)
    parser.add_argument("--release", help="only this one")
    tries = parser.add_argument_group("of pass-k (and --evaluator of cost-per-resolved)")
    tries.add_argument("--k", type=positive, help="tries that all have to succeed (default: 1)")
    tries.add_argument("--evaluator", help="whose outcomes count; of trials of runs its scores too")
    tries.add_argument("--threshold", type=float, help="the least outcome of a success (default: 1)")
    metrics_corrected.add_judge_arguments(parser)
    window = parser.add_argument_group("window")
    window.add_argument("--since", type=since, help="how far back: 24h, 30d, all (default: pass-k all, corrected 30d)")
    window.add_argument("--start", help="instead of --since: an RFC 3339 time")
    window.add_argument("--end", help="an RFC 3339 time (default: now)")
    add_connection_arguments(parser)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Asks the server and prints the answer. Raises CommandFailed."""
    if args.since is not None and args.start is not None:
        raise CommandFailed("give --since or --start, not both", ExitCode.USAGE)
    if args.what in ("pass-k", "cost-per-resolved") and not args.corrected:
        _only(args, _OF_JUDGE, "--corrected")
        if args.name is not None:
            raise CommandFailed(f"{args.what} takes no name, and {args.name[:60]!r} is one", ExitCode.USAGE)
        if args.what == "pass-k":
            return metrics_pass_k.run(args)
        _only(args, _OF_PASS_K, "pass-k")
        return metrics_cost.run(args)
    _only(args, _OF_OUTCOMES, "pass-k")
    return metrics_corrected.run(args, _name(args))


def _name(args: argparse.Namespace) -> str:
    """The judge, or its rubric. Raises CommandFailed."""
    if args.what == "corrected" and args.name is not None:
        return str(args.name)
    if args.what == "corrected" and not args.corrected:
        raise CommandFailed("name the judge or its rubric: assay metrics corrected NAME --app A", ExitCode.USAGE)
    if args.name is not None:
        raise CommandFailed(f"one name at a time; {args.name[:60]!r} is a second", ExitCode.USAGE)
    if not args.corrected:
        told = f"what a judge says is shown corrected only: assay metrics {args.what[:60]} --app A --corrected"
        raise CommandFailed(told, ExitCode.USAGE)
    return str(args.what)


def _only(args: argparse.Namespace, names: tuple[str, ...], of: str) -> None:
    given = [f"--{name.replace('_', '-')}" for name in names if getattr(args, name) is not None]
    if given:
        raise CommandFailed(f"{', '.join(given)}: of {of} only", ExitCode.USAGE)
