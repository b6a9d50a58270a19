"""Zero tolerance: one bad event is a breach, at once. For what must never happen, as a leak of personal information.

There is no warm-up and nothing is estimated, so that no false-alarm rate is chosen: a false alarm is an event that the
evaluator took for a bad one. What none in n tells is an upper bound of the rate, 1 - (1 - level)^(1/n), which is about
3/n at 95% (Hanley, Lippman-Hand 1983).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput
from monitors.records import KINDS, Floats, Judged, Kind, Points, State, Status
from monitors.slo import NEVER, Counted

LEVEL: Final = 0.95


@dataclass(frozen=True, kw_only=True)
class ZeroState(State):
    """By series the newest bucket, and how many events there were since the last bad one, where they are counted."""

    at: NDArray[np.int64]
    n_clean: Floats


@dataclass(frozen=True, kw_only=True)
class ZeroBand:
    """The series is the share (or the number) of bad events, or with `counted` good the share of good ones."""

    counted: Counted = Counted.BAD

    def start(self, s: int) -> ZeroState:
        """Nothing seen yet."""
        return ZeroState(at=np.full(s, NEVER, dtype=np.int64), n_clean=np.zeros(s))

    def step(self, state: ZeroState, points: Points) -> tuple[ZeroState, Judged]:
        """Judges every bucket by itself. A series of good events that is no share has no zero: it is missing."""
        fresh = points.at_ns > state.at
        good = self.counted is Counted.GOOD
        usable = fresh & points.present
        if good:
            usable &= points.kinds == KINDS.index(Kind.RATE)
        x = np.where(usable, points.x, np.nan)
        bad = usable & ((x < 1) if good else (x > 0))
        n = np.where(usable, np.nan_to_num(points.n), 0.0)
        after = ZeroState(
            at=np.where(fresh, points.at_ns, state.at), n_clean=np.where(bad, 0.0, state.n_clean + n)
        )  # fmt: skip
        edge, nothing = np.where(usable, 1.0 if good else 0.0, np.nan), np.full(len(x), np.nan)
        return after, Judged(
            expected=edge, low=edge if good else nothing, high=nothing if good else edge, seen=x, z=nothing,
            breach=np.where(bad, -1 if good else 1, 0).astype(np.int8),
            status=np.where(usable, Status.OK, Status.MISSING).astype(np.int8),
        )  # fmt: skip


def upper_bound(n_clean: float, level: float = LEVEL) -> float | None:
    """The highest rate of bad events with which so many without one still come with a chance of 1 - level (exact). None
    where nothing was seen. Raises InvalidInput for a level that is none."""
    if not 0 < level < 1:
        raise InvalidInput(f"a level of {level} is none: it is above 0 and below 1", field="level")
    return float(-np.expm1(np.log1p(-level) / n_clean)) if n_clean > 0 else None
