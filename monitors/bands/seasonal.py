"""What the hour of the week does to a series: learned hour by hour, shrunk to the hour of the day until days differ."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput
from monitors.records import Floats, State

HOUR_NS: Final = 3_600_000_000_000
DAYS: Final = 7
HOURS: Final = 24
CELLS: Final = DAYS * HOURS
NO_HOUR: Final = -1

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class SeasonState(State):
    """By series and hour of the week: how often that hour was seen, and the mean of its means."""

    visits: Floats
    means: Floats
    hours: Ints
    """Hours seen in all."""
    noise: Floats
    """Variance of an hour's mean about its cell."""
    noise_hours: Ints
    hour: Ints
    """The hour that is being gathered, since 1970; NO_HOUR before the first."""
    summed: Floats
    gathered: Ints
    near: Floats
    """Effects of the hour before, this one and the next (S, 3)."""


@dataclass(frozen=True, kw_only=True)
class Season:
    """Additive effects on the scale of comparison. An hour's mean is one observation, however many points it has."""

    step_s: int = 300
    tz: str | None = None
    """Whose hours: UTC unless a zone is named. An hour has the place that its first second has in that zone."""
    warm_up_hours: int = 48
    memory: int = 8
    """Weeks: a visit's least weight is 1 / memory."""
    first_shrinkage: float = 3.0
    """Visits that the hour of the day is worth until the data say how much days differ."""

    def __post_init__(self) -> None:
        if not 0 < self.step_s <= 3600:
            raise InvalidInput(f"hours are not told apart by buckets of {self.step_s} s", field="step_s")
        if self.memory < 1 or self.warm_up_hours < 1 or self.first_shrinkage <= 0:
            raise InvalidInput("memory and warm-up are at least 1, shrinkage above 0", field="season")
        if self.tz is not None:
            _zone(self.tz)

    def start(self, s: int) -> SeasonState:
        """Nothing known of any hour."""
        zeros, none = np.zeros(s), np.zeros(s, dtype=np.int64)
        cells = np.zeros((s, CELLS))
        return SeasonState(
            visits=cells, means=cells, hours=none, noise=zeros, noise_hours=none,
            hour=np.full(s, NO_HOUR, dtype=np.int64), summed=zeros, gathered=none, near=np.zeros((s, 3)),
        )  # fmt: skip

    def turned(self, state: SeasonState, at_ns: int, where: Bools) -> SeasonState:
        """The state of these series at a time: an hour that is over goes to its cell, the effects nearby are anew."""
        hour = at_ns // HOUR_NS
        rows = np.flatnonzero(where & (state.hour != hour))
        if not len(rows):
            return state
        state = _folded(state, rows, self)
        near = state.near.copy()
        near[rows] = self._effects(state.taken(rows), [self.cell(hour + one) for one in (-1, 0, 1)])
        at = state.hour.copy()
        at[rows] = hour
        return replace(state, hour=at, near=near)

    def effect(self, state: SeasonState, at_ns: int) -> tuple[Floats, Bools, Bools]:
        """The effect at the middle of the bucket, straight between the middles of hours; where it is known; where well.

        Known is an hour of the day that was seen once, well known when the warm-up is over too.
        """
        into = (at_ns % HOUR_NS + self.step_s * 500_000_000) / HOUR_NS
        before, now, after = state.near.T
        other, weight = (before, 0.5 - into) if into < 0.5 else (after, into - 0.5)
        known = np.isfinite(now) & (state.hours > 0)
        here = np.where(known, now, 0.0)
        there = np.where(known & np.isfinite(other), other, here)
        return here + weight * (there - here), known, known & (state.hours >= self.warm_up_hours)

    def gathered(self, state: SeasonState, y: Floats, learn: Bools) -> SeasonState:
        """With these points in the hour that is being gathered."""
        return replace(
            state, summed=state.summed + np.where(learn, y, 0.0), gathered=state.gathered + learn.astype(np.int64)
        )

    def shifted(self, state: SeasonState, by: Floats) -> SeasonState:
        """After a level shift was adopted: every hour is expected at the new level."""
        if not by.any():
            return state
        return replace(
            state, means=np.where(state.visits > 0, state.means + by[:, None], 0.0), near=state.near + by[:, None],
            summed=state.summed + by * state.gathered,
        )  # fmt: skip

    def cell(self, hour: int) -> int:
        """The hour of the week, Monday 0 h first, of an hour since 1970."""
        return _cell(hour, self.tz)

    def _effects(self, state: SeasonState, cells: list[int]) -> Floats:
        """Hour of the day, and what the day makes different, shrunk by how much days do (empirical Bayes)."""
        s = len(state.hours)
        visits, means = state.visits.reshape(s, DAYS, HOURS), state.means.reshape(s, DAYS, HOURS)
        seen = visits.sum(axis=1)
        by_hour = np.divide((visits * means).sum(axis=1), seen, out=np.full((s, HOURS), np.nan), where=seen > 0)
        shrinkage = self._shrinkage(state, visits, means - by_hour[:, None, :])
        told = np.empty((s, len(cells)))
        for at, cell in enumerate(cells):
            own = state.visits[:, cell]
            usual = by_hour[:, cell % HOURS]
            told[:, at] = usual + np.where(own > 0, own / (own + shrinkage) * (state.means[:, cell] - usual), 0.0)
        return told

    def _shrinkage(self, state: SeasonState, visits: Floats, apart: Floats) -> Floats:
        """Noise of one visit over the variance of true differences between days (Morris, JASA 1983, section 3)."""
        own = visits > 0
        n = own.sum(axis=(1, 2))
        with np.errstate(invalid="ignore", divide="ignore"):
            of_days = np.where(own, apart**2, 0.0).sum(axis=(1, 2)) / n
            by_chance = state.noise * np.where(own, 1 / np.where(own, visits, 1.0), 0.0).sum(axis=(1, 2)) / n
            days = own.sum(axis=1).max(axis=1)
            true = np.maximum(of_days * days / np.maximum(days - 1, 1) - by_chance, 0.0)
            shrinkage = np.clip(state.noise / true, 0.05, 1e6)
        # Until a day's hours were seen once more, differences between days cannot be told from noise.
        able = (state.noise_hours >= HOURS) & np.isfinite(shrinkage)
        return np.where(able, shrinkage, self.first_shrinkage)


