"""What an experiment is: its unit, its arms, its metrics with their roles, how long it looks and by which strata.

A definition is registered before the first unit and never changes: what would change it makes the next version, with a
salt of its own. Only `coverage` may grow while a version runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class UnitKind(StrEnum):
    """What is randomised."""

    USER = "user"
    SESSION = "session"


class AssignedBy(StrEnum):
    """Who puts units into arms: our gateway, so that the arm of every unit can be computed, or the app itself, of which
    only what its spans say is known."""

    GATEWAY = "gateway"
    APP = "app"


class ExperimentStatus(StrEnum):
    """Where an experiment stands. Stopped is for ever; another version may follow."""

    DRAFT = "draft"
    RUNNING = "running"
    STOPPED = "stopped"


class Design(StrEnum):
    """How often may be looked at it without fooling oneself. Fixed by whether a horizon is known, never changed after
    the start."""

    GROUP_SEQUENTIAL = "group_sequential"  # Lan-DeMets spending of O'Brien-Fleming's kind up to the horizon
    CONFIDENCE_SEQUENCE = "confidence_sequence"  # asymptotic, holds at every moment, without a horizon


class MetricRole(StrEnum):
    """Primary: what is decided by, one. Guardrail: must not be harmed by more than its margin, Holm over all of them.
    Secondary: for exploration, Benjamini-Hochberg."""

    PRIMARY = "primary"
    GUARDRAIL = "guardrail"
    SECONDARY = "secondary"


class MetricKind(StrEnum):
    """Mean: the sum over a unit's observations by their number (a ratio of two random sums where units have several).
    Quantile: of the observations."""

    MEAN = "mean"
    QUANTILE = "quantile"


class Better(StrEnum):
    """Which way is better."""

    HIGHER = "higher"
    LOWER = "lower"


@dataclass(frozen=True, kw_only=True)
class MetricSpec:
    """One metric of an experiment. `name` is one of experiments/metrics.py or an evaluator's. `margin` is how much may
    be lost, in the metric's unit, or as a share of the control's mean where `relative`; a guardrail has one. `quantile`
    of a metric of that kind is from 0 to 1."""

    name: str
    role: MetricRole
    better: Better
    kind: MetricKind = MetricKind.MEAN
    quantile: float | None = None
    margin: float | None = None
    relative: bool = False
    binary: bool = False  # every observation is 0 or 1


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A variant: its name, the release that its units meet (None: the app knows), and its weight."""

    variant: str
    release: str | None
    weight: float


@dataclass(frozen=True, kw_only=True)
class Horizon:
    """When an experiment of known length ends: `units` over all arms, and the days that they take (None: not said)."""

    units: int
    days: int | None = None


@dataclass(frozen=True, kw_only=True)
class Definition:
    """One version of an experiment as it was registered.

    `arms`: the first is the control. `slot`: the part of the layer's places that is this experiment's; experiments of
    one layer with disjoint slots are mutually exclusive. `holdout`: the share of an app's units that is in no
    experiment which names one; the same units for all of them. `overrides`: unit to variant, for testers, who never
    count. `covariate_days`: the metric over so many days before a unit's first exposure is CUPED's covariate; 0 is
    none. `mature_s`: an outcome may be missing for so long after a session began before it counts as missing.
    """

    name: str
    app: str
    version: int
    unit: UnitKind
    arms: tuple[Arm, ...]
    metrics: tuple[MetricSpec, ...]
    assigned_by: AssignedBy = AssignedBy.GATEWAY
    horizon: Horizon | None = None
    alpha: float = 0.05
    strata: tuple[str, ...] = ()
    layer: str = "release"
    slot: tuple[float, float] = (0.0, 1.0)
    holdout: float = 0.0
    overrides: Mapping[str, str] = field(default_factory=dict)
    covariate_days: int = 0
    mature_s: int = 0
    hypothesis: str = ""
    owner: str = ""

    @property
    def design(self) -> Design:
        """By whether there is a horizon."""
        return Design.CONFIDENCE_SEQUENCE if self.horizon is None else Design.GROUP_SEQUENTIAL

    @property
    def control(self) -> Arm:
        """The arm that the others are compared with."""
        return self.arms[0]

    @property
    def primary(self) -> MetricSpec:
        """What is decided by."""
        return next(one for one in self.metrics if one.role is MetricRole.PRIMARY)

    @property
    def salt(self) -> str:
        """By which units of this version find their arms."""
        return f"{self.name}:{self.version}"
