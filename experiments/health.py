"""Health before any effect: an experiment whose counts are wrong has no figure that can be believed.

What chance does is told by e-values, which may be read at every look: a check fails at 1 / LIMIT, split over the strata
of a check. What chance does not do (units in two arms, names that are no arm) fails above TOLERATED of the units, from
the second one on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import polars as pl
import scipy

from experiments import sums
from experiments.analysed import ArmExposure, Exposure, Health, HealthCheck, HealthStatus
from experiments.records import AssignedBy, Definition
from experiments.statistics import effects
from experiments.statistics.mismatch import mismatch
from experiments.statistics.records import NoEffect

LIMIT: Final = 0.001  # chance of a false alarm of a check over all looks (Fabijan et al. 2019, KDD, for SRM)
TOLERATED: Final = 0.01  # share of the units
NOVELTY_P: Final = 0.01


def health(definition: Definition, frame: pl.DataFrame, exposure: Exposure) -> tuple[Health, ...]:
    """All checks, in the order in which they should be read."""
    units = max(1, exposure.n_units)
    return (
        *split(definition, exposure),
        *split_by_stratum(definition, exposure),
        _multiple(exposure, units),
        _crossed(definition, exposure, units),
        _missing(definition, exposure),
        _lost(definition, exposure),
        _share(
            HealthCheck.OUTCOMES_BEFORE_EXPOSURE,
            *(exposure.n_before_exposure, units, "outcomes are older than their unit's first exposure"),
            "an outcome from before cannot be an effect: look at the clock and at what is joined to what",
        ),
        _share(
            HealthCheck.CLOCK_SKEW,
            *(exposure.n_skewed, units, "times lie in the future or end before they begin"),
            "days and ages of these units are doubtful: mend the clocks of the hosts that sent them",
        ),
        _renamed(exposure, units),
        *novelty(definition, frame),
    )


def split(definition: Definition, exposure: Exposure) -> tuple[Health, ...]:
    """Sample-ratio mismatch over all units. Over the days the largest e-value counts: what was wrong once stays."""
    check = HealthCheck.SRM
    if not exposure.weights_known:
        text = "nobody said how units were split, so that no share can be wrong: say it, and it is checked"
        return (Health(check=check, status=HealthStatus.UNKNOWN, text=text),)
    weights = {one.variant: one.weight for one in definition.arms}
    by_day = exposure.by_day.sort("day")
    counts = dict.fromkeys(weights, 0)
    most, at = 0.0, ""
    last = None
    for day, rows in by_day.group_by("day", maintain_order=True):
        for variant, n in zip(rows["variant"], rows["n_units"], strict=True):
            if variant in counts:
                counts[variant] += n
        last = mismatch(list(counts.values()), list(weights.values()))
        if not isinstance(last, NoEffect) and last.e_value > most:
            most, at = last.e_value, str(day[0])
    if last is None or isinstance(last, NoEffect):
        text = "no unit has been exposed yet" if last is None else last.text
        return (Health(check=check, status=HealthStatus.UNKNOWN, text=text),)
    shares = _against(counts, dict(zip(weights, last.expected, strict=True)))
    failed = most >= 1 / LIMIT
    text = f"{shares}; evidence of another split {most:.3g}, alarm at {1 / LIMIT:,.0f}"
    if failed:
        text += f", reached by {at}. Units are lost or doubled in an arm: find where before reading any effect"
    return (Health(check=check, status=_status(failed), text=text, e_value=most, p_value=last.p_value),)


def split_by_stratum(definition: Definition, exposure: Exposure) -> tuple[Health, ...]:
    """The same within each level of each stratum attribute, the chance of a false alarm split over them. Where nobody
    said the split: whether the arms have the same mix, at this look."""
    if not exposure.weights_known:
        return _mixes(definition, exposure)
    weights = {one.variant: one.weight for one in definition.arms}
    cells = _cells(exposure, list(weights))
    checked = []
    for (attribute, level), counts in cells.items():
        found = mismatch(counts, list(weights.values()))
        if isinstance(found, NoEffect):
            continue
        alarm = len(cells) / LIMIT
        failed = found.e_value >= alarm
        expected = dict(zip(weights, found.expected, strict=True))
        text = f"{attribute} {level}: {_against(dict(zip(weights, counts, strict=True)), expected)}"
        text += f"; evidence of another split {found.e_value:.3g}, alarm at {alarm:,.0f}"
        if failed:
            text += (
                f". Either units are lost in one arm here, or {attribute} is decided after the assignment and the "
                "treatment changes it: then it is no stratum"
            )
        name = f"{attribute}={level}"
        health = Health(check=HealthCheck.STRATUM_SRM, status=_status(failed), text=text, stratum=name)
        checked.append(_with(health, found.e_value, found.p_value))
    failed_ones = [one for one in checked if one.status is HealthStatus.FAILED]
    if failed_ones or not checked:
        return tuple(failed_ones)
    worst = max(checked, key=lambda one: one.e_value or 0.0)
    text = f"all {len(checked)} strata have the shares they should; the farthest is {worst.text}"
    return (_with(Health(check=HealthCheck.STRATUM_SRM, status=HealthStatus.OK, text=text), worst.e_value, None),)


def novelty(definition: Definition, frame: pl.DataFrame) -> tuple[Health, ...]:
    """Whether the effect of a unit's first day lasts: against that of its later days, whose standard errors are added
    as if they said the same thing, which is on the safe side."""
    spec, check = definition.primary, HealthCheck.NOVELTY
    found = []
    for arm in definition.arms[1:]:
        arms = [sums.by_level(frame, spec.name, sums.AGE, one) for one in (definition.control.variant, arm.variant)]
        ages = sorted((int(one) for one in set(arms[0]) & set(arms[1])), key=int)
        told = [effects.contrast(arms[0][str(age)], arms[1][str(age)]) for age in ages]
        first = told[0] if told and ages[0] == 0 else None
        later = [one for one in told[1:] if not isinstance(one, NoEffect)]
        if first is None or isinstance(first, NoEffect) or not later:
            continue
        n = [one.control.n + one.treatment.n for one in later]
        estimate = sum(k * one.estimate for k, one in zip(n, later, strict=True)) / sum(n)
        se = sum(k * one.se for k, one in zip(n, later, strict=True)) / sum(n)
        p = float(2 * scipy.stats.norm.sf(abs(first.estimate - estimate) / math.hypot(first.se, se)))
        turned = first.estimate * estimate < 0 and abs(estimate) > 1.96 * se
        status = HealthStatus.OK if p >= NOVELTY_P else HealthStatus.FAILED if turned else HealthStatus.WARNING
        text = f"{arm.variant}: {first.estimate:+.4g} on a unit's first day, {estimate:+.4g} on later days"
        if turned and p < NOVELTY_P:
            text += ". The effect turns with use: what the first days say will not last"
        elif p < NOVELTY_P:
            text += ". The effect changes with use: run until most units are past it"
        found.append(Health(check=check, status=status, text=text, p_value=p, variant=arm.variant))
    if found:
        return tuple(found)
    text = "effects by days since a unit's first exposure are not known yet"
    return (Health(check=check, status=HealthStatus.UNKNOWN, text=text),)


def _mixes(definition: Definition, exposure: Exposure) -> tuple[Health, ...]:
    variants = [one.variant for one in definition.arms]
    cells = _cells(exposure, variants)
    found = []
    attributes = sorted({attribute for attribute, _ in cells})
    for attribute in attributes:
        rows = [counts for (one, _), counts in cells.items() if one == attribute and any(counts)]
        if len(rows) < 2 or not all(any(column) for column in zip(*rows, strict=True)):
            continue
        p = float(scipy.stats.chi2_contingency(rows, correction=False).pvalue)
        failed = p < LIMIT / len(attributes)
        text = f"the arms' mix of {attribute}: p of being the same {p:.3g}, alarm below {LIMIT / len(attributes):.3g}"
        if failed:
            text += ". Chance did not make these arms: the figures describe them, and say nothing of what caused what"
        found.append(Health(check=HealthCheck.MIX, status=_status(failed), text=text, p_value=p, stratum=attribute))
    return tuple(found)


def _multiple(exposure: Exposure, units: int) -> Health:
    return _share(
        HealthCheck.MULTIPLE_EXPOSURE,
        *(exposure.n_multiple, units + exposure.n_multiple, "units were seen in more than one arm and are left out"),
        "assignment does not stick: look at how the unit's id reaches it",
    )


def _crossed(definition: Definition, exposure: Exposure, units: int) -> Health:
    if exposure.n_crossed is None:
        text = "the app assigns: what a unit was assigned to is not known, only what it met"
        if definition.assigned_by is AssignedBy.GATEWAY:
            text = "no unit has been exposed yet"
        return Health(check=HealthCheck.CROSSOVER, status=HealthStatus.UNKNOWN, text=text)
    return _share(
        HealthCheck.CROSSOVER,
        *(exposure.n_crossed, units, "units met another arm than they were assigned to"),
        "they count where they were assigned, which shrinks the effect: find what overrules the assignment",
    )


def _missing(definition: Definition, exposure: Exposure) -> Health:
    """Units without an outcome hit each arm by its weight, unless the arm itself makes outcomes go missing."""
    arms = [one for one in _arms(definition, exposure) if one.n_mature]
    parts = [(one.n_without, one.n_mature) for one in arms]
    name = definition.primary.name
    return _uneven(HealthCheck.MISSING_OUTCOMES, definition, arms, parts, f"units have no {name}")


def _lost(definition: Definition, exposure: Exposure) -> Health:
    arms = [one for one in _arms(definition, exposure) if one.n_sent]
    parts = [(one.n_lost or 0, one.n_sent or 0) for one in arms]
    return _uneven(HealthCheck.TELEMETRY_LOSS, definition, arms, parts, "sessions sent to the agent left no span of it")


def _uneven(
    check: HealthCheck,
    definition: Definition,
    arms: Sequence[ArmExposure],
    parts: Sequence[tuple[int, int]],
    what: str,
) -> Health:
    """Whether the arms lose alike: who is lost should be of each arm by its share of those who could be."""
    if len(arms) < len(definition.arms):
        return Health(check=check, status=HealthStatus.UNKNOWN, text="not known of every arm")
    lost = [one for one, _ in parts]
    told = ", ".join(f"{arm.variant} {k:,} of {n:,} ({k / n:.1%})" for arm, (k, n) in zip(arms, parts, strict=True))
    found = mismatch(lost, [float(n) for _, n in parts])
    if isinstance(found, NoEffect):
        return Health(check=check, status=HealthStatus.OK, text=f"no loss: {told}")
    failed = found.e_value >= 1 / LIMIT
    text = f"{what}: {told}"
    if failed:
        text += f". The arms do not lose alike (evidence {found.e_value:.3g}): those who are left cannot be compared"
    much = sum(lost) > sum(n for _, n in parts) / 5
    if much and not failed:
        text += ". Over a fifth is lost: what is left may not speak for all"
    status = HealthStatus.FAILED if failed else HealthStatus.WARNING if much else HealthStatus.OK
    return _with(Health(check=check, status=status, text=text), found.e_value, found.p_value)


def _renamed(exposure: Exposure, units: int) -> Health:
    check = HealthCheck.RENAMED_VARIANT
    if not exposure.renamed:
        return Health(check=check, status=HealthStatus.OK, text="every variant seen is an arm")
    seen = sum(exposure.renamed.values())
    names = ", ".join(f"{name!r} ({n:,} units)" for name, n in sorted(exposure.renamed.items()))
    failed = seen > TOLERATED * (units + seen)
    text = f"seen, and no arm of this experiment: {names}. They count nowhere; a new name is a new version"
    return Health(check=check, status=_status(failed, HealthStatus.WARNING), text=text)


def _share(check: HealthCheck, n: int, of: int, what: str, so: str) -> Health:
    if n == 0:
        return Health(check=check, status=HealthStatus.OK, text=f"0 {what}")
    failed = n > max(1.0, TOLERATED * of)  # a single one is a tester or a retry, and nothing that shifts a figure
    text = f"{n:,} {what}, {n / of:.2%} of {of:,}; alarm above {TOLERATED:.0%}. {so[0].upper()}{so[1:]}"
    return Health(check=check, status=_status(failed, HealthStatus.WARNING), text=text)


def _status(failed: bool, otherwise: HealthStatus = HealthStatus.OK) -> HealthStatus:
    return HealthStatus.FAILED if failed else otherwise


def _with(one: Health, e_value: float | None, p_value: float | None) -> Health:
    return replace(one, e_value=e_value, p_value=p_value)


def _arms(definition: Definition, exposure: Exposure) -> list[ArmExposure]:
    seen = {one.variant: one for one in exposure.arms}
    return [seen[one.variant] for one in definition.arms if one.variant in seen]


def _cells(exposure: Exposure, variants: Sequence[str]) -> dict[tuple[str, str], list[int]]:
    cells: dict[tuple[str, str], list[int]] = {}
    for row in exposure.by_stratum.sort("attribute", "level", "variant").to_dicts():
        if row["variant"] in variants and row["attribute"] != sums.JOINED:
            counts = cells.setdefault((row["attribute"], row["level"]), [0] * len(variants))
            counts[variants.index(row["variant"])] += row["n_units"]
    return cells


def _against(counts: Mapping[str, int], expected: Mapping[str, float]) -> str:
    """'control 5,020 (50.2%, wanted 50.0%), treatment ...'."""
    n = max(1, sum(counts.values()))
    return ", ".join(f"{one} {k:,} ({k / n:.1%}, wanted {expected[one]:.1%})" for one, k in counts.items())
