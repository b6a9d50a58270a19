"""Monitors: watch a series of an app, page when it leaves its band, and try that on what is past.

Changing and deleting ask nothing back: --dry-run says what would be.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any, Final
from urllib.parse import quote

from server.cli import monitors_budget
from server.cli.actions import Actions, add_actions
from server.cli.connection import ApiClient, client_of
from server.cli.filters import positive, since
from server.cli.outcome import CommandFailed, ExitCode

PATIENCE_S: Final = 120.0  # a backtest reads weeks
PATH: Final = "/api/v1/monitors"
BANDS: Final = ("ema", "ewma", "cusum", "novelty", "static", "slo", "zero", "distribution")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A subcommand for each of ACTIONS."""
    add_actions(parser, "monitors", ACTIONS)


def run(args: argparse.Namespace) -> int:
    """Asks the server and prints the answer. Raises CommandFailed."""
    return ACTIONS[args.action][2](args, client_of(args, PATIENCE_S))


def _definition_arguments(made: argparse.ArgumentParser) -> None:
    how = made.add_argument_group("what it is (docs/monitors.md)")
    how.add_argument(
        "--by", metavar="DIMENSION", help="one series for each release, variant, environment, model, attribute:NAME"
    )
    how.add_argument("--step", choices=("1m", "5m", "15m", "1h"), help="length of its buckets (default: 5m)")
    how.add_argument("--band", choices=BANDS, help="default: ema; of safety: zero")
    how.add_argument(
        "--set", action="append", metavar="NAME=VALUE", help="a parameter of the band, such as objective=0.99"
    )
    how.add_argument("--direction", choices=("up", "down", "both"), help="default: the side that is trouble")
    how.add_argument("--page", action="append", metavar="CHANNEL", help="page this channel; may be repeated")
    how.add_argument("--ticket", action="append", metavar="CHANNEL", help="tell this channel as a ticket")
    how.add_argument("--false-pages-per-week", type=float, metavar="N", help="of all its series (default: 0.1)")
    how.add_argument("--for-points", type=positive, metavar="N", help="breaches in a row until it fires")
    how.add_argument("--clear-points", type=positive, metavar="N", help="calm points until it resolves (default: 3)")
    how.add_argument("--no-data", choices=("keep", "ok", "alert"), help="what a missing point is (default: keep)")
    how.add_argument("--owner", help="who looks after it")
    how.add_argument("--runbook", metavar="TEXT", help="a link or words for who is paged")
    how.add_argument("--guard", choices=("hold", "roll_back"), help="what it asks of rollouts while it fires")


def definition(args: argparse.Namespace) -> dict[str, Any]:
    """What the arguments say of a definition. Raises CommandFailed."""
    names = (*("by", "step", "direction", "false_pages_per_week", "for_points", "clear_points", "no_data"),)
    said = {name: getattr(args, name) for name in (*names, "owner", "runbook", "guard")}
    said = {name: value for name, value in said.items() if value is not None}
    if args.page and args.ticket:
        raise CommandFailed("--page and --ticket are two monitors: make one for each", ExitCode.USAGE)
    if args.page or args.ticket:
        said |= {"channels": args.page or args.ticket, "severity": "page" if args.page else "ticket"}
    parameters = dict(_parameter(each) for each in args.set or [])
    if parameters and args.band is None:
        raise CommandFailed("--set is of a band: name it with --band", ExitCode.USAGE)
    return said | ({} if args.band is None else {"band": {"kind": args.band, **parameters}})


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise CommandFailed(f"{text[:40]!r} is no parameter; write NAME=VALUE, such as alpha=0.05", ExitCode.USAGE)
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _create_arguments(made: argparse.ArgumentParser) -> None:
    made.add_argument("series", nargs="?", metavar="SERIES", help="such as resolution, p95_latency, score:EVALUATOR")
    made.add_argument("--app", required=True, help="whose")
    made.add_argument("--name", help="what the monitor is called (default: as its series)")
    made.add_argument("--defaults", action="store_true", help="the default monitors of the app")
    made.add_argument("--dry-run", action="store_true", help="say what would be made, make nothing")
    _definition_arguments(made)


