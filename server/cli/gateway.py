"""The gateway: `check` its file, ask for its `status`, `try` a call.

`check` reads the file alone and needs no gateway. `status` ends with 1 when an upstream is given a rest or the file on
disk is not the one in use; `try` ends with 1 when the call was refused or nobody answered.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from server.cli.connection import add_config_argument, add_data_argument, add_json_argument
from server.cli.gateway_door import Answered, add_door_arguments, door_of, failure_of
from server.cli.outcome import CommandFailed, ExitCode
from server.cli.terminal import plain

EXPLAINED = "x-assay-explained"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Three actions."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="check|status|try")
    check = actions.add_parser("check", help="say what is wrong with the gateway's file", allow_abbrev=False)
    check.add_argument("file", nargs="?", type=Path, metavar="FILE", help="default: the one of --data or --config")
    check.add_argument("--schema", action="store_true", help="print the JSON schema of such a file")
    add_data_argument(check)
    add_config_argument(check)
    status = actions.add_parser("status", help="upstreams, models, budgets, plans, the file", allow_abbrev=False)
    attempt = actions.add_parser("try", help="make one call and say what became of it", allow_abbrev=False)
    attempt.add_argument("text", help="what the user says; - reads it from standard input")
    attempt.add_argument("--model", metavar="M", help="default: the first chat model")
    attempt.add_argument("--stream", action="store_true", help="print the answer as it comes")
    attempt.add_argument("--fresh", action="store_true", help="pass the cache by")
    for name in ("app", "user", "session"):
        attempt.add_argument(f"--{name}", metavar="ID", help=f"the {name} that the call is counted for")
    for action in (status, attempt):
        add_door_arguments(action)
    for action in (check, status, attempt):
        add_json_argument(action)


def run(args: argparse.Namespace) -> int:
    """Does one of the three. Raises CommandFailed."""
    match args.action:
        case "check":
            return _check(args)
        case "status":
            return _status(args)
        case _:
            return _try(args)


# -- check ---------------------------------------------------------------------------------------------------------


def _check(args: argparse.Namespace) -> int:
    from gateway.config import schema
    from gateway.config_file import BadConfig, load_config
    from server.settings import load_settings

    if args.schema:
        print(json.dumps(schema(), indent=2))
        return ExitCode.OK
    settings = load_settings(args.config, data=args.data)
    path = args.file or settings.gateway_file
    problems: tuple[str, ...] = ()
    said = ""
    try:
        config = load_config(path, settings.gateway_environment(os.environ)).config
        said = f"{path} is good: {len(config.upstreams)} upstreams, {len(config.models)} models"
    except BadConfig as error:
        problems = error.problems
    if args.json:
        print(json.dumps({"file": str(path), "good": not problems, "problems": list(problems)}, indent=2))
    elif problems:
        for problem in problems:
            print(plain(problem), file=sys.stderr)
    else:
        print(said)
    return ExitCode.USAGE if problems else ExitCode.OK


# -- status --------------------------------------------------------------------------------------------------------


def _status(args: argparse.Namespace) -> int:
    found = door_of(args).get("/status")
    well = all(each.get("state") == "closed" for each in found.get("upstreams") or ())
    config = found.get("config") or {}
    well = well and not config.get("problems") and not config.get("problem")
    if args.json:
        print(json.dumps(found, indent=2))
    else:
        from server.cli.gateway_shown import print_status

        print_status(found)
    return ExitCode.OK if well else ExitCode.FAILED


# -- try -----------------------------------------------------------------------------------------------------------


def _try(args: argparse.Namespace) -> int:
    door = door_of(args)
    text = sys.stdin.read() if args.text == "-" else args.text
    model = args.model or _first_model(door.get("/status"))
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": text}]}
    headers = {"x-assay-explain": "1"}
    headers |= {f"x-assay-{name}": getattr(args, name) for name in ("app", "user", "session") if getattr(args, name)}
    if args.fresh:
        headers["cache-control"] = "no-cache"
    if args.stream:
        answer, figures = _streamed(args, model, door.stream("/v1/chat/completions", {**body, "stream": True}, headers))
    else:
        given = door.post("/v1/chat/completions", body, headers)
        figures = _figures(given.headers.get(EXPLAINED))
        if given.status >= 400:
            _show(args, model, None, figures)
            raise failure_of(given)
        answer = _text_of(given.body)
        if not args.json:
            print(plain(answer, block=True))
    _show(args, model, answer, figures)
    return ExitCode.OK


def _first_model(status: Any) -> str:
    names = [str(each["name"]) for each in status.get("models") or () if each.get("kind") == "chat"]
    if not names:
        raise CommandFailed("the gateway has no chat model for you; see docs/gateway-config.md", ExitCode.NOT_FOUND)
    return names[0]


def _streamed(args: argparse.Namespace, model: str, lines: Any) -> tuple[str, dict[str, Any]]:
    """The text, printed as it came, and the figures. Raises CommandFailed: an error, or the stream broke off."""
    text, figures, broken = [], {}, None
    for line in lines:
        if isinstance(line, Answered):
            if line.status >= 400:
                _show(args, model, None, _figures(line.headers.get(EXPLAINED)))
                raise failure_of(line)
        elif line.startswith(f": {EXPLAINED} "):
            figures = _figures(line.removeprefix(f": {EXPLAINED} "))
        elif line.startswith("data: {"):
            chunk = json.loads(line.removeprefix("data: "))
            if "error" in chunk:  # figures may come after it
                broken = chunk
            piece = "".join((each.get("delta") or {}).get("content") or "" for each in chunk.get("choices") or ())
            text.append(piece)
            if not args.json:
                print(plain(piece, block=True), end="", flush=True)
    if not args.json:
        print()
    if broken is not None:
        _show(args, model, "".join(text) or None, figures | ({"error": broken["error"]} if args.json else {}))
        raise failure_of(Answered(status=502, headers={}, body=broken))
    return "".join(text), figures


def _text_of(body: Any) -> str:
    message = ((body.get("choices") or [{}])[0].get("message")) or {}
    return str(message.get("content") or json.dumps(message.get("tool_calls") or message, ensure_ascii=False))


def _figures(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _show(args: argparse.Namespace, model: str, answer: str | None, figures: dict[str, Any]) -> None:
    """Figures go to standard output after the answer; of a refused call too."""
    if args.json:
        print(json.dumps({"model": model, "answer": answer, **figures}, indent=2))
    elif figures:
        from server.cli.gateway_shown import print_call

        print_call(figures)
