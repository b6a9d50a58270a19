"""What attribution takes and gives: groups of two windows by their moments, and what each carries of the change."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from core.errors import InvalidInput
from monitors.diagnosis.records import Change, Floats, Ints
from monitors.records import Kind


class Verdict(StrEnum):
    """What a dimension says of a change."""

    ONLY_HERE = "only_here"  # one group carries it, and the rest is as before
    MORE_HERE = "more_here"  # one group carries more than its share
    EVERYWHERE = "everywhere"  # all groups about alike
    UNCHANGED = "unchanged"  # no group's contribution can be told from nothing


@dataclass(frozen=True, kw_only=True)
class Groups:
    """Sessions of two windows, before and now, by the value of one dimension: `n`, `total`, `squares` are (2, G).

    They are the number of sessions and the sums of y and y^2, where y is 1 or 0 for a rate. Groups that overlap (a
    session may use several tools) need the moments of all sessions, `whole` (2, 3). Raises InvalidInput for shapes and
    counts that are none.
    """

    dimension: str
    values: tuple[str, ...]
    n: Floats = field(repr=False)
    total: Floats = field(repr=False)
    squares: Floats = field(repr=False)
    whole: Floats | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        shape = (2, len(self.values))
        if self.n.shape != shape or self.total.shape != shape or self.squares.shape != shape:
            raise InvalidInput("groups have counts, sums and squares of shape (2, groups)", field="groups")
        parts = [self.n, self.total, self.squares, *([] if self.whole is None else [self.whole])]
        if not all(np.isfinite(one).all() for one in parts) or (self.n < 0).any() or (self.squares < 0).any():
            raise InvalidInput("counts and squares of groups are numbers from 0 on", field="groups")
        if self.whole is not None and self.whole.shape != (2, 3):
            raise InvalidInput("the whole has n, sum and squares of both windows", field="groups")

    @property
    def overlapping(self) -> bool:
        """Whether a session may be in several groups."""
        return self.whole is not None

    @property
    def whole_n(self) -> Floats:
        """Sessions of both windows, (2,)."""
        return self.n.sum(axis=1) if self.whole is None else self.whole[:, 0]

    @property
    def whole_total(self) -> Floats:
        """Sums of both windows, (2,)."""
        return self.total.sum(axis=1) if self.whole is None else self.whole[:, 1]

    @property
    def whole_squares(self) -> Floats:
        """Sums of squares of both windows, (2,)."""
        return self.squares.sum(axis=1) if self.whole is None else self.whole[:, 2]

    def taken(self, rows: Ints) -> Groups:
        """Some of the groups."""
        return Groups(
            dimension=self.dimension,
            values=tuple(self.values[at] for at in rows),
            n=self.n[:, rows],
            total=self.total[:, rows],
            squares=self.squares[:, rows],
            whole=self.whole,
        )


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate with its standard error and interval."""

    value: float
    se: float
    low: float
    high: float

    @property
    def z(self) -> float:
        """In standard errors; 0 where there is none."""
        return self.value / self.se if self.se > 0 else 0.0


@dataclass(frozen=True, kw_only=True)
class Split:
    """A change as that within groups and that of the mix."""

    within: Interval
    mix: Interval


@dataclass(frozen=True, kw_only=True)
class Contribution:
    """What one group carries of the change. `total` = within + mix with its interval; `part` of the whole change;
    `rest` is the change of all other sessions. None is not known: the group was not there, or nothing else was."""

    value: str
    n_before: float
    n_now: float
    share_before: float
    share_now: float
    before: float | None
    now: float | None
    total: Interval
    within: float
    mix: float
    part: float | None
    rest: Interval | None

    @property
    def own_change(self) -> float:
        """The change of the group's own mean; of one that is new, its contribution."""
        return self.now - self.before if self.now is not None and self.before is not None else self.total.value

    def as_json(self) -> dict[str, Any]:
        """Its fields."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """How a change splits over a dimension: its groups with most of it first."""

    dimension: str
    change: Interval
    split: Split | None  # None for groups that overlap
    contributions: tuple[Contribution, ...]
    verdict: Verdict

    @property
    def lead(self) -> float:
        """By how much the leading group's part of the change is more than its part of traffic."""
        if not self.contributions or self.contributions[0].part is None:
            return 0.0
        first = self.contributions[0]
        return abs(first.part or 0.0) - max(first.share_before, first.share_now)

    def as_json(self) -> dict[str, Any]:
        """For the incident's record."""
        return {**asdict(self), "verdict": self.verdict.value}


def within_change(found: Attribution, series: str = "resolution:within") -> Change:
    """The change within groups as a series of its own, by which a shifted mix is told from worse answers."""
    if found.split is None:
        return Change(series=series, kind=Kind.LEVEL, unknown="groups that overlap do not add up")
    one = found.split.within
    if one.se <= 0:
        return Change(series=series, kind=Kind.LEVEL, unknown="too few sessions in the same groups before and now")
    return Change(
        series=series,
        kind=Kind.LEVEL,
        before=0.0,
        now=one.value,
        effect=one.value,
        low=one.low,
        high=one.high,
        z=one.z,
        said=f"{one.value:+.3f} in the same groups",
    )
