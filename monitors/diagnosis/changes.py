"""How far a series stands from what it would be, had nothing happened: robust z against windows of the same length.

The time before the onset is cut into windows as long as the one since. After the hour of day is taken out, their means
spread as such a mean does when nothing happens, with whatever correlation and overdispersion there is; the mean since
the onset is held against that spread. So nothing is assumed of single points. The onset is on a day of its own: what
days differ by, as weekends do, counts beside it. See docs/monitors-diagnosis.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy

from core.clock import NS_PER_S
from monitors.diagnosis.records import Change, Course, Floats, Ints
from monitors.records import Kind

HOUR_NS: Final = 3600 * NS_PER_S
DAY_NS: Final = 24 * HOUR_NS
MAD_TO_SD: Final = 1.4826
LEAST_BLOCKS: Final = 6  # windows before the onset: with fewer their spread says nothing
SEASON_DAYS: Final = 3.0  # from so many days on the hour of day is taken out
FLOOR: Final = 0.002  # of the level: no series is known better than to 0.2 %
TAIL: Final = 0.97  # of a day's windows: what comes in bursts is seen there
LEAST_DAYS: Final = 4  # from so many days on what they differ by is known
DAYS_TAIL: Final = 0.75  # of days: one bad one of seven is beyond it, two of a weekend are not
_TINY: Final = 1e-12


@dataclass(frozen=True, kw_only=True)
class _Points:
    """Points of one series on the scale on which they are compared, with weights, in order of time."""

    at_ns: Ints
    y: Floats
    w: Floats
    has_n: bool

    def part(self, rows: np.ndarray) -> _Points:
        return _Points(at_ns=self.at_ns[rows], y=self.y[rows], w=self.w[rows], has_n=self.has_n)


def change_of(course: Course, *, onset_ns: int, now_ns: int) -> Change:
    """How the series stands in [onset, now) against the time before; without a figure where it cannot be told."""
    if now_ns <= onset_ns:
        return _unknown(course, "the onset is not before now")
    points = _comparable(course)
    before = points.part(points.at_ns < onset_ns)
    if len(before.y) == 0:
        return _unknown(course, "there is nothing from before the onset")
    span = int(onset_ns - before.at_ns[0])
    length = min(now_ns - onset_ns, max(1, span // LEAST_BLOCKS))
    since = points.part((points.at_ns >= now_ns - length) & (points.at_ns < now_ns))
    if len(since.y) == 0:
        return _unknown(course, "there is nothing since the onset")
    season = hour_of_day(before.at_ns, before.y, before.w)
    blocks = _blocks(before, season, onset_ns, length)
    if blocks is None:
        return _unknown(course, f"the time before the onset has fewer than {LEAST_BLOCKS} windows as long as since")
    return _judged(course, since, season, blocks, n_days=span / DAY_NS)


def hour_of_day(at_ns: Ints, y: Floats, w: Floats) -> Floats:
    """The expected value for each hour of the day, UTC, (24,): means shrunk to the mean of all by what is noise.

    All 24 are the mean where there are less than three days.
    """
    mean = float(np.average(y, weights=w))
    if at_ns[-1] - at_ns[0] < (SEASON_DAYS - 1 / 24) * DAY_NS:
        return np.full(24, mean)
    hour = hours_of(at_ns)
    weight = np.bincount(hour, w, 24)
    means = np.divide(np.bincount(hour, w * y, 24), weight, out=np.full(24, mean), where=weight > 0)
    # Noise of an hour's mean, from how its days differ; the spread of the 24 beyond it is season.
    day = at_ns // (DAY_NS)
    cell = (day - day[0]) * 24 + hour
    w_cell = np.bincount(cell, w)
    y_cell = np.divide(np.bincount(cell, w * y), w_cell, out=np.zeros(len(w_cell)), where=w_cell > 0)
    there = w_cell > 0
    own = np.arange(len(w_cell))[there] % 24
    off = (y_cell[there] - means[own]) ** 2
    n_days = np.maximum(np.bincount(own, minlength=24), 1)
    noise = np.bincount(own, off, 24) / np.maximum(n_days - 1, 1) / n_days
    between = max(0.0, float(np.var(means[weight > 0])) - float(np.mean(noise[weight > 0])))
    shrunk: Floats = mean + (means - mean) * between / (between + np.maximum(noise, _TINY))
    return np.where(weight > 0, shrunk, mean)


def hours_of(at_ns: Ints) -> Ints:
    """The hour of the day, UTC."""
    found: Ints = (at_ns // HOUR_NS) % 24
    return found


def normal_of_t(t: float, df: float) -> float:
    """The normal deviate of the same tail as Student's t, near enough (Wallace 1959, Ann. Math. Stat. 30:1124)."""
    z = np.sqrt(df * np.log1p(t * t / df)) * (8 * df + 1) / (8 * df + 3)
    return float(np.copysign(z, t))


def _comparable(course: Course) -> _Points:
    """What there is, on the scale of its kind, each time once."""
    order = np.argsort(course.at_ns, kind="stable")
    at, x, n = course.at_ns[order], course.x[order], course.n[order]
    last = np.append(at[1:] != at[:-1], True) if len(at) else np.zeros(0, dtype=bool)
    usable = last & np.isfinite(x)
    if course.kind is Kind.RATE:
        usable &= (x >= 0) & (x <= 1) & ~(n <= 0)
    if course.kind is Kind.POSITIVE:
        usable &= x > 0
    if course.kind is Kind.COUNT:
        usable &= x >= 0
    at, x, n = at[usable], x[usable], n[usable]
    has_n = course.kind is not Kind.COUNT and bool(len(n)) and bool(np.isfinite(n).all() and (n > 0).all())
    y = np.log(x) if course.kind is Kind.POSITIVE else np.log1p(x) if course.kind is Kind.COUNT else x
    return _Points(at_ns=at, y=y, w=n if has_n else np.ones(len(x)), has_n=has_n)


