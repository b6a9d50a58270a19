"""What a person looks at: ten example sessions, when it began, and the deploy or rollout nearest in time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from core.clock import NS_PER_S
from core.errors import InvalidInput
from monitors.diagnosis.changes import HOUR_NS, MAD_TO_SD, hour_of_day, hours_of
from monitors.diagnosis.records import Course

N_EXAMPLES: Final = 10
MOST_OF_USER: Final = 2
NEAR_NS: Final = 24 * HOUR_NS
LEAST_POINTS: Final = 20
_CHI2_95: Final = 3.841  # of one degree of freedom: half of it is how far the log likelihood may fall


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A session since the onset that may be shown. `badness`: how bad it was, larger is worse; `groups` are its values
    of the dimensions of attribution."""

    session_id: str
    at_ns: int
    badness: float
    user_id: str | None = None
    groups: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """Something that was changed: a release, a rollout's step, a prompt, a monitor, a rubric. `id` of a rollout."""

    what: str
    name: str
    at_ns: int
    id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Onset:
    """When a series began to be otherwise; in [low, high] with 95 %. `z` of the step."""

    at_ns: int
    low_ns: int
    high_ns: int
    z: float


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """What was changed nearest before the onset, and how long before; None where nothing was, and `said` says so."""

    found: Deployed | None
    before_s: float | None
    said: str


def examples(
    candidates: Sequence[Candidate], where: Sequence[tuple[str, str]] = (), n: int = N_EXAMPLES
) -> tuple[str, ...]:
    """Ids of up to `n` sessions to open: bad ones, of the groups where it happened (`where`: dimension, value), spread
    over time and over users. The same candidates give the same examples, in any order.

    Raises InvalidInput for n below 1.
    """
    if n < 1:
        raise InvalidInput(f"at least one example is asked for, not {n}", field="n")
    once = {one.session_id: one for one in sorted(candidates, key=lambda one: (one.at_ns, one.session_id))}
    bad = [one for one in once.values() if np.isfinite(one.badness) and one.badness > 0]
    ranked = sorted(bad, key=lambda one: (-_fits(one, where), -one.badness, one.at_ns, one.session_id))
    chosen = _chosen(ranked, n, where)
    return tuple(one.session_id for one in sorted(chosen, key=lambda one: (one.at_ns, one.session_id)))


def _fits(one: Candidate, where: Sequence[tuple[str, str]]) -> int:
    return sum(one.groups.get(dimension) == value for dimension, value in where)


def _chosen(ranked: Sequence[Candidate], n: int, where: Sequence[tuple[str, str]]) -> list[Candidate]:
    """The best, at most two of a user; where many are as good, one of each piece of time in turn."""
    left, users, chosen = list(ranked), Counter[str](), list[Candidate]()
    while left and len(chosen) < n:
        best = (_fits(left[0], where), left[0].badness)
        equal = [one for one in left if (_fits(one, where), one.badness) == best]
        left = left[len(equal) :]
        for one in _spread(equal, n):
            if len(chosen) < n and (one.user_id is None or users[one.user_id] < MOST_OF_USER):
                chosen.append(one)
                users[one.user_id or ""] += 1
    return chosen


def _spread(equal: Sequence[Candidate], n: int) -> list[Candidate]:
    """Equally good ones, in an order in which the first few lie apart in time."""
    pieces = np.array_split(np.arange(len(equal)), min(n, len(equal)))
    rounds = max(len(piece) for piece in pieces)
    return [equal[piece[at]] for at in range(rounds) for piece in pieces if at < len(piece)]


def nearest(deployed: Sequence[Deployed], onset: Onset, *, near_ns: int = NEAR_NS) -> Nearest:
    """The last change before the onset, as far as it is known when that was. What came later is no cause."""
    before = [one for one in deployed if onset.low_ns - near_ns <= one.at_ns <= onset.high_ns]
    if not before:
        hours = near_ns / HOUR_NS
        return Nearest(found=None, before_s=None, said=f"nothing was deployed in the {hours:.0f} h before it began")
    last = max(before, key=lambda one: (one.at_ns, one.name))
    before_s = (onset.at_ns - last.at_ns) / NS_PER_S
    if abs(before_s) < 60:
        lag = "as it began"
    else:
        lag = f"{_lasting(abs(before_s))} {'before' if before_s > 0 else 'after'} it seems to have begun"
    return Nearest(found=last, before_s=before_s, said=f"{last.what} {last.name}, {lag}")


def onset_of(course: Course) -> Onset | None:
    """When a step most likely came into a series, by likelihood of one step in otherwise level residuals.

    z(t) = |sum of residuals since t, less their mean| / sd of that; the residual is what the hour of day leaves. The
    interval holds the times whose log likelihood is within 1.92 of the best. None for fewer than 20 points.
    """
    usable = np.isfinite(course.x)
    at, x = course.at_ns[usable], course.x[usable]
    order = np.argsort(at, kind="stable")
    at, x = at[order], x[order]
    w = np.where(np.isfinite(course.n[usable][order]) & (course.n[usable][order] > 0), course.n[usable][order], 1.0)
    if len(x) < LEAST_POINTS:
        return None
    r = x - hour_of_day(at, x, w)[hours_of(at)]
    r = r - np.average(r, weights=w)
    # The spread from differences of neighbours: a step does not widen it.
    step = np.diff(r) / np.sqrt(1 / w[1:] + 1 / w[:-1])
    sd = MAD_TO_SD * float(np.median(np.abs(step - np.median(step))))
    if sd <= 0:
        sd = float(np.std(step)) or 1e-12
    since = np.cumsum((w * r)[::-1])[::-1]
    weight = np.cumsum(w[::-1])[::-1]
    whole = weight[0]
    inner = slice(1, len(x))  # a step at the first point is none
    gain = since[inner] ** 2 / (weight[inner] * (whole - weight[inner]) / whole) / sd**2
    best = int(np.argmax(gain))
    near = np.flatnonzero(gain >= gain[best] - _CHI2_95)
    times = at[inner]
    return Onset(
        at_ns=int(times[best]), low_ns=int(times[near[0]]), high_ns=int(times[near[-1]]), z=float(np.sqrt(gain[best]))
    )


def _lasting(seconds: float) -> str:
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
