"""A window beside the one before it: by how much a number changed, in few words. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from dashboard import human

SAME: Final = "same"
Judged = Literal["off", "inverse"]  # more is neither good nor bad; more is bad


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number of the overview: its text, and the change since the window before (None where there is none)."""

    name: str
    value: str
    change: str | None = None
    direction: Literal["up", "down", "off"] = "off"
    judged: Judged = "off"

    @property
    def color(self) -> Literal["gray", "red", "green"]:
        """The colour of the change: by its direction, for the text carries no sign."""
        if self.judged == "off" or self.direction == "off":
            return "gray"
        return "red" if self.direction == "up" else "green"


def figure(
    name: str,
    now: float | None,
    before: float | None,
    text: Callable[[float | None], str],
    *,
    judged: Judged = "off",
) -> Figure:
    """A number with its relative change: "12%", "14×", "same". `before` None: nothing to compare with."""
    if now is None or before is None or before < 0 or (before == 0 and now != 0):
        return Figure(name=name, value=text(now))
    ratio = now / before if before else 1.0
    direction: Literal["up", "down"] = "up" if ratio > 1 else "down"
    if abs(ratio - 1) < 0.005:
        return Figure(name=name, value=text(now), change=SAME)
    changed = f"{ratio:,.0f}×" if ratio >= 10 else f"{abs(ratio - 1) * 100:.0f}%"
    return Figure(name=name, value=text(now), change=changed, direction=direction, judged=judged)


def share_figure(name: str, now: tuple[float, float], before: tuple[float, float] | None) -> Figure:
    """A share (part, whole) with its change in percentage points; more is bad."""
    value = human.share(*now)
    if before is None or not now[1] or not before[1]:
        return Figure(name=name, value=value)
    points = 100 * (now[0] / now[1] - before[0] / before[1])
    if abs(points) < 0.05:
        return Figure(name=name, value=value, change=SAME)
    direction: Literal["up", "down"] = "up" if points > 0 else "down"
    return Figure(name=name, value=value, change=f"{abs(points):.1f} pts", direction=direction, judged="inverse")
