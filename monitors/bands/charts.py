"""Charts for slow drift: of points that lie a little off, one after another, the sum says what none of them does.

Both stand on a reference: an EMA band of a long memory, whose mean, sigma, scale and season make every point a distance
z in standard deviations. A 3 sigma rule finds a drift of one sigma after 44 points, these after ten (chart_lengths.py,
which also has the limits for a chosen number of false alarms).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput
from monitors.bands.ema import Compared, EmaBand, EmaState
from monitors.bands.stabilise import unscaled
from monitors.records import Codes, Direction, Floats, Judged, Points, State, Status, sides

REFERENCE: Final = EmaBand(alpha=0.002, k=4.0, adopt_after=288)
"""A memory of 500 points. A point counts as k sigma at most; a drift that stays for 288 points is the new level."""
SLOWER: Final = 5
"""So many times slower than the chart is its reference at least, or it follows a drift before the chart has seen it."""
FASTEST_OF_SUMS: Final = 0.02
OWN: Final = 0.0005
"""The weight of a point in the chart's own spread: a memory of a week of five minutes."""
OF_CHANCE: Final = 1.25
"""Up to here the chart's own spread is taken for that of independent points: its estimate is no better than that."""
FULL: Final = 2.0
"""A sum grows no further than so many times its limit: when the drift is over it is soon below again."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class EwmaState(State):
    """By series."""

    reference: EmaState
    value: Floats
    """Moving mean of z."""
    spread: Floats
    """Moving mean of the squared chart over what it has with independent points."""


@dataclass(frozen=True, kw_only=True)
class EwmaBand:
    """Breach: a moving mean of z is beyond `limit` of its standard deviations (Roberts, Technometrics 1959).

    The limit from `chart_lengths.ewma_limit`. While the chart is beyond it the reference is held. Of a series that
    wanders the chart does too: its standard deviation is then its own, as it was seen (the EWMAST chart; Zhang,
    Technometrics 1998), so that there are as many false alarms as the limit says.
    """

    lam: float = 0.1
    limit: float = 2.814
    direction: Direction = Direction.BOTH
    reference: EmaBand = REFERENCE

    def __post_init__(self) -> None:
        if not 0 < self.lam <= 1:
            raise InvalidInput(f"lambda {self.lam} is not above 0 and up to 1", field="lam")
        if not 0 < self.limit < math.inf:
            raise InvalidInput(f"{self.limit} is no limit of a chart", field="limit")
        if self.reference.alpha * SLOWER > self.lam:
            reason = f"a reference with alpha {self.reference.alpha} follows as fast as the chart: lambda / {SLOWER}"
            raise InvalidInput(f"{reason} at most", field="reference")

    @property
    def deviation(self) -> float:
        """Of the moving mean: sqrt(lam / (2 - lam)), less what the reference takes in of it.

        z is x - mean, so the chart is lam (1 - B) / ((1 - (1 - a) B) (1 - (1 - lam) B)) of x, with B the point before
        and a the reference's alpha: its variance is that of the impulse response, a sum of two powers.
        """
        a, lam = self.reference.alpha, self.lam
        slow, fast, p, q = -a / (lam - a), lam / (lam - a), 1 - a, 1 - lam
        squares = slow**2 / (1 - p * p) + fast**2 / (1 - q * q) + 2 * slow * fast / (1 - p * q)
        return lam * math.sqrt(squares)

    def start(self, s: int) -> EwmaState:
        """Nothing known."""
        return EwmaState(reference=self.reference.start(s), value=np.zeros(s), spread=np.ones(s))

    def step(self, state: EwmaState, points: Points) -> tuple[EwmaState, Judged]:
        """Judges the chart with the points in it, then takes them into the reference."""
        before = self.reference.turned(state.reference, points)
        now = self.reference.compared(before, points)
        value = np.where(now.judged, state.value + self.lam * (_z(self.reference, before, now) - state.value), np.nan)
        deviation = self.deviation * np.sqrt(np.where(state.spread > OF_CHANCE, state.spread, 1.0))
        edge = self.limit * deviation
        side = _beyond(value, edge)
        after, adopted = self.reference.updated(before, points, replace(now, side=side))
        kept = np.where(adopted, 0.0, np.where(now.judged, value, state.value))
        learn = now.judged & (side == 0)
        squared = np.where(learn, (value / self.deviation) ** 2, state.spread)
        told = _told(before, points, now, Chart(seen=value, low=-edge, high=edge, z=value / deviation, side=side))
        grown = EwmaState(reference=after, value=kept, spread=state.spread + OWN * (squared - state.spread))
        return grown, _finished(told, self.direction, adopted)


@dataclass(frozen=True, kw_only=True)
class CusumState(State):
    """By series: the sums upwards and downwards, both positive, and the points since each left zero."""

    reference: EmaState
    up: Floats
    down: Floats
    n_up: Ints
    n_down: Ints


@dataclass(frozen=True, kw_only=True)
class CusumBand:
    """Breach: the sum of what z exceeds the allowance k by, never below zero, is above h (Page, Biometrika 1954).

    Best for drifts of 2 k sigma. h from `chart_lengths.cusum_limit`. A sum S over the N points since it left zero is
    above h when their mean is above k + h / N: so it is shown, as that mean and that edge (Montgomery, Introduction to
    Statistical Quality Control, equation 9.5). While the chart is beyond h the reference is held.
    """

    k: float = 0.5
    h: float = 5.0
    direction: Direction = Direction.BOTH
    reference: EmaBand = REFERENCE

    def __post_init__(self) -> None:
        if not 0 <= self.k < math.inf or not 0 < self.h < math.inf:
            raise InvalidInput(f"a CUSUM of k {self.k} and h {self.h} is none", field="h")
        if self.reference.alpha > FASTEST_OF_SUMS:
            reason = f"a reference with alpha {self.reference.alpha} follows as fast as the chart: {FASTEST_OF_SUMS}"
            raise InvalidInput(f"{reason} at most", field="reference")

    def start(self, s: int) -> CusumState:
        """Nothing known."""
        none = np.zeros(s, dtype=np.int64)
        return CusumState(reference=self.reference.start(s), up=np.zeros(s), down=np.zeros(s), n_up=none, n_down=none)

    def step(self, state: CusumState, points: Points) -> tuple[CusumState, Judged]:
        """Judges the sums with the points in them, then takes them into the reference."""
        before = self.reference.turned(state.reference, points)
        now = self.reference.compared(before, points)
        z = _z(self.reference, before, now)
        up, n_up = self._summed(state.up, state.n_up, z, now)
        down, n_down = self._summed(state.down, state.n_down, -z, now)
        chart = self._chart(z, np.where(now.judged, up, np.nan), np.where(now.judged, down, np.nan), n_up, n_down)
        after, adopted = self.reference.updated(before, points, replace(now, side=chart.side))
        kept = CusumState(
            reference=after, up=np.where(adopted, 0.0, up), down=np.where(adopted, 0.0, down),
            n_up=np.where(adopted, 0, n_up), n_down=np.where(adopted, 0, n_down),
        )  # fmt: skip
        return kept, _finished(_told(before, points, now, chart), self.direction, adopted)

    def _summed(self, total: Floats, n: Ints, z: Floats, now: Compared) -> tuple[Floats, Ints]:
        full = FULL * self.h
        raised = np.clip(total + z - self.k, 0.0, full)
        # A sum that grows no further counts no further either, or the mean of its points would shrink.
        counted = np.where(raised > 0, n + (raised < full), 0)
        return np.where(now.judged, raised, total), np.where(now.judged, counted, n)

    def _chart(self, z: Floats, up: Floats, down: Floats, n_up: Ints, n_down: Ints) -> Chart:
        """The greater sum as the mean since it left zero, between the edges of both. Both at zero: the point itself."""
        above, below = np.maximum(n_up, 1), np.maximum(n_down, 1)
        rising = np.where(up > 0, up / above + self.k, np.minimum(z, self.k))
        falling = np.where(down > 0, down / below + self.k, np.minimum(-z, self.k))
        upwards = up >= down
        n = np.where(upwards, above, below)
        seen = np.where(upwards, rising, -falling)
        return Chart(
            seen=np.where(np.isnan(up), np.nan, seen), low=-(self.k + self.h / below), high=self.k + self.h / above,
            z=np.where(np.isnan(up), np.nan, seen * np.sqrt(n)),
            side=_beyond(np.where(upwards, up, -down), self.h),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Chart:
    """What a chart says of the points, in standard deviations about the reference. NaN where nothing is known."""

    seen: Floats
    low: Floats
    high: Floats
    z: Floats
    """Of the chart's own value."""
    side: Codes


