"""Monitors in words: how each is, its values in their unit, its band and its budget. Every text of data is left to who
shows it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from dashboard import human
from dashboard.api import Row
from dashboard.parts.verdict import Said

HEALTH: Final = {
    "firing": Said(title="firing", colour="red", icon="notification_important"),
    "pending": Said(title="pending", colour="orange", icon="hourglass_top"),
    "no_data": Said(title="no data", colour="orange", icon="signal_disconnected"),
    "waiting": Said(title="not looked at yet", colour="gray", icon="schedule"),
    "warming_up": Said(title="warming up", colour="blue", icon="model_training"),
    "ok": Said(title="ok", colour="green", icon="check_circle"),
    "off": Said(title="off", colour="gray", icon="power_settings_new"),
}
SILENCED: Final = Said(title="silenced", colour="gray", icon="notifications_off")
ABOUT: Final = {
    "firing": "An alert of it fires now.",
    "pending": "Outside its band, but not yet for as many points in a row as it takes to fire.",
    "no_data": "No value came for longer than one may be late: nobody knows how it is.",
    "waiting": "The server looks every minute; the first look at a definition learns from the four weeks before it.",
    "warming_up": "There are values, but too few for its band to say what is usual.",
    "ok": "Inside its band.",
    "off": "Nothing is watched. What fired of it has ended.",
}
BANDS: Final = {
    "ema": ("moving mean ± k sigma", "a value that jumps; knows the hour of the week"),
    "ewma": ("EWMA chart", "a slow drift of half to one sigma"),
    "cusum": ("CUSUM chart", "a slow drift of one to two sigma"),
    "novelty": ("range it has kept to", "a series of no known law: values, drift and spread never seen before"),
    "static": ("limits that you set", "a value below or above a number"),
    "slo": ("error budget", "burn rates of an objective over 1 h, 6 h, 1 d and 3 d"),
    "zero": ("never", "one bad event is enough"),
    "distribution": ("distribution", "values, or a mix, that are spread otherwise than in the week before"),
}
_ORDER: Final = tuple(HEALTH)
_WORDS: Final = {"up": "above its band", "down": "below its band", "both": "on either side of its band"}


def states(monitor: Row) -> list[str]:
    """How it is, for a cell: one word, and whether nobody is told."""
    said = HEALTH.get(str(monitor["health"]))
    words = [said.title if said else str(monitor["health"])[:30].replace("_", " ")]
    return [*words, SILENCED.title] if monitor.get("silenced") else words


def worst_first(monitors: Sequence[Row]) -> list[Row]:
    """What hurts most at the top: what fires before what is only outside, pages before tickets, what nobody has
    silenced, what is farthest out; then by app and name."""
    return sorted(monitors, key=_hurt)


def _hurt(monitor: Row) -> tuple[int, bool, bool, float, str, str]:
    health = str(monitor["health"])
    place = _ORDER.index(health) if health in _ORDER else len(_ORDER)
    out = max((abs(each.get("z") or 0.0) for each in monitor["series"]), default=0.0)
    is_ticket = monitor["definition"].get("severity") != "page"
    return place, bool(monitor.get("silenced")), is_ticket, -out, str(monitor["app"]), str(monitor["name"])


def value(found: float | None, unit: str) -> str:
    """A value in the unit of its series: 0.712 of a share -> "71.2%", 2400 ms -> "2.4 s"."""
    if found is None or not math.isfinite(found):
        return human.UNKNOWN
    if unit == "share":
        return f"{100 * found:.1f}%"
    if unit == "ms":
        return human.duration(max(found, 0.0))
    if unit == "usd":
        return human.usd(found) if found >= 0 else f"-{human.usd(-found)}"
    if unit in ("count", "tokens") and abs(found) >= 100:
        return human.count(found)
    return f"{found:.3g}"


def band(one: Mapping[str, object], unit: str) -> str:
    """From where to where it is usual: "84.1% to 91.0%", "below 2.4 s"."""
    low, high = number(one.get("low")), number(one.get("high"))
    if low is None and high is None:
        return human.UNKNOWN
    if low is None:
        return f"up to {value(high, unit)}"
    if high is None:
        return f"from {value(low, unit)}"
    return value(low, unit) if low == high else f"{value(low, unit)} to {value(high, unit)}"


def number(found: object) -> float | None:
    """A number that can be drawn; None for anything else."""
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        return None
    return float(found) if math.isfinite(found) else None


def when(definition: Row) -> str:
    """When it fires: "2 points in a row below its band"."""
    n = definition.get("for_points")
    side = _WORDS.get(str(definition.get("direction")), "outside its band")
    kind = str((definition.get("band") or {}).get("kind"))
    if n is None:
        n = 2 if kind in ("ema", "static") else 1
    return f"{human.plural(int(n), 'point')}{' in a row' if int(n) > 1 else ''} {side}"


def kind(definition: Row) -> str:
    """Its band and what was set of it: "moving mean ± k sigma (alpha 0.05)"."""
    said = dict(definition.get("band") or {})
    name = str(said.pop("kind", "ema"))
    title = BANDS.get(name, (name, ""))[0]
    more = ", ".join(_setting(key.replace("_", " "), of) for key, of in said.items())
    return f"{title} ({more})" if more else title


def _setting(name: str, of: object) -> str:
    return f"no {name}" if of is False else name if of is True else f"{name} {of}"


def weekly(found: float | None) -> str:
    """So many a week: 0.1 -> "0.1 a week (one in 10 weeks)"."""
    if found is None:
        return "not known"
    shown = f"{found:.3g} a week"
    return f"{shown} (one in {1 / found:.3g} weeks)" if 0 < found < 0.95 else shown


def budget(found: float | None) -> str:
    """For a cell: "0.1"."""
    return human.UNKNOWN if found is None else f"{found:.3g}"


def duration(seconds: float | None) -> str | None:
    """14400 -> "4 h 00 m"; None for none."""
    return None if seconds is None else human.duration(1000 * seconds)


def field(name: str) -> str:
    """A field of a definition as its form calls it."""
    return FIELDS.get(name, name.replace("_", " "))


FIELDS: Final = {
    "app": "App",
    "series": "Series",
    "by": "Split by",
    "step": "Step",
    "band": "Band",
    "direction": "Trouble is",
    "kind": "Kind",
    "severity": "Severity",
    "false_pages_per_week": "False pages a week",
    "for_points": "Breaches in a row to fire",
    "clear_points": "Calm points to resolve",
    "no_data": "A point without data",
    "renotify_s": "Told again after",
    "late_s": "Late points count for",
    "channels": "Channels",
    "owner": "Owner",
    "runbook": "Runbook",
    "guard": "Guards rollouts",
}


def changes(before: Row, after: Row) -> list[tuple[str, str, str]]:
    """What of a definition is another: field, before, after; in the order of the form."""
    names = [*FIELDS, *sorted(set(before) - set(FIELDS))]
    return [
        (field(name), shown(name, before.get(name)), shown(name, after.get(name)))
        for name in names
        if name in after and after.get(name) != before.get(name)
    ]


def shown(name: str, found: object) -> str:
    """A value of a definition as a person reads it."""
    if found is None:
        return {"for_points": "the band's own", "renotify_s": "never", "kind": "the series' own"}.get(name, "none")
    if name == "band" and isinstance(found, dict):
        return kind({"band": found})
    if name in ("renotify_s", "late_s") and isinstance(found, (int, float)):
        return str(duration(found))
    if isinstance(found, list):
        return ", ".join(map(str, found)) or "nobody"
    return f"{found:g}" if isinstance(found, float) else str(found)
