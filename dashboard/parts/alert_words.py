"""What is said of alerts and incidents: states, values against their bands, what moved and by how much. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from dashboard import human
from dashboard.api import Row
from dashboard.parts.verdict import Said

SEVERITY: Final = {
    "page": Said(title="page", colour="red", icon="notifications_active"),
    "ticket": Said(title="ticket", colour="orange", icon="confirmation_number"),
}
STATUS: Final = {
    "firing": Said(title="firing", colour="red", icon="local_fire_department"),
    "pending": Said(title="pending", colour="orange", icon="hourglass_top"),
    "resolved": Said(title="resolved", colour="green", icon="check_circle"),
}
INCIDENT: Final = {
    "open": Said(title="Open", colour="red", icon="crisis_alert"),
    "acknowledged": Said(title="Acknowledged", colour="orange", icon="how_to_reg"),
    "closed": Said(title="Closed", colour="gray", icon="check_circle"),
}
DELIVERY: Final = {
    "queued": Said(title="waiting", colour="gray", icon="schedule"),
    "running": Said(title="being sent", colour="blue", icon="outgoing_mail"),
    "succeeded": Said(title="arrived", colour="green", icon="mark_email_read"),
    "retrying": Said(title="failing, tried again", colour="orange", icon="sync_problem"),
    "dead": Said(title="given up", colour="red", icon="error"),
}
WHERE: Final = {
    "only_here": Said(title="only here", colour="red", icon="priority_high"),
    "more_here": Said(title="more here", colour="orange", icon="trending_up"),
    "everywhere": Said(title="everywhere alike", colour="gray", icon="merge"),
    "unchanged": Said(title="nothing to be told", colour="gray", icon="trending_flat"),
}
_NAMES: Final = {"p50": "p50", "p95": "p95", "p99": "p99", "ttft": "time to first token", "usd": "USD"}
_SERIES: Final = re.compile(r"(?P<name>[^{]*)(?:\{(?P<by>[^=}]*)=(?P<value>.*)\})?\Z", re.DOTALL)


def known(value: object) -> float | None:
    """A number that can be shown, else None."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def series(name: object) -> str:
    """ "p95_latency{release=v2}" -> "p95 latency (release v2)", "tool_errors:search" -> "tool errors of search"."""
    found = _SERIES.match(str(name))
    if found is None:
        return str(name)
    family, colon, of = found["name"].partition(":")
    words = " ".join(_NAMES.get(word, word) for word in family.split("_"))
    said = f"{words} of {of}" if colon and family in ("tool_errors", "mix", "agreement") else f"{words} {of}".strip()
    return f"{said} ({found['by']} {found['value']})" if found["by"] else said


def value(number: object, unit: object) -> str:
    """A value of a series in its unit; an en dash for what is not known."""
    found = known(number)
    if found is None:
        return human.UNKNOWN
    match unit:
        case "share":
            return percent(found)
        case "ms":
            return human.duration(found)
        case "usd":
            return human.usd(found)
        case "tokens" | "count" if abs(found) >= 100:
            return human.count(found)
        case _:
            return f"{found:.4g}"


def percent(found: float) -> str:
    """0.712 -> "71.2%", 0.0004 -> "0.04%"."""
    return f"{100 * found:.1f}%" if abs(found) >= 0.001 or found == 0 else f"{100 * found:.2g}%"


def against(now: Row | None, unit: object) -> str:
    """The newest value beside its band: "31.0% of 12, below the band 72.1% to 98.0%, expected 87.0%"."""
    if now is None or known(now.get("value")) is None:
        return "no newest value is known"
    n = known(now.get("n"))
    of = "" if n is None else f" of {human.count(n)}"
    expected = known(now.get("expected"))
    tail = "" if expected is None else f", expected {value(expected, unit)}"
    return f"{value(now['value'], unit)}{of}, {_place(now, unit)}{tail}"


def _place(now: Row, unit: object) -> str:
    low, high = known(now.get("low")), known(now.get("high"))
    if str(now.get("status")) == "warming_up":
        return "the band is still learning"
    if low is None and high is None:
        return "without a band"
    side = {-1: "below", 1: "above"}.get(int(now.get("breach") or 0), "inside")
    if low is None:
        return f"{side} {'' if side == 'above' else 'at most '}{value(high, unit)}"
    if high is None:
        return f"{side} {'' if side == 'below' else 'at least '}{value(low, unit)}"
    return f"{side} the band {value(low, unit)} to {value(high, unit)}"


def ago(at: datetime | None, now: datetime) -> str:
    """How long ago something was, in the largest unit: "40 s", "12 min", "3.5 h", "2 d"."""
    return human.UNKNOWN if at is None else lasting((now - at).total_seconds())


