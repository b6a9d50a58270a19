"""List the evaluators, show what one scores, needs and misses, and try a file of your own."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from server.cli.connection import ApiClient, Params, add_connection_arguments, add_json_argument, client_of
from server.cli.outcome import ExitCode


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands list, show and check."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="{list,show,check}")
    listed = actions.add_parser("list", help="all evaluators, or those of one dimension", allow_abbrev=False)
    listed.add_argument("--dimension", help="correctness, safety, helpfulness, grounding, latency_cost, ...")
    shown = actions.add_parser("show", help="one evaluator: failure modes and validity too", allow_abbrev=False)
    shown.add_argument("name", metavar="NAME")
    checked = actions.add_parser(
        "check", help="try a file of your own evaluators on an example; asks no server", allow_abbrev=False
    )
    checked.add_argument("file", type=Path, metavar="FILE", help="NAME.py or NAME.json, see docs/custom-evaluators.md")
    add_json_argument(checked)
    for action in (listed, shown):
        add_connection_arguments(action)
        add_json_argument(action)


def run(args: argparse.Namespace) -> int:
    """Asks the server and prints the answer; a file is tried here. Raises CommandFailed."""
    if args.action == "check":
        return _check(args.file, args.json)
    api = client_of(args)
    return _show(args, api) if args.action == "show" else _list(args, api)


def _list(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.rendering import cell, print_json, print_table

    params: Params = {"dimension": args.dimension} if args.dimension else {}
    items = api.get("/api/v1/evaluators", params)["items"]
    if args.json:
        print_json({"items": items})
        return ExitCode.OK
    if not items:
        print("no evaluators of this dimension", file=sys.stderr)
        return ExitCode.OK
    columns = ("evaluator", "dimension", "unit", "better", "needs", "what it says")
    rows = [
        (
            *(
                cell(f"{one['name']}@{one['version']}"),
                cell(one["dimension"]),
                cell(_unit(one)),
                cell(one["direction"]),
            ),
            *(cell(", ".join(one["needs"]) or "-"), cell(one["summary"], 300)),
        )
        for one in items
    ]
    print_table(columns, rows)
    return ExitCode.OK


def _show(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.rendering import console, print_json
    from server.cli.terminal import plain

    one = api.get(f"/api/v1/evaluators/{quote(args.name, safe='')}")
    if args.json:
        print_json(one)
        return ExitCode.OK
    out = console()
    out.print(f"{one['name']}@{one['version']}  {one['dimension']}, {one['kind']}", style="bold")
    out.print(plain(one["summary"], 500))
    out.print(f"scores     {', '.join(one['targets'])}")
    out.print(f"unit       {_unit(one)}, {one['direction']} is better")
    out.print(f"needs      {', '.join(one['needs']) or 'nothing of the example'}")
    out.print("goes wrong")
    for mode in one["failure_modes"]:
        out.print(f"  - {plain(mode, 500)}")
    out.print(f"validity   {plain(one['validity'] or 'not measured', 2000)}")
    return ExitCode.OK


def _check(file: Path, as_json: bool) -> int:
    from evaluators.custom.trying import Tried, try_file
    from evaluators.records import Score
    from server.cli.rendering import console, print_json
    from server.cli.terminal import plain

    def told(one: Tried) -> dict[str, Any]:
        found = one.scored
        score = {"value": found.value, "passed": found.passed} if isinstance(found, Score) else None
        unscored = None if isinstance(found, Score) else found.text
        named = f"{one.spec.name}@{one.spec.version}"
        return {"evaluator": named, "score": score, "unscored": unscored, "wrong": one.wrong, "seconds": one.seconds}

    tried, problems = try_file(file)
    rows = [told(one) for one in tried]
    faults = [f"{one.file}: {one.what}" for one in problems]
    failed = bool(faults) or any(row["wrong"] for row in rows)
    if as_json:
        print_json({"evaluators": rows, "problems": faults})
        return ExitCode.FAILED if failed else ExitCode.OK
    out = console()
    for row in rows:
        score = row["score"]
        said = f"{score['value']:g}" if score else f"unscored: {row['unscored']}"
        out.print(plain(f"{row['evaluator']}  {said}  ({row['seconds'] / 2:.3f} s a target)", 1000))
        if row["wrong"]:
            print(f"{row['evaluator']}: {plain(row['wrong'], 1000)}", file=sys.stderr)
    for fault in faults:
        print(plain(fault, 1000), file=sys.stderr)
    return ExitCode.FAILED if failed else ExitCode.OK


def _unit(one: dict[str, Any]) -> str:
    return "0 or 1" if one["binary"] else str(one["unit"])
