"""What an analysis is given besides the sums, and what it says: health, effects, strata and a decision in words."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import polars as pl

from experiments.records import Definition, ExperimentStatus, MetricSpec
from experiments.statistics.records import Effect, NoEffect
from experiments.statistics.selection import Selected
from experiments.statistics.simpson import Simpson
from experiments.statistics.strata import LevelEffect
from experiments.statistics.tables import ChiSquare, Common


@dataclass(frozen=True, kw_only=True)
class ArmExposure:
    """Who met a variant. `n_mature` units are old enough to have an outcome, `n_without` of them have none of the
    primary metric's. `n_lost` of `n_sent` sessions that the gateway sent there left no span of the agent (None: not
    known, as where the app assigns)."""

    variant: str
    n_units: int
    n_sessions: int
    n_mature: int = 0
    n_without: int = 0
    n_sent: int | None = None
    n_lost: int | None = None


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """Who met which variant, as it was observed.

    `by_day`: columns day (date of first exposure), variant, n_units. `by_stratum`: attribute, level, variant, n_units.
    `weights_known`: the arms' weights are what units were split by; False of a table of which nobody said. `n_multiple`
    units were seen in more than one arm (they are in none of the counts and sums), `n_crossed` in another than they
    were assigned to (None: not known). `n_before_exposure` outcomes and `n_skewed` times were left out or are doubtful.
    `renamed`: variants seen that are no arm, with their units. `n_overrides` testers, who never count.
    """

    arms: tuple[ArmExposure, ...]
    by_day: pl.DataFrame
    by_stratum: pl.DataFrame
    weights_known: bool = True
    n_multiple: int = 0
    n_crossed: int | None = None
    n_before_exposure: int = 0
    n_skewed: int = 0
    n_overrides: int = 0
    renamed: Mapping[str, int] = field(default_factory=dict)

    @property
    def n_units(self) -> int:
        """Over all arms."""
        return sum(one.n_units for one in self.arms)


BY_DAY = {"day": pl.Date(), "variant": pl.String(), "n_units": pl.Int64()}
BY_STRATUM = {"attribute": pl.String(), "level": pl.String(), "variant": pl.String(), "n_units": pl.Int64()}


@dataclass(frozen=True, kw_only=True)
class Looked:
    """When and at what. `days`: the looks, each a complete day (UTC) of first exposures, the last one now; none yet:
    nothing is estimated. `observations`: by metric, columns unit, variant, value, for quantiles; `sampled`: they are of
    a sample of the units. `corrected`: by metric and variant, of metrics that a judge scores."""

    at_ns: int
    started_at_ns: int | None
    days: tuple[dt.date, ...]
    exposure: Exposure
    status: ExperimentStatus = ExperimentStatus.RUNNING
    observations: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    corrected: Mapping[tuple[str, str], Effect | NoEffect] = field(default_factory=dict)
    sampled: bool = False


class Word(StrEnum):
    """The decision, in the word that users know."""

    NOT_STARTED = "not_started"
    KEEP_RUNNING = "keep_running"
    SHIP = "ship"
    DO_NOT_SHIP = "do_not_ship"
    UNHEALTHY = "unhealthy"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The word, a line for the page's top, why, what is left, and the caution that goes with a winner's estimate.
    `variant`: which treatment to ship."""

    word: Word
    headline: str
    reasons: tuple[str, ...] = ()
    days_left: int | None = None
    caution: str | None = None
    variant: str | None = None


class HealthCheck(StrEnum):
    """What is looked at before any effect."""

    SRM = "srm"
    STRATUM_SRM = "stratum_srm"
    MIX = "mix"  # of a table whose split nobody said: do the arms have the same mix of strata
    MULTIPLE_EXPOSURE = "multiple_exposure"
    CROSSOVER = "crossover"
    MISSING_OUTCOMES = "missing_outcomes"
    TELEMETRY_LOSS = "telemetry_loss"
    NOVELTY = "novelty"
    OUTCOMES_BEFORE_EXPOSURE = "outcomes_before_exposure"
    CLOCK_SKEW = "clock_skew"
    RENAMED_VARIANT = "renamed_variant"


class HealthStatus(StrEnum):
    """Failed blocks the decision; unknown is what nobody could tell, and blocks nothing."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Health:
    """One check. `e_value` and `p_value` where it weighs chance; `stratum` of a check within one, `variant` of a check
    of one treatment."""

    check: HealthCheck
    status: HealthStatus
    text: str
    e_value: float | None = None
    p_value: float | None = None
    stratum: str | None = None
    variant: str | None = None


class Finding(StrEnum):
    """What one metric says of one variant, at the design's error rate."""

    BETTER = "better"
    WORSE = "worse"
    NOT_WORSE = "not_worse"  # not by more than the margin
    UNSETTLED = "unsettled"
    MISSING = "missing"


@dataclass(frozen=True, kw_only=True)
class Bayes:
    """The Bayesian view of an effect, for those who want one; nothing is decided by it."""

    p_better: float
    expected_loss: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class VariantAnalysis:
    """One treatment against the control in one metric.

    `effect` is the headline (pooled or stratified, corrected where a judge scores); its interval holds at every look.
    `p_adjusted`: of the primary over treatments, of guardrails by Holm, of secondary ones by Benjamini-Hochberg. `mde`:
    the effect that a test of this many units, looked at once, finds with a chance of .8. `novelty`: what days since
    exposure say.
    """

    variant: str
    effect: Effect | NoEffect
    pooled: Effect | NoEffect
    stratified: Effect | NoEffect
    corrected: bool
    finding: Finding
    p_adjusted: float | None = None
    bayes: Bayes | None = None
    mde: float | None = None
    novelty: str | None = None
    selected: Selected | None = None


@dataclass(frozen=True, kw_only=True)
class MetricAnalysis:
    """One metric. `stratified_headline`: pooled and stratified disagree for some variant, so the latter is shown."""

    spec: MetricSpec
    unit_text: str
    stratified_headline: bool
    variants: tuple[VariantAnalysis, ...]


@dataclass(frozen=True, kw_only=True)
class SequencePoint:
    """What the design said at one look: the pooled effect with its interval, and the boundary of z."""

    metric: str
    variant: str
    day: dt.date
    n_units: int
    fraction: float | None
    estimate: float
    low: float
    high: float
    z: float
    boundary: float


@dataclass(frozen=True, kw_only=True)
class StrataAnalysis:
    """One attribute, metric and variant: the forest, the test over strata, whether they differ, and the mix.
    `cmh` with continuity, `cmh_plain` without; `homogeneity` of odds ratios (Breslow-Day, `tarone` with his correction)
    or, of what is not 0 and 1, of differences. `sentence`: in plain words, None where nothing can be stratified yet."""

    attribute: str
    metric: str
    variant: str
    levels: tuple[LevelEffect, ...]
    collapsed: tuple[str, ...]
    cmh: ChiSquare | NoEffect | None
    odds_ratio: Common | NoEffect | None
    homogeneity: ChiSquare | NoEffect
    simpson: Simpson | NoEffect
    sentence: str | None
    cmh_plain: ChiSquare | NoEffect | None = None
    risk_difference: Common | NoEffect | None = None
    tarone: ChiSquare | NoEffect | None = None


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """All that is told of an experiment at one look."""

    definition: Definition
    looked: Looked
    fraction: float | None
    decision: Decision
    health: tuple[Health, ...]
    metrics: tuple[MetricAnalysis, ...]
    sequence: tuple[SequencePoint, ...]
    strata: tuple[StrataAnalysis, ...]
