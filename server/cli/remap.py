"""Runs today's attribute mapping over spans that are already stored, on the data folder itself.

For after an upgrade that taught Assay a new attribute. --dry-run says what would change and changes nothing.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import NotFound
from server.cli.connection import add_config_argument, add_json_argument
from server.cli.filters import since
from server.cli.outcome import CommandFailed, ExitCode

if TYPE_CHECKING:
    from core.ids import TenantId
    from server.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Whose spans, since when, and where they lie."""
    parser.add_argument("--data", default=None, metavar="DIR", help="the data folder (default ./data)")
    parser.add_argument("--tenant", default="default", help="whose spans (default: default)")
    within = "only spans that start within this time (default: all)"
    parser.add_argument("--since", type=since, metavar="7d", help=within)
    parser.add_argument("--dry-run", action="store_true", help="say what would change")
    add_config_argument(parser)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Remaps, with a progress bar, and prints what changed."""
    from collector.remap import remap
    from core.windows import window_of
    from server.cli.instance import settings_of
    from server.cli.rendering import console, counted, print_json
    from server.control_access import require_folder, require_lake
    from store.lake import Lake

    settings = settings_of(args)
    require_folder(settings)
    if "://" not in settings.lake_root and not Path(settings.lake_root).is_dir():
        raise CommandFailed(
            f"there is no lake at {settings.lake_root}; name the folder with --data DIR", ExitCode.NOT_FOUND
        )
    tenant = _tenant(args.tenant, settings)
    lake = Lake(settings.lake_root, cache=settings.lake_cache)
    require_lake(settings, lake)
    window = window_of(now_ns=time.time_ns(), since=args.since) if args.since is not None else None
    from rich.progress import Progress

    shown = console()
    with Progress(console=shown, disable=args.json or not shown.is_terminal, transient=True) as bar:
        task = bar.add_task("remapping", total=None)
        found = remap(
            lake,
            tenant,
            window=window,
            dry_run=args.dry_run,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if args.json:
        print_json({**asdict(found), "dry_run": args.dry_run})
        return ExitCode.OK
    verb = "would change" if args.dry_run else "changed"
    out = console()
    out.print(
        f"{found.n_changed:,} of {counted(found.n_rows, 'span')} in {counted(found.n_files, 'file')} {verb}",
        markup=False,
    )
    for name, n in sorted(found.columns.items(), key=lambda item: -item[1]):
        out.print(f"  {name}: {n:,}", markup=False)
    return ExitCode.OK


def _tenant(named: str, settings: Settings) -> TenantId:
    """The tenant of this name. Raises InvalidInput; CommandFailed when the folder has none such."""
    from core.ids import tenant_id
    from server.control_access import open_control

    tenant = tenant_id(named)
    control = open_control(settings)
    try:
        control.tenant(tenant)
    except NotFound as error:
        raise CommandFailed(f"{error}; 'assay tenants list' lists them", ExitCode.NOT_FOUND) from error
    finally:
        control.close()
    return tenant
