"""What a diagnosis is made of: series before and since, how each moved, patterns, and causes with their reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput
from monitors.records import Kind

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Move(StrEnum):
    """What a series did since the onset, as far as it is known."""

    UP = "up"
    DOWN = "down"
    FLAT = "flat"
    UNKNOWN = "unknown"


class Expect(StrEnum):
    """What a pattern says of a sign."""

    UP = "up"
    DOWN = "down"
    FLAT = "flat"
    RISES = "rises"  # up, or as before
    FALLS = "falls"  # down, or as before
    FREE = "free"  # may do anything, and mostly stays
    ANY = "any"  # goes where it goes: another traffic costs, takes and fails otherwise


@dataclass(frozen=True, kw_only=True)
class Course:
    """The points of one series. NaN in `x` is missing; `n` is the observations behind a point, NaN where not known.

    Times may come out of order or twice; the last of equal ones holds. Raises InvalidInput for arrays of other shapes.
    """

    series: str
    kind: Kind
    at_ns: Ints
    x: Floats = field(repr=False)
    n: Floats = field(repr=False)

    def __post_init__(self) -> None:
        if not self.at_ns.ndim == self.x.ndim == self.n.ndim == 1 or not len(self.at_ns) == len(self.x) == len(self.n):
            raise InvalidInput("a course has one time, value and n for each point", field="course")


@dataclass(frozen=True, kw_only=True)
class MixCourse:
    """How often each of `values` came, by point: `counts` (T, K). Raises InvalidInput for arrays of other shapes."""

    series: str
    at_ns: Ints
    values: tuple[str, ...]
    counts: Floats = field(repr=False)

    def __post_init__(self) -> None:
        if self.counts.shape != (len(self.at_ns), len(self.values)):
            raise InvalidInput("a mix has one count for each point and value", field="mix")
        if not np.isfinite(self.counts).all() or (self.counts < 0).any():
            raise InvalidInput("counts of a mix are numbers from 0 on", field="mix")


@dataclass(frozen=True, kw_only=True)
class Change:
    """How a series stands since the onset against what it would be at these hours, had nothing happened.

    `effect` is now - before of rates and levels, now / before - 1 of counts, latencies and costs, and of a mix the
    share of traffic that moved; `low`, `high` its 95 % interval. `z` is in standard deviations of windows of the same
    length before. Where `unknown` says why, the numbers are None.
    """

    series: str
    kind: Kind
    before: float | None = None
    now: float | None = None
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    z: float | None = None
    unknown: str = ""
    said: str = ""  # of a mix: which values came more and less often

    @property
    def is_known(self) -> bool:
        """Whether there is a figure."""
        return self.z is not None and self.effect is not None

    def as_json(self) -> dict[str, Any]:
        """Its fields; null is not known."""
        return {**asdict(self), "kind": self.kind.value}


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """A cause, and what it does to the signs (monitors/diagnosis/signs.py).

    `key` are the signs without which it is not told, `expects` the others; a sign that neither names is expected to be
    as before, though it may move.
    """

    name: str
    title: str
    cause: str
    key: Mapping[str, Expect]
    expects: Mapping[str, Expect] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A sign as it was seen: its strongest series, how it moved, and how likely each move is."""

    sign: str
    words: str
    move: Move
    p_up: float
    p_flat: float
    p_down: float
    weight: float  # z, less where the effect is smaller than the least that counts
    change: Change | None = None
    n_series: int = 0


@dataclass(frozen=True, kw_only=True)
class Cause:
    """A pattern with how well it fits: `share` of all patterns' fit, with what speaks for it and against it."""

    pattern: str
    title: str
    share: float
    score: float
    reasons: tuple[str, ...]
    against: tuple[str, ...]
    first: tuple[str, ...] = ()
    runbook: str = ""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Causes, the likeliest first. `told` is the one to check first; None where nothing fits, and `why` says so."""

    told: Cause | None
    why: str
    causes: tuple[Cause, ...]
    moved: tuple[Seen, ...]  # the strongest first
    unknown: tuple[str, ...]  # signs of which nothing is known

    def as_json(self) -> dict[str, Any]:
        """For the incident's record."""
        return {
            "told": None if self.told is None else asdict(self.told),
            "why": self.why,
            "causes": [asdict(one) for one in self.causes],
            "moved": [_seen_told(one) for one in self.moved],
            "unknown": list(self.unknown),
        }


def _seen_told(one: Seen) -> dict[str, Any]:
    return {
        "sign": one.sign,
        "words": one.words,
        "move": one.move.value,
        "weight": one.weight,
        "change": None if one.change is None else one.change.as_json(),
    }
