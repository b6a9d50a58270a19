"""Notes where the lake and the control database of a data folder are now, after they were moved on purpose.

A folder knows its own and refuses others. Give the settings as they are from now on (ASSAY_LAKE, ASSAY_CONTROL_URL or
--config FILE). Without --yes it says what would be noted and changes nothing. Stop Assay before.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from core.errors import AssayError, InvalidInput
from server.cli.connection import add_config_argument, add_data_argument, add_json_argument
from server.cli.outcome import CommandFailed, ExitCode

if TYPE_CHECKING:
    from store.instance import Instance


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which folder, with which settings, and whether it is meant."""
    parser.add_argument("--yes", action="store_true", help="do it; without it nothing is changed")
    add_data_argument(parser)
    add_config_argument(parser)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Prints what is, and what was, noted. Raises CommandFailed."""
    from collector.drain import is_held
    from server.cli.instance import need_lake, settings_of
    from server.control_access import moved_instance
    from store.instance import instance_of, replace_note
    from store.versions import require_format

    settings = settings_of(args)
    if not (settings.data / "secrets").is_dir():
        raise CommandFailed(f"there is no data folder at {settings.data}; name it with --data DIR", ExitCode.NOT_FOUND)
    try:
        require_format(settings.data)
        need_lake(settings)
        if args.yes and is_held(settings.data / "journal"):
            raise CommandFailed(f"a collector runs on {settings.data}; stop it first")
        old, new = instance_of(settings.data), moved_instance(settings)
        if args.yes:
            replace_note(settings.data, new)
    except AssayError as error:
        code = ExitCode.USAGE if isinstance(error, InvalidInput) else ExitCode.FAILED
        raise CommandFailed(str(error), code) from error
    _print(old, new, args)
    return ExitCode.OK


def _print(old: Instance | None, new: Instance, args: argparse.Namespace) -> None:
    from server.cli.rendering import cell, console, print_json

    if args.json:
        print_json({"dry_run": not args.yes, "was": _places(old) if old else None, "is": _places(new)})
        return
    out = console()
    for what, found in _places(new).items():
        was = _places(old)[what] if old else found
        out.print(cell(f"{what}: {found}" if was == found else f"{what}: {was} -> {found}", 1000))
    if new.empty_lake:
        out.print("this lake has nothing of what the ledger counts: acknowledged spans are not in it")
    out.print("noted" if args.yes else "nothing was changed; add --yes to note it")


def _places(instance: Instance) -> dict[str, str]:
    """Lake and control database; what is inside the data folder is named from there."""
    return {"lake": instance.lake, "control": instance.control}
