"""What a series has never done before: values beyond the range it has kept to, of four features of it at one time.

A range asks for no distribution and no scale, so one threshold fits latencies, costs and counts alike; and a value
that was seen once is no news the second time. The features are the value; what is left of it without the time of day;
the mean of that over a window, which finds drift that no single value shows; and the spread of the values in the
window, upwards only. How it does on labelled series: docs/monitors-nab.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput
from monitors.bands.stabilise import sampling, transformed, unscaled
from monitors.records import Direction, Floats, Judged, Points, State, Status, sides

DAY_NS: Final = 86_400_000_000_000
NEVER: Final = np.iinfo(np.int64).min
LEVEL, RESIDUAL, DRIFT, SPREAD = range(4)
# A range no narrower than counting alone would make it: what 2,000 normal values span, in standard deviations.
_COUNTED_SPAN: Final = 6.5
# Nor than this share of the value, so that the last digits of a constant are no news.
_STILL: Final = 1e-3
_NOTHING: Final = 1e-12

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class NoveltyState(State):
    """By series. The two halves of a memory are the last axis of `lows` and `highs`: the one before, and this one."""

    at_ns: Ints
    since_ns: Ints
    """The first point."""
    points: Ints
    means: Floats
    """By time of day (S, cells), with the weight of each in `visits`."""
    visits: Floats
    mean: Floats
    """Of all points."""
    noise: Floats
    """Mean square of the residual, with its weight in `noisy`."""
    noisy: Floats
    window: Floats
    """The last values, residuals, drifts and spreads (S, 4, window), the point t at t modulo the window."""
    lows: Floats
    highs: Floats
    """Least and greatest of each feature (S, 4, 2)."""
    ranged: Ints
    """How many went into the ranges (S, 4)."""
    quiet: Ints
    """Points for which nothing is told any more."""


@dataclass(frozen=True, kw_only=True)
class Features:
    """The points as they are compared: (S, 4) but for the first four."""

    present: Bools
    y: Floats
    base: Floats
    """What the time of day and the level lead to expect."""
    cell: int
    value: Floats
    low: Floats
    high: Floats
    """The range so far, NaN where it is not one yet."""
    span: Floats
    """Its width, no less than the floors."""
    score: Floats
    """How far beyond the range, in its widths: above 0 on the upper side, below on the lower, 0 inside or not known."""


@dataclass(frozen=True, kw_only=True)
class NoveltyBand:
    """Breach: a feature is beyond its range by more than `threshold` of the range's width. Then `quiet` points of rest.

    Lengths are in points, and the defaults meant for buckets of five minutes: a drift over 100 minutes, half a day of
    rest, ranges of four to eight weeks. Drifts and spreads are compared with the ranges of windows that do not share
    a point with theirs. A rate of few observations has seen everything from 0 to 1 soon, and is better in another band.
    """

    threshold: float = 0.12
    window: int = 20
    quiet: int = 144
    warm_up: int = 30
    memory: int = 8064
    cells: int = 48
    """Times of day that are told apart, in UTC. None of their effects counts before each was there once: one day."""
    visits: int = 96
    """Of how many values a time of day is the mean, about: sixteen days of buckets of five minutes."""
    direction: Direction = Direction.BOTH

    def __post_init__(self) -> None:
        if not self.threshold > 0:
            raise InvalidInput(
                f"a threshold of {self.threshold} would call every new value a breach", field="threshold"
            )
        if self.window < 2 or self.warm_up < 2 or self.visits < 1 or self.quiet < 0:
            raise InvalidInput("window and warm-up are at least 2 points, visits 1, quiet 0", field="band")
        if self.memory < self.warm_up or not 1 <= self.cells <= 1440:
            raise InvalidInput("a memory is no shorter than the warm-up, a day has 1 to 1,440 cells", field="band")

    def start(self, s: int) -> NoveltyState:
        """Nothing seen."""
        none, zeros = np.zeros(s, dtype=np.int64), np.zeros(s)
        return NoveltyState(
            at_ns=np.full(s, NEVER, dtype=np.int64), since_ns=none, points=none, quiet=none,
            means=np.zeros((s, self.cells)), visits=np.zeros((s, self.cells)), mean=zeros, noise=zeros, noisy=zeros,
            window=np.full((s, 4, self.window), np.nan), lows=np.full((s, 4, 2), np.inf),
            highs=np.full((s, 4, 2), -np.inf), ranged=np.zeros((s, 4), dtype=np.int64),
        )  # fmt: skip

    def step(self, state: NoveltyState, points: Points) -> tuple[NoveltyState, Judged]:
        """Judges the points against the ranges, then takes them in."""
        return self.stepped(state, points, self.features(state, points))

    def stepped(self, state: NoveltyState, points: Points, now: Features) -> tuple[NoveltyState, Judged]:
        """The step of points whose features are known already."""
        score, _ = strongest(now)
        breach = now.present & (np.abs(score) > self.threshold) & (state.quiet == 0)
        judged = self._judged(state, points, now, breach)
        return self._taken_in(state, points, now, breach), judged

    def features(self, state: NoveltyState, points: Points) -> Features:
        """What is compared, and with what."""
        present = points.present & (state.at_ns < points.at_ns)
        y = np.where(present, transformed(points), np.nan)
        cell = points.at_ns % DAY_NS * self.cells // DAY_NS
        level = np.where(state.points > 0, state.mean, y)
        # The level counts as one visit, so a time of day that was never seen is expected to be like the others.
        visits = state.visits[:, cell]
        base = (state.means[:, cell] * visits + level) / (visits + 1)
        value = self._values(state, y, y - base)
        low, high = state.lows.min(axis=2), state.highs.max(axis=2)
        # Nothing is told on the first day: each hour of it may be new.
        known = (state.ranged >= self.warm_up) & self._settled(state, points.at_ns)[:, None]
        low, high = np.where(known, low, np.nan), np.where(known, high, np.nan)
        span = self._span(high - low, level, points)
        return Features(
            present=present, y=y, base=base, cell=cell, value=value, low=low, high=high, span=span,
            score=self._score(value, low, high, span, side=np.where(y < level, -1, 1)),
        )  # fmt: skip

    def _span(self, width: Floats, level: Floats, points: Points) -> Floats:
        """Widths of the ranges, no less than the floors; of means and spreads counting brings less."""
        counted = _COUNTED_SPAN * np.sqrt(sampling(level, points))
        of_means = counted / np.sqrt(self.window)
        floors = np.stack([counted, counted, of_means, of_means], axis=1)
        still = np.maximum(_STILL * np.abs(level), _NOTHING)[:, None]
        return np.asarray(np.maximum(np.maximum(width, floors), still))

    def _score(self, value: Floats, low: Floats, high: Floats, span: Floats, side: Ints) -> Floats:
        """How far beyond the range, on the sides asked for. A spread counts upwards alone, on its value's side."""
        with np.errstate(over="ignore", invalid="ignore"):
            above, below = (value - high) / span, (low - value) / span
        score = np.where(above > 0, above, np.where(below > 0, -below, 0.0))
        score[:, SPREAD] = np.maximum(score[:, SPREAD], 0) * side
        return np.where(np.isin(np.sign(score), sides(self.direction)), score, 0.0)

    def _settled(self, state: NoveltyState, at_ns: int) -> Bools:
        """Which series began a day ago at least."""
        return np.asarray((state.points > 0) & (at_ns - DAY_NS >= state.since_ns))

    def _values(self, state: NoveltyState, y: Floats, residual: Floats) -> Floats:
        """The four features, NaN of a window that is not full."""
        place = state.points % self.window
        rows = np.arange(len(y))
        values, residuals = state.window[:, LEVEL].copy(), state.window[:, RESIDUAL].copy()
        values[rows, place] = y
        residuals[rows, place] = residual
        with np.errstate(over="ignore", invalid="ignore"):
            return np.stack([y, residual, residuals.mean(axis=1), values.std(axis=1)], axis=1)

    def _taken_in(self, state: NoveltyState, points: Points, now: Features, breach: Bools) -> NoveltyState:
        """The state with these points in it; where there is none it is as before."""
        rows = np.flatnonzero(now.present)
        place = state.points[rows] % self.window
        since = state.since_ns.copy()
        since[rows] = np.where(state.points[rows] == 0, points.at_ns, since[rows])
        quiet = state.quiet.copy()
        quiet[rows] = np.where(breach[rows], self.quiet, np.maximum(quiet[rows] - 1, 0))
        # A drift or spread goes into its range when its window is over: its place is taken by the next one's.
        coming = now.value[rows]
        coming[:, DRIFT:] = state.window[rows, DRIFT:, place]
        settled = self._settled(state, points.at_ns)[rows]
        coming[~settled, RESIDUAL] = np.nan
        window = state.window.copy()
        window[rows, :, place] = now.value[rows]
        window[rows[~settled], DRIFT, place[~settled]] = np.nan
        state = self._learned(state, now, rows, settled)
        return replace(
            self._ranged(state, rows, coming), window=window, since_ns=since, quiet=quiet,
            points=state.points + now.present, at_ns=np.maximum(state.at_ns, points.at_ns),
        )  # fmt: skip

    def _learned(self, state: NoveltyState, now: Features, rows: NDArray[np.intp], settled: Bools) -> NoveltyState:
        """The means of the time of day and of all, and the size of the residuals."""
        means, visits, mean = state.means.copy(), state.visits.copy(), state.mean.copy()
        noise, noisy = state.noise.copy(), state.noisy.copy()
        y = now.y[rows]
        seen = np.minimum(visits[rows, now.cell], self.visits - 1)
        means[rows, now.cell] += (y - means[rows, now.cell]) / (seen + 1)
        visits[rows, now.cell] = seen + 1
        mean[rows] += (y - mean[rows]) / (np.minimum(state.points[rows], self.memory) + 1)
        late = rows[settled]
        noisy[late] = np.minimum(noisy[late], self.memory) + 1
        noise[late] += (now.value[late, RESIDUAL] ** 2 - noise[late]) / noisy[late]
        return replace(state, means=means, visits=visits, mean=mean, noise=noise, noisy=noisy)

    def _ranged(self, state: NoveltyState, rows: NDArray[np.intp], coming: Floats) -> NoveltyState:
        """The ranges with these values in them. After `memory` points a range is that of the last points alone."""
        lows, highs, ranged = state.lows.copy(), state.highs.copy(), state.ranged.copy()
        over = rows[(state.points[rows] % self.memory == 0) & (state.points[rows] > 0)]
        lows[over, :, 0], highs[over, :, 0] = lows[over, :, 1], highs[over, :, 1]
        lows[over, :, 1], highs[over, :, 1] = np.inf, -np.inf
        lows[rows, :, 1] = np.fmin(lows[rows, :, 1], coming)
        highs[rows, :, 1] = np.fmax(highs[rows, :, 1], coming)
        ranged[rows] += np.isfinite(coming)
        return replace(state, lows=lows, highs=highs, ranged=ranged)

    def _judged(self, state: NoveltyState, points: Points, now: Features, breach: Bools) -> Judged:
        """The value and its range; of a breach, what was beyond its range and by how much, about what was expected.

        A spread is shown about the mean, on the side on which the value is.
        """
        score, feature = strongest(now)
        rows = np.arange(len(score))
        told = np.where(breach, feature, LEVEL)
        value, low, high = now.value[rows, told], now.low[rows, told], now.high[rows, told]
        room = self.threshold * now.span[rows, told]
        spread, side = told == SPREAD, np.sign(score)
        middle = np.where(spread, state.mean, np.where(told == LEVEL, 0.0, now.base))
        seen = middle + np.where(spread, side * value, value)
        bottom = middle + np.where(spread, -(high + room), low - room)
        with np.errstate(invalid="ignore", divide="ignore"):
            z = np.where(state.noisy >= self.warm_up, (now.y - now.base) / np.sqrt(state.noise), np.nan)
        known = now.present & np.isfinite(now.low[:, LEVEL])
        status = np.where(now.present, np.where(known, Status.OK, Status.WARMING_UP), Status.MISSING)
        back = [unscaled(one, points.n, points.kinds) for one in (now.base, bottom, middle + high + room, seen)]
        return Judged(
            expected=np.where(now.present, back[0], np.nan), low=back[1], high=back[2],
            seen=np.where(told == LEVEL, np.where(now.present, points.x, np.nan), back[3]),
            z=np.where(np.isfinite(z), z, np.nan), breach=np.where(breach, side, 0).astype(np.int8),
            status=status.astype(np.int8),
        )  # fmt: skip


def strongest(now: Features) -> tuple[Floats, NDArray[np.intp]]:
    """Of each series, the score of the feature that is farthest beyond its range, and which it is."""
    feature = np.argmax(np.abs(now.score), axis=1)
    return now.score[np.arange(len(feature)), feature], feature
