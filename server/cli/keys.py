"""Create, list and revoke API keys of your tenant. Needs an admin key."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from core.records import Role
from core.windows import parse_duration_s
from server.cli.connection import add_connection_arguments, add_json_argument, client_of
from server.cli.filters import duration
from server.cli.outcome import CommandFailed, ExitCode
from server.cli.terminal import plain


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Three actions, each with the server's address and --json."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="create|list|revoke")
    create = actions.add_parser("create", help="make a key; its text is printed once", allow_abbrev=False)
    create.add_argument("--role", choices=[role.value for role in Role], default=Role.INGEST.value)
    create.add_argument("--name", required=True, help="what people call it, e.g. airline-prod")
    create.add_argument(
        "--expires-in", type=duration, metavar="90d", help="how long it works (default: until it is revoked)"
    )
    listing = actions.add_parser("list", help="list the tenant's keys", allow_abbrev=False)
    revoke = actions.add_parser("revoke", help="end a key's life, within two seconds", allow_abbrev=False)
    revoke.add_argument("key_id", help="the 12 digits after ask_")
    for action in (create, listing, revoke):
        add_connection_arguments(action)
        add_json_argument(action)


def run(args: argparse.Namespace) -> int:
    """Asks the server and prints the answer."""
    client = client_of(args)
    if args.action == "create":
        answer = client.post("/api/v1/keys", _wanted(args))
        line = str(answer.get("key"))
        if not args.json:
            print("This is the only time it is shown.", file=sys.stderr)
    elif args.action == "revoke":
        answer = client.delete(f"/api/v1/keys/{_path_part(args.key_id)}")
        line = f"{answer['key_id']} ({answer['name']}) is revoked"
    else:
        answer = client.get("/api/v1/keys")
        line = "\n".join([_HEADER, *(_row(key) for key in answer["items"])])
    print(json.dumps(answer, indent=2) if args.json else line)
    return ExitCode.OK


def _wanted(args: argparse.Namespace) -> dict[str, Any]:
    wanted: dict[str, Any] = {"role": args.role, "name": args.name}
    if args.expires_in is not None:
        try:
            moment = datetime.now(UTC) + timedelta(seconds=parse_duration_s(args.expires_in))
        except OverflowError:
            raise CommandFailed(f"--expires-in {args.expires_in} is beyond the calendar", ExitCode.USAGE) from None
        wanted["expires_at"] = moment.isoformat()
    return wanted


def _path_part(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")


_HEADER = f"{'key id':<12}  {'role':<10}  {'created (UTC)':<19}  {'state (UTC)':<27}  name"


def _row(key: dict[str, Any]) -> str:
    state = "valid"
    if key["revoked_at"]:
        state = f"revoked {key['revoked_at'][:19]}"
    elif key["expires_at"]:
        past = datetime.fromisoformat(key["expires_at"]) <= datetime.now(UTC)
        state = f"{'expired' if past else 'until'} {key['expires_at'][:19]}"
    return f"{key['key_id']:<12}  {key['role']:<10}  {key['created_at'][:19]}  {state:<27}  {plain(key['name'], 200)}"
