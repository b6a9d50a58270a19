"""A mix of traffic as a series: how unlikely it is that the last hours have the mix of the week before. Pure.

Every bucket tells of the window that ends with it: the population stability index of its counts against those of a
reference window that ends where it begins, and the chance p of one as great where nothing has changed
(distribution.py). The figure is -log10 p, or 0 where the index is below the least that anybody would care for. So one
edge fits all mixes: that of the chance that the budget of false pages allows to a look. Windows that follow one another
share most of their sessions, so that the looks of a false alarm are many, and alarms are fewer than the budget says.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from core.clock import NS_PER_S
from core.errors import InvalidInput
from core.windows import Window
from monitors.distribution import Asked, NotKnown, psi_of_kinds
from monitors.grids import Row

LARGEST: Final = 300.0  # of -log10 p: beyond it there is no double
_ANY: Final = 0.5  # of what is asked of the index nothing depends on the level here


@dataclass(frozen=True, kw_only=True)
class MixWindows:
    """The lengths of the window that is looked at and of the one before it, and the smallest index that counts."""

    window_s: int = 6 * 3600
    reference_s: int = 7 * 86_400
    least: float = 0.1

    @classmethod
    def of(cls, band: Mapping[str, Any]) -> MixWindows:
        """What a definition's band says. Raises InvalidInput."""
        said = {name: band[name] for name in ("window_s", "reference_s", "least") if name in band}
        if not all(isinstance(one, int | float) and not isinstance(one, bool) for one in said.values()):
            raise InvalidInput("window_s, reference_s and least are numbers", field="band")
        found = cls(**said)
        if not 0 < found.window_s <= found.reference_s <= 60 * 86_400 or found.least < 0:
            raise InvalidInput("a window is above 0 s, its reference no shorter and 60 days at most", field="band")
        return found

    @property
    def back_ns(self) -> int:
        """How far before a bucket counts are needed."""
        return (self.window_s + self.reference_s) * NS_PER_S


def mix_rows(
    key: str, counts: Iterable[tuple[int, str, float]], window: Window, step_s: int, windows: MixWindows
) -> list[Row]:
    """The figure of every bucket of the window, from (bucket, kind, count) of it and of what is needed before it. A
    bucket with too little in either of its windows has none."""
    step_ns = step_s * NS_PER_S
    begin = window.start_ns - windows.back_ns // step_ns * step_ns
    some = [one for one in counts if begin <= one[0] < window.end_ns]
    kinds = sorted({kind for _, kind, _ in some})
    if not kinds:
        return []
    place = {kind: at for at, kind in enumerate(kinds)}
    table = np.zeros(((window.end_ns - begin) // step_ns + 1, len(kinds)))
    for at_ns, kind, count in some:
        table[(at_ns - begin) // step_ns + 1, place[kind]] += count
    sums = table.cumsum(axis=0)
    n_now, n_before = (max(1, length // step_s) for length in (windows.window_s, windows.reference_s))
    rows = []
    for end in range((window.start_ns - begin) // step_ns + 1, len(table)):
        middle, first = max(end - n_now, 0), max(end - n_now - n_before, 0)
        now, before = sums[end] - sums[middle], sums[middle] - sums[first]
        figure = _figure(dict(zip(kinds, before, strict=True)), dict(zip(kinds, now, strict=True)), windows.least)
        if figure is not None:
            rows.append(Row(key=key, at_ns=begin + (end - 1) * step_ns, x=figure, n=float(now.sum())))
    return rows


def edge_of(level: float) -> float:
    """The figure that chance passes with that chance."""
    return -math.log10(level)


def _figure(before: Mapping[str, float], now: Mapping[str, float], least: float) -> float | None:
    reference, counted = ({kind: round(n) for kind, n in side.items()} for side in (before, now))
    found = psi_of_kinds(reference, counted, Asked(level=_ANY))
    if isinstance(found, NotKnown):
        return None
    if found.distance < least:
        return 0.0
    return min(LARGEST, -math.log10(max(found.p, 10**-LARGEST)))
