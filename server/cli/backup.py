"""Backs up a whole instance, secrets included, while Assay runs or not: its data folder, with lake and control database
wherever the settings put them.

TARGET is a file that ends in .tar.zst, or a folder; it must not be there yet. Keep it as safe as the secrets in it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import AssayError, InvalidInput
from server.cli.connection import add_config_argument, add_data_argument, add_json_argument
from server.cli.outcome import CommandFailed, ExitCode

if TYPE_CHECKING:
    from store.backup_archive import Progress, Summary


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """From where to where."""
    parser.add_argument("target", type=Path, metavar="TARGET", help="FILE.tar.zst, or a folder")
    add_data_argument(parser)
    add_config_argument(parser)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Prints what the backup holds. Raises CommandFailed."""
    from server.cli.instance import need_lake, settings_of
    from server.control_access import require_folder, require_lake
    from server.exclusive import alone
    from server.place import place_of
    from store.backup import make_backup
    from store.lake import Lake

    settings = settings_of(args)
    if not settings.data.is_dir():
        raise CommandFailed(f"there is no data folder at {settings.data}; name it with --data DIR", ExitCode.NOT_FOUND)
    if args.target.absolute().is_relative_to(settings.data.absolute()):
        told = f"{args.target} is in the data folder: it would be lost with it, and outlive what is erased there"
        raise CommandFailed(f"{told}; name another place", ExitCode.USAGE)
    try:
        require_folder(settings)
        need_lake(settings)
        with bars(args) as progress, alone(settings):
            lake = Lake(settings.lake_root, cache=settings.lake_cache)
            require_lake(settings, lake)
            place, now = place_of(settings), time.time_ns()
            made = make_backup(place, lake, args.target, release=version("assay"), at_ns=now, progress=progress)
    except AssayError as error:
        code = ExitCode.USAGE if isinstance(error, InvalidInput) else ExitCode.FAILED
        raise CommandFailed(str(error), code) from error
    show(made, f"backed up to {args.target}", as_json=args.json)
    return ExitCode.OK


@contextmanager
def bars(args: argparse.Namespace) -> Iterator[Progress]:
    """A progress bar on standard error, where that is a terminal."""
    from rich.console import Console
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    with Bars(console=console, disable=args.json or not console.is_terminal, transient=True) as shown:
        task = shown.add_task("", total=None)
        yield lambda what, done, total: shown.update(task, description=what, completed=done, total=total or None)


def show(summary: Summary, title: str, *, as_json: bool) -> None:
    """Prints what a backup holds."""
    from server.cli.rendering import cell, console, counted, print_json

    if as_json:
        print_json(asdict(summary))
        return
    out = console()
    out.print(cell(title, 500))
    for table, n in summary.rows.items():
        out.print(f"  {table}: {counted(n, 'row')} in {counted(summary.files[table], 'file')}")
    out.print(f"  {counted(summary.n_files, 'file')}, {summary.n_bytes / 2**20:,.1f} MiB, format {summary.format}")
    if not summary.control:
        out.print("  without a control database: there is none yet")
