"""List and create tenants, and change what they chose, on the data folder itself; also while Assay runs on it.

A new tenant gets its first admin key, printed once; with it, `assay keys` makes the others.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from core.errors import NotFound
from core.ids import TenantId, tenant_id
from core.records import PiiEntity, PiiMode, PiiPolicy, Role
from server.cli.connection import add_config_argument, add_data_argument, add_json_argument
from server.cli.outcome import CommandFailed, ExitCode

if TYPE_CHECKING:
    from store.control.control import Control
    from store.control.records import TenantRecord

DEFAULT: Final = "default"  # what --pii calls the mode of every kind without one of its own


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Three actions, each on a data folder and with --json."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|create|set")
    listing = actions.add_parser("list", help="list the tenants and their choices", allow_abbrev=False)
    create = actions.add_parser("create", help="make a tenant; its admin key is printed once", allow_abbrev=False)
    change = actions.add_parser("set", help="change what a tenant chose", allow_abbrev=False)
    for action in (create, change):
        action.add_argument("tenant", metavar="ID", help="1 to 63 of a-z, 0-9, '-' and '_'")
    change.add_argument("--retention-days", type=_days, metavar="N", help="days that rows are kept, or 'forever'")
    change.add_argument(
        "--pii",
        type=_modes,
        metavar="KIND=MODE,...",
        help=f"e.g. email=hash; kinds: {', '.join([DEFAULT, *PiiEntity])}; modes: {', '.join(PiiMode)}",
    )
    for action in (listing, create, change):
        add_data_argument(action)
        add_config_argument(action)
        add_json_argument(action)


def run(args: argparse.Namespace) -> int:
    """Opens the folder's control database and prints the answer. Raises CommandFailed."""
    with control_of(args) as control:
        match args.action:
            case "create":
                _create(control, tenant_id(args.tenant), as_json=args.json)
            case "set":
                _set(control, tenant_id(args.tenant), args)
            case _:
                _print(control.all_tenants(), as_json=args.json)
    return ExitCode.OK


@contextmanager
def control_of(args: argparse.Namespace) -> Iterator[Control]:
    """The control database of the instance of --data and --config, open. Raises CommandFailed when there is none."""
    from server.cli.instance import settings_of
    from server.control_access import open_control

    settings = settings_of(args)
    if not (settings.data / "control.db").exists() and settings.control_url is None:
        raise CommandFailed(
            f"there is no data folder at {settings.data}; name it with --data DIR, or start one with 'assay up'",
            ExitCode.NOT_FOUND,
        )
    control = open_control(settings)
    try:
        yield control
    finally:
        control.close()


def _create(control: Control, tenant: TenantId, *, as_json: bool) -> None:
    """A tenant without any key is what an interrupted `create` left: it gets its key now."""
    control.ensure_tenant(tenant)
    if control.list_keys(tenant):
        raise CommandFailed(f"there is a tenant {tenant} already; its admin makes keys with 'assay keys create'")
    record, key = control.create_key(tenant, Role.ADMIN, "first admin")
    if as_json:
        print(json.dumps({"tenant": str(tenant), "key_id": str(record.key_id), "key": key}, indent=2))
        return
    print(f"tenant {tenant}: its admin key follows; this is the only time it is shown.", file=sys.stderr)
    print(key)


def _set(control: Control, tenant: TenantId, args: argparse.Namespace) -> None:
    if args.retention_days is None and args.pii is None:
        raise CommandFailed("nothing to change: give --retention-days or --pii", ExitCode.USAGE)
    try:
        old = control.tenant(tenant)
    except NotFound as error:
        raise CommandFailed(f"{error}; 'assay tenants list' lists them", ExitCode.NOT_FOUND) from error
    days = old.retention_days if args.retention_days is None else args.retention_days or None
    new = control.set_settings(tenant, pii=_changed(old.pii, args.pii or {}), retention_days=days)
    _print([new], as_json=args.json)


def _print(tenants: list[TenantRecord], *, as_json: bool) -> None:
    from server.cli.rendering import print_json, print_table

    shown = [_shown(tenant) for tenant in tenants]
    if as_json:
        print_json({"items": shown})
        return
    rows = []
    for one in shown:
        kept = "forever" if one["retention_days"] is None else f"{one['retention_days']} days"
        modes = {DEFAULT: one["pii"]["default"], **one["pii"]["by_entity"]}
        rows.append((one["tenant"], one["created_at"][:19], kept, ",".join(f"{k}={m}" for k, m in modes.items())))
    print_table(("tenant", "created (UTC)", "rows kept", "personal information"), rows)


def _shown(tenant: TenantRecord) -> dict[str, Any]:
    from core.clock import to_datetime

    return {
        "tenant": str(tenant.id),
        "created_at": to_datetime(tenant.created_at_ns).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "retention_days": tenant.retention_days,
        "pii": {
            "default": tenant.pii.default.value,
            "by_entity": {entity.value: mode.value for entity, mode in sorted(tenant.pii.by_entity.items())},
        },
    }


def _days(text: str) -> int:
    """A number of days; 0 stands for 'forever'. Raises argparse's error otherwise."""
    if text == "forever":
        return 0
    if not text.isascii() or not text.isdigit() or len(text) > 5 or not 1 <= int(text) <= 36_500:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is neither 'forever' nor a number of days from 1 to 36500")
    return int(text)


def _modes(text: str) -> dict[str, PiiMode]:
    """'email=hash,default=redact' as modes by kind. Raises argparse's error for anything else."""
    modes: dict[str, PiiMode] = {}
    for part in text.split(","):
        kind, _, mode = part.strip().partition("=")
        if kind not in {DEFAULT, *PiiEntity} or mode not in set(PiiMode) or kind in modes:
            raise argparse.ArgumentTypeError(
                f"{part[:40]!r}: write KIND=MODE, each kind once; kinds: {', '.join([DEFAULT, *PiiEntity])}; "
                f"modes: {', '.join(PiiMode)}"
            )
        modes[kind] = PiiMode(mode)
    return modes


def _changed(old: PiiPolicy, modes: dict[str, PiiMode]) -> PiiPolicy:
    """The policy with these modes; what they do not name stays."""
    named = {PiiEntity(kind): mode for kind, mode in modes.items() if kind != DEFAULT}
    return PiiPolicy(default=modes.get(DEFAULT, old.default), by_entity={**old.by_entity, **named})
