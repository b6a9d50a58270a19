"""Signs and causes in words."""

from __future__ import annotations

from monitors.diagnosis.records import Cause, Change, Move, Seen
from monitors.records import Kind

_MOVED = {Move.UP: "is up", Move.DOWN: "is down", Move.FLAT: "is as before", Move.UNKNOWN: "may have moved"}

_NAMED = {"tool_errors", "judge_gap", "mix", "judged"}  # signs that say little without which tool, judge, attribute


def why(cause: Cause) -> str:
    """One sentence: the cause, and the signs it rests on."""
    return f"{cause.title}: {'; '.join(cause.reasons[:3])}" if cause.reasons else cause.title


def told(one: Seen) -> str:
    """A sign with its figures, as "resolution is down, 87.0% → 80.1%"."""
    if one.change is None:
        return f"{one.words} is not known"
    which = one.change.series.partition(":")[2]
    named = f"{one.words} ({which})" if which and (one.n_series > 1 or one.sign in _NAMED) else one.words
    return f"{named} {_MOVED[one.move]}, {figures(one.change)}"


def figures(change: Change) -> str:
    """Both figures of a change."""
    if change.said:
        return change.said
    if change.before is None or change.now is None or change.effect is None:
        return change.unknown or "not known"
    if change.kind is Kind.RATE:
        return f"{change.before:.1%} → {change.now:.1%}"
    if change.kind is Kind.LEVEL:
        return f"{change.before:.3g} → {change.now:.3g}"
    return f"{_number(change.before)} → {_number(change.now)} ({change.effect:+.0%})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
