"""The spike rule: a moving mean and k moving deviations, compared before it is updated."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput
from monitors.bands.runs import Run, ended, went_on
from monitors.bands.seasonal import Season, SeasonState
from monitors.bands.stabilise import POSITIVE, sampling, transformed, unscaled
from monitors.bands.warmup import gain, least_points
from monitors.calibration import Estimator
from monitors.records import Codes, Direction, Floats, Judged, Points, State, Status, sides

NEVER: Final = np.iinfo(np.int64).min
OF_ABSOLUTE: Final = math.sqrt(math.pi / 2)  # sigma over the mean absolute deviation of a normal law
LEAST_OF_SAMPLING: Final = 0.7
"""Sigma of a rate or count is never below this part of what counting alone brings."""
OF_NO_ACCOUNT: Final = 0.25
"""Of what counting brings, so much between buckets is left to the spread: its own estimate is noisier than that, and a
noisier sigma breaches more often than k says."""
HELD_FROM: Final = 2

Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class EmaState(State):
    """By series, on the scale of comparison and without the season."""

    at_ns: NDArray[np.int64]
    seen: NDArray[np.int64]
    mean: Floats
    weight: Floats
    """Weight behind the mean: 1 - (1 - alpha)^t for points of equal precision."""
    spread: Floats
    """Moving mean of the squared distance over the known variance (or of the absolute one): sigma^2 where none is."""
    between: Floats
    """Variance between buckets of a rate or a count, beside what counting brings; signed."""
    run: Run
    season: SeasonState | None = None


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What the points are against the band, before anything is updated."""

    y: Floats
    residual: Floats
    known: Floats
    """Variance taken out of the spread: counting and between buckets; 1 where counting brings none."""
    sampling: Floats
    sigma: Floats
    side: Codes
    present: Bools
    usable: Bools
    """Present, and the season of its hour is known."""
    judged: Bools
    effect: Floats


