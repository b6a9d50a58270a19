"""Values and differences of an experiment's metric in its own unit, in words: points, dollars, time, or a score. Pure.

A metric is as the analysis tells it: `binary` is a share, `unit_text` begins with USD or ms where it is money or time,
which of a built-in metric its name alone says too.
"""

from __future__ import annotations

import math
from typing import Final

from dashboard import human
from dashboard.api import Row

_MINUS: Final = "\u2212"
_UNITS: Final = {"cost": "USD", **dict.fromkeys(("latency", "p50_latency", "p95_latency", "p99_latency"), "ms")}


def value(metric: Row, x: float | None) -> str:
    """A level of the metric: "86.2%", "$0.0312", "1.2 s", "0.84"; an en dash for none."""
    if x is None or not math.isfinite(x):
        return human.UNKNOWN
    if metric.get("binary"):
        return f"{100 * x:.1f}%"
    match _unit(metric):
        case "usd":
            return _usd(x)
        case "ms":
            return human.duration(x)
        case _:
            return _plain(x)


def change(metric: Row, x: float | None) -> str:
    """A difference with its sign: "+2.9 points", "−$0.0021", "+120 ms"."""
    if x is None or not math.isfinite(x):
        return human.UNKNOWN
    return f"{_signed(metric, x)}{' points' if metric.get('binary') else ''}"


def interval(metric: Row, low: float | None, high: float | None) -> str:
    """Both ends with their signs: "+0.4 to +5.4 points"."""
    if low is None or high is None:
        return human.UNKNOWN
    return f"{_signed(metric, low)} to {change(metric, high)}"


def relative(x: float | None) -> str:
    """A share of the control with its sign: 0.034 -> "+3.4%"."""
    if x is None or not math.isfinite(x):
        return human.UNKNOWN
    return f"{_sign(x, f'{100 * x:.1f}')}{abs(100 * x):.1f}%"


def number(x: float | None, digits: int = 3) -> str:
    """A statistic to so many digits: 0.0312, 12.3, 4.1e-07; an en dash for none."""
    return human.UNKNOWN if x is None or not math.isfinite(x) else f"{x:.{digits}g}"


def e_value(log10: float | None) -> str:
    """An e-value by its logarithm: "0.42", "37", "1.2 million"; beyond what is read at a glance, a power of ten."""
    if log10 is None or math.isnan(log10):
        return human.UNKNOWN
    if log10 > 6:
        return f"10^{log10:.1f}"
    return f"{10**log10:,.0f}" if log10 >= 1 else f"{10**log10:.2g}"


def p_value(x: float | None) -> str:
    """ "0.012", "<0.0001"; an en dash for none."""
    return "<0.0001" if x is not None and x < 0.0001 else number(x)


def probability(x: float | None) -> str:
    """0.9312 -> "93.1%"; never "100.0%" or "0.0%" for what is neither 1 nor 0."""
    if x is None or not math.isfinite(x):
        return human.UNKNOWN
    if 0.9995 < x < 1:
        return ">99.9%"
    return "<0.1%" if 0 < x < 0.0005 else f"{100 * x:.1f}%"


def unit(metric: Row) -> str:
    """What an axis of differences is in: "points", "USD", "ms", or nothing."""
    if metric.get("binary"):
        return "points"
    return {"usd": "USD", "ms": "ms"}.get(_unit(metric), "")


def scaled(metric: Row, x: float | None) -> float | None:
    """A difference as an axis draws it: shares in points."""
    return None if x is None else 100 * x if metric.get("binary") else x


def margin(metric: Row, control: float | None) -> float | None:
    """What may be lost, in the metric's unit; a share of the control's mean where it was registered so. None where
    there is no margin, or no control to take the share of."""
    found = metric.get("margin")
    if not found:
        return None
    if not metric.get("relative_margin"):
        return abs(float(found))
    return None if control is None else abs(float(found) * control)


def attribute(name: object) -> str:
    """What strata are by; the API calls all attributes taken together "*"."""
    return "all strata together" if name == "*" else str(name)


def toward(metric: Row) -> int:
    """1 where more is better, -1 where less is."""
    return -1 if metric.get("better") == "lower" else 1


def _unit(metric: Row) -> str:
    said = str(metric.get("unit_text") or _UNITS.get(str(metric.get("metric")), "")).lower()
    if said.startswith(("usd", "$")):
        return "usd"
    return "ms" if said.startswith(("ms", "millisecond")) else ""


def _signed(metric: Row, x: float) -> str:
    match _unit(metric):
        case _ if metric.get("binary"):
            size = f"{abs(100 * x):.1f}" if abs(x) >= 0.0005 or x == 0 else f"{abs(100 * x):.2g}"
        case "usd":
            size = _usd(abs(x), digits=2)
        case "ms":
            size = human.duration(abs(x))
        case _:
            size = _plain(abs(x))
    return f"{_sign(x, size)}{size}"


def _sign(x: float, size: str) -> str:
    """None where what is shown is 0."""
    if not any(digit in size for digit in "123456789"):
        return ""
    return "+" if x > 0 else _MINUS


def _usd(x: float, digits: int = 3) -> str:
    """As `human.usd`, but what a session costs differs in digits that are far behind the point: so many count."""
    if not 0 < abs(x) < 0.01:
        return human.usd(x)
    places = min(12, digits - 1 - math.floor(math.log10(abs(x))))
    return f"{_sign(min(x, 0.0), f'{abs(x):.{places}f}') if x < 0 else ''}${abs(x):.{places}f}"


def _plain(x: float) -> str:
    return human.count(x) if abs(x) >= 1000 else f"{x:.3g}" if 0 < abs(x) < 0.01 else human.score(x)
