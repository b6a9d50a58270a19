"""A rollout in the terminal: its steps, its guardrails with both rates, why it stands where it stands; live or once."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from server.cli.connection import ApiClient
from server.cli.outcome import ExitCode
from server.cli.terminal import plain

if TYPE_CHECKING:
    from rich.console import RenderableType

LOOK_EVERY_S: Final = 1.0
EXITS: Final = {"promoted": ExitCode.OK, "rolled_back": ExitCode.FAILED, "aborted": ExitCode.FAILED}
_STYLES: Final = {
    "waiting": "yellow",
    "running": "bold cyan",
    "paused": "bold yellow",
    "promoted": "bold green",
    "rolled_back": "bold red",
    "aborted": "bold red",
}
_MARKS: Final = "▁▂▃▄▅▆▇█"
_N_MARKS: Final = 16
_WIDE: Final = 100
_FINDINGS: Final = {"ok": "", "not_worse": "green", "harm": "bold red", "missing": "yellow"}

Told = Mapping[str, Any]


def path_of(app: str, *parts: str) -> str:
    """The path of an app's rollout, or of what is below it."""
    return "/".join(["/api/v1/rollouts", quote(app, safe=""), *parts])


def fetch(api: ApiClient, app: str, rollout_id: str | None) -> Told:
    """A rollout as it stands. Raises CommandFailed."""
    told: Told = api.get(path_of(app), {"id": rollout_id})
    return told


def print_rollout(told: Told) -> None:
    """All of it, once."""
    from server.cli.rendering import console

    console().print(picture(told))
    for event in told["timeline"]:
        kind = plain(event["kind"], 24).replace("_", " ")
        certificate = "" if event["certificate"] is None else f", certificate {event['certificate']}"
        print(
            f"{_moment(event['at'])}  {kind:<9}  {plain(event['text'], 600)} (by {plain(event['by'], 80)}{certificate})"
        )


def watch(api: ApiClient, told: Told) -> Told:
    """Shows a rollout until it has ended; the rollout as it ended. Where nobody looks on, its events as lines."""
    from server.cli.rendering import console

    if not console().is_terminal:
        return _lines(api, told)
    from rich.live import Live

    with Live(picture(told), console=console(), refresh_per_second=4) as live:
        while told["status"] not in EXITS:
            time.sleep(LOOK_EVERY_S)
            told = fetch(api, told["app"], told["id"])
            live.update(picture(told))
    return told


def picture(told: Told) -> RenderableType:
    """Head, steps, guardrails and reasons."""
    from rich.console import Group
    from rich.text import Text

    head = Text.assemble(
        (plain(told["candidate"], 80), "bold"),
        f" over {plain(told['baseline'], 80)} of {plain(told['app'], 80)}: ",
        (told["status"].replace("_", " "), _STYLES.get(told["status"], "")),
        "" if told.get("dry_run") else f"  ({told['id']})",
    )
    if told["bypass"]:
        head.append(f"\nnot tested: {plain(told['bypass'], 500)}", style="bold yellow")
    reasons = [Text(f"- {plain(one, 600)}") for one in told["reasons"]]
    return Group(head, _steps(told), _guardrails(told), *reasons)


def _lines(api: ApiClient, told: Told) -> Told:
    n_shown = 0
    while True:
        for event in told["timeline"][n_shown:]:
            print(f"{_moment(event['at'])} {plain(event['kind'], 24)}: {plain(event['text'], 600)}")
        sys.stdout.flush()
        n_shown = len(told["timeline"])
        if told["status"] in EXITS:
            return told
        time.sleep(LOOK_EVERY_S)
        told = fetch(api, told["app"], told["id"])


def _steps(told: Told) -> RenderableType:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("step", "since (UTC)", "candidate", "baseline", "asked for", "ended by"):
        table.add_column(name, justify="left" if name in ("step", "ended by") else "right")
    for number, step in enumerate(told["steps"]):
        here = "▶ " if number == told["step"] and told["status"] not in EXITS else "  "
        asked = f"{step['min_units']} units, {_duration(step['bake_s'])}" if step["weight"] < 1 else ""
        table.add_row(
            f"{here}{100 * step['weight']:g} %",
            _moment(step["entered_at"]),
            *(str(step[name]) if step["entered_at"] else "" for name in ("n_candidate", "n_baseline")),
            asked,
            plain(step["decision"] or "", 20).replace("_", " "),
        )
    return table


def _guardrails(told: Told) -> RenderableType:
    from rich.table import Table

    from server.cli.rendering import console

    wide = console().width >= _WIDE
    table = Table(box=None, pad_edge=False)
    for name in ("guardrail", "candidate", "baseline", "e harm / rolls back at", "e not worse / proved at", "finding"):
        table.add_column(name, justify="right" if name in ("candidate", "baseline") else "left")
    for one in told["guardrails"]:
        finding = one["finding"]
        table.add_row(
            plain(one["name"], 60),
            _rate(one["rate_candidate"], one["n_candidate"]),
            _rate(one["rate_baseline"], one["n_baseline"]),
            _against(one["e_harm"], one["boundary"], _path(told, one) if wide else ""),
            _against(one["e_non_inferior"], one["boundary_non_inferior"], ""),
            finding.replace("_", " "),
            style=_FINDINGS.get(finding, ""),
        )
    return table


def _rate(rate: float | None, n: int) -> str:
    return "-" if rate is None else f"{100 * rate:.2f} % of {n}"


def _against(e_value: float | None, boundary: float | None, path: str) -> str:
    """An e-value and what it is held against."""
    if e_value is None or boundary is None:
        return "-"
    return f"{path:<{_N_MARKS if path else 0}}{' ' if path else ''}{e_value:.3g} / {boundary:.3g}"


def _path(told: Told, guardrail: Mapping[str, Any]) -> str:
    """The e-value for harm after the last blocks as columns: of its logarithm, from 1 up to the boundary."""
    if guardrail["boundary"] is None:
        return ""
    found = [one["log10_e_harm"] for one in told["series"] if one["guardrail"] == guardrail["name"]]
    top, highest = math.log10(guardrail["boundary"]), len(_MARKS) - 1
    return "".join(_MARKS[min(highest, max(0, int(highest * one / top)))] for one in found[-_N_MARKS:])


def _moment(at: str | None) -> str:
    """To the second, in UTC."""
    return plain(at or "")[:19].replace("T", " ")


def _duration(seconds: float) -> str:
    return f"{seconds:g} s" if seconds < 60 else f"{seconds / 60:g} min"
