"""The analysis of an experiment, pure: a definition, its sums and what was looked at, to an Analysis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from experiments import findings, health, looks, sums, verdict, words
from experiments.analysed import (
    Analysis,
    Bayes,
    HealthCheck,
    Looked,
    MetricAnalysis,
    SequencePoint,
    StrataAnalysis,
    VariantAnalysis,
)
from experiments.findings import Weighed
from experiments.looks import Path, Plan
from experiments.records import Definition, MetricKind, MetricRole, MetricSpec
from experiments.statistics import bayes, quantiles, simpson, strata, tables
from experiments.statistics.effects import Contrast, z_of
from experiments.statistics.records import Effect, NoEffect, Why
from experiments.statistics.simpson import Simpson

POWER_TAILS: Final = 0.4  # both of the normal's tails beyond its upper quantile of .2, for a power of .8

Key = tuple[str, str]  # metric, variant


@dataclass(frozen=True, kw_only=True)
class _Given:
    definition: Definition
    frame: pl.DataFrame
    looked: Looked
    taken: Plan

    @property
    def control(self) -> str:
        return self.definition.control.variant

    @property
    def treatments(self) -> list[str]:
        return [one.variant for one in self.definition.arms[1:]]

    def alpha(self, spec: MetricSpec) -> float:
        """The primary's is split over the treatments."""
        of_primary = spec.role is MetricRole.PRIMARY
        return self.definition.alpha / len(self.treatments) if of_primary else self.definition.alpha


def analyse(definition: Definition, frame: pl.DataFrame, looked: Looked) -> Analysis:
    """All that can be told at this look. `frame`: sums, of units first exposed on the looks' days; others are left out.

    Raises InvalidInput for a frame that is none of sums.
    """
    frame = sums.added(frame)
    taken = looks.plan(definition, looked.exposure.by_day, looked.days)
    if taken.looks:
        frame = frame.filter(pl.col("day") <= taken.looks[-1].day)
    given = _Given(definition=definition, frame=frame, looked=looked, taken=taken)
    checked = health.health(definition, frame, looked.exposure)
    by_strata = [
        one
        for attribute in sums.attributes_of(frame)
        for spec in definition.metrics
        for variant in given.treatments
        if taken.looks and spec.kind is MetricKind.MEAN and (spec.name, variant) not in looked.corrected
        for one in [_strata(given, attribute, spec, variant)]
    ]
    metrics = _metrics(given, by_strata, {one.variant: one.text for one in checked if one.check is HealthCheck.NOVELTY})
    return Analysis(
        definition=definition,
        looked=looked,
        fraction=taken.looks[-1].fraction if taken.looks else None,
        decision=verdict.decide(definition, looked, taken, checked, metrics, by_strata),
        health=checked,
        metrics=metrics,
        sequence=tuple(_sequence(given)),
        strata=tuple(by_strata),
    )


def _metrics(
    given: _Given, by_strata: Sequence[StrataAnalysis], novel: Mapping[str | None, str]
) -> tuple[MetricAnalysis, ...]:
    pooled, stratified, headline = {}, {}, {}
    for spec in given.definition.metrics:
        for variant in given.treatments:
            key = spec.name, variant
            pooled[key] = _path(given, spec, variant)
            attribute, disagrees = _headline(given.definition, spec, variant, by_strata)
            stratified[key] = _stratified(given, spec, variant, attribute)
            headline[key] = disagrees
    weighed = [
        findings.weighed(
            spec,
            variant,
            (stratified if headline[spec.name, variant] else pooled)[spec.name, variant],
            given.taken,
            given.alpha(spec),
        )
        for spec in given.definition.metrics
        for variant in given.treatments
    ]
    settled = findings.settled(weighed, given.definition.alpha, len(given.treatments))
    return tuple(
        MetricAnalysis(
            spec=spec,
            unit_text="share" if spec.binary else "",
            stratified_headline=any(headline[spec.name, variant] for variant in given.treatments),
            variants=tuple(
                _variant(given, one, pooled[spec.name, one.variant], stratified[spec.name, one.variant], novel)
                for one in settled
                if one.spec is spec
            ),
        )
        for spec in given.definition.metrics
    )


