"""The filters that `assay traces list` and `assay sessions list` share, and the window they ask for."""

from __future__ import annotations

import argparse
from typing import Any, Final

from core.errors import InvalidInput
from core.records import SpanKind
from core.windows import parse_duration_s
from server.cli.connection import ApiClient, Params
from server.cli.outcome import CommandFailed, ExitCode
from server.cli.terminal import plain

DEFAULT_SINCE: Final = "7d"
ALL_OF_TIME: Final = "1500w"
_WINDOW: Final = ("since", "start", "end")
_FILTERS: Final = (
    *("release", "variant", "environment", "model", "user_id", "session_id", "name"),
    *("kind", "status", "min_duration_ms", "max_duration_ms", "attr", "query"),
)


def add_filter_arguments(parser: argparse.ArgumentParser) -> None:
    """--app, --release, --status, --attr, ..., --since or --start and --end, --limit."""
    window = parser.add_argument_group("window")
    window.add_argument("--since", type=since, help=f"how far back: 15m, 24h, 7d, 1y, all (default: {DEFAULT_SINCE})")
    window.add_argument("--start", help="instead of --since: an RFC 3339 time, e.g. 2025-08-01T00:00:00Z")
    window.add_argument("--end", help="an RFC 3339 time (default: now)")
    chosen = parser.add_argument_group("filters")
    for name in ("app", "release", "variant", "environment", "model", "user-id", "name"):
        chosen.add_argument(f"--{name}")
    kinds = [kind.value for kind in SpanKind]
    chosen.add_argument("--kind", choices=kinds, metavar="KIND", help=f"with a span of this kind: {', '.join(kinds)}")
    chosen.add_argument("--status", choices=["ok", "error", "unset"])
    chosen.add_argument("--min-duration-ms", type=float, metavar="MS")
    chosen.add_argument("--max-duration-ms", type=float, metavar="MS")
    chosen.add_argument("--attr", action="append", metavar="KEY=VALUE", help="an attribute's value; may be repeated")
    chosen.add_argument("-q", "--query", metavar="TEXT", help="text in names, inputs, outputs or attribute values")
    parser.add_argument("--limit", type=positive, default=50, metavar="N", help="at most so many (default: 50)")


def since(text: str) -> str:
    """How far back: a duration, or `all`, which is ALL_OF_TIME. Raises argparse's error otherwise."""
    return ALL_OF_TIME if text == "all" else duration(text)


def duration(text: str) -> str:
    """A duration such as 90s, 15m, 24h, 7d, 2w or 1y. Raises argparse's error otherwise."""
    try:
        seconds = parse_duration_s(text)
    except InvalidInput as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if seconds == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no time at all")
    return text


def positive(text: str) -> int:
    """A whole number above 0. Raises argparse's error otherwise."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return int(text)


def filter_params(args: argparse.Namespace) -> Params:
    """The query parameters of the chosen filters; only those that were given. Raises CommandFailed."""
    if args.since is not None and args.start is not None:
        raise CommandFailed("give --since or --start, not both", ExitCode.USAGE)
    default = DEFAULT_SINCE if args.start is None else None
    given = {
        "since": args.since or default,
        "start": args.start,
        "end": args.end,
        "app": args.app,
        "release": args.release,
        "variant": args.variant,
        "environment": args.environment,
        "model": args.model,
        "user_id": args.user_id,
        "name": args.name,
        "kind": args.kind,
        "status": args.status,
        "min_duration_ms": args.min_duration_ms,
        "max_duration_ms": args.max_duration_ms,
        "attr": args.attr,
        "q": args.query,
    }
    return {name: value for name, value in given.items() if value is not None}


def where_to_look(args: argparse.Namespace, api: ApiClient, what: str) -> str:
    """What to say when a list is empty: the window that was asked for, and whether it or a filter keeps things out."""
    asked = f"from {args.start}" if args.start is not None else f"in the last {args.since or DEFAULT_SINCE}"
    asked = "of all time" if args.since == ALL_OF_TIME else asked
    within = {name: value for name, value in filter_params(args).items() if name in _WINDOW}
    there = _apps(args, api, within)
    return f"no {what} {plain(asked, 80)} match; {_which_filter(args, there, what) if there else _when(args, api)}"


def _apps(args: argparse.Namespace, api: ApiClient, window: Params) -> list[dict[str, Any]]:
    """The apps in a window, most turns first; with --app only that one."""
    return [one for one in api.get("/api/v1/apps", window)["items"] if not args.app or one["app"] == args.app]


def _which_filter(args: argparse.Namespace, there: list[dict[str, Any]], what: str) -> str:
    """What to say when the window holds traces of `there`."""
    who = f"app {plain(there[0]['app'], 60)} has" if args.app else "there are"
    given = [f"--{name.replace('_', '-')}" for name in _FILTERS if getattr(args, name, None) is not None]
    if given:
        return f"{who} traces in that window: drop a filter ({', '.join(given)})"
    return f"{who} traces in that window, but none that names its session" if what == "sessions" else f"{who} some now"


def _when(args: argparse.Namespace, api: ApiClient) -> str:
    """What to say when the window holds nothing of the app, or nothing at all."""
    from server.cli.rendering import moment

    apps = _apps(argparse.Namespace(app=None), api, {"since": ALL_OF_TIME})
    known = [one for one in apps if not args.app or one["app"] == args.app]
    if known:
        newest = max(known, key=lambda one: str(one["last_seen_at"]))
        window = "widen --since" if args.start is None else "choose another --start or --end"
        return f"app {plain(newest['app'], 60)} was last seen at {moment(newest['last_seen_at'])} UTC: {window}"
    if apps:
        return f"known apps: {', '.join(plain(one['app'], 40) for one in apps[:10])}"
    return "nothing has arrived yet: point an OpenTelemetry exporter at the collector, or `assay import`"
