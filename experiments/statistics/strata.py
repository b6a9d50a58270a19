"""Effects by stratum, and the effect post-stratified: both arms as if they had the same mix of strata.

Strata of fewer than LEAST units in an arm are put together, and with the next smallest until both arms have as many:
the rate of a stratum with one unit has no spread to weigh it by.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import scipy

from experiments.statistics import effects, tables
from experiments.statistics.effects import ArmMean, Contrast
from experiments.statistics.records import Effect, Moments, NoEffect, Why

LEAST: Final = 10  # units of an arm in a stratum of its own
REST: Final = "(small strata)"  # level of what was put together

Pair = tuple[Moments, Moments]


@dataclass(frozen=True, kw_only=True)
class Stratum:
    """One level: the sums of both arms and its weight, the share of all observations of both arms that are in it."""

    level: str
    control: Moments
    treatment: Moments
    weight: float


@dataclass(frozen=True, kw_only=True)
class Strata:
    """The levels that are compared, largest weight first; `collapsed`: names of those in REST (or put to a larger)."""

    strata: tuple[Stratum, ...]
    collapsed: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LevelEffect:
    """A line of the forest: a level as it was seen, its effect or why there is none, and its weight."""

    level: str
    control: Moments
    treatment: Moments
    weight: float
    effect: Effect | NoEffect


def collapse(control: Mapping[str, Moments], treatment: Mapping[str, Moments], least: int = LEAST) -> Strata | NoEffect:
    """The strata of two arms, small ones put together. NoEffect where fewer than two remain: there is nothing to
    stratify by."""
    pairs = {one: (control.get(one, Moments()), treatment.get(one, Moments())) for one in {*control, *treatment}}
    pairs = {level: pair for level, pair in pairs.items() if pair[0].n + pair[1].n > 0}
    order = sorted(pairs, key=lambda level: (_smaller(pairs[level]), level))
    small = [level for level in order if _smaller(pairs[level]) < least]
    kept = [level for level in order if level not in small]
    rest = _sum([pairs[level] for level in small])
    while small and kept and _smaller(rest) < least:
        small.append(kept.pop(0))
        rest = _sum([pairs[level] for level in small])
    found = {level: pairs[level] for level in kept} | ({REST if len(small) > 1 else small[0]: rest} if small else {})
    if len(found) < 2 or min(_smaller(pair) for pair in found.values()) < least:
        return NoEffect(
            why=Why.FEW_UNITS,
            text=f"Fewer than two strata have {least} units in each arm: nothing to stratify by yet.",
        )
    whole = sum(pair[0].s + pair[1].s for pair in found.values())
    strata = [
        Stratum(level=level, control=pair[0], treatment=pair[1], weight=(pair[0].s + pair[1].s) / whole)
        for level, pair in found.items()
    ]
    return Strata(
        strata=tuple(sorted(strata, key=lambda one: (-one.weight, one.level))),
        collapsed=tuple(sorted(small)) if len(small) > 1 else (),
    )


def post_stratified(found: Strata) -> Contrast | NoEffect:
    """sum W_h (mean_Th - mean_Ch), variance sum W_h^2 (v_Th + v_Ch), v of the delta method, W_h the stratum's share of
    both arms (Miratrix, Sekhon, Yu 2013, JRSS B 75:369; conditional on the mix), with Satterthwaite's degrees of
    freedom over all cells."""
    for one in found.strata:
        lack = effects.unfit(one.control, one.treatment)
        if lack is not None:
            return replace(lack, text=f"{one.level}: {lack.text}")
    controls = [(one.weight, effects.arm_mean(one.control)) for one in found.strata]
    treatments = [(one.weight, effects.arm_mean(one.treatment)) for one in found.strata]
    parts = [weight**2 * arm.variance for weight, arm in (*controls, *treatments)]
    whole = sum(parts)
    if whole == 0:
        return NoEffect(why=Why.CONSTANT, text="All units of a stratum say the same in both arms: nothing to weigh.")
    spent = sum(part**2 / arm.df for part, (_, arm) in zip(parts, (*controls, *treatments), strict=True))
    control, treatment = _weighted(controls), _weighted(treatments)
    return Contrast(
        control=control,
        treatment=treatment,
        estimate=treatment.mean - control.mean,
        se=math.sqrt(whole),
        df=whole**2 / spent,
        method="post_stratified_t",
    )


def _weighted(parts: list[tuple[float, ArmMean]]) -> ArmMean:
    return ArmMean(
        mean=sum(weight * one.mean for weight, one in parts),
        variance=sum(weight**2 * one.variance for weight, one in parts),
        n=sum(one.n for _, one in parts),
    )


def forest(
    control: Mapping[str, Moments], treatment: Mapping[str, Moments], *, alpha: float, binary: bool
) -> tuple[LevelEffect, ...]:
    """Each level as it was seen, however small, with the effect at this look alone (not corrected for their number: it
    is for looking), largest weight first."""
    levels = sorted({*control, *treatment})
    pairs = [(one, control.get(one, Moments()), treatment.get(one, Moments())) for one in levels]
    whole = sum(c.s + t.s for _, c, t in pairs)
    lines = [
        LevelEffect(
            level=level,
            control=c,
            treatment=t,
            weight=(c.s + t.s) / whole if whole else 0.0,
            effect=effects.difference(c, t, alpha=alpha, binary=binary),
        )
        for level, c, t in pairs
    ]
    return tuple(sorted(lines, key=lambda one: (-one.weight, one.level)))


def tables_of(found: Strata) -> list[tables.TwoByTwo]:
    """The 2x2 tables of a metric of 0 and 1, each arm's counts divided by its design effect."""
    controls, treatments = [one.control for one in found.strata], [one.treatment for one in found.strata]
    deflate = (tables.design_effect(controls), tables.design_effect(treatments))
    return [tables.table(c, t, deflate) for c, t in zip(controls, treatments, strict=True)]


def spread_of_effects(found: Strata) -> tables.ChiSquare | NoEffect:
    """Whether the differences of means are the same in all strata: Cochran's Q = sum w_h (d_h - d)^2, w_h = 1 / var d_h
    (Cochran 1954, Biometrics 10:101), of any metric; strata in which nothing varies are left out."""
    told = []
    for one in found.strata:
        difference = effects.contrast(one.control, one.treatment)
        if not isinstance(difference, NoEffect):
            told.append((difference.estimate, 1 / difference.se**2))
    if len(told) < 2:
        return NoEffect(why=Why.FEW_UNITS, text="Fewer than two strata have an effect to compare.")
    mean = sum(d * w for d, w in told) / sum(w for _, w in told)
    statistic = sum(w * (d - mean) ** 2 for d, w in told)
    df = len(told) - 1
    return tables.ChiSquare(
        statistic=statistic, df=df, p_value=float(scipy.stats.chi2.sf(statistic, df)), method="Cochran's Q"
    )


def _smaller(pair: Pair) -> int:
    return min(pair[0].n, pair[1].n)


def _sum(pairs: list[Pair]) -> Pair:
    return sum((one[0] for one in pairs), Moments()), sum((one[1] for one in pairs), Moments())
