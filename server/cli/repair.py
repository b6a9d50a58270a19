"""`assay doctor --repair`: lists what is wrong with lake and control database of an instance; with --yes repairs it.

It works on them itself, wherever the settings put them, whether Assay runs or not. Without --yes nothing is changed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from core.errors import AssayError
from server.cli.outcome import CommandFailed, ExitCode

if TYPE_CHECKING:
    from server.settings import Settings
    from store.control.integrity import Finding
    from store.repair import Kept, Repair


def run(args: argparse.Namespace) -> int:
    """Prints what is, or would be, done; 1 while damage is left, 0 otherwise. Raises CommandFailed."""
    from server.cli.instance import need_lake, settings_of
    from server.control_access import require_folder
    from store.lake import Lake
    from store.repair import find_damage, plan, repair

    settings, yes = settings_of(args), bool(args.yes)
    require_folder(settings)
    try:
        need_lake(settings)
        rows = _control(settings.control_database, yes=yes)
        lake = Lake(settings.lake_root, cache=settings.lake_cache)
        damages = find_damage(lake)
        with _kept(settings, needed=bool(damages)) as kept:
            repairs = plan(lake, damages, kept)
            done = repair(lake, repairs, kept=kept) if yes else []
        left = [*map(str, lake.damaged()), *(finding.what for finding in rows if not (yes and finding.mendable))]
    except AssayError as error:
        raise CommandFailed(f"{error}\nnothing more was changed; see docs/operations.md, Damage") from error
    if args.json:
        from server.cli.rendering import print_json

        control = [asdict(finding) for finding in rows]
        print_json({"planned": list(map(_row, repairs)), "done": list(map(_row, done)), "control": control})
    else:
        _print_control(rows, yes=yes)
        _print(repairs, done, yes=yes)
    return ExitCode.FAILED if left else ExitCode.OK


def _control(url: str, *, yes: bool) -> list[Finding]:
    """What is wrong with the control database; with `yes` it is mended as far as its seals prove how."""
    from store.control.integrity import look_over, look_over_server, mend, sqlite_file

    path = sqlite_file(url)
    if path is None:
        return look_over_server(url)
    if not path.exists():
        return []
    return mend(path) if yes else look_over(path)


@contextmanager
def _kept(settings: Settings, *, needed: bool) -> Iterator[Kept]:
    """The rows that the journal of a data folder still keeps; none where it, or what unlocks it, is not there."""
    from store.repair import nothing_kept

    data, secrets = settings.data, settings.secrets_dir
    needs = [data / "journal", secrets / "master.key", secrets / "pepper"]
    needs += [] if settings.control_url else [data / "control.db"]
    if not needed or not all(path.exists() for path in needs):
        yield nothing_kept
        return
    from collector.batch import Workshop
    from collector.rebuild import JournalRows
    from collector.redact import Redactor
    from collector.seal import MasterKey, sealed
    from store.control.control import Control
    from store.control.secret_file import read_or_create_secret

    master = MasterKey.open(secrets / "master.key")
    opened = Control.open(settings.control_database, pepper=read_or_create_secret(secrets / "pepper"))
    workshop = Workshop(
        redactor=lambda tenant: Redactor(opened.tenant(tenant).pii, master.derived(f"pii/{tenant}")),
        seal=lambda tenant, raw: sealed(master.derived(f"quarantine/{tenant}"), raw),
    )
    try:
        yield JournalRows(data / "journal", master, workshop).of
    finally:
        opened.close()


def _row(each: Repair) -> dict[str, object]:
    damage = each.damage
    return {
        "act": each.act,
        "table": damage.table,
        "tenant": damage.tenant,
        "date": damage.date,
        "file": damage.file,
        "rows": damage.n_rows,
        "reason": damage.reason,
    }


def _print_control(rows: list[Finding], *, yes: bool) -> None:
    from rich.text import Text

    from server.cli.rendering import cell, console

    out = console()
    for finding in rows:
        act = ("done: put right: " if yes else "put right: ") if finding.mendable else "cannot be put right: "
        out.print(Text(act) + cell(f"control database, {finding.what}", 500))
    if any(not finding.mendable for finding in rows):
        out.print(Text("restore control.db from a backup; what does not need these rows is served meanwhile"))


def _print(repairs: list[Repair], done: list[Repair], *, yes: bool) -> None:
    from rich.text import Text

    from server.cli.rendering import cell, console

    out = console()
    if not repairs:
        out.print(Text("no file of the lake is damaged"))
        return
    words = {
        "send": "put the sound copy of this machine back in the object store",
        "rebuild": "make anew from spans",
        "replay": "make anew from the journal",
        "take_out": "take out of the table",
    }
    for each in repairs:
        state = "" if not yes else "done: " if each in done else "not needed any more: "
        out.print(Text(f"{state}{words[each.act]}: ") + cell(str(each.damage), 500))
    lost = sum(each.damage.n_rows for each in repairs if each.act == "take_out")
    if yes:
        out.print(Text(f"{lost} rows left the lake; their bytes and notes are in lake/_damaged"))
    else:
        out.print(Text(f"nothing was changed; {lost} rows would leave the lake; restore a backup, or add --yes"))