def lasting(seconds: float) -> str:
    """A time in its largest unit."""
    seconds = max(0.0, seconds)
    for size, unit, most in ((1, "s", 90), (60, "min", 120), (3600, "h", 48)):
        if seconds / size < most:
            number = seconds / size
            return f"{number:.1f} {unit}" if unit == "h" and number < 10 else f"{number:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def change(one: Row | None) -> str:
    """Both figures of a change, and by how much with its interval: "87.0% → 30.2%, −56.8 points (−62.1 to −51.4)"."""
    if not one:
        return "not known"
    before, now, effect = (known(one.get(name)) for name in ("before", "now", "effect"))
    if one.get("said"):
        return str(one["said"])
    if before is None or now is None or effect is None:
        return str(one.get("unknown") or "not known")
    kind = str(one.get("kind"))
    unit = "share" if kind == "rate" else unit_of(one.get("series"))
    return f"{value(before, unit)} → {value(now, unit)}, {_by(kind, effect)}{_between(one, kind)}"


def _by(kind: str, effect: float) -> str:
    if kind == "rate":
        return f"{_signed(100 * effect)} points"
    return _signed(effect, 3) if kind == "level" else f"{_signed(100 * effect, 0)}%"


def _between(one: Row, kind: str) -> str:
    low, high = known(one.get("low")), known(one.get("high"))
    if low is None or high is None:
        return ""
    size, digits = (1.0, 3) if kind == "level" else (100.0, 1 if kind == "rate" else 0)
    return f" ({_signed(size * low, digits)} to {_signed(size * high, digits)})"


def _signed(number: float, digits: int = 1) -> str:
    """With a sign, and a true minus."""
    return f"{number:+.{digits}f}".replace("-", "\u2212")


def unit_of(name: object) -> str:
    """The unit of a built-in series, as far as its name says it."""
    text = str(name).partition("{")[0]
    if text.endswith("_latency") or text.startswith("ttft"):
        return "ms"
    if text.startswith("cost"):
        return "usd"
    return "tokens" if text.endswith("_tokens") else "count"


def headline(incident: Row) -> str:
    """What moved first, by how much: "resolution fell from 87.0% to 30.2%"; where nobody knows yet, which alert."""
    lead = leading(incident)
    if lead is None:
        names = list(dict.fromkeys(series(one["series"]) for one in incident.get("alerts") or []))
        said = ", ".join(names[:3]) or str(incident.get("title") or "")
        return f"{said} left {'its band' if len(names) < 2 else 'their bands'}"
    moved: Row = lead["change"]
    if moved.get("said"):
        return f"{sign(lead)} changed: {moved['said']}"
    unit = "share" if str(moved.get("kind")) == "rate" else unit_of(moved.get("series"))
    verb = "rose" if float(moved["effect"]) >= 0 else "fell"
    before, now = value(moved["before"], unit), value(moved["now"], unit)
    name = sign(lead) if ":" in str(moved["series"]) else series(moved["series"])
    return f"{name} {verb} from {before} to {now}"


def leading(incident: Row) -> Row | None:
    """What the diagnosis saw of the series whose alert leads, or of its sign in another series; else of what moved
    most. None where no figure is."""
    diagnosis: Row = incident.get("diagnosis") or {}
    seen = [one for one in diagnosis.get("moved") or [] if _is_figure(one.get("change"))]
    name = str((diagnosis.get("lead") or {}).get("series") or "").partition("{")[0]
    own = [one for one in seen if one["change"]["series"] == name]
    same = [one for one in seen if one.get("words") and str(one["words"]) in series(name)]
    moved = [one for one in seen if one.get("move") in ("up", "down")]
    return next(iter([*own, *same, *moved]), None)


def others(incident: Row, most: int = 4) -> list[str]:
    """What else moved, the strongest first: "cost per session 0.01 → 0.04, +300%"."""
    lead = leading(incident)
    moved = [one for one in (incident.get("diagnosis") or {}).get("moved") or [] if one.get("move") in ("up", "down")]
    rest = [one for one in moved if lead is None or one.get("sign") != lead.get("sign")]
    return [f"{sign(one)}: {change(one.get('change'))}" for one in rest[:most]]


def sign(one: Row) -> str:
    """A sign, with which tool, judge or attribute it was seen at."""
    which = str((one.get("change") or {}).get("series") or "").partition(":")[2]
    return f"{one.get('words')} ({which})" if which and which != "within" else str(one.get("words") or "")


def _is_figure(found: Row | None) -> bool:
    names = ("before", "now", "effect")
    return bool(found) and all(known((found or {}).get(name)) is not None for name in names)


def matcher(told: Row) -> str:
    """Which alerts a silence is of: "monitor resolution, app shop"; all, where it names nothing."""
    names = [f"{name} {told[name]}" for name in ("app", "monitor", "series", "severity") if told.get(name)]
    return ", ".join(names) or "every alert"


def weekly(told: Row | None) -> str | None:
    """Windows that come every week: "sat, sun 02:00 to 04:00, Europe/Berlin"."""
    if not told:
        return None
    days: Sequence[object] = told.get("days") or []
    return f"{', '.join(map(str, days))} {told.get('start')} to {told.get('end')}, {told.get('zone') or 'UTC'}"
