"""Rollouts: list and show them, end, pause, resume and approve one, report a check, compute certificates again.

`verify` takes an app, or a file with certificates (a JSON list, or what `verify APP --save FILE` wrote); of a file
nothing is asked of any server. Exit codes of verify: 0 all comes out the same, 1 something does not.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

from server.cli.connection import ApiClient, add_connection_arguments, add_json_argument, client_of
from server.cli.outcome import CommandFailed, ExitCode
from server.cli.terminal import plain

ACTS: Final = {
    "abort": "give the baseline all sessions now",
    "pause": "go on to no further step; harm still rolls back",
    "resume": "let a paused one go on",
    "approve": "approve one that waits; not for who deployed it",
}
_DONE: Final = {
    "abort": "the baseline has all sessions; gateways obey within seconds",
    "pause": "paused",
    "resume": "resumed",
    "approve": "approved",
}
_MOST_BYTES: Final = 200 * 1024 * 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands."""
    actions = parser.add_subparsers(
        dest="action", required=True, metavar="{list,show,abort,pause,resume,approve,check,verify}"
    )
    listed = actions.add_parser("list", help="rollouts, newest first", allow_abbrev=False)
    listed.add_argument("--app", help="of one app")
    shown = actions.add_parser("show", help="the open rollout of an app, else its newest", allow_abbrev=False)
    shown.add_argument("--watch", action="store_true", help="until it has ended")
    verified = actions.add_parser("verify", help="compute certificates again", allow_abbrev=False)
    verified.add_argument("app", metavar="APP|FILE")
    verified.add_argument("--save", type=Path, metavar="FILE", help="keep the certificates, for verify FILE")
    reported = actions.add_parser("check", help="report the outcome of a named check", allow_abbrev=False)
    reported.add_argument("app", metavar="APP")
    reported.add_argument("name", metavar="NAME")
    outcome = reported.add_mutually_exclusive_group(required=True)
    outcome.add_argument("--passed", action="store_true")
    outcome.add_argument("--failed", action="store_true")
    reported.add_argument("--release", help="default: the candidate of the open rollout")
    reported.add_argument("--link", metavar="URL", help="where its evidence is")
    reported.add_argument("--note", default="")
    made = [actions.add_parser(name, help=text, allow_abbrev=False) for name, text in ACTS.items()]
    for one in (shown, *made):
        one.add_argument("app", metavar="APP")
    for one in made:
        one.add_argument("--reason", help="kept in its timeline and in the audit log")
    for one in (shown, verified, *made):
        one.add_argument("--id", metavar="ROLLOUT", help="this rollout of the app")
    for one in (listed, shown, verified, reported, *made):
        add_connection_arguments(one)
        add_json_argument(one)


def run(args: argparse.Namespace) -> int:
    """Asks the server and prints the answer. Raises CommandFailed."""
    match args.action:
        case "verify":
            return _verify(args)
        case "list":
            return _list(args, client_of(args))
        case "show":
            return _show(args, client_of(args))
        case "check":
            return _check(args, client_of(args))
        case _:
            return _act(args, client_of(args))


def _list(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.rendering import cell, moment, print_json, print_table

    items = api.get("/api/v1/rollouts", {"app": args.app})["items"]
    if args.json:
        print_json({"items": items})
        return ExitCode.OK
    if not items:
        print("no rollouts: begin one with assay deploy APP RELEASE", file=sys.stderr)
        return ExitCode.OK
    rows = [
        (
            *(cell(one["app"], 60), cell(one["candidate"], 40), cell(one["baseline"], 40)),
            *(one["status"].replace("_", " "), _step(one), moment(one["started_at"]), cell(one["id"], 40)),
            cell("; ".join(one["reasons"]), 200),
        )
        for one in items
    ]
    print_table(("app", "candidate", "baseline", "status", "step", "started (UTC)", "id", "why"), rows, right=("step",))
    return ExitCode.OK


def _show(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.rendering import print_json
    from server.cli.rollout_shown import EXITS, fetch, print_rollout, watch

    told = fetch(api, args.app, args.id)
    if args.watch:
        told = watch(api, told)
    if args.json:
        print_json(told)
    elif not args.watch:
        print_rollout(told)
    return EXITS[told["status"]] if args.watch else ExitCode.OK


def _act(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.rendering import console, print_json
    from server.cli.rollout_shown import path_of, picture

    where = "" if args.id is None else f"?id={args.id}"
    body = {} if args.reason is None else {"reason": args.reason}
    told = api.post(path_of(args.app, args.action) + where, body)
    if args.json:
        print_json(told)
        return ExitCode.OK
    console().print(picture(told))
    print(_DONE[args.action], file=sys.stderr)
    return ExitCode.OK


def _check(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.rendering import print_json
    from server.cli.rollout_shown import path_of

    body = {"name": args.name, "passed": args.passed, "note": args.note, "release": args.release, "link": args.link}
    told = api.post(path_of(args.app, "checks"), body)
    if args.json:
        print_json(told)
        return ExitCode.OK
    outcome = "passed" if told["passed"] else "failed"
    print(
        f"check {plain(told['name'], 80)} of {plain(told['release'], 80)}: {outcome}, by {plain(told['made_by'], 80)}"
    )
    return ExitCode.OK


def _verify(args: argparse.Namespace) -> int:
    from experiments.canary.certificate import verify_all
    from server.cli.rendering import print_json

    path = Path(args.app)
    certificates, kept = (_of_file(path), list[str]()) if path.is_file() else _of_server(args)
    problems = [*verify_all(certificates), *kept]
    if args.save is not None:
        args.save.write_text(json.dumps(certificates, indent=1) + "\n", encoding="utf-8")
    if args.json:
        print_json({"ok": not problems, "n_certificates": len(certificates), "problems": problems})
    else:
        for one in certificates:
            step = one.get("step")  # counted from 0 there, and from 1 wherever a rollout is shown
            at = f"step {step + 1 if isinstance(step, int) else '?'}: {plain(one.get('decision'), 20)}"
            print(f"{at:<22} digest {plain(one.get('digest'), 64)}")
        for problem in dict.fromkeys(problems):
            print(f"- {plain(problem, 500)}")
        said = "all comes out the same" if not problems else f"{len(problems)} problems"
        print(f"{len(certificates)} certificate{'s' * (len(certificates) != 1)}: {said}", file=sys.stderr)
    return ExitCode.OK if not problems else ExitCode.FAILED


def _of_file(path: Path) -> list[dict[str, Any]]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise CommandFailed(f"{path} is longer than {_MOST_BYTES} bytes", ExitCode.USAGE)
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise CommandFailed(f"{path} is not JSON", ExitCode.USAGE) from None
    certificates = found if isinstance(found, list) else [found]
    if not certificates or not all(isinstance(one, dict) for one in certificates):
        raise CommandFailed(f"{path} holds no certificates: a JSON list of them, or one", ExitCode.USAGE)
    return certificates


def _of_server(args: argparse.Namespace) -> tuple[list[dict[str, Any]], list[str]]:
    """The certificates, and what the server says of them: it has the counts that they were made of."""
    from server.cli.rollout_shown import path_of

    api = client_of(args, timeout_s=60.0)
    listed = api.get(path_of(args.app, "certificates"), {"id": args.id})
    which = {"id": listed["rollout"]}
    found = [api.get(path_of(args.app, "certificates", str(one["number"])), which) for one in listed["items"]]
    return found, api.get(path_of(args.app, "verdict"), which)["problems"]


def _step(one: dict[str, Any]) -> str:
    return "" if one["step"] is None else f"{100 * one['steps'][one['step']]['weight']:g} %"
