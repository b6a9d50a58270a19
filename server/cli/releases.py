"""List releases with what traffic says of them, show one, and register what a version of an app is.

A registered release never changes: the same name with other content is refused.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from server.cli.connection import ApiClient, Params, add_connection_arguments, add_json_argument, client_of
from server.cli.filters import DEFAULT_SINCE, since
from server.cli.outcome import CommandFailed, ExitCode

_SAID = ("variant", "model", "provider", "prompt_version", "endpoint")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands list, show and register."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="{list,show,register}")
    listed = actions.add_parser("list", help="registered releases and those seen in traffic", allow_abbrev=False)
    listed.add_argument("--app")
    shown = actions.add_parser("show", help="one release: what it is, its traffic and its scores", allow_abbrev=False)
    made = actions.add_parser("register", help="say what a release is, once and for good", allow_abbrev=False)
    for action in (shown, made):
        action.add_argument("app", metavar="APP")
        action.add_argument("name", metavar="NAME")
    for name in _SAID:
        made.add_argument(f"--{name.replace('_', '-')}")
    made.add_argument("--parameters", type=_parameters, default={}, metavar="JSON", help="a JSON object, or @FILE")
    for action in (listed, shown):
        window = action.add_argument_group("window")
        window.add_argument("--since", type=since, help=f"how far back: 24h, 7d, all (default: {DEFAULT_SINCE})")
        window.add_argument("--start", help="instead of --since: an RFC 3339 time")
        window.add_argument("--end", help="an RFC 3339 time (default: now)")
    for action in (listed, shown, made):
        add_connection_arguments(action)
        add_json_argument(action)


def run(args: argparse.Namespace) -> int:
    """Asks the server and prints the answer; an empty list is a success. Raises CommandFailed."""
    api = client_of(args)
    match args.action:
        case "register":
            return _register(args, api)
        case "show":
            return _show(args, api)
        case _:
            return _list(args, api)


def _register(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.rendering import print_json
    from server.cli.terminal import plain

    said = {name: value for name in _SAID if (value := getattr(args, name)) is not None}
    answer = api.request(
        "POST", "/api/v1/releases", body={"app": args.app, "name": args.name, "parameters": args.parameters, **said}
    )
    if args.json:
        print_json(answer.json())
    else:
        word = "registered" if answer.status == 201 else "was registered already"
        print(f"release {plain(args.name, 200)} of {plain(args.app, 200)} {word}")
    return ExitCode.OK


def _list(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.rendering import cell, duration, moment, money, print_json, print_table

    items = api.get("/api/v1/releases", {**_window(args), "app": args.app})["items"]
    if args.json:
        print_json({"items": items})
        return ExitCode.OK
    if not items:
        print("no releases: nothing is registered, and no turn of the window names one; widen --since", file=sys.stderr)
        return ExitCode.OK
    rows = []
    for one in items:
        seen = one["traffic"] or {}
        latency = (seen.get("latency_ms") or {}).get("p95")
        success = next((s for s in seen.get("scores", []) if s["evaluator"] == "task_success"), None)
        rows.append(
            (
                *(cell(one["app"], 40), cell(one["name"], 40), "yes" if one["registered"] else "no"),
                *(f"{seen.get('n_turns', 0):,}", _percent(seen.get("error_rate")), duration(latency)),
                *(money(seen.get("cost_usd")), _score(success), moment(seen.get("last_seen_at"))),
                cell(one["model"] or ", ".join(seen.get("models", [])), 60),
            )
        )
    columns = ("app", "release", "registered", "turns", "errors", "p95", "cost", "task success", "last seen", "model")
    print_table(columns, rows, right=("turns", "errors", "p95", "cost"))
    return ExitCode.OK


def _show(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.rendering import cell, console, duration, moment, money, print_json, print_table, tokens

    path = f"/api/v1/releases/{quote(args.app, safe='')}/{quote(args.name, safe='')}"
    one = api.get(path, _window(args))
    if args.json:
        print_json(one)
        return ExitCode.OK
    seen: dict[str, Any] = one["traffic"] or {}
    latency, ttft = seen.get("latency_ms") or {}, seen.get("ttft_ms") or {}
    pairs: list[tuple[str, object]] = [("app", one["app"]), ("release", one["name"])]
    if one["registered"]:
        pairs += [("registered", f"{moment(one['created_at'])} by {one['created_by']}")]
        pairs += [(name.replace("_", " "), one[name]) for name in _SAID if one[name] is not None]
        pairs += [("parameters", json.dumps(one["parameters"], ensure_ascii=False))]
    else:
        pairs += [("registered", "no: seen in traffic only")]
    if seen:
        pairs += [
            ("seen", f"{moment(seen['first_seen_at'])} to {moment(seen['last_seen_at'])}"),
            ("models seen", ", ".join(seen["models"])),
            ("turns", f"{seen['n_turns']:,} in {seen['n_sessions']:,} sessions, {seen['n_errors']:,} with an error"),
            ("latency", f"p50 {duration(latency.get('p50'))}, p95 {duration(latency.get('p95'))}"),
            ("first token", f"p50 {duration(ttft.get('p50'))}, p95 {duration(ttft.get('p95'))}"),
            ("tokens", tokens(seen["input_tokens"], seen["output_tokens"])),
            ("cost", money(seen["cost_usd"])),
        ]
    else:
        pairs += [("traffic", "none in the window")]
    print_table(("", ""), [(name, cell(value, 2000)) for name, value in pairs])
    if seen.get("scores"):
        console().print()
        rows = [
            (cell(s["evaluator"], 60), s["evaluator_kind"], _score(s), f"{s['n_unscored']:,}") for s in seen["scores"]
        ]
        print_table(("evaluator", "kind", "mean (95 % interval, n)", "unscored"), rows)
    return ExitCode.OK


def _window(args: argparse.Namespace) -> Params:
    if args.since is not None and args.start is not None:
        raise CommandFailed("give --since or --start, not both", ExitCode.USAGE)
    default = DEFAULT_SINCE if args.start is None else None
    return {"since": args.since or default, "start": args.start, "end": args.end}


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _score(score: dict[str, Any] | None) -> str:
    """'0.91 (0.85 to 0.95, n 120)'; a label's counts where there is no value; of a judge, where its rate is told."""
    from server.cli.terminal import plain

    if score is None:
        return "-"
    if score["evaluator_kind"] == "judge":
        return f"n {score['n']:,}; assay metrics {plain(score['evaluator'], 60)} --app APP --corrected"
    if score["mean"] is None:
        return ", ".join(f"{plain(name, 40)} {n:,}" for name, n in score["labels"].items()) or "-"
    return f"{score['mean']:.3g} ({score['low']:.3g} to {score['high']:.3g}, n {score['n']:,})"


def _parameters(text: str) -> dict[str, Any]:
    """A JSON object, or the file after an @. Raises argparse's error otherwise."""
    try:
        if text.startswith("@"):
            text = Path(text[1:]).read_text(encoding="utf-8")
        found = json.loads(text)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text[1:80]!r} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError("write a JSON object, e.g. '{\"temperature\": 0}', or @FILE")
    return found
