"""Checks ledger, integrity, versions and disk, and says what to do. Ends with 1 if anything failed.

Asks the running server. Where none answers, it examines the data folder itself, with lake and control database wherever
the settings put them, as far as that can be done from outside (--offline does so at once).
"""

from __future__ import annotations

import argparse
import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, Final

from core.errors import StorageFailed
from server.cli.connection import (
    ApiClient,
    add_config_argument,
    add_connection_arguments,
    add_json_argument,
    client_of,
    has_no_address,
)
from server.cli.outcome import CommandFailed, ExitCode

STATES: Final = ("fail", "warn", "ok")  # worst first, as they are printed
SCRUB_TIMEOUT_S: Final = 900.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--offline and where the server is."""
    parser.add_argument("--offline", action="store_true", help="examine --data DIR without asking a server")
    parser.add_argument("--no-scrub", action="store_true", help="leave out reading every lake file to compare its hash")
    parser.add_argument("--repair", action="store_true", help="list what repairing lake and database would do")
    parser.add_argument("--yes", action="store_true", help="with --repair: do it")
    add_config_argument(parser)
    add_connection_arguments(parser)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the checks; 1 when one failed, 4 when there is neither a server nor a data folder to look at."""
    if args.repair or args.yes:
        return _repair(args)
    examined, checks, ledger = _examine(args)
    checks = sorted(checks, key=lambda check: STATES.index(str(check["status"])))
    failed = sum(check["status"] == "fail" for check in checks)
    if args.json:
        from server.cli.rendering import print_json

        print_json({"examined": examined, "healthy": failed == 0, "checks": checks, "ledger": ledger})
    else:
        _print(examined, checks, ledger)
    return ExitCode.FAILED if failed else ExitCode.OK


def _repair(args: argparse.Namespace) -> int:
    if not args.repair or args.url or args.port_base:
        raise CommandFailed("--repair works on the folder of --data DIR, and --yes goes with it only", ExitCode.USAGE)
    from server.cli import repair

    return repair.run(args)


def _examine(args: argparse.Namespace) -> tuple[str, list[dict[str, Any]], list[dict[str, Any]]]:
    """What was examined, its checks, and the ledger where a server answered."""
    if args.offline or has_no_address(args):
        return _offline(args)
    api = client_of(args, timeout_s=SCRUB_TIMEOUT_S)
    try:
        return _of_server(api, scrub=not args.no_scrub)
    except CommandFailed as failed:
        named = args.url or args.port_base or os.environ.get("ASSAY_URL")
        if failed.code == ExitCode.FAILED and (found := _of_open_routes(api.url, str(failed))):
            return api.url, found, []
        if failed.code != ExitCode.UNREACHABLE or named or not args.data.is_dir():
            raise
        examined, checks, ledger = _offline(args)
        no_server = {"name": "server", "status": "warn", "detail": f"none answers at {api.url}", "remedy": "assay up"}
        return examined, [no_server, *checks], ledger


def _of_server(api: ApiClient, *, scrub: bool) -> tuple[str, list[dict[str, Any]], list[dict[str, Any]]]:
    checks = [_check(one) for one in api.get("/api/v1/doctor", {"scrub": str(scrub).lower()})["checks"]]
    ledger = list(api.get("/api/v1/ledger")["items"])
    return api.url, checks, ledger


def _of_open_routes(url: str, problem: str) -> list[dict[str, Any]]:
    """What a server says of itself to everyone when it cannot check a key; empty where that explains nothing."""
    health = _answer(f"{url}/api/v1/health").get("checks")
    if not isinstance(health, dict) or "failed" not in health.values():
        return []
    remedy = "start it, or correct its address in the settings; run/server.log says what failed"
    found = [{"name": "server", "status": "fail", "detail": problem, "remedy": "see the checks below"}]
    for name, key in (("control database", "control"), ("lake", "lake")):
        state = {"ok": "ok", "degraded": "warn"}.get(str(health.get(key)), "fail")
        detail = "answers" if state == "ok" else f"the server says {health.get(key)}"
        found.append({"name": name, "status": state, "detail": detail, "remedy": "" if state == "ok" else remedy})
    return found


