"""A rollout in the terminal: its steps, its guardrails with both rates, why it stands where it stands; live or once."""

from __future__ import annotations

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
        at = plain(event["at"], 19).replace("T", " ")
        said = f"{at}  {plain(event['kind'], 24):<10} {plain(event['text'], 600)} (by {plain(event['by'], 80)}"
        certificate = "" if event["certificate"] is None else f", certificate {event['certificate']}"
        print(f"{said}{certificate})")


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
        f"  ({told['id']})",
    )
    if told["bypass"]:
        head.append(f"\nnot tested: {plain(told['bypass'], 500)}", style="bold yellow")
    reasons = [Text(f"- {plain(one, 600)}") for one in told["reasons"]]
    return Group(head, _steps(told), _guardrails(told), *reasons)


def _lines(api: ApiClient, told: Told) -> Told:
    n_shown = 0
    while True:
        for event in told["timeline"][n_shown:]:
            print(f"{plain(event['at'], 19)} {plain(event['kind'], 24)}: {plain(event['text'], 600)}")
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
        asked = f"{step['min_units']} units, {step['bake_s'] / 60:g} min" if step["weight"] < 1 else ""
        table.add_row(
            f"{here}{100 * step['weight']:g} %",
            plain(step["entered_at"] or "", 19).replace("T", " "),
            *(str(step[name]) if step["entered_at"] else "" for name in ("n_candidate", "n_baseline")),
            asked,
            plain(step["decision"] or "", 20).replace("_", " "),
        )
    return table


def _guardrails(told: Told) -> RenderableType:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("guardrail", "candidate", "baseline", "e harm", "boundary", "e not worse", "boundary", "finding"):
        table.add_column(name, justify="left" if name in ("guardrail", "finding") else "right")
    for one in told["guardrails"]:
        finding = one["finding"]
        table.add_row(
            plain(one["name"], 60),
            _rate(one["rate_candidate"], one["n_candidate"]),
            _rate(one["rate_baseline"], one["n_baseline"]),
            *(_number(one[name]) for name in ("e_harm", "boundary", "e_non_inferior", "boundary_non_inferior")),
            finding.replace("_", " "),
            style=_FINDINGS.get(finding, ""),
        )
    return table


def _rate(rate: float | None, n: int) -> str:
    return "-" if rate is None else f"{100 * rate:.2f} % of {n}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
