"""One experiment: what was registered, how it stands, and what the traces say of it by now."""

from __future__ import annotations

import argparse
from typing import Any, Final
from urllib.parse import quote

from server.cli.connection import client_of
from server.cli.outcome import ExitCode

ANSWER_S: Final = 120.0  # all traces since the start are read for an analysis


def show_arguments(parser: argparse.ArgumentParser) -> None:
    """NAME, and which version of it."""
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--version", type=int, metavar="N", help="default: the newest that was started")
    parser.add_argument("--as-of", metavar="TIME", help="as it was known then (RFC 3339)")
    parser.add_argument("--bayes", action="store_true", help="the Bayesian view beside it")


def show(args: argparse.Namespace) -> int:
    """Prints it: 0 for a decision or while it runs, 1 unhealthy, 3 inconclusive. Raises CommandFailed."""
    from server.cli.experiment_shown import print_analysis
    from server.cli.experiments_analyze import EXITS
    from server.cli.rendering import print_json

    client, path = client_of(args, timeout_s=ANSWER_S), f"/api/v1/experiments/{quote(args.name, safe='')}"
    given = {"version": args.version, "as_of": args.as_of}
    analysis = client.get(f"{path}/analysis", {name: value for name, value in given.items() if value is not None})
    known = client.get(path)
    versions = known["versions"]
    registered = next(one for one in versions if one["version"] == analysis["version"])
    if args.json:
        print_json({"registered": registered, "analysis": analysis})
    else:
        _print_definition(registered)
        print_analysis(analysis, bayes=args.bayes)
    return EXITS.get(analysis["decision"]["word"], ExitCode.OK)


def _print_definition(one: dict[str, Any]) -> None:
    """Who is compared by what, in a few lines."""
    from server.cli.terminal import plain

    definition = one["definition"]
    arms = ", ".join(f"{arm['variant']} ({_of(arm)}weight {arm['weight']:g})" for arm in definition["arms"])
    lines = [f"{one['name']} version {one['version']} of {one['app']}: {one['status']}", f"  arms: {arms}"]
    for role in ("primary", "guardrail", "secondary"):
        named = [_metric(each) for each in definition["metrics"] if each["role"] == role]
        lines += [f"  {role}: {', '.join(named)}"] if named else []
    unit, by = definition["unit"], definition["assigned_by"]
    lines.append(f"  unit: {unit}, assigned by the {by}; coverage {100 * (one.get('coverage') or 0):.4g} %")
    if definition["hypothesis"]:
        lines.append(f"  hypothesis: {definition['hypothesis']}")
    for line in lines:
        print(plain(line, 500))
    print()


def _of(arm: dict[str, Any]) -> str:
    return f"{arm['release']}, " if arm.get("release") else ""


def _metric(one: dict[str, Any]) -> str:
    if one["margin"] is None:
        return str(one["name"])
    share = f"{100 * one['margin']:g} % of the control" if one["relative"] else f"{one['margin']:g}"
    return f"{one['name']} (may lose {share})"