def _answer(url: str) -> dict[str, Any]:
    """The JSON object that an open route answers, whatever the status; empty where none comes."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - an http(s) address
            body = answer.read()
    except urllib.error.HTTPError as refused:
        body = refused.read()
    except OSError:
        return {}
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _offline(args: argparse.Namespace) -> tuple[str, list[dict[str, Any]], list[dict[str, Any]]]:
    data: Path = args.data
    if not data.is_dir():
        raise CommandFailed(f"there is no data folder at {data}; name it with --data DIR", ExitCode.NOT_FOUND)
    from rich.console import Console
    from rich.progress import Progress

    from server.cli.instance import settings_of
    from server.control_access import require_places
    from server.place import place_of
    from store.doctor import examine

    settings = settings_of(args)
    require_places(settings)
    place = place_of(settings)
    console = Console(stderr=True)
    with Progress(console=console, disable=args.json or not console.is_terminal, transient=True) as progress:
        task = progress.add_task("reading the lake", total=None)
        found = examine(
            place,
            scrub=not args.no_scrub,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    checks, ledger = _ledger_of(place.control_url)
    checks += _audit_of(place.control_url, settings.secrets_dir / "pepper")
    return str(data), [*(_check(one) for one in found), *checks], ledger


def _ledger_of(url: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The checks of the ledger in the control database at `url`, of every tenant, and its rows."""
    from store.control.ledger_checks import ledger_at, ledger_checks

    try:
        rows = ledger_at(url)
    except StorageFailed as error:
        remedy = "keep everything as it is; restore a backup of the control database"
        return [{"name": "ledger", "status": "fail", "detail": str(error), "remedy": remedy}], []
    shown = [
        {"tenant": row.tenant, "signal": row.signal, **asdict(row.counts), "balanced": row.counts.balanced}
        for row in rows
    ]
    return [_check(one) for one in ledger_checks(rows)], shown


def _audit_of(url: str, pepper: Path) -> list[dict[str, Any]]:
    """The checks of every tenant's audit chain in the control database at `url`, with the secret that links it."""
    from store.control.audit_checks import audit_checks_at

    try:
        return [_check(one) for one in audit_checks_at(url, bytes.fromhex(pepper.read_text(encoding="ascii")))]
    except FileNotFoundError:
        problem, remedy = f"not looked at: {pepper} is missing, which links it", "restore secrets/ from a backup"
    except (OSError, ValueError) as error:
        problem, remedy = f"{pepper} cannot be read: {error}", "restore secrets/ from a backup"
    except StorageFailed as error:
        problem, remedy = str(error), "keep everything as it is; restore a backup of the control database"
    return [{"name": "audit log", "status": "fail", "detail": problem, "remedy": remedy}]


def _check(found: object) -> dict[str, Any]:
    """A check as a dict with name, status, detail and remedy; a status that is none of STATES counts as a failure."""
    row: Mapping[str, Any] = asdict(found) if is_dataclass(found) and not isinstance(found, type) else found  # type: ignore[assignment]
    state = str(row.get("status"))
    return {
        "name": str(row.get("name")),
        "status": state if state in STATES else "fail",
        "detail": str(row.get("detail") or ""),
        "remedy": str(row.get("remedy") or ""),
    }


def _print(examined: str, checks: list[dict[str, Any]], ledger: list[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    from server.cli.rendering import cell, console, status

    out = console()
    out.print(Text("examined ") + cell(examined))
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("check", "state", "detail", "what to do"):
        shown.add_column(name, overflow="fold")
    for check in checks:
        shown.add_row(
            cell(check["name"], 60), status(check["status"]), cell(check["detail"], 500), cell(check["remedy"], 500)
        )
    out.print(shown)
    if not ledger:
        out.print(Text("the ledger is empty: nothing has arrived yet", "dim"))
    counts = {state: sum(check["status"] == state for check in checks) for state in STATES}
    out.print(Text(f"{counts['ok']} ok, {counts['warn']} to look at, {counts['fail']} failed"))
