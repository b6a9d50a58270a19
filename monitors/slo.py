"""SLO burn rates over two windows each. Pure, vectorised over series.

A burn rate is the share of bad events over the share that the objective allows: at 1 the budget of the period is gone
when the period is. Each pair asks for its rate over a long window, so that it matters, and over a short one, so that it
is still going on (Google, The Site Reliability Workbook, 2018, chapter 5, "Multiwindow, Multi-Burn-Rate Alerts").

At little traffic one failure is a burn of a hundred. So a pair fires only when its long window has enough events, and
when the lower bound of the share of bad ones, at `level` one-sided (Clopper, Pearson 1934), is above the rate too.

Windows are rings of cells, 60 of a long one, by the buckets' own time: the newest cell is the one being filled, so that
a window is up to one cell shorter than it says.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import scipy
from numpy.typing import NDArray

from core.clock import NS_PER_S
from core.errors import InvalidInput
from monitors.alert_records import DAY_S, Severity
from monitors.records import Codes, Floats, Judged, Points, State, Status

_CELLS: Final = 5  # of a short window, where a step is no longer than one
_LONG_CELLS: Final = 60  # of a long one, likewise
_MOST_CELLS: Final = 720  # of a long one, however short the other is
NEVER: Final = -(2**62)


class Counted(StrEnum):
    """What the series is the share of."""

    GOOD = "good"
    BAD = "bad"


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A burn rate, the two windows over which it has to be reached, and how loud that is."""

    factor: float
    long_s: int
    short_s: int
    severity: Severity

    def __post_init__(self) -> None:
        if not self.factor > 0 or not np.isfinite(self.factor):
            raise InvalidInput(f"a burn rate of {self.factor} is none; it is above 0", field="pairs")
        if not 0 < self.short_s <= self.long_s:
            raise InvalidInput("the short window is above 0 s, and no longer than the long one", field="pairs")

    def spent(self, period_s: float) -> float:
        """The share of the period's budget that is gone when the long window is full at this rate."""
        return self.factor * self.long_s / period_s


PAIRS: Final = (
    Pair(factor=14.4, long_s=3600, short_s=300, severity=Severity.PAGE),
    Pair(factor=6.0, long_s=6 * 3600, short_s=1800, severity=Severity.PAGE),
    Pair(factor=3.0, long_s=DAY_S, short_s=2 * 3600, severity=Severity.TICKET),
    Pair(factor=1.0, long_s=3 * DAY_S, short_s=6 * 3600, severity=Severity.TICKET),
)


