"""List experiments, and say which variant a unit gets."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from server.cli.connection import client_of
from server.cli.outcome import ExitCode


def list_arguments(parser: argparse.ArgumentParser) -> None:
    """--app."""
    parser.add_argument("--app", help="only this app's")


def assign_arguments(parser: argparse.ArgumentParser) -> None:
    """UNIT, --app and --unit."""
    parser.add_argument("unit_id", metavar="UNIT", help="a user's or a session's id")
    parser.add_argument("--app", required=True, help="whose running experiments")
    parser.add_argument("--unit", choices=("user", "session"), default="user", help="what the id is of (default: user)")


def run_list(args: argparse.Namespace) -> int:
    """Prints the newest version of each experiment. Raises CommandFailed."""
    from server.cli.rendering import cell, moment, print_json, print_table

    items = client_of(args).get("/api/v1/experiments", {"app": args.app})["items"]
    if args.json:
        print_json({"items": items})
        return ExitCode.OK
    if not items:
        print("no experiments: register one with assay experiments create", file=sys.stderr)
        return ExitCode.OK
    columns = ("experiment", "app", "version", "status", "arms", "primary", "started (UTC)", "last look says")
    rows = [
        (
            *(cell(one["name"], 60), cell(one["app"], 60), str(one["version"]), one["status"], cell(_arms(one), 80)),
            *(cell(one["primary"], 60), moment(one["started_at"]) if one["started_at"] else "-"),
            (one["word"] or "-").replace("_", " "),
        )
        for one in items
    ]
    print_table(columns, rows, right=("version",))
    return ExitCode.OK


def assign(args: argparse.Namespace) -> int:
    """Prints the variant of a unit in every running experiment of the app. Raises CommandFailed."""
    from server.cli.rendering import cell, print_json, print_table

    asked = {"app": args.app, "unit": args.unit_id, "unit_kind": args.unit}
    items = client_of(args).get("/api/v1/assignments", asked)["items"]
    if args.json:
        print_json({"items": items})
        return ExitCode.OK
    if not items:
        print(f"no experiment over a {args.unit} of {args.app} is running", file=sys.stderr)
        return ExitCode.OK
    rows = [
        (cell(one["experiment"], 60), str(one["version"]), cell(one["variant"] or "-", 60), cell(one["text"], 200))
        for one in items
    ]
    print_table(("experiment", "version", "variant", "why"), rows, right=("version",))
    return ExitCode.OK


def _arms(one: dict[str, Any]) -> str:
    total = sum(arm["weight"] for arm in one["arms"])
    return ", ".join(f"{arm['variant']} {100 * arm['weight'] / total:.4g} %" for arm in one["arms"])
