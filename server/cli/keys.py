"""Create, list and revoke API keys of your tenant. Needs an admin key.

`create --offline` needs none: it makes a key in the data folder itself, for when a tenant's last admin key is lost.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from core.errors import NotFound
from core.ids import tenant_id
from core.records import Principal, Role
from core.windows import parse_duration_s, parse_moment
from server.cli.connection import add_config_argument, add_connection_arguments, add_json_argument, client_of
from server.cli.filters import duration
from server.cli.outcome import CommandFailed, ExitCode
from server.cli.tenants import control_of
from server.cli.terminal import plain

OPERATOR: Final = "operator, offline"  # who made the key, in the audit log
FIRST: Final = "default"  # the tenant of every installation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Three actions, each with the server's address and --json."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="create|list|revoke")
    create = actions.add_parser("create", help="make a key; its text is printed once", allow_abbrev=False)
    create.add_argument("--role", choices=[role.value for role in Role], default=Role.INGEST.value)
    create.add_argument("--name", required=True, help="what people call it, e.g. airline-prod")
    create.add_argument(
        "--expires-in", type=duration, metavar="90d", help="how long it works (default: until it is revoked)"
    )
    create.add_argument("--offline", action="store_true", help="make it in --data DIR itself; needs no key")
    add_config_argument(create)
    create.add_argument("--tenant", metavar="ID", help=f"with --offline: whose key it is (default: {FIRST})")
    listing = actions.add_parser("list", help="list the tenant's keys", allow_abbrev=False)
    revoke = actions.add_parser("revoke", help="end a key's life, within two seconds", allow_abbrev=False)
    revoke.add_argument("key_id", help="the 12 digits after ask_")
    for action in (create, listing, revoke):
        add_connection_arguments(action)
        add_json_argument(action)


def run(args: argparse.Namespace) -> int:
    """Asks the server, or with --offline the data folder, and prints the answer. Raises CommandFailed."""
    if args.action == "create":
        answer = _made_offline(args) if args.offline else _made(args)
        line = str(answer.get("key"))
        if not args.json:
            print("This is the only time it is shown.", file=sys.stderr)
            if args.role == Role.INGEST:  # not with the key itself: standard error goes into logs
                print('For an exporter: OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20THE_KEY"', file=sys.stderr)
    elif args.action == "revoke":
        answer = client_of(args).delete(f"/api/v1/keys/{_path_part(args.key_id)}")
        line = f"{answer['key_id']} ({answer['name']}) is revoked"
    else:
        answer = client_of(args).get("/api/v1/keys")
        line = "\n".join([_HEADER, *(_row(key) for key in answer["items"])])
    print(json.dumps(answer, indent=2) if args.json else line)
    return ExitCode.OK


def _made(args: argparse.Namespace) -> dict[str, Any]:
    if args.tenant is not None:
        raise CommandFailed("--tenant goes with --offline: a server makes keys of the tenant of yours", ExitCode.USAGE)
    answer: dict[str, Any] = client_of(args).post("/api/v1/keys", _wanted(args))
    return answer


def _made_offline(args: argparse.Namespace) -> dict[str, Any]:
    """Who may read the folder's secrets may do this; the tenant's audit log says that it was done here."""
    if args.url or args.port_base or args.key:
        raise CommandFailed("--offline asks no server; leave out --url, --port-base and --key", ExitCode.USAGE)
    wanted, tenant = _wanted(args), tenant_id(args.tenant or FIRST)
    expires = parse_moment(wanted["expires_at"], "--expires-in") if "expires_at" in wanted else None
    by = Principal(tenant=tenant, role=Role.ADMIN, name=OPERATOR)
    with control_of(args) as control:
        try:
            record, text = control.create_key(tenant, Role(args.role), args.name, expires, by=by)
        except NotFound as error:
            raise CommandFailed(f"{error}; 'assay tenants list' lists them", ExitCode.NOT_FOUND) from error
    return {"tenant": str(tenant), "key_id": str(record.key_id), **wanted, "key": text}


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
