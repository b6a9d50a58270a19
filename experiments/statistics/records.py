"""What the statistics of experiments take and give: sums that add, and effects with their intervals or their lack."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Sums over the `n` units of one cell (arm, stratum, day), which add over cells.

    Of a unit: y is the sum of the metric over its observations, s the number of them (1 where the metric is per unit),
    x its covariate, w 1 where it has one (where it has none, a unit without a past, x and w are 0). `n_missing` units
    have no observation and are in no other sum. Cluster terms are these squares and products: the unit is the cluster.
    """

    n: int = 0
    n_missing: int = 0
    y: float = 0.0
    s: float = 0.0
    x: float = 0.0
    yy: float = 0.0
    ss: float = 0.0
    xx: float = 0.0
    sy: float = 0.0
    xy: float = 0.0
    xs: float = 0.0
    w: float = 0.0
    wy: float = 0.0
    ws: float = 0.0

    def __add__(self, other: Moments) -> Moments:
        return Moments(**{one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(self)})

    @property
    def mean(self) -> float | None:
        """y / s; None without an observation."""
        return self.y / self.s if self.s > 0 else None


class Why(StrEnum):
    """Why there is no estimate. Never written as 0, NaN, p = 1 or an empty interval."""

    NO_UNITS = "no_units"
    ONE_ARM = "one_arm"
    ONE_UNIT = "one_unit"  # no spread can be told from one unit
    CONSTANT = "constant"  # every unit says the same: nothing to weigh
    NOT_FINITE = "not_finite"
    FEW_UNITS = "few_units"
    NO_OBSERVATIONS = "no_observations"
    ZERO_BASELINE = "zero_baseline"  # a relative effect of nothing
    NOT_CERTIFIED = "not_certified"  # a judge's metric whose judge may not decide now
    NOT_COVERED = "not_covered"  # the method has no answer for this kind of metric


@dataclass(frozen=True, kw_only=True)
class NoEffect:
    """No estimate, why, and what to do."""

    why: Why
    text: str


@dataclass(frozen=True, kw_only=True)
class Effect:
    """Treatment against control, in the metric's unit (not oriented: above 0 the treatment's figure is higher).

    `low`, `high` at `level`, two-sided, by `method`; of a sequential method they hold at this look and all before it.
    `se` is the standard error, `df` the degrees of freedom where a t was taken, `p_value` two-sided, at this look.
    """

    control: float
    treatment: float
    n_control: int
    n_treatment: int
    estimate: float
    se: float
    low: float
    high: float
    level: float
    method: str
    p_value: float | None = None
    df: float | None = None

    @property
    def relative(self) -> float | None:
        """The estimate as a share of the control; None of a control of 0."""
        return self.estimate / abs(self.control) if self.control else None
