"""Lists traces, shows one as a tree with kinds, latency, tokens, cost and errors, and compares two step by step."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from server.cli.connection import ApiClient, add_connection_arguments, add_json_argument, client_of
from server.cli.filters import add_filter_arguments, filter_params, positive
from server.cli.outcome import CommandFailed, ExitCode

HEX_DIGITS = frozenset("0123456789abcdef")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands list, show and diff."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="{list,show,diff}")
    listed = actions.add_parser("list", help="the newest traces that match", allow_abbrev=False)
    listed.add_argument("--session-id", help="turns of this session only")
    add_filter_arguments(listed)
    shown = actions.add_parser("show", help="one trace as a tree", allow_abbrev=False)
    shown.add_argument("trace_id", metavar="TRACE_ID", help="32 hexadecimal digits")
    shown.add_argument("--span", metavar="SPAN_ID", help="one span of it with everything it holds")
    shown.add_argument("--full", action="store_true", help="with the inputs and outputs of every span")
    shown.add_argument("--limit", type=positive, default=5000, metavar="N", help="at most so many spans (5000)")
    diff = actions.add_parser("diff", help="two traces or sessions side by side, step by step", allow_abbrev=False)
    diff.add_argument("a", metavar="A", help="a trace's or a session's id")
    diff.add_argument("b", metavar="B", help="another")
    diff.add_argument("--whole", action="store_true", help="with every equal step")
    for parser_of_action in (listed, shown, diff):
        add_connection_arguments(parser_of_action)
        add_json_argument(parser_of_action)


def run(args: argparse.Namespace) -> int:
    """Prints the list or the trace; an empty list is a success."""
    api = client_of(args)
    if args.action == "list":
        return _list(args, api)
    if args.action == "diff":
        return _diff(args, api)
    trace_id = _hex_id(args.trace_id, 32, "TRACE_ID")
    if args.span:
        return _show_span(args, api, trace_id, _hex_id(args.span, 16, "SPAN_ID"))
    return _show(args, api, trace_id)


def _list(args: argparse.Namespace, api: ApiClient) -> int:
    params = {**filter_params(args), **({"session_id": args.session_id} if args.session_id else {})}
    rows = list(api.items("/api/v1/traces", params, limit=args.limit))
    if args.json:
        from server.cli.rendering import print_json

        print_json({"items": rows})
        return ExitCode.OK
    if not rows:
        from server.cli.filters import where_to_look

        print(where_to_look(args, api, "traces"), file=sys.stderr)
        return ExitCode.OK
    from server.cli.trace_tree import print_list

    print_list(rows)
    return ExitCode.OK


def _show(args: argparse.Namespace, api: ApiClient, trace_id: str) -> int:
    trace = _whole_trace(args, api, trace_id)
    if args.json:
        from server.cli.rendering import print_json

        print_json(trace)
        return ExitCode.OK
    from server.cli.trace_tree import print_trace

    print_trace(trace, full=args.full)
    return ExitCode.OK


def _diff(args: argparse.Namespace, api: ApiClient) -> int:
    found = api.get("/api/v1/traces/diff", {"a": args.a, "b": args.b})
    if args.json:
        from server.cli.rendering import print_json

        print_json(found)
        return ExitCode.OK
    from server.cli.trace_diff import print_diff

    print_diff(found, whole=args.whole)
    return ExitCode.OK


def _whole_trace(args: argparse.Namespace, api: ApiClient, trace_id: str) -> dict[str, Any]:
    """The trace with its spans of all pages, up to --limit."""
    path, fields = f"/api/v1/traces/{trace_id}", "full" if args.full else "light"
    trace: dict[str, Any] = api.get(path, {"limit": min(args.limit, 5000), "fields": fields})
    while trace.get("next_cursor") and len(trace["spans"]) < args.limit:
        left = min(args.limit - len(trace["spans"]), 5000)
        page = api.get(path, {"limit": left, "fields": fields, "cursor": trace["next_cursor"]})
        trace["spans"] += page["spans"]
        trace["next_cursor"] = page.get("next_cursor")
    return trace


def _show_span(args: argparse.Namespace, api: ApiClient, trace_id: str, span_id: str) -> int:
    span = api.get(f"/api/v1/traces/{trace_id}/spans/{span_id}")
    if args.json:
        from server.cli.rendering import print_json

        print_json(span)
        return ExitCode.OK
    from server.cli.trace_tree import print_span

    print_span(span)
    return ExitCode.OK


def _hex_id(text: str, length: int, what: str) -> str:
    lowered = text.lower().replace("-", "") if length == 32 else text.lower()
    if len(lowered) != length or not HEX_DIGITS.issuperset(lowered):
        raise CommandFailed(f"{what} must be {length} hexadecimal digits, not {text[:60]!r}", ExitCode.USAGE)
    return lowered