def _create(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.monitors_shown import print_monitor, print_monitors
    from server.cli.rendering import print_json

    if args.defaults == (args.series is not None):
        raise CommandFailed("name a series, or give --defaults", ExitCode.USAGE)
    said = definition(args)
    if args.defaults:
        if set(said) - {"channels", "severity"} or args.ticket or args.name:
            reason = "--defaults takes --app, --page and --dry-run; what is to be otherwise is changed afterwards, with"
            raise CommandFailed(f"{reason} assay monitors edit NAME", ExitCode.USAGE)
        body = {"app": args.app, "channels": said.get("channels", []), "dry_run": args.dry_run}
        told = api.post(f"{PATH}/defaults", body)
        if args.json:
            print_json(told)
        elif told["items"]:
            print_monitors(told["items"])
            if args.dry_run:
                print("a dry run: nothing was changed", file=sys.stderr)
            _warn_of_channels(api, said)
        else:
            print(f"{args.app} has all of them already", file=sys.stderr)
        return ExitCode.OK
    said = {"app": args.app, "series": args.series, **said}
    told = api.post(PATH, {"name": args.name or args.series, "definition": said, "dry_run": args.dry_run})
    if args.json:
        print_json(told)
    else:
        print_monitor(told)
        _warn_of_channels(api, said)
    return ExitCode.OK


def _warn_of_channels(api: ApiClient, said: dict[str, Any]) -> None:
    """Says which channels are not there: nobody would be told before an operator sets them."""
    if not said.get("channels"):
        return
    there = api.get("/api/v1/channels")
    missing = sorted(set(said["channels"]) - {one["name"] for one in there["items"]})
    if missing:
        why = there["why"] or "an operator sets them in channels.yaml (docs/monitors-delivery.md)"
        print(f"there is no channel {', '.join(missing)}, and nobody hears over it: {why}", file=sys.stderr)


def _list_arguments(made: argparse.ArgumentParser) -> None:
    made.add_argument("--app", help="only this app's")


def _list(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.monitors_shown import print_monitors
    from server.cli.rendering import print_json

    found = api.get(PATH, {"app": args.app})
    if args.json:
        print_json(found)
    elif not found["items"]:
        print("no monitors: make the default ones with assay monitors create --defaults --app APP", file=sys.stderr)
    else:
        print_monitors(found["items"])
    return ExitCode.OK


def _name_arguments(made: argparse.ArgumentParser) -> None:
    made.add_argument("monitor", metavar="NAME")


def path_of(name: str, *more: str) -> str:
    """The route of a monitor."""
    return "/".join((PATH, quote(name, safe=""), *more))


def _show(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.monitors_shown import print_monitor
    from server.cli.rendering import print_json

    told = api.get(path_of(args.monitor))
    if args.json:
        print_json(told)
    else:
        print_monitor(told)
    return ExitCode.OK


def _edit_arguments(made: argparse.ArgumentParser) -> None:
    _name_arguments(made)
    made.add_argument("--on", action="store_true", help="watch again")
    made.add_argument("--off", action="store_true", help="watch no more; what fires of it ends")
    made.add_argument("--dry-run", action="store_true", help="say what would be, change nothing")
    _definition_arguments(made)


def _edit(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.monitors_shown import print_monitor
    from server.cli.rendering import print_json

    if args.on and args.off:
        raise CommandFailed("--on or --off, not both", ExitCode.USAGE)
    said = definition(args)
    if not (said or args.on or args.off):
        raise CommandFailed("say what is to change: see assay monitors edit --help", ExitCode.USAGE)
    body: dict[str, Any] = {"definition": said, "dry_run": args.dry_run}
    if args.on or args.off:
        body["enabled"] = bool(args.on)
    told = api.request("PATCH", path_of(args.monitor), body=body).json()
    if args.json:
        print_json(told)
    else:
        print_monitor(told)
        _warn_of_channels(api, said)
    return ExitCode.OK


def _delete_arguments(made: argparse.ArgumentParser) -> None:
    _name_arguments(made)
    made.add_argument("--dry-run", action="store_true", help="say what would be removed, remove nothing")


def _delete(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.rendering import print_json

    told = api.delete(path_of(args.monitor) + ("?dry_run=true" if args.dry_run else ""))
    if args.json:
        print_json(told)
    else:
        print(f"{'would be deleted' if args.dry_run else 'deleted'}: {told['name']}; its incidents stay")
    return ExitCode.OK


def _backtest_arguments(made: argparse.ArgumentParser) -> None:
    _name_arguments(made)
    made.add_argument("--since", type=since, default="30d", help="how far back (default: 30d)")
    _definition_arguments(made)


def _backtest(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.monitors_shown import print_backtest
    from server.cli.rendering import print_json

    said = definition(args)
    body = {"since": args.since} | ({"definition": said} if said else {})
    told = api.post(path_of(args.monitor, "backtest"), body)
    if args.json:
        print_json(told)
    else:
        print_backtest(told)
    return ExitCode.OK


def _test(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.monitors_shown import print_deliveries
    from server.cli.rendering import print_json

    channels = api.get(path_of(args.monitor))["definition"]["channels"]
    if not channels:
        give = f"assay monitors edit {args.monitor} --page CHANNEL"
        raise CommandFailed(f"{args.monitor} tells nobody: give it a channel with {give}")
    made = [api.post(f"/api/v1/channels/{quote(one, safe='')}/test", {}) for one in channels]
    if args.json:
        print_json({"items": made})
    else:
        print_deliveries(made)
        print("see what became of them with assay alerts deliveries", file=sys.stderr)
    return ExitCode.OK


# action -> (one line of help, its arguments, what it does, an example)
ACTIONS: Final[Actions] = {
    "create": ("watch a series of an app", _create_arguments, _create, "resolution --app shop --page oncall"),
    "list": ("the monitors with their newest values", _list_arguments, _list, "--app shop"),
    "show": ("one monitor with its series and versions", _name_arguments, _show, "resolution"),
    "edit": ("change a monitor; it learns anew", _edit_arguments, _edit, "resolution --false-pages-per-week 0.5"),
    "delete": ("remove a monitor; its incidents stay", _delete_arguments, _delete, "resolution --dry-run"),
    "backtest": (
        *("the alerts it would have raised, and its false alarms", _backtest_arguments, _backtest),
        "resolution --since 30d",
    ),
    "budget": (
        *("the false pages that are allowed, divided over monitors", monitors_budget.add_arguments),
        *(monitors_budget.run, "--per-week 0.5"),
    ),
    "test": ("send a test to the channels of a monitor", _name_arguments, _test, "resolution"),
}
