"""Erases a user from the data folder: every trace, turn, session, score and quarantined payload of theirs.

Without --yes it says what would go and changes nothing. It works on the folder itself, whether Assay runs on it or
not. An erasure that was interrupted goes on when the same command is given again, with --resume, or when the server
starts. Backups are not touched: erase there too, or let them expire.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from core.errors import AssayError, InvalidInput, NotFound
from server.cli.connection import add_config_argument, add_data_argument, add_json_argument
from server.cli.outcome import CommandFailed, ExitCode

if TYPE_CHECKING:
    from server.erasing import Erasing, Receipt
    from store.erasure import Belongings, Progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Whom, where, and whether it is meant."""
    whom = parser.add_mutually_exclusive_group(required=True)
    whom.add_argument("--user", metavar="U", help="the user's id as it was sent; - reads it from standard input")
    whom.add_argument("--resume", action="store_true", help="carry out what was begun and not finished")
    parser.add_argument("--tenant", default="default", help="whose user (default: %(default)s)")
    parser.add_argument("--yes", action="store_true", help="do it; without it nothing is changed")
    add_data_argument(parser)
    add_config_argument(parser)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Prints what went, or would go. Raises CommandFailed."""
    from server.cli.instance import settings_of
    from server.erasing import Erasing

    settings = settings_of(args)
    if not (settings.data / "control.db").exists() and settings.control_url is None:
        raise CommandFailed(f"there is no data folder at {settings.data}; name it with --data DIR", ExitCode.NOT_FOUND)
    erasing = Erasing(settings)
    try:
        return _resume(erasing, args) if args.resume else _erase(erasing, args)
    except NotFound as error:
        raise CommandFailed(str(error), ExitCode.NOT_FOUND) from error
    except AssayError as error:
        code = ExitCode.USAGE if isinstance(error, InvalidInput) else ExitCode.FAILED
        raise CommandFailed(str(error), code) from error
    finally:
        erasing.close()


def _erase(erasing: Erasing, args: argparse.Namespace) -> int:
    from core.ids import tenant_id

    tenant = tenant_id(args.tenant)
    user_id = sys.stdin.readline().rstrip("\r\n") if args.user == "-" else args.user
    with _progress(args) as progress:
        if not args.yes:
            foreseen = erasing.foreseen(tenant, user_id, progress)
            in_agent = erasing.foreseen_in_agent(tenant, user_id)
            n_examples = erasing.foreseen_examples(tenant, user_id, foreseen)
        else:
            receipt = erasing.carry_out(erasing.begin(tenant, user_id), progress)
    if args.yes:
        _print_receipts([receipt], as_json=args.json)
    else:
        _print_foreseen(foreseen, in_agent, n_examples, as_json=args.json)
    return ExitCode.OK


def _resume(erasing: Erasing, args: argparse.Namespace) -> int:
    with _progress(args) as progress:
        receipts = erasing.resume(progress)
    _print_receipts(receipts, as_json=args.json)
    return ExitCode.OK


@contextmanager
def _progress(args: argparse.Namespace) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    with Bars(console=console, disable=args.json or not console.is_terminal, transient=True) as bars:
        task = bars.add_task("", total=None)
        yield lambda what, done, total: bars.update(task, description=what, completed=done, total=total)


def _print_foreseen(found: Belongings, in_agent: dict[str, int], n_examples: int, *, as_json: bool) -> None:
    from server.cli.rendering import console, counted, print_json

    if as_json:
        counts = {"traces": len(found.traces), "sessions": len(found.sessions), "days": len(found.dates)}
        rows = {"rows": found.rows, "files": found.files, "agent_rows": in_agent, "examples": n_examples}
        print_json({"dry_run": True, **counts, **rows})
        return
    out = console()
    if not (found.traces or any(found.rows.values()) or in_agent or n_examples):
        out.print("nothing names this user; what waits in the journal or a gateway was not looked at")
        return
    out.print(f"would erase {counted(len(found.traces), 'trace')} in {counted(len(found.sessions), 'session')}:")
    for table, n in found.rows.items():
        out.print(f"  {table}: {counted(n, 'row')} in {counted(found.files[table], 'file')}")
    if in_agent:
        out.print(f"  the agent's folder: {counted(sum(in_agent.values()), 'row')}")
    if n_examples:
        out.print(f"  datasets: {counted(n_examples, 'example')}")
    out.print("nothing was changed; what waits in the journal or a gateway is not counted; add --yes to erase")


def _print_receipts(receipts: list[Receipt], *, as_json: bool) -> None:
    from server.cli.rendering import cell, console, counted, print_json

    if as_json:
        print_json({"dry_run": False, "erasures": [asdict(receipt) for receipt in receipts]})
        return
    out = console()
    for one in receipts:
        out.print(f"erased ({one.erasure_id}): {counted(one.traces, 'trace')}, {counted(one.sessions, 'session')}")
        for table, n in one.rows.items():
            out.print(f"  {table}: {counted(n, 'row')} in {counted(one.files[table], 'file')}")
        out.print(f"  journal: {counted(one.journal_segments, 'segment')} destroyed")
        out.print(f"  {counted(one.days, 'day')} of turns, sessions and rollups made anew")
        out.print(f"  {counted(one.old_files, 'old file')}, {counted(one.damaged_files, 'damaged file')} deleted")
        out.print(f"  logs: {counted(one.log_places, 'place')} overwritten; control database: {one.control_rows} rows")
        if one.examples:
            out.print(f"  datasets: {counted(one.examples, 'example')}")
        if one.agent_rows:
            out.print(f"  the agent's folder: {counted(sum(one.agent_rows.values()), 'row')}")
        if one.gateway_spans:
            out.print(f"  the gateway: {counted(one.gateway_spans, 'call')} that waited or were refused")
        if one.journal_damaged:
            out.print(f"  {counted(one.journal_damaged, 'damaged journal segment')} cannot be read and was left")
        for name in one.other_files:
            out.print(cell(f"  {name} is not Assay's and still names the user (docs/erasure.md)", 500))
    if not receipts:
        out.print("nothing is under way")