@dataclass(frozen=True, kw_only=True)
class SloState(State):
    """By series, pair and cell the events and the bad ones; the newest cell of every pair, the newest bucket."""

    events: Floats
    bad: Floats
    cell: NDArray[np.int64]
    at: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Burns:
    """By series and pair: the burn rates over both windows, the lower bound of the long one where both are above the
    pair's, how many events the long one has, whether the pair is known (enough events, and one in the short window) and
    whether it fires. NaN is not known."""

    long: Floats
    short: Floats
    bound: Floats
    n: Floats
    known: NDArray[np.bool_]
    firing: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class SloBand:
    """An objective (the share of good events) over a period, and the pairs by which burning is told. `min_events` is
    of the long window; `level` None takes the point estimate alone, as the workbook does."""

    objective: float
    counted: Counted = Counted.GOOD
    step_s: int = 300
    period_s: int = 30 * DAY_S
    pairs: tuple[Pair, ...] = PAIRS
    min_events: int = 10
    level: float | None = 0.95

    def __post_init__(self) -> None:
        if not 0 < self.objective < 1:
            raise InvalidInput(f"an objective of {self.objective} is none: it is above 0 and below 1", "objective")
        if self.step_s < 1 or self.min_events < 1:
            raise InvalidInput("a step is at least 1 s long, and a window has at least one event", field="min_events")
        if self.level is not None and not 0.5 <= self.level < 1:
            raise InvalidInput(f"a level of {self.level} is none: it is from 0.5 to 1, or null", field="level")
        if any(one.long_s > self.period_s for one in self.pairs):
            raise InvalidInput("a window is longer than the period of the objective", field="pairs")
        if all(self.can_never_fire(one) for one in self.pairs):
            raise InvalidInput(
                f"with an objective of {self.objective:g} no burn rate is above {1 / self.budget:.3g}, when everything "
                f"fails, so that no pair can fire; name lower rates, or watch the series with another band",
                field="objective",
            )

    @property
    def budget(self) -> float:
        """The share of events that may be bad."""
        return 1 - self.objective

    def can_never_fire(self, pair: Pair) -> bool:
        """Whether a pair asks for more than everything failing."""
        return pair.factor * self.budget >= 1

    def start(self, s: int) -> SloState:
        """Nothing seen yet."""
        p, cells = len(self.pairs), max(self._counts(one)[1] for one in self.pairs)
        return SloState(
            events=np.zeros((s, p, cells)), bad=np.zeros((s, p, cells)),
            cell=np.full((s, p), NEVER, dtype=np.int64), at=np.full(s, NEVER, dtype=np.int64),
        )  # fmt: skip

    def step(self, state: SloState, points: Points) -> tuple[SloState, Judged]:
        """Takes the bucket in, then judges the windows that end with it: a window is not an expectation that the point
        could spoil. A bucket without data moves the windows on."""
        fresh = points.at_ns > state.at
        share = points.x if self.counted is Counted.BAD else 1 - points.x
        usable = fresh & points.present & (points.n > 0) & (share >= 0) & (share <= 1)
        n = np.where(usable, points.n, 0.0)
        n_bad = np.where(usable, np.nan_to_num(share) * n, 0.0)
        at = np.where(fresh, points.at_ns, state.at)
        state = self._moved(state, at)
        events, bad = state.events.copy(), state.bad.copy()
        for p, pair in enumerate(self.pairs):
            size, _, _ = self._sizes(pair)
            slot = points.at_ns // (size * NS_PER_S) % events.shape[2]
            events[:, p, slot] += n
            bad[:, p, slot] += n_bad
        after = SloState(events=events, bad=bad, cell=state.cell, at=state.at)
        return after, self._judged(self.burns(after), fresh)

    def burns(self, state: SloState) -> Burns:
        """The burn rates of a state."""
        shape = state.events.shape[:2]
        long, short, bound, n_long = (np.full(shape, np.nan) for _ in range(4))
        known, firing = np.zeros(shape, dtype=np.bool_), np.zeros(shape, dtype=np.bool_)
        for p, pair in enumerate(self.pairs):
            _, many, few = self._sizes(pair)
            n, bad = self._sums(state, p, many)
            n_short, bad_short = self._sums(state, p, few)
            with np.errstate(invalid="ignore", divide="ignore"):
                long[:, p], short[:, p] = bad / n / self.budget, bad_short / n_short / self.budget
            n_long[:, p] = n
            known[:, p] = (n >= self.min_events) & (n_short > 0)
            above = known[:, p] & (long[:, p] > pair.factor) & (short[:, p] > pair.factor)
            firing[:, p] = above & self._sure(bad, n, pair.factor * self.budget)
            bound[above, p] = self._bound(bad[above], n[above]) / self.budget
        return Burns(long=long, short=short, bound=bound, n=n_long, known=known, firing=firing)

    def words(self, burns: Burns, row: int) -> str | None:
        """Why a series burns, by its loudest pair that fires: None where none does."""
        some = list(np.flatnonzero(burns.firing[row]))
        if not some:
            return None
        p = max(some, key=lambda i: (self.pairs[i].severity.rank, self.pairs[i].factor))
        pair, long, short = self.pairs[p], float(burns.long[row, p]), float(burns.short[row, p])
        least = "" if self.level is None else f", at least {float(burns.bound[row, p]):.3g} with {self.level:.0%}"
        n, lasts_s = float(burns.n[row, p]), self.period_s / long
        return (
            f"bad events burn {long:.3g} times what the objective of {self.objective:g} allows over "
            f"{_span(pair.long_s)} ({n:,.0f} events{least}) and {short:.3g} times over {_span(pair.short_s)}, "
            f"both above {pair.factor:g}; at this rate the budget of {_span(self.period_s)} lasts {_span(lasts_s)}"
        )

    def severity(self, burns: Burns, row: int) -> Severity | None:
        """How loud a series burns; None: no pair fires."""
        some = [self.pairs[p].severity for p in np.flatnonzero(burns.firing[row])]
        return max(some, key=lambda one: one.rank) if some else None

    def _sure(self, bad: Floats, n: Floats, share: float) -> NDArray[np.bool_]:
        """Whether so many bad ones or more come with a chance of at most 1 - level where `share` are bad."""
        if self.level is None or share >= 1:
            return np.full(bad.shape, share < 1, dtype=np.bool_)
        some = bad > 0
        chance = scipy.special.betainc(np.where(some, bad, 1.0), np.where(some, n - bad + 1, 1.0), share)
        return np.asarray(some & (chance <= 1 - self.level), dtype=np.bool_)

    def _bound(self, bad: Floats, n: Floats) -> Floats:
        """The lower bound of the share of bad events, of which there are some; NaN without a level."""
        if self.level is None:
            return np.full(bad.shape, np.nan)
        return np.asarray(scipy.special.betaincinv(bad, n - bad + 1, 1 - self.level), dtype=np.float64)

    def _judged(self, burns: Burns, fresh: NDArray[np.bool_]) -> Judged:
        """The judgement by the pair that is nearest to firing, on the scale of the series. What is seen is the better
        of its two windows: it is calm again once the short one is, though the long one remembers for longer."""
        factors = np.array([one.factor for one in self.pairs])
        with np.errstate(invalid="ignore"):
            near = np.where(burns.known, np.minimum(burns.long, burns.short) / factors, -1.0)
        near = np.where(burns.firing, near + 1e9, near)  # one that fires comes before one that is only near
        best, rows = near.argmax(axis=1), np.arange(len(near))
        is_known = burns.known.any(axis=1)
        status = np.where(
            is_known, Status.OK, np.where(np.nansum(burns.n, axis=1) > 0, Status.WARMING_UP, Status.MISSING)
        )
        status = np.where(fresh, status, Status.MISSING).astype(np.int8)
        told = status == Status.OK
        lower = np.minimum(burns.long[rows, best], burns.short[rows, best])
        share, edge = (np.where(told, one * self.budget, np.nan) for one in (lower, factors[best]))
        with np.errstate(invalid="ignore", divide="ignore"):
            error = np.sqrt(self.budget * self.objective / burns.n[rows, best])
            z = np.where(told, (burns.long[rows, best] - 1) * self.budget / error, np.nan)
        fires = (burns.firing.any(axis=1) & told).astype(np.int8)
        nothing = np.full(len(rows), np.nan)
        if self.counted is Counted.BAD:
            expected = np.where(told, self.budget, np.nan)
            return Judged(expected=expected, low=nothing, high=edge, seen=share, z=z, breach=fires, status=status)
        expected = np.where(told, self.objective, np.nan)
        return Judged(
            expected=expected, low=1 - edge, high=nothing, seen=1 - share, z=-z,
            breach=(-fires).astype(np.int8), status=status,
        )  # fmt: skip

    def _moved(self, state: SloState, at: NDArray[np.int64]) -> SloState:
        """The rings turned on to a time: cells that are too old are empty again."""
        events, bad, cell = state.events, state.bad, state.cell.copy()
        size = events.shape[2]
        slots = np.arange(size)
        stale = np.zeros(events.shape, dtype=np.bool_)
        for p, pair in enumerate(self.pairs):
            now = np.where(at == NEVER, NEVER, at // (self._sizes(pair)[0] * NS_PER_S))
            newest = cell[:, p]
            holds = newest[:, None] - (newest[:, None] - slots) % size  # which cell a slot holds
            stale[:, p] = holds <= now[:, None] - size
            cell[:, p] = np.maximum(now, newest)
        return SloState(events=np.where(stale, 0.0, events), bad=np.where(stale, 0.0, bad), cell=cell, at=at)

    def _sums(self, state: SloState, p: int, n_cells: int) -> tuple[Floats, Floats]:
        size = state.events.shape[2]
        if n_cells == size:
            return state.events[:, p].sum(axis=1), state.bad[:, p].sum(axis=1)
        age = (state.cell[:, p][:, None] - np.arange(size)) % size
        inside = age < n_cells
        return (state.events[:, p] * inside).sum(axis=1), (state.bad[:, p] * inside).sum(axis=1)

    def _sizes(self, pair: Pair) -> tuple[int, int, int]:
        """A cell's length in seconds, whole steps of it; how many cells the long and the short window have."""
        wished = max(min(pair.short_s // _CELLS, pair.long_s // _LONG_CELLS), pair.long_s // _MOST_CELLS)
        cell = self.step_s * max(1, wished // self.step_s)
        return cell, max(1, round(pair.long_s / cell)), max(1, round(pair.short_s / cell))

    def _counts(self, pair: Pair) -> tuple[int, int]:
        cell, many, _ = self._sizes(pair)
        return cell, many


def severities(band: SloBand, burns: Burns) -> Codes:
    """By series 0 nothing, 1 ticket, 2 page."""
    ranks = np.array([one.severity.rank + 1 for one in band.pairs])
    return np.asarray((burns.firing * ranks).max(axis=1), dtype=np.int8)


def _span(seconds: float) -> str:
    for length, name in ((DAY_S, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds / length:.3g} {name}"
    return f"{seconds:.3g} s"