def _variant(
    given: _Given, one: Weighed, pooled: Path, stratified: Path, novel: Mapping[str | None, str]
) -> VariantAnalysis:
    spec = one.spec
    effect = _effect(given, spec, one.path)
    primary = spec.role is MetricRole.PRIMARY
    return VariantAnalysis(
        variant=one.variant,
        effect=effect,
        pooled=_effect(given, spec, pooled),
        stratified=_effect(given, spec, stratified),
        corrected=(spec.name, one.variant) in given.looked.corrected,
        finding=one.finding,
        p_adjusted=one.p_adjusted,
        bayes=_bayes(effect, spec, given.alpha(spec)),
        mde=None if isinstance(effect, NoEffect) else (z_of(given.alpha(spec)) + z_of(POWER_TAILS)) * effect.se,
        novelty=novel.get(one.variant) if primary else None,
        selected=looks.after_stopping(one.path, given.taken, given.alpha(spec)) if primary else None,
    )


def _effect(given: _Given, spec: MetricSpec, path: Path) -> Effect | NoEffect:
    """The newest look's, its interval by the design."""
    found = path.last
    if isinstance(found, NoEffect):
        return found
    return given.taken.at(found, given.alpha(spec), len(given.taken.looks) - 1).effect


def _path(given: _Given, spec: MetricSpec, variant: str) -> Path:
    """Over all units: from sums; of quantiles from observations and of judged metrics as corrected, at this look."""
    if not given.taken.looks:
        return Path(seen=())
    corrected = given.looked.corrected.get((spec.name, variant))
    if corrected is not None:
        return _only_now(given, corrected)
    if spec.kind is MetricKind.QUANTILE:
        return _only_now(given, _quantile(given, spec, variant))
    return looks.pooled(given.frame, spec, given.control, variant, given.taken)


def _quantile(given: _Given, spec: MetricSpec, variant: str) -> Contrast | NoEffect:
    rows = given.looked.observations.get(spec.name)
    if rows is None or spec.quantile is None:
        return NoEffect(why=Why.NO_OBSERVATIONS, text=f"The observations of {spec.name} are not there.")
    arms = [rows.filter(pl.col("variant") == one) for one in (given.control, variant)]
    return quantiles.contrast(arms[0], arms[1], spec.quantile)


def _bayes(effect: Effect | NoEffect, spec: MetricSpec, alpha: float) -> Bayes | None:
    if isinstance(effect, NoEffect) or not effect.se > 0:
        return None
    seen = bayes.view(effect, better=spec.better, alpha=alpha)
    return Bayes(p_better=seen.p_better, expected_loss=seen.expected_loss, low=seen.low, high=seen.high)


def _only_now(given: _Given, found: Effect | Contrast | NoEffect) -> Path:
    """A path of what is known at the newest look alone; past the horizon it stands in for the look that reached it."""
    before = NoEffect(why=Why.NOT_COVERED, text="Known at the newest look only.")
    now = looks.of_effect(found) if isinstance(found, Effect) else found
    full, n = given.taken.full, len(given.taken.looks)
    return Path(seen=(*(before for _ in range(full)), *(now for _ in range(full, n))))


def _headline(
    definition: Definition, spec: MetricSpec, variant: str, by_strata: Sequence[StrataAnalysis]
) -> tuple[str | None, bool]:
    """The attribute of the stratified figure, and whether that is the headline. Of the strata that were registered
    (of all, where none were): all together first, then the first that disagrees with the pooled figure."""
    told = [
        one
        for one in by_strata
        if (one.metric, one.variant) == (spec.name, variant) and isinstance(one.simpson, Simpson)
    ]
    if definition.strata:
        told = [one for one in told if one.attribute in (*definition.strata, sums.JOINED)]
    told.sort(key=lambda one: one.attribute != sums.JOINED)
    for one in told:
        if isinstance(one.simpson, Simpson) and one.simpson.disagrees:
            return one.attribute, True
    return (told[0].attribute, False) if told else (None, False)


