"""Ticks of a logarithmic axis of durations: 1, 2, 5 in the units a person reads. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

_UNITS: Final = (
    (86_400_000, "d", (1, 2, 5, 10, 20, 50)),
    (3_600_000, "h", (1, 2, 5, 12)),
    (60_000, "min", (1, 2, 5, 10, 20, 30)),
)
_MOST: Final = 6


def duration_axis(values_ms: Iterable[float | None]) -> tuple[list[float], list[str], tuple[float, float]] | None:
    """Places of the ticks in ms, their texts, and the range of the axis as powers of ten (what plotly wants).

    Every measured value is inside, with room above and below; at most six ticks. None without a positive value.
    """
    known = [value for value in values_ms if value is not None and value > 0 and math.isfinite(value)]
    if not known:
        return None
    low, high = min(known) / 1.25, max(known) * 1.25
    ladder = [tick for tick in _ladder() if low <= tick <= high]
    if len(ladder) < 3:  # the values lie close together: from the tick below to the tick above
        low, high = max(t for t in _ladder() if t <= low), min(t for t in _ladder() if t >= high)
        ladder = [tick for tick in _ladder() if low <= tick <= high]
    every = math.ceil(len(ladder) / _MOST)
    shown = ladder[::every]
    return shown, [duration_tick(tick) for tick in shown], (math.log10(low), math.log10(high))


def duration_tick(ms: float) -> str:
    """0.5 -> "0.5 ms", 200 -> "200 ms", 5000 -> "5 s", 120_000 -> "2 min"."""
    for size, unit, _ in _UNITS:
        if ms >= size:
            return f"{ms / size:g} {unit}"
    return f"{ms / 1000:g} s" if ms >= 1000 else f"{ms:g} ms"


def _ladder() -> list[float]:
    small = [step * 10.0**power for power in range(-6, 5) for step in (1, 2, 5) if step * 10.0**power < 60_000]
    large = [float(size * step) for size, _, steps in reversed(_UNITS) for step in steps]
    return [*small, *large, *(step * 10.0**power for power in range(10, 16) for step in (1, 2, 5))]
