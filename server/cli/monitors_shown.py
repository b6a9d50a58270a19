"""Monitors, alerts, incidents, silences and deliveries as the commands print them. Names and texts are untrusted."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any, Final

from rich.text import Text

from server.cli.rendering import cell, console, moment, print_table

Row = dict[str, Any]
WIDTH: Final = 72
_EIGHTHS: Final = "▁▂▃▄▅▆▇█"
_STYLE: Final = {
    "firing": "bold red",
    "open": "bold red",
    "page": "red",
    "dead": "bold red",
    "pending": "yellow",
    "acknowledged": "yellow",
    "retrying": "yellow",
    "off": "dim",
    "closed": "dim",
    "resolved": "green",
}


def print_monitors(items: Sequence[Row]) -> None:
    """A line for each, with its worst series."""
    rows = []
    for one in items:
        said, worst = one["definition"], (one["series"] or [None])[0]
        rows.append(
            (
                *(cell(one["name"], 40), cell(one["app"], 40), cell(said["series"], 40), _state(one)),
                *(cell(said["band"].get("kind"), 10), said["step"], str(one["n_series"])),
                *(_number(worst and worst["value"]), _band(worst), moment(one["until"]) if one["until"] else "-"),
                cell(", ".join(said["channels"]) or "nobody", 60),
            )
        )
    columns = ("name", "app", "series", "status", "band", "step", "n", "value", "expected", "until (UTC)", "tells")
    print_table(columns, rows, right=("n", "value"))


def print_monitor(one: Row) -> None:
    """One monitor with its series."""
    out, said = console(), one["definition"]
    tried = " (a dry run: nothing was changed)" if one.get("dry_run") else ""
    out.print(cell(f"{one['name']}: {said['series']} of {one['app']}, version {one['version']}{tried}", 300))
    by = f" by {said['by']}" if said["by"] else ""
    band = ", ".join(f"{name} {value}" for name, value in said["band"].items() if name != "kind")
    kind = f"{said['band'].get('kind')}{f' ({band})' if band else ''}"
    silenced = one["silenced"]
    quiet = f", silenced until {moment(silenced['end'])} UTC ({silenced['why']})" if silenced else ""
    out.print(cell(f"  {_health(one)}{quiet}; every {said['step']}{by}, band {kind}", 300))
    fires = "its band's own number of" if said["for_points"] is None else said["for_points"]
    budget = f"{said['false_pages_per_week']:g} false pages a week allowed"
    told = ", ".join(said["channels"]) or "nobody"
    out.print(cell(f"  {said['severity']} when {said['direction']} for {fires} points; {budget}; tells {told}", 300))
    if one["until"]:
        print_table(
            ("series", "value", "n", "expected", "z", "status"),
            [
                (
                    *(cell(each["series"], 80), _number(each["value"]), _number(each["n"]), _band(each)),
                    *(_number(each["z"]), cell(each["status"], 20)),
                )
                for each in one["series"]
            ],
            right=("value", "n", "z"),
        )
    if len(one.get("versions", ())) > 1:
        rows = [(str(each["version"]), moment(each["made_at"]), cell(each["made_by"], 60)) for each in one["versions"]]
        print_table(("version", "made (UTC)", "by"), rows, right=("version",))


def print_backtest(told: Row) -> None:
    """What a monitor would have done: figures, chart, alerts."""
    out = console()
    series = f"{told['n_series']} series, {told['n_points']:,} points, {told['n_missing']:,} missing"
    out.print(cell(f"{moment(told['start'])} to {moment(told['end'])} (UTC): {series}", 300))
    expected = told["expected_false_alarms_per_week"]
    known = "not known" if expected is None else f"{expected:.3g} a week"
    out.print(cell(f"alerts: {len(told['alerts'])}, {told['alerts_per_week']:.3g} a week", 300))
    out.print(cell(f"false alarms to expect: {known}; {told['why']}", 400))
    for chart in told["charts"]:
        out.print(cell(f"{chart['series']}", 100, "bold"))
        out.print(_drawn(chart))
    if told["alerts"]:
        print_table(
            ("fired (UTC)", "resolved (UTC)", "severity", "series", "why"),
            [
                (
                    *(moment(one["fired_at"]), moment(one["resolved_at"]) if one["resolved_at"] else "still fires"),
                    *(_styled(one["severity"]), cell(one["series"], 60), cell(one["text"], 200)),
                )
                for one in told["alerts"]
            ],
        )


def _drawn(chart: Row) -> Text:
    """A line of eighths, a mark under each stretch with a breach."""
    values = chart["value"]
    size = max(1, -(-len(values) // WIDTH))
    parts = [range(at, min(at + size, len(values))) for at in range(0, len(values), size)]
    means: list[float | None] = []
    for part in parts:
        known = [values[at] for at in part if values[at] is not None]
        means.append(sum(known) / len(known) if known else None)
    some = [one for one in means if one is not None]
    low, high = (min(some), max(some)) if some else (0.0, 0.0)
    room = (high - low) or 1.0
    line = "".join(" " if one is None else _EIGHTHS[round((one - low) / room * 7)] for one in means)
    marks = "".join("^" if any(chart["verdict"][at] == "breach" for at in part) else " " for part in parts)
    return Text(f"{line}  {low:.4g} to {high:.4g}\n{marks}")


def print_alerts(items: Sequence[Row]) -> None:
    """A line for each."""
    rows = [
        (
            *(_styled(one["status"]), _styled(one["severity"]), cell(one["app"], 40), cell(one["monitor"], 40)),
            *(cell(one["series"], 60), moment(one["since"]), one["incident"] or "-", cell(one["text"], 300)),
        )
        for one in items
    ]
    print_table(("status", "severity", "app", "monitor", "series", "since (UTC)", "incident", "why"), rows)


def print_incidents(items: Sequence[Row]) -> None:
    """A line for each."""
    rows = [
        (
            *(one["id"], _styled(one["status"]), _styled(one["severity"]), moment(one["opened_at"])),
            *(f"{one['n_firing']} of {one['n_alerts']}", cell(one["owner"] or "-", 40), cell(one["title"], 100)),
            cell(one["likely"] or "-", 100),
        )
        for one in items
    ]
    print_table(("id", "status", "severity", "opened (UTC)", "firing", "owner", "title", "likely"), rows)


def print_incident(one: Row) -> None:
    """One incident: what it is, what to do first, where, examples, timeline."""
    out, known = console(), one["diagnosis"] or {}
    out.print(cell(f"{one['id']} {one['title']}", 300, "bold"))
    out.print(cell(f"  {one['status']}, {one['severity']}, since {moment(one['onset_at'])} (UTC)", 200))
    if one["owner"]:
        out.print(cell(f"  looked after by {one['owner']}", 200))
    out.print(cell(f"likely: {one['likely'] or 'not known'}; {one['why'] or 'no diagnosis yet'}", 600))
    for number, step in enumerate(one["first"], 1):
        out.print(cell(f"  {number}. {step}", 600))
    for name, text in (("runbook", one["runbook"]), ("deployed", known.get("nearest", {}).get("said"))):
        if text:
            out.print(cell(f"{name}: {text}", 300))
    for said in one["runbooks"]:
        out.print(cell(f"runbook of {said['monitor']}: {said['runbook']}", 2000))
    for where in known.get("where", []):
        _print_where(where)
    if one["examples"]:
        out.print("sessions to open:")
        for session in one["examples"]:
            out.print(cell(f"  assay sessions show {shlex.quote(session)}", 300))
    print_table(
        ("at (UTC)", "kind", "monitor", "by", "text"),
        [
            (
                *(moment(each["at"]), cell(each["kind"], 20), cell(each["monitor"] or "", 40)),
                *(cell(each["by"] or "", 40), cell(each["text"], 400)),
            )
            for each in one["timeline"]
        ],
    )


def _print_where(where: Row) -> None:
    some = [
        f"{each['value']} {each['total']['value']:+.3f} [{each['total']['low']:+.3f}, {each['total']['high']:+.3f}]"
        for each in where["contributions"][:3]
    ]
    said = where["verdict"].replace("_", " ")
    console().print(cell(f"  {where['dimension']}: {said}; {'; '.join(some)}", 400))


def print_silences(items: Sequence[Row]) -> None:
    """A line for each."""
    rows = []
    for one in items:
        weekly = one["weekly"]
        often = (
            "" if weekly is None else f"{','.join(weekly['days'])} {weekly['start']}-{weekly['end']} {weekly['zone']}"
        )
        of = ", ".join(f"{name} {value}" for name, value in one["matcher"].items()) or "everything"
        state = "would be" if one.get("dry_run") else "now" if one["active"] else "ended" if one["ended_at"] else "-"
        rows.append(
            (
                *(cell(one["id"], 40), state, moment(one["start"]), moment(one["end"]), cell(often, 60)),
                *(cell(of, 100), cell(one["made_by"], 40), cell(one["why"], 200)),
            )
        )
    print_table(("id", "silent", "from (UTC)", "to (UTC)", "weekly", "of", "by", "why"), rows)


def print_deliveries(items: Sequence[Row]) -> None:
    """A line for each."""
    rows = [
        (
            *(cell(one["id"], 40), _styled(one["state"]), cell(one["channel"], 40), one["incident"] or "-"),
            *(str(one["tries"]), moment(one["created_at"]), cell(one["error"] or one["text"], 300)),
        )
        for one in items
    ]
    columns = ("id", "state", "channel", "incident", "tries", "created (UTC)", "what")
    print_table(columns, rows, right=("tries",))


def _state(one: Row) -> Text:
    return _styled(f"{_health(one)}, silenced" if one["silenced"] else _health(one))


def _health(one: Row) -> str:
    """How it is, in one word (docs/monitors.md)."""
    return str(one["health"]).replace("_", " ")


def _styled(text: object) -> Text:
    return cell(text, 20, _STYLE.get(str(text), ""))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _band(one: Row | None) -> str:
    """What was expected, with the edges."""
    if one is None or (one["low"] is None and one["high"] is None):
        return "-"
    return f"{_number(one['expected'])} [{_number(one['low'])}, {_number(one['high'])}]"
