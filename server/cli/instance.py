"""The instance on whose lake and control database a command works itself."""

from __future__ import annotations

import argparse
from pathlib import Path

from server.cli.outcome import CommandFailed, ExitCode
from server.settings import Settings, load_settings


def settings_of(args: argparse.Namespace) -> Settings:
    """The settings that --data and --config of a command, and the environment, make. Raises BadSettings."""
    config: Path | None = args.config
    return load_settings(config, data=args.data)


def need_lake(settings: Settings) -> None:
    """Ends a command that would make the lake by opening it, because there is none. Raises CommandFailed,
    StorageFailed."""
    from store.bucket_log import tables_there, tables_without_log
    from store.objects import Objects, is_object_url

    root = settings.lake_root
    if is_object_url(root):
        objects = Objects(root)
        if gone := tables_without_log(objects):
            raise CommandFailed(f"{', '.join(gone)} at {root}: there are files, and no log; restore _delta_log")
        there = bool(tables_there(objects))
    else:
        there = Path(root).is_dir()
    if not there:
        raise CommandFailed(
            f"there is no lake at {root}; name the data folder with --data DIR, and the lake, if it is "
            "elsewhere, with ASSAY_LAKE or --config FILE",
            ExitCode.UNREACHABLE,
        )
