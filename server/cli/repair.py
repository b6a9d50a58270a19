"""`assay doctor --repair`: lists what is wrong with the lake of a data folder, and with --yes repairs it.

It works on the folder itself, whether Assay runs on it or not. Without --yes nothing is changed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import AssayError
from server.cli.outcome import CommandFailed, ExitCode

if TYPE_CHECKING:
    from store.repair import Repair


def run(data: Path, *, yes: bool, as_json: bool) -> int:
    """Prints what is, or would be, done; 1 while damage is left, 0 otherwise. Raises CommandFailed."""
    root = data / "lake"
    if not root.is_dir():
        raise CommandFailed(f"there is no lake at {root}; name the data folder with --data DIR", ExitCode.UNREACHABLE)
    from store.lake import Lake
    from store.repair import find_damage, plan, repair

    try:
        lake = Lake(root)
        repairs = plan(lake, find_damage(lake))
        done = repair(lake, repairs) if yes else []
        left = lake.damaged()
    except AssayError as error:
        raise CommandFailed(f"{error}\nnothing more was changed; see docs/operations.md, Damage") from error
    if as_json:
        from server.cli.rendering import print_json

        print_json({"planned": [_row(each) for each in repairs], "done": [_row(each) for each in done]})
    else:
        _print(repairs, done, yes=yes)
    return ExitCode.FAILED if left else ExitCode.OK


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


def _print(repairs: list[Repair], done: list[Repair], *, yes: bool) -> None:
    from rich.text import Text

    from server.cli.rendering import cell, console

    out = console()
    if not repairs:
        out.print(Text("no file of the lake is damaged"))
        return
    words = {"rebuild": "make anew from spans", "take_out": "take out of the table"}
    for each in repairs:
        state = "" if not yes else "done: " if each in done else "not needed any more: "
        out.print(Text(f"{state}{words[each.act]}: ") + cell(str(each.damage), 500))
    lost = sum(each.damage.n_rows for each in repairs if each.act == "take_out")
    if yes:
        out.print(Text(f"{lost} rows left the lake; their bytes and notes are in lake/_damaged"))
    else:
        out.print(Text(f"nothing was changed; {lost} rows would leave the lake; restore a backup, or add --yes"))
