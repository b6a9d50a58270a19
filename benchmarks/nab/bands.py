"""What our bands say at each point of the series: as they page, and the score behind it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.nab.corpus import Floats, Series
from monitors.bands.novelty import NoveltyBand, strongest
from monitors.records import Band, Points

# From the state and the points of many series at one time: the state after it, which breached, how strange each was.
Step = Callable[[Any, Points], tuple[Any, Floats, Floats]]


@dataclass(frozen=True, kw_only=True)
class Said:
    """Of each point of one series."""

    paged: Floats
    """1 where there was a breach, 0 elsewhere."""
    score: Floats
    """Of the novelty band at its breaches alone, 0 elsewhere; of other bands |z| at each point that was judged."""


def said(series: Sequence[Series], band: Band[Any]) -> list[Said]:
    """One pass over each series, in the order of time, nothing known of what comes later.

    Series of the same times are stepped together, which changes nothing but how long it takes.
    """
    together: dict[bytes, list[int]] = defaultdict(list)
    for position, one in enumerate(series):
        together[one.at_ns.tobytes()].append(position)
    found: dict[int, Said] = {}
    for positions in together.values():
        found.update(zip(positions, _pass([series[one] for one in positions], band), strict=True))
    return [found[position] for position in range(len(series))]


def rested(answers: Sequence[Said], quiet: int) -> list[Said]:
    """A page where a breach begins: none in the `quiet` points before. The others are the same alert still."""
    return [Said(paged=_begins(one.paged, quiet), score=one.score) for one in answers]


def literal(series: Series, alpha: float, k: float = 3.0) -> Said:
    """The rule of everybody's slides, each point: |x - mean| > k sigma of an EMA, compared and then updated."""
    z = np.zeros(len(series.x))
    mean, variance = float(series.x[0]), 0.0
    for at, x in enumerate(series.x.tolist()):
        d = x - mean
        z[at] = abs(d) / variance**0.5 if variance > 0 else 0.0
        mean += alpha * d
        variance = (1 - alpha) * (variance + alpha * d * d)
    return Said(paged=(z > k).astype(np.float64), score=z)


def _pass(series: Sequence[Series], band: Band[Any]) -> list[Said]:
    values = np.stack([one.x for one in series])
    paged, score = np.zeros(values.shape), np.zeros(values.shape)
    state = band.start(len(series))
    step = _novel(band) if isinstance(band, NoveltyBand) else _by_z(band)
    for at, at_ns in enumerate(series[0].at_ns.tolist()):
        state, paged[:, at], score[:, at] = step(state, Points.of(at_ns, values[:, at]))
    return [Said(paged=one, score=other) for one, other in zip(paged, score, strict=True)]


def _begins(paged: Floats, quiet: int) -> Floats:
    begins = np.zeros(len(paged))
    at = np.flatnonzero(paged)
    begins[at[np.diff(at, prepend=-quiet - 1) > quiet]] = 1
    return begins


def _novel(band: NoveltyBand) -> Step:
    def step(state: Any, points: Points) -> tuple[Any, Floats, Floats]:
        now = band.features(state, points)
        after, judged = band.stepped(state, points, now)
        breach = (judged.breach != 0).astype(np.float64)
        return after, breach, breach * np.abs(strongest(now)[0])

    return step


def _by_z(band: Band[Any]) -> Step:
    def step(state: Any, points: Points) -> tuple[Any, Floats, Floats]:
        after, judged = band.step(state, points)
        return after, (judged.breach != 0).astype(np.float64), np.abs(np.nan_to_num(judged.z))

    return step