@dataclass(frozen=True, kw_only=True)
class EmaBand:
    """Breach: |x - mean| > k sigma, both of the points before x. k from `calibration.k_for`.

    A lone point beyond the band counts in the update as if it lay on the edge (winsorised at k). From the second of a
    run on the state is held, so that the band neither follows the fault nor widens around it; after `adopt_after` such
    points their own mean and spread are the band, and the status says so.
    """

    alpha: float = 0.02
    k: float = 3.64
    direction: Direction = Direction.BOTH
    estimator: Estimator = Estimator.VARIANCE
    warm_up: int | None = None
    """Points before the first verdict: `warmup.least_points` unless more are asked for."""
    adopt_after: int | None = None
    """As many as the warm-up unless said."""
    floor: float = 1e-9
    """Least sigma on the scale of comparison, and as a share of |mean| of a level or of the value of latency, cost."""
    floor_relative: float = 0.001
    season: Season | None = None

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise InvalidInput(f"alpha {self.alpha} is not between 0 and 1", field="alpha")
        if not 0 < self.k < math.inf:
            raise InvalidInput(f"k {self.k} is no width of a band", field="k")
        if not (0 < self.floor < math.inf and 0 <= self.floor_relative < math.inf):
            raise InvalidInput("the floor of sigma is above zero, the relative one not below", field="floor")
        if self.points_before < least_points(self.alpha):
            raise InvalidInput(f"{self.warm_up} points: at least {least_points(self.alpha)}", field="warm_up")
        if self.points_of_shift < HELD_FROM:
            raise InvalidInput(f"a shift of {self.adopt_after} points is none", field="adopt_after")

    @property
    def points_before(self) -> int:
        """Points before the first verdict."""
        return least_points(self.alpha) if self.warm_up is None else self.warm_up

    @property
    def points_of_shift(self) -> int:
        """Points beyond the band that are a new level."""
        return self.points_before if self.adopt_after is None else self.adopt_after

    def start(self, s: int) -> EmaState:
        """Nothing known."""
        zeros = np.zeros(s)
        return EmaState(
            at_ns=np.full(s, NEVER, dtype=np.int64), seen=np.zeros(s, dtype=np.int64), mean=zeros, weight=zeros,
            spread=zeros, between=zeros, run=Run.start(s), season=self.season.start(s) if self.season else None,
        )  # fmt: skip

    def step(self, state: EmaState, points: Points) -> tuple[EmaState, Judged]:
        """Judges the points, then takes them in."""
        state = self.turned(state, points)
        now = self.compared(state, points)
        after, adopted = self.updated(state, points, now)
        return after, self._judged(state, points, now, adopted)

    def turned(self, state: EmaState, points: Points) -> EmaState:
        """The state in the points' hour: the season's effects of that hour are at hand."""
        if not (self.season and state.season):
            return state
        fresh = state.at_ns < points.at_ns
        return replace(state, season=self.season.turned(state.season, points.at_ns, fresh))

    def compared(self, state: EmaState, points: Points) -> Compared:
        """The points against the band. The state is one that was turned to their hour."""
        present = points.present & (state.at_ns < points.at_ns)
        y = np.where(present, transformed(points), 0.0)
        effect, usable, ready = np.zeros(len(y)), present, present
        if self.season and state.season:
            effect, known_hour, well = self.season.effect(state.season, points.at_ns)
            usable, ready = present & known_hour, present & well
        residual = np.where(usable, y - effect, state.mean)
        expected = np.where(state.seen > 0, state.mean + effect, y)
        by_chance = sampling(expected, points)
        counted = by_chance > 0
        between = np.maximum(state.between - OF_NO_ACCOUNT * by_chance, 0.0)
        known = np.where(counted, by_chance + between, 1.0)
        sigma = self._sigma(state, np.sqrt(known), counted, points.kinds, effect)
        judged = ready & (state.seen >= self.points_before)
        distance = residual - state.mean
        side = np.where(judged & (np.abs(distance) > self.k * sigma), np.sign(distance), 0).astype(np.int8)
        return Compared(
            y=y, residual=residual, known=known, sampling=by_chance, sigma=sigma, side=side, present=present,
            usable=usable, judged=judged, effect=effect,
        )  # fmt: skip

    def _sigma(self, state: EmaState, root: Floats, counted: Bools, kinds: Codes, effect: Floats) -> Floats:
        spread = np.sqrt(state.spread) if self.estimator is Estimator.VARIANCE else state.spread
        size = np.where(kinds == POSITIVE, 1.0, np.abs(state.mean + effect))
        relative = self.floor_relative * size
        floor = np.where(counted, LEAST_OF_SAMPLING * root, np.maximum(relative, self.floor))
        return np.maximum(spread * root, floor)

    def updated(self, state: EmaState, points: Points, now: Compared) -> tuple[EmaState, Bools]:
        """The state with the points in it, and which series have a new level by it."""
        run = went_on(state.run, now.side, now.residual, 1 / now.known, now.present)
        adopted = now.present & (np.abs(run.length) >= self.points_of_shift)
        held = now.present & (now.side != 0) & (np.abs(run.length) >= HELD_FROM)
        learn = now.usable & ~held
        edge = np.where(now.judged, self.k * now.sigma, np.inf)
        d = np.clip(now.residual - state.mean, -edge, edge)
        taken = self._taken_in(state, now, d, learn)
        season = state.season
        if self.season and season:
            kept = np.where(now.usable, state.mean + d + now.effect, now.y)
            season = self.season.gathered(season, kept, now.present & ~held)
        after = replace(
            taken, at_ns=np.maximum(state.at_ns, points.at_ns), seen=state.seen + now.usable, run=run, season=season
        )
        return (self._adopting(after, adopted) if adopted.any() else after), adopted

    def _taken_in(self, state: EmaState, now: Compared, d: Floats, learn: Bools) -> EmaState:
        """Mean by precision, spread by count, each with the gain that makes its beginning unbiased."""
        precision = 1 / now.known
        weight = (1 - self.alpha) * state.weight + self.alpha * precision
        of_mean = self.alpha * precision / weight
        of_spread = gain(self.alpha, state.seen)
        u = d / np.sqrt(now.known)
        if self.estimator is Estimator.VARIANCE:
            spread = (1 - of_spread) * (state.spread + of_spread * u * u)
        else:
            spread = state.spread + of_spread * (OF_ABSOLUTE * np.abs(u) - state.spread)
        # Slower than the mean by far: it is a variance of which a known part is taken off, and noisy by that.
        slow = gain(self.alpha / 16, state.seen)
        between = state.between + slow * np.where(now.sampling > 0, d * d - now.sampling - state.between, 0.0)
        return replace(
            state,
            mean=np.where(learn, state.mean + of_mean * d, state.mean),
            weight=np.where(learn, weight, state.weight),
            spread=np.where(learn, spread, state.spread),
            between=np.where(learn, between, state.between),
        )

    def _adopting(self, state: EmaState, adopted: Bools) -> EmaState:
        """The run's own mean and spread; the season, which is the same, goes up or down with the level."""
        run = state.run
        by = np.where(adopted, run.mean - state.mean, 0.0)
        variance = run.squares / np.maximum(run.points - 1, 1)
        spread = variance if self.estimator is Estimator.VARIANCE else np.sqrt(variance)
        mean, season = state.mean + by, state.season
        if self.season and season:
            season, mean = self.season.shifted(season, by), state.mean
        return replace(
            state, mean=mean, spread=np.where(adopted, spread, state.spread), run=ended(run, adopted), season=season
        )

    def _judged(self, state: EmaState, points: Points, now: Compared, adopted: Bools) -> Judged:
        unknown = ~now.judged
        centre = state.mean + now.effect
        told = {
            name: np.where(unknown, np.nan, unscaled(centre + sign * self.k * now.sigma, points.n, points.kinds))
            for name, sign in (("expected", 0.0), ("low", -1.0), ("high", 1.0))
        }
        status = np.where(now.present, Status.WARMING_UP, Status.MISSING)
        status = np.where(now.judged, Status.OK, status)
        status = np.where(adopted, Status.SHIFT_ADOPTED, status).astype(np.int8)
        return Judged(
            **told,
            seen=np.where(now.present, points.x, np.nan),
            z=np.where(unknown, np.nan, (now.residual - state.mean) / now.sigma),
            breach=np.where(np.isin(now.side, sides(self.direction)), now.side, 0).astype(np.int8),
            status=status,
        )
