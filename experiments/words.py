"""Figures of experiments in words, and sentences about strata that need no statistics to be read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from experiments import sums
from experiments.records import MetricSpec
from experiments.statistics.records import Effect, NoEffect
from experiments.statistics.simpson import MixLine, Paradox, Simpson
from experiments.statistics.strata import LevelEffect
from experiments.statistics.tables import ChiSquare

DIFFER: Final = 0.05  # p below which strata are said to have different effects
_NAMED: Final = 4  # levels that a sentence names


def figure(value: float | None, spec: MetricSpec) -> str:
    """A metric's value: a share in percent, else four digits; a dash where there is none."""
    if value is None:
        return "-"
    if spec.binary:
        return f"{value:.1%}"
    return f"{value:,.0f}" if abs(value) >= 10_000 else digits(value)


def change(value: float, spec: MetricSpec) -> str:
    """A difference with its sign: shares in points."""
    if spec.binary:
        return f"{value * 100:+.1f} points"
    return f"{value:+,.0f}" if abs(value) >= 10_000 else digits(value, "+")


def between(low: float, high: float, spec: MetricSpec) -> str:
    """'+9.9 to +31.5' of an interval, shares in points."""
    if spec.binary:
        return f"{low * 100:+.1f} to {high * 100:+.1f}"
    return f"{digits(low, '+')} to {digits(high, '+')}"


def digits(value: float, sign: str = "") -> str:
    """Four digits that count, spelled out: 0.00002169, not 2.169e-05; `sign` "+" marks gains too."""
    said = f"{value:{sign}.4g}"
    if "e-" not in said:
        return said
    return f"{value:{sign}.{min(15, 3 - math.floor(math.log10(abs(value))))}f}"


def told(effect: Effect, spec: MetricSpec) -> str:
    """'79.3% against 58.6%: +20.7 points (+9.9 to +31.5)'."""
    means = f"{figure(effect.treatment, spec)} against {figure(effect.control, spec)}"
    return f"{means}: {change(effect.estimate, spec)} ({between(effect.low, effect.high, spec)})"


def called(attribute: str) -> str:
    """An attribute's name in a sentence."""
    return "the strata taken together" if attribute == sums.JOINED else attribute


def sentence(
    attribute: str,
    spec: MetricSpec,
    arms: tuple[str, str],
    levels: Sequence[LevelEffect],
    found: Simpson,
    alike: ChiSquare | NoEffect,
    *,
    randomised: bool,
) -> str:
    """What the strata of an attribute say; `arms`: names of control and treatment, `randomised`: the split is known."""
    name = called(attribute)
    match found.paradox:
        case Paradox.REVERSED | Paradox.SHIFTED:
            parts = [_pooled(found, spec, arms), _within(name, found, spec), _mix(name, found, spec, arms)]
        case Paradox.IMBALANCED:
            parts = [
                f"The arms do not have the same mix of {name}, but the figure stays: {change(found.pooled, spec)} over "
                f"all, {change(found.stratified, spec)} with the same mix.",
                _mix(name, found, spec, arms),
            ]
        case Paradox.NONE:
            parts = []
    parts.append(_levels(name, spec, levels, alike))
    if found.flagged:
        parts.append(_cause(name, randomised))
    return " ".join(part for part in parts if part)


def _pooled(found: Simpson, spec: MetricSpec, arms: tuple[str, str]) -> str:
    way = "higher" if found.pooled > 0 else "lower"
    of = [
        sum(getattr(line, f"share_{arm}") * getattr(line, arm) for line in found.table)
        for arm in ("treatment", "control")
    ]
    means = f"{figure(of[0], spec)} against {figure(of[1], spec)} in {arms[0]}"
    return f"Over all, {spec.name} is {way} in {arms[1]}: {means}."


def _within(name: str, found: Simpson, spec: MetricSpec) -> str:
    way = "lower" if found.stratified < 0 else "higher"
    interval = f"{change(found.stratified, spec)} ({between(found.low, found.high, spec)})"
    if found.paradox is Paradox.SHIFTED:
        return f"With the same mix of {name} it is {interval}."
    against, n = found.against, len(found.table)
    turns = f"in all {n} levels" if len(against) == n else f"in {len(against)} of {n} levels ({', '.join(against)})"
    rest = [line.level for line in found.table if line.level not in against]
    text = f"Within {name} it is {way}: {interval} with the same mix; {turns} it goes against the figure over all"
    return text + (f", in {', '.join(rest)} it does not: not every one reverses." if rest else ".")


def _mix(name: str, found: Simpson, spec: MetricSpec, arms: tuple[str, str]) -> str:
    widest = max(found.table, key=lambda line: abs(line.share_treatment - line.share_control))
    shares = f"{widest.share_treatment:.0%} of {arms[1]} and {widest.share_control:.0%} of {arms[0]}"
    parts = f"{change(found.mix, spec)} is the mix and {change(found.effect, spec)} the effect within levels"
    return (
        f"The mix of {name} differs: {widest.level} is {shares}, and {spec.name} there is {_height(widest, found)}. "
        f"Of the difference of {change(found.pooled, spec)}, {parts}."
    )


def _height(widest: MixLine, found: Simpson) -> str:
    middle = (widest.control + widest.treatment) / 2
    others = [(line.control + line.treatment) / 2 for line in found.table if line is not widest]
    if middle > max(others):
        return "highest"
    if middle < min(others):
        return "lowest"
    return "higher than on average" if middle > sum(others) / len(others) else "lower than on average"


def _levels(name: str, spec: MetricSpec, levels: Sequence[LevelEffect], alike: ChiSquare | NoEffect) -> str:
    """Where there is an effect of its own, and where none is shown."""
    shown = [one for one in levels if isinstance(one.effect, Effect)]
    clear = [one for one in shown if has_effect(one)]
    open_ones = [one for one in shown if not has_effect(one)]
    if not clear:
        text = f"In no level of {name} does its own interval exclude no effect"
    else:
        text = f"An effect of its own is shown in {_list(clear, spec)}"
        text += f"; none is shown in {_list(open_ones, spec)}" if open_ones else ""
    if isinstance(alike, NoEffect):
        return f"{text}."
    weighed = f"({alike.method}, p {alike.p_value:.2g})"
    if alike.p_value < DIFFER:
        return f"{text}. The effects differ by more than chance {weighed}: one figure hides that."
    return f"{text}. That the effects differ is not shown {weighed}."


def _cause(name: str, randomised: bool) -> str:
    if randomised:
        return (
            f"Chance seldom mixes arms like this: either units are lost in one arm, or {name} is decided after the "
            f"assignment, and then it is no stratum to compare within."
        )
    return "These arms may not have been made by chance: the figures describe them and do not say what caused what."


def _list(levels: Sequence[LevelEffect], spec: MetricSpec) -> str:
    names = [
        f"{one.level} ({change(one.effect.estimate, spec)}, {between(one.effect.low, one.effect.high, spec)})"
        for one in levels[:_NAMED]
        if isinstance(one.effect, Effect)
    ]
    more = f" and {len(levels) - _NAMED} more" if len(levels) > _NAMED else ""
    return ", ".join(names) + more


def has_effect(one: LevelEffect) -> bool:
    """Whether a level's own interval excludes no effect."""
    return isinstance(one.effect, Effect) and (one.effect.low > 0 or one.effect.high < 0)
