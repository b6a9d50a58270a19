"""Fixed thresholds: a value beyond what somebody said is a breach, whatever was usual."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput
from monitors.bands.ema import NEVER
from monitors.records import Judged, Points, State, Status


@dataclass(frozen=True, kw_only=True)
class StaticState(State):
    """Only the time: nothing is learned."""

    at_ns: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class StaticBand:
    """Breach: x < low or x > high. A point of fewer than `least_n` observations is missing: it cannot say."""

    low: float | None = None
    high: float | None = None
    least_n: int = 1

    def __post_init__(self) -> None:
        ends = [one for one in (self.low, self.high) if one is not None]
        if not ends or not all(math.isfinite(one) for one in ends):
            raise InvalidInput("a static band has a low end, a high end, or both", field="band")
        if not isinstance(self.least_n, int | float):
            raise InvalidInput("least_n is a number of observations", field="band")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise InvalidInput(f"low {self.low} is not below high {self.high}", field="low")

    def start(self, s: int) -> StaticState:
        """Nothing seen."""
        return StaticState(at_ns=np.full(s, NEVER, dtype=np.int64))

    def step(self, state: StaticState, points: Points) -> tuple[StaticState, Judged]:
        """Judges the points; there is nothing to take in."""
        enough = ~(points.n < self.least_n)
        present = points.present & (state.at_ns < points.at_ns) & enough
        x = np.where(present, points.x, np.nan)
        nothing = np.full(len(x), np.nan)
        low = np.where(present, np.nan if self.low is None else self.low, np.nan)
        high = np.where(present, np.nan if self.high is None else self.high, np.nan)
        judged = Judged(
            expected=nothing,
            low=low,
            high=high,
            seen=x,
            z=nothing,
            breach=((x > high).astype(np.int8) - (x < low).astype(np.int8)).astype(np.int8),
            status=np.where(present, Status.OK, Status.MISSING).astype(np.int8),
        )
        return StaticState(at_ns=np.maximum(state.at_ns, points.at_ns)), judged