def _stratified(given: _Given, spec: MetricSpec, variant: str, attribute: str | None) -> Path:
    """At the looks that may decide by it: the newest, and the one at which the horizon was reached."""
    if attribute is None:
        lack = NoEffect(why=Why.FEW_UNITS, text="Nothing to stratify by yet.")
        return Path(seen=tuple(lack for _ in given.taken.looks))
    full, last = given.taken.full, len(given.taken.looks) - 1
    skipped = NoEffect(why=Why.NOT_COVERED, text="Stratified figures are taken at the newest look.")
    seen: list[Contrast | NoEffect] = []
    for number, look in enumerate(given.taken.looks):
        if number not in (full, last):
            seen.append(skipped)
            continue
        levels = [
            sums.by_level(given.frame, spec.name, attribute, one, until=look.day) for one in (given.control, variant)
        ]
        found = strata.collapse(levels[0], levels[1])
        seen.append(found if isinstance(found, NoEffect) else strata.post_stratified(found))
    return Path(seen=tuple(seen))


def _strata(given: _Given, attribute: str, spec: MetricSpec, variant: str) -> StrataAnalysis:
    control, treatment = (sums.by_level(given.frame, spec.name, attribute, one) for one in (given.control, variant))
    forest = strata.forest(control, treatment, alpha=given.definition.alpha, binary=spec.binary)
    found = strata.collapse(control, treatment)
    tests = _tests(found, spec, given.definition.alpha)
    paradox = found if isinstance(found, NoEffect) else _paradox(given, found, spec)
    told = None
    if isinstance(paradox, Simpson):
        told = words.sentence(
            attribute,
            spec,
            (given.control, variant),
            forest,
            paradox,
            tests["homogeneity"],
            randomised=given.looked.exposure.weights_known,
        )
    return StrataAnalysis(
        attribute=attribute,
        metric=spec.name,
        variant=variant,
        levels=forest,
        collapsed=() if isinstance(found, NoEffect) else found.collapsed,
        simpson=paradox,
        sentence=told,
        **tests,
    )


def _paradox(given: _Given, found: strata.Strata, spec: MetricSpec) -> Simpson | NoEffect:
    stratified = strata.post_stratified(found)
    if isinstance(stratified, NoEffect):
        return stratified
    last = len(given.taken.looks) - 1
    boundary = given.taken.at(stratified, given.alpha(spec), last).boundary
    return simpson.detect(found, stratified, z=boundary)


def _tests(found: strata.Strata | NoEffect, spec: MetricSpec, alpha: float) -> dict[str, Any]:
    """The tests over strata, by their names in StrataAnalysis: of 0 and 1 by tables, else Cochran's Q alone."""
    if isinstance(found, NoEffect):
        return {"homogeneity": found, "cmh": None, "odds_ratio": None}
    if not spec.binary:
        return {"homogeneity": strata.spread_of_effects(found), "cmh": None, "odds_ratio": None}
    made = strata.tables_of(found)
    return {
        "homogeneity": tables.homogeneity(made),
        "tarone": tables.homogeneity(made, tarone=True),
        "cmh": tables.cmh(made),
        "cmh_plain": tables.cmh(made, continuity=False),
        "odds_ratio": tables.odds_ratio(made, level=1 - alpha),
        "risk_difference": tables.risk_difference(made, level=1 - alpha),
    }


def _sequence(given: _Given) -> list[SequencePoint]:
    """The pooled effect at each look, of the primary and of guardrails."""
    points = []
    for spec in given.definition.metrics:
        if spec.role is MetricRole.SECONDARY:
            continue
        for variant in given.treatments:
            for number, found in enumerate(_path(given, spec, variant).seen):
                if isinstance(found, NoEffect):
                    continue
                look, seen = given.taken.looks[number], given.taken.at(found, given.alpha(spec), number)
                points.append(
                    SequencePoint(
                        metric=spec.name,
                        variant=variant,
                        day=look.day,
                        n_units=look.n_units,
                        fraction=look.fraction,
                        estimate=seen.effect.estimate,
                        low=seen.effect.low,
                        high=seen.effect.high,
                        z=seen.z,
                        boundary=seen.boundary,
                    )
                )
    return points
