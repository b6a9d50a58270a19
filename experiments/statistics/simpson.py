"""Simpson's paradox: how much of the difference of two arms is the arms' mix of strata, and how much is the effect."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import scipy

from experiments.statistics.effects import Contrast
from experiments.statistics.strata import Strata

IMBALANCED: Final = 0.1  # standardised difference of a stratum's share (Austin 2009, Stat Med 28:3083)
BY_CHANCE: Final = 0.001  # p of the mixes being the same: below, chance did not make them differ


class Paradox(StrEnum):
    """What the strata say of the pooled difference."""

    NONE = "none"
    REVERSED = "reversed"  # the other sign within strata, and the pooled figure outside the stratified interval
    SHIFTED = "shifted"  # the same sign, but the pooled figure lies outside the stratified interval
    IMBALANCED = "imbalanced"  # figures agree, but the arms' mixes differ by more than chance does


@dataclass(frozen=True, kw_only=True)
class MixLine:
    """One level: its share of each arm's observations, and each arm's mean in it."""

    level: str
    share_control: float
    share_treatment: float
    control: float
    treatment: float

    @property
    def difference(self) -> float:
        """Treatment - control."""
        return self.treatment - self.control


@dataclass(frozen=True, kw_only=True)
class Simpson:
    """`pooled` = `mix` + `effect` exactly. `stratified` with `low`, `high`: the post-stratified difference. `smd`: the
    largest standardised difference of a level's share; `mix_p`: of the mixes being the same."""

    paradox: Paradox
    pooled: float
    stratified: float
    low: float
    high: float
    mix: float
    effect: float
    smd: float
    mix_p: float | None
    table: tuple[MixLine, ...]

    @property
    def flagged(self) -> bool:
        """Whether someone who reads only the pooled figure is told something else."""
        return self.paradox is not Paradox.NONE

    @property
    def disagrees(self) -> bool:
        """Whether the stratified figure has to be the headline."""
        return self.paradox in (Paradox.REVERSED, Paradox.SHIFTED)

    @property
    def against(self) -> tuple[str, ...]:
        """The levels in which the difference goes against the pooled one."""
        return tuple(one.level for one in self.table if one.difference * self.pooled < 0)


def detect(found: Strata, stratified: Contrast, *, z: float) -> Simpson:
    """What the strata say of the pooled difference; `z`: the normal boundary of the stratified interval."""
    s_control = sum(one.control.s for one in found.strata)
    s_treatment = sum(one.treatment.s for one in found.strata)
    table = tuple(
        MixLine(
            level=one.level,
            share_control=one.control.s / s_control,
            share_treatment=one.treatment.s / s_treatment,
            control=one.control.y / one.control.s,
            treatment=one.treatment.y / one.treatment.s,
        )
        for one in found.strata
    )
    mix, effect = decomposed(table)
    pooled = mix + effect
    low, high = stratified.interval(z)
    smd = max(_standardised(one) for one in table)
    mix_p = _same_mix(found)
    return Simpson(
        paradox=_paradox(pooled, stratified.estimate, (low, high), smd, mix_p),
        pooled=pooled,
        stratified=stratified.estimate,
        low=low,
        high=high,
        mix=mix,
        effect=effect,
        smd=smd,
        mix_p=mix_p,
        table=table,
    )


def decomposed(table: tuple[MixLine, ...]) -> tuple[float, float]:
    """(mix, effect), which add up to the difference of the arms' means: mix = sum (p_T - p_C)(m_T + m_C) / 2, effect =
    sum (m_T - m_C)(p_T + p_C) / 2. Kitagawa 1955 (JASA 50:1168), equation 4; Oaxaca 1973 and Blinder 1973 weigh by one
    arm alone."""
    mix = math.fsum((one.share_treatment - one.share_control) * (one.treatment + one.control) / 2 for one in table)
    effect = math.fsum((one.treatment - one.control) * (one.share_treatment + one.share_control) / 2 for one in table)
    return mix, effect


def _paradox(
    pooled: float, stratified: float, interval: tuple[float, float], smd: float, mix_p: float | None
) -> Paradox:
    outside = not interval[0] <= pooled <= interval[1]
    if outside and pooled * stratified < 0:
        return Paradox.REVERSED
    if outside:
        return Paradox.SHIFTED
    if smd > IMBALANCED and mix_p is not None and mix_p < BY_CHANCE:
        return Paradox.IMBALANCED
    return Paradox.NONE


def _standardised(one: MixLine) -> float:
    p, q = one.share_control, one.share_treatment
    spread = (p * (1 - p) + q * (1 - q)) / 2
    return abs(q - p) / math.sqrt(spread) if spread > 0 else 0.0


def _same_mix(found: Strata) -> float | None:
    """p of a chi-square of units by arm and stratum; LEAST units a cell carry its approximation."""
    rows = [[one.control.n + one.control.n_missing, one.treatment.n + one.treatment.n_missing] for one in found.strata]
    return float(scipy.stats.chi2_contingency(rows, correction=False).pvalue)