def _folded(state: SeasonState, rows: NDArray[np.intp], season: Season) -> SeasonState:
    """The gathered hours of these series in their cells."""
    full = rows[state.gathered[rows] > 0]
    summed, gathered = state.summed.copy(), state.gathered.copy()
    summed[rows], gathered[rows] = 0.0, 0
    if not len(full):
        return replace(state, summed=summed, gathered=gathered)
    hours = state.hour[full]
    named = {int(one): season.cell(int(one)) for one in np.unique(hours)}
    cells = np.array([named[int(one)] for one in hours])
    mean = state.summed[full] / state.gathered[full]
    visits, means = state.visits.copy(), state.means.copy()
    noise, n_noise = state.noise.copy(), state.noise_hours.copy()
    before, known = visits[full, cells], means[full, cells]
    again = before > 0
    d = np.where(again, mean - known, 0.0)
    # Of d^2 one visit's noise is 1 / (1 + 1 / n); the mean over hours has a memory of as many weeks as the cells.
    n_noise[full] += again
    weight = np.where(again, 1 / np.clip(n_noise[full], 1, CELLS * season.memory), 0.0)
    noise[full] += weight * (d**2 * before / (before + 1) - noise[full])
    after = np.minimum(before + 1, season.memory)
    means[full, cells] = np.where(again, known + d / after, mean)
    visits[full, cells] = after
    hours_seen = state.hours.copy()
    hours_seen[full] += 1
    return replace(
        state, visits=visits, means=means, hours=hours_seen, noise=noise, noise_hours=n_noise, summed=summed,
        gathered=gathered,
    )  # fmt: skip


@lru_cache(maxsize=4096)
def _cell(hour: int, tz: str | None) -> int:
    zone = UTC if tz is None else _zone(tz)
    local = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(hours=hour)).astimezone(zone)
    return local.weekday() * HOURS + local.hour


@lru_cache(maxsize=256)
def _zone(tz: str) -> ZoneInfo:
    try:
        return ZoneInfo(tz)
    except (ZoneInfoNotFoundError, ValueError, OSError) as unknown:
        raise InvalidInput(f"{tz!r} is no time zone: Europe/Berlin", field="tz") from unknown
