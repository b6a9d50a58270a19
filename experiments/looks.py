"""One metric of one treatment at each look: contrasts, boundaries, and p-values that may be read at every look."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from experiments import sums
from experiments.records import Definition, Design, MetricSpec
from experiments.statistics import sequential
from experiments.statistics.cuped import adjusted_contrast
from experiments.statistics.effects import ArmMean, Contrast, contrast
from experiments.statistics.records import Effect, Moments, NoEffect, Why
from experiments.statistics.selection import Selected, selected
from experiments.statistics.sequential import Sequential


@dataclass(frozen=True, kw_only=True)
class Look:
    """One look: the units exposed until the end of its day, as a number and as a fraction of the horizon."""

    day: dt.date
    n_units: int
    fraction: float | None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How an experiment is looked at: its design, its looks so far, and the units its horizon has."""

    design: Design
    horizon_units: int | None
    looks: tuple[Look, ...]

    @property
    def full(self) -> int:
        """Number of the look that decides last: the first to reach the horizon, else the newest."""
        reached = (k for k, one in enumerate(self.looks) if (one.fraction or 0.0) >= 1)
        return next(reached, len(self.looks) - 1)

    def fractions(self, until: int) -> tuple[float, ...]:
        """Information fractions of the looks up to and including number `until`."""
        return tuple(one.fraction or 0.0 for one in self.looks[: until + 1])

    def at(self, found: Contrast, alpha: float, look: int) -> Sequential:
        """A contrast at a look by the design."""
        match self.design:
            case Design.GROUP_SEQUENTIAL:
                return sequential.at_look(found, alpha, self.fractions(look))
            case Design.CONFIDENCE_SEQUENCE:
                return sequential.anytime(found, alpha, self.horizon_units or sequential.TUNED_TO)


@dataclass(frozen=True, kw_only=True)
class Path:
    """The contrasts of a metric and treatment at the looks so far; NoEffect where one had none."""

    seen: tuple[Contrast | NoEffect, ...]

    @property
    def last(self) -> Contrast | NoEffect:
        """At the newest look."""
        if not self.seen:
            return NoEffect(why=Why.NO_UNITS, text="No look yet: the first is taken when the first day is complete.")
        return self.seen[-1]


@dataclass(frozen=True, kw_only=True)
class Held:
    """A path held against a value, over all looks so far: p of not being above it, p of not being below it, both
    two-sided and valid at every look; `day` of the first look that crossed at alpha, and on which side."""

    above_p: float
    below_p: float
    crossed: str | None = None
    day: dt.date | None = None


def plan(definition: Definition, by_day: pl.DataFrame, days: Sequence[dt.date]) -> Plan:
    """The looks: one per day that is complete, at the units first exposed until then."""
    horizon = definition.horizon
    looks = []
    for day in sorted(days):
        n = int(by_day.filter(pl.col("day") <= day)["n_units"].sum())
        looks.append(Look(day=day, n_units=n, fraction=n / horizon.units if horizon else None))
    return Plan(design=definition.design, horizon_units=horizon.units if horizon else None, looks=tuple(looks))


def pooled(frame: pl.DataFrame, spec: MetricSpec, control: str, variant: str, taken: Plan) -> Path:
    """Over all units, by CUPED where the units have a covariate."""
    arms = [sums.until_days(frame, spec.name, one, [look.day for look in taken.looks]) for one in (control, variant)]
    return Path(seen=tuple(between(c, t, spec) for c, t in zip(*arms, strict=True)))


def between(control: Moments, treatment: Moments, spec: MetricSpec) -> Contrast | NoEffect:
    """Treatment - control; adjusted where both arms' units have a covariate."""
    if control.xx > 0 and treatment.xx > 0:
        return adjusted_contrast(control, treatment)
    return contrast(control, treatment, binary=spec.binary)


def of_effect(effect: Effect) -> Contrast:
    """A contrast of an effect that was found by other means (quantiles, rates corrected for a judge), whose standard
    error is trusted; which arm it came from is not told."""
    half = effect.se**2 / 2
    return Contrast(
        control=ArmMean(mean=effect.control, variance=half, n=effect.n_control),
        treatment=ArmMean(mean=effect.treatment, variance=half, n=effect.n_treatment),
        estimate=effect.estimate,
        se=effect.se,
        df=effect.df,
        method=effect.method,
    )


def held(path: Path, taken: Plan, alpha: float, value: float = 0.0) -> Held:
    """A path held against a value at all looks so far: the least p of each direction (a boundary crossed once stays
    crossed), after the horizon's own look none counts."""
    least = {"above": 1.0, "below": 1.0}
    crossed: tuple[str, dt.date] | None = None
    for number, found in enumerate(path.seen):
        if isinstance(found, NoEffect) or taken.looks[number].n_units == 0:
            continue
        against = _shifted(found, value)
        look = taken.at(against, alpha, number)
        if look.spent:
            break
        side = "above" if against.z > 0 else "below"
        least[side] = min(least[side], look.always_p)
        if look.crossed and crossed is None:
            crossed = side, taken.looks[number].day
    return Held(
        above_p=least["above"],
        below_p=least["below"],
        crossed=crossed[0] if crossed else None,
        day=crossed[1] if crossed else None,
    )


def after_stopping(path: Path, taken: Plan, alpha: float) -> Selected | None:
    """What the estimate is worth if the newest look is the first to cross, and the test ends by it; else None. Of the
    looks with a contrast."""
    fractions: list[float] = []
    boundaries: list[float] = []
    for number, found in enumerate(path.seen):
        look = taken.looks[number]
        fraction = look.fraction if look.fraction is not None else look.n_units / sequential.TUNED_TO
        if isinstance(found, NoEffect) or fraction <= (fractions[-1] if fractions else 0.0):
            continue
        seen = taken.at(found, alpha, number)
        if seen.spent:
            return None
        fractions.append(fraction)
        boundaries.append(seen.boundary)
        if seen.crossed and number < len(path.seen) - 1:
            return None
        if seen.crossed:
            return selected(fractions, boundaries, z=seen.z, estimate=found.estimate, alpha=alpha)
    return None


def _shifted(found: Contrast, value: float) -> Contrast:
    """The contrast with the same statistic against 0 as the given one has against `value`."""
    if value == 0:
        return found
    z, distance = found.against(value), found.estimate - value
    se = abs(distance / z) if z and distance else found.se
    return replace(found, estimate=distance, se=se, df=None, effective=None)