def _z(reference: EmaBand, state: EmaState, now: Compared) -> Floats:
    """The distance of each judged point from the reference, cut at its k: one outlier is no drift."""
    z = np.clip((now.residual - state.mean) / now.sigma, -reference.k, reference.k)
    return np.where(now.judged, z, 0.0)


def _beyond(value: Floats, edge: Floats | float) -> Codes:
    return ((value > edge).astype(np.int8) - (value < -edge).astype(np.int8)).astype(np.int8)


def _told(reference: EmaState, points: Points, now: Compared, chart: Chart) -> Judged:
    """The chart on the user's scale, on both sides and before a level was adopted."""
    centre = reference.mean + now.effect
    told = {
        name: unscaled(np.where(now.judged, centre + off * now.sigma, np.nan), points.n, points.kinds)
        for name, off in (("expected", 0.0), ("low", chart.low), ("high", chart.high), ("seen", chart.seen))
    }
    status = np.where(now.present, Status.WARMING_UP, Status.MISSING)
    return Judged(**told, z=chart.z, breach=chart.side, status=np.where(now.judged, Status.OK, status).astype(np.int8))


def _finished(told: Judged, direction: Direction, adopted: NDArray[np.bool_]) -> Judged:
    """With the side that was asked for, and the levels that were adopted."""
    return replace(
        told,
        breach=np.where(np.isin(told.breach, sides(direction)), told.breach, 0).astype(np.int8),
        status=np.where(adopted, Status.SHIFT_ADOPTED, told.status).astype(np.int8),
    )
