"""Restores a backup into an empty data folder; every hash is compared before anything is there.

Where the settings name an s3:// lake or PostgreSQL, lake and control database go there, where nothing may be yet.

With --dry-run it reads the backup, compares every hash and says what it holds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from core.errors import AssayError, InvalidInput
from server.cli.backup import bars, show
from server.cli.connection import add_config_argument, add_data_argument, add_json_argument
from server.cli.outcome import CommandFailed, ExitCode


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What, and into which folder."""
    parser.add_argument("source", type=Path, metavar="SOURCE", help="what `assay backup` made")
    parser.add_argument("--dry-run", action="store_true", help="compare every hash and say what is in it")
    add_data_argument(parser)
    add_config_argument(parser)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Prints what was, or would be, restored. Raises CommandFailed."""
    from server.cli.instance import settings_of
    from server.control_access import keep_out_of_git, note_instance
    from server.place import place_of
    from store.backup import restore

    settings = settings_of(args)
    if not args.source.exists():
        raise CommandFailed(f"there is no backup at {args.source}", ExitCode.NOT_FOUND)
    try:
        with bars(args) as progress:
            found = restore(args.source, place_of(settings), progress, dry_run=args.dry_run)
        if not args.dry_run:
            note_instance(settings)
            keep_out_of_git(settings.data)
    except AssayError as error:
        code = ExitCode.USAGE if isinstance(error, InvalidInput) else ExitCode.FAILED
        raise CommandFailed(str(error), code) from error
    title = (
        "whole; it holds:" if args.dry_run else f"restored to {args.data}; start it with assay up --data {args.data}"
    )
    show(found, title, as_json=args.json)
    return ExitCode.OK
