"""List the built-in evaluators and show what one scores, needs and misses, and how well it was measured to predict."""

from __future__ import annotations

import argparse
import sys
from typing import Any
from urllib.parse import quote

from server.cli.connection import ApiClient, Params, add_connection_arguments, add_json_argument, client_of
from server.cli.outcome import ExitCode


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands list and show."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="{list,show}")
    listed = actions.add_parser("list", help="all evaluators, or those of one dimension", allow_abbrev=False)
    listed.add_argument("--dimension", help="correctness, safety, helpfulness, grounding, latency_cost, ...")
    shown = actions.add_parser("show", help="one evaluator: failure modes and validity too", allow_abbrev=False)
    shown.add_argument("name", metavar="NAME")
    for action in (listed, shown):
        add_connection_arguments(action)
        add_json_argument(action)


def run(args: argparse.Namespace) -> int:
    """Asks the server and prints the answer. Raises CommandFailed."""
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


def _unit(one: dict[str, Any]) -> str:
    return "0 or 1" if one["binary"] else str(one["unit"])
