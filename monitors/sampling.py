"""The distribution of single values as a series: how unlikely it is that the values of the last hours are drawn from
what came before. Pure.

Every bucket tells of the window that ends with it, held against a reference by one of the measures of distribution.py:
Kolmogorov and Smirnov's where values differ, the population stability index where they are of few kinds, the energy
distance of embeddings. The figure is -log10 of the chance of one as far apart where nothing has changed, or 0 where
the distance is below the least that anybody would care for: one edge fits all, as of mixes (mixing.py). A window of
less than a day is held against the same hours of the days before, so that a night is not held against days.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from core.clock import NS_PER_S
from core.errors import InvalidInput
from core.windows import Window
from monitors.distribution import Asked, Measure, NotKnown, Shift, Vectors, energy, ks, psi
from monitors.grids import Ints, Row
from monitors.mixing import LARGEST, MixWindows
from monitors.records import Floats

DAY_S: Final = 86_400
KINDS: Final = 20  # distinct values up to which cells tell more than ranks
MOST_VECTORS: Final = 300  # of a side
LEAST_ENERGY: Final = 0.005
# A chance is told by so many permutations and no more: an edge beyond what they can tell would never be passed.
LEAST_LEVEL: Final = 2e-5
OF_VALUES: Final = (Measure.KS, Measure.PSI)


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Values, (n,), or vectors, (n, dims), with when each was, in order of time."""

    at_ns: Ints
    values: Floats = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Held:
    """What is held against what. `measure` None: by what the values are. `same_hours`: against these hours of the days
    before, else against all of the reference."""

    windows: MixWindows
    measure: Measure | None = None
    same_hours: bool = True

    @classmethod
    def of(cls, band: Mapping[str, Any], *, vectors: bool = False) -> Held:
        """What a definition's band says. Raises InvalidInput."""
        windows = MixWindows.of({**({"least": LEAST_ENERGY} if vectors else {}), **band})
        measure, hours = band.get("measure"), band.get("hours", "same")
        known = (Measure.ENERGY,) if vectors else OF_VALUES
        if measure is not None and measure not in {one.value for one in known}:
            some = ", ".join(one.value for one in known)
            raise InvalidInput(f"measure={str(measure)[:20]!r} is not one of {some}", field="band")
        if hours not in ("same", "all"):
            raise InvalidInput(f"hours={str(hours)[:20]!r} is not one of same, all", field="band")
        if windows.window_s < DAY_S and hours == "same" and windows.reference_s < DAY_S:
            raise InvalidInput("the same hours of the days before take a reference of a day at least", field="band")
        return cls(
            windows=windows, measure=None if measure is None else Measure(measure),
            same_hours=hours == "same" and windows.window_s < DAY_S,
        )  # fmt: skip


def sample_rows(key: str, samples: Samples, window: Window, step_s: int, held: Held, level: float) -> list[Row]:
    """The figure of every bucket of the window. `samples` reach back as far as `held` looks; `level` is the chance that
    counts as none. A bucket with too little on either side has no figure."""
    step_ns = step_s * NS_PER_S
    rows = []
    for end_ns in range(window.start_ns // step_ns * step_ns + step_ns, window.end_ns + 1, step_ns):
        found = shift_at(samples, end_ns, held, level)
        if isinstance(found, Shift):
            rows.append(Row(key=key, at_ns=end_ns - step_ns, x=_figure(found), n=float(found.n_now)))
    return rows


def shift_at(samples: Samples, end_ns: int, held: Held, level: float) -> Shift | NotKnown:
    """How far apart the window that ends then and its reference are."""
    now = _between(samples, end_ns - held.windows.window_s * NS_PER_S, end_ns)
    before = [_between(samples, start, end) for start, end in _references(end_ns, held)]
    return _compared(np.concatenate(before), now, held, Asked(level=level, least=held.windows.least), end_ns)


def _references(end_ns: int, held: Held) -> Iterator[tuple[int, int]]:
    length, reference = held.windows.window_s * NS_PER_S, held.windows.reference_s * NS_PER_S
    start_ns = end_ns - length
    if not held.same_hours:
        yield start_ns - reference, start_ns
        return
    day = DAY_S * NS_PER_S
    for n_days in range(1, reference // day + 1):
        yield start_ns - n_days * day, end_ns - n_days * day


def _between(samples: Samples, start_ns: int, end_ns: int) -> Floats:
    first, last = np.searchsorted(samples.at_ns, [start_ns, end_ns])
    return samples.values[first:last]


def _compared(before: Floats, now: Floats, held: Held, asked: Asked, end_ns: int) -> Shift | NotKnown:
    if samples_are_vectors(now):
        chance = np.random.default_rng(end_ns // NS_PER_S)  # by the bucket, so that it is told again as it was told
        vectors: tuple[Vectors, Vectors] = (before.astype(np.float64), now.astype(np.float64))
        within = replace(asked, level=max(asked.level, LEAST_LEVEL))
        return energy(*vectors, within, chance, at_most=MOST_VECTORS)
    measure = held.measure
    if measure is None:
        few = len(np.unique(np.concatenate([before, now]))) <= KINDS
        measure = Measure.PSI if few else Measure.KS
    return psi(before, now, asked) if measure is Measure.PSI else ks(before, now, asked)


def samples_are_vectors(values: Floats) -> bool:
    """Whether each is a vector."""
    return values.ndim == 2


def _figure(found: Shift) -> float:
    if found.distance < found.least:
        return 0.0
    return min(LARGEST, -math.log10(max(found.p, 10**-LARGEST)))
