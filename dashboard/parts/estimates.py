"""Numbers with their intervals as the API tells them, in words: an estimate, or the reason why there is none. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from dashboard import human
from dashboard.api import Row

_LACKS: Final = {
    "no_examples": "no such target yet",
    "one_example": "one example has no spread",
    "zero_variance": "all are the same",
    "not_finite": "numbers too large",
    "one_class": "all in one class: agreement beyond chance is 0/0",
    "not_binary": "defined for two labels only",
    "few_annotators": "too few people answered the same items",
    "few_items": "too few items",
    "unequal_weights": "items count differently",
    "near_the_bar": "too near to the bar",
    "separated": "cannot be fitted: too few verdicts differ from the labels",
    "collinear": "cannot be told apart from the rest",
    "no_labels": "nobody labelled these",
    "too_few": "too few",
    "no_better_than_chance": "the judge is no better than chance",
    "other_labels": "they do not choose from the same labels",
}
_STEPS: Final = ((0.0, "slight"), (0.2, "fair"), (0.4, "moderate"), (0.6, "substantial"), (0.8, "almost perfect"))
Words = Callable[[float], str]


def number(value: float) -> str:
    """A coefficient or score: 0.8312 -> "0.83", -0.0796 -> "-0.08", 12345.6 -> "12.3k"."""
    if abs(value) >= 1000:
        return human.count(value)
    return f"{value:.2f}".replace("-0.00", "0.00")


def share(value: float) -> str:
    """0.9583 -> "95.8%"."""
    return f"{100 * value:.1f}%"


def points(value: float) -> str:
    """A difference of shares with its sign: 0.031 -> "+3.1 points"."""
    return f"{100 * value:+.1f} points".replace("-0.0 ", "0.0 ").replace("+0.0 ", "0.0 ")


def value_of(one: Row | None) -> float | None:
    """The number of an estimate, None where there is none."""
    found = (one or {}).get("value")
    return float(found) if isinstance(found, int | float) and math.isfinite(found) else None


def ends(one: Row | None) -> tuple[float, float] | None:
    """The ends of its interval."""
    found = (one or {}).get("interval")
    return (float(found["low"]), float(found["high"])) if isinstance(found, dict) else None


def lack(one: Row | None) -> str:
    """Why there is no number, or no interval."""
    said = one or {}
    reason = str(said.get("reason") or said.get("lack") or "not measured")
    return _LACKS.get(reason, reason.replace("_", " "))


def said(one: Row | None, words: Words = number) -> str:
    """ "0.83", or an en dash."""
    value = value_of(one)
    return human.UNKNOWN if value is None else words(value)


def between(one: Row | None, words: Words = number) -> str:
    """ "0.71 to 0.90"; an en dash where there is no interval."""
    found = ends(one)
    return human.UNKNOWN if found is None else f"{words(found[0])} to {words(found[1])}"


def whole(one: Row | None, words: Words = number) -> str:
    """ "0.83 (0.71 to 0.90)", or the reason why there is none."""
    if value_of(one) is None:
        return lack(one)
    found = between(one, words)
    return said(one, words) if found == human.UNKNOWN else f"{said(one, words)} ({found})"


def strength(kappa: float | None) -> str:
    """A kappa in Landis' and Koch's words of 1977, a convention and no test."""
    if kappa is None:
        return ""
    if kappa < 0:
        return "worse than chance"
    return [word for least, word in _STEPS if kappa >= least][-1]
