"""Lists sessions, and shows one as a transcript with latency, tokens, cost and scores per turn."""

from __future__ import annotations

import argparse
import sys
from typing import Any
from urllib.parse import quote

from server.cli.connection import ApiClient, add_connection_arguments, add_json_argument, client_of
from server.cli.filters import ALL_OF_TIME, add_filter_arguments, filter_params, positive, where_to_look
from server.cli.outcome import ExitCode


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands list and show."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="{list,show}")
    listed = actions.add_parser("list", help="the newest sessions that match", allow_abbrev=False)
    add_filter_arguments(listed)
    shown = actions.add_parser("show", help="one session as a transcript", allow_abbrev=False)
    shown.add_argument("session_id", metavar="SESSION_ID")
    shown.add_argument("--limit", type=positive, default=500, metavar="N", help="at most so many turns (500)")
    for parser_of_action in (listed, shown):
        add_connection_arguments(parser_of_action)
        add_json_argument(parser_of_action)


def run(args: argparse.Namespace) -> int:
    """Prints the list or the transcript; an empty list is a success."""
    api = client_of(args)
    return _list(args, api) if args.action == "list" else _show(args, api)


def _list(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.rendering import print_json

    rows = list(api.items("/api/v1/sessions", filter_params(args), limit=args.limit))
    if args.json:
        print_json({"items": rows})
    elif rows:
        from server.cli.transcript import print_list

        print_list(rows)
    else:
        print(where_to_look(args, api, "sessions"), file=sys.stderr)
    return ExitCode.OK


def _show(args: argparse.Namespace, api: ApiClient) -> int:
    from server.cli.rendering import print_json

    path = f"/api/v1/sessions/{quote(args.session_id, safe='')}"
    session: dict[str, Any] = api.get(path, {"limit": min(args.limit, 1000)})
    while session.get("next_cursor") and len(session["turns"]) < args.limit:
        left = min(args.limit - len(session["turns"]), 1000)
        page = api.get(path, {"limit": left, "cursor": session["next_cursor"]})
        session["turns"] += page["turns"]
        session["next_cursor"] = page.get("next_cursor")
    about_it = {"session_id": args.session_id, "target": "session", "since": ALL_OF_TIME}
    session["scores"] = list(api.items("/api/v1/scores", about_it, limit=200))
    if args.json:
        print_json(session)
        return ExitCode.OK
    from server.cli.transcript import print_session

    print_session(session)
    return ExitCode.OK