@dataclass(frozen=True, kw_only=True)
class _Blocks:
    """The windows before the onset: their means without the season, weights, and days before it, all (B,)."""

    r: Floats
    w: Floats
    day: Ints

    def burst_sd(self) -> float:
        """The deviation of one observation as the far windows of most days have it; 0 with too few days. A session
        that calls a failing tool thirty times is thirty calls, and one event. One bad day is not most."""
        size = np.abs(self.r - np.median(self.r)) * np.sqrt(self.w)
        days = np.unique(self.day)
        if len(days) < LEAST_DAYS:
            return 0.0
        far = [float(np.quantile(size[self.day == one], TAIL)) for one in days]
        return float(np.quantile(far, DAYS_TAIL)) / float(scipy.stats.norm.isf((1 - TAIL) / 2))

    def day_sd(self, unit: float) -> tuple[float, int]:
        """What days differ by beyond the noise of one observation, and how many there are. 0: no more than that, or
        too few to tell."""
        weight = np.bincount(self.day, self.w)
        whole = weight >= 0.3 * float(np.median(weight))
        means = np.bincount(self.day, self.w * self.r)[whole] / weight[whole]
        n = len(means)
        if n < LEAST_DAYS:
            return 0.0, n
        own = float(np.quantile(np.abs(means - np.median(means)), DAYS_TAIL)) / float(
            scipy.stats.norm.isf((1 - DAYS_TAIL) / 2)
        )
        return float(np.sqrt(max(0.0, own**2 - unit**2 / float(np.median(weight[whole]))))), n


def _blocks(before: _Points, season: Floats, onset_ns: int, length: int) -> _Blocks | None:
    """The windows before the onset; None when they are too few."""
    number = (onset_ns - 1 - before.at_ns) // length
    number = number.astype(np.int64)
    w: Floats = np.bincount(number, before.w).astype(np.float64)
    y = np.bincount(number, before.w * (before.y - season[hours_of(before.at_ns)]))
    there = w > 0
    there &= w >= 0.1 * np.median(w[there])
    if there.sum() < LEAST_BLOCKS:
        return None
    day = (np.flatnonzero(there) * length // DAY_NS).astype(np.int64)
    return _Blocks(r=y[there] / w[there], w=w[there], day=day)


def _judged(course: Course, since: _Points, season: Floats, blocks: _Blocks, *, n_days: float) -> Change:
    r, w = blocks.r, blocks.w
    usual = season[hours_of(since.at_ns)]
    expected = float(np.average(usual, weights=since.w))
    centre = float(np.average(r, weights=w)) if course.kind is Kind.RATE else float(np.median(r))
    d = float(np.average(since.y - usual, weights=since.w)) - centre
    # More is behind the window than behind most before: that counts no more than there, for noise is not all sampling.
    n_now = min(float(since.w.sum()), float(np.quantile(w, 0.75)))
    n_all = float(since.w.sum()) if since.has_n else None
    unit = _unit_sd(course, r - centre, w, expected + centre, d, n_now, n_all, burst_sd=blocks.burst_sd())
    within = float(unit / np.sqrt(n_now) * np.sqrt(1 + 1 / max(1.0, n_days)))
    between, days = blocks.day_sd(unit)
    between *= float(np.sqrt(1 + 1 / max(1, days)))
    se = float(np.hypot(within, between))
    df = se**4 / (within**4 / (len(r) - 1) + between**4 / max(1, days - 1))  # Satterthwaite 1946
    half = float(scipy.stats.t.ppf(0.975, df)) * se
    told = {at: _on_scale(course.kind, expected + centre, at) for at in (d, d - half, d + half)}
    return Change(
        series=course.series,
        kind=course.kind,
        before=_value(course.kind, expected + centre),
        now=_value(course.kind, expected + centre + d),
        effect=told[d],
        low=told[d - half],
        high=told[d + half],
        z=normal_of_t(d / se, df),
    )


def _unit_sd(
    course: Course, r: Floats, w: Floats, level: float, d: float, n_now: float, n_all: float | None, *, burst_sd: float
) -> float:  # fmt: skip
    """The deviation of one observation (of one window, where n is not known), robust, and not below what it must be."""
    own = max(MAD_TO_SD * float(np.median(np.abs(r) * np.sqrt(w))), burst_sd)
    if course.kind is Kind.RATE and n_all is not None:
        # The rate under "nothing changed" is that of both times together: a rate of zero before is not sure to be zero.
        n_before = float(w.sum())
        both = (level * n_before + (level + d) * n_all + 0.5) / (n_before + n_all + 1)
        both = min(1 - _TINY, max(_TINY, both))
        return max(own, float(np.sqrt(both * (1 - both))))
    log = course.kind in (Kind.POSITIVE, Kind.COUNT)
    least = FLOOR * (1.0 if log else abs(level))
    return max(own, (least + 1e-9) * float(np.sqrt(n_now)))


def _on_scale(kind: Kind, level: float, d: float) -> float:
    if kind is Kind.POSITIVE:
        return float(np.expm1(d))
    if kind is Kind.COUNT:  # of 1 + the count
        before = max(np.expm1(level), 0.5)
        return float((np.expm1(level + d) - before) / before)
    return d


def _value(kind: Kind, y: float) -> float:
    if kind is Kind.POSITIVE:
        return float(np.exp(y))
    if kind is Kind.COUNT:
        return max(0.0, float(np.expm1(y)))
    return min(1.0, max(0.0, y)) if kind is Kind.RATE else y


def _unknown(course: Course, why: str) -> Change:
    return Change(series=course.series, kind=course.kind, unknown=why)
