"""The decision in words, from health, findings and how far the experiment is. What is missing ships nothing.

Ship: the primary is shown better at the design's boundary (or, where it has a margin, not worse by more than that),
every guardrail with a margin is shown to stay within it, and none without one is shown worse. Do not ship: of every
treatment the primary or a guardrail is shown worse. Neither waits for the horizon: the boundary holds at every look.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from experiments.analysed import (
    Decision,
    Finding,
    Health,
    HealthCheck,
    HealthStatus,
    Looked,
    MetricAnalysis,
    StrataAnalysis,
    VariantAnalysis,
    Word,
)
from experiments.looks import Plan
from experiments.records import Better, Definition, ExperimentStatus, MetricRole, MetricSpec
from experiments.statistics.records import NoEffect, Why
from experiments.statistics.simpson import Simpson
from experiments.words import between, called, change, figure, has_effect, told

SHARE_NAMED: Final = 0.1  # of the observations: levels so large are worth a word in the reasons
EXAGGERATED: Final = 1.005  # less is not worth a word
_TRUST: Final = "Nobody said how units were split: that chance made these arms is taken on trust"
_FAILED: Final = {
    HealthCheck.SRM: "sample ratio",
    HealthCheck.STRATUM_SRM: "sample ratio within a stratum",
    HealthCheck.MIX: "mix of strata",
}
RECENT: Final = 7  # looks by whose pace the days left are told


def decide(
    definition: Definition,
    looked: Looked,
    taken: Plan,
    health: Sequence[Health],
    metrics: Sequence[MetricAnalysis],
    strata: Sequence[StrataAnalysis],
) -> Decision:
    """The word with its reasons; every reason about a metric has both arms' numbers."""
    if looked.status is ExperimentStatus.DRAFT or looked.started_at_ns is None:
        return Decision(word=Word.NOT_STARTED, headline="Not started: no unit is assigned yet")
    failed = [one for one in health if one.status is HealthStatus.FAILED]
    if failed:
        names = ", ".join(dict.fromkeys(_FAILED.get(one.check, one.check.value.replace("_", " ")) for one in failed))
        return Decision(
            word=Word.UNHEALTHY,
            headline=f"Unhealthy: {names}. No figure decides until that is mended",
            reasons=tuple(one.text for one in failed) + _paradoxes(strata),
        )
    standing = {arm.variant: _standing(arm.variant, metrics) for arm in definition.arms[1:]}
    reasons = (
        *(text for one in standing.values() for text in one[1]),
        *_paradoxes(strata),
        *_uneven(definition, strata),
        *(() if looked.exposure.weights_known else (_TRUST,)),
    )
    winners = [variant for variant, (word, _) in standing.items() if word is Word.SHIP]
    if winners:
        return _ship(taken, metrics, winners, reasons)
    if all(word is Word.DO_NOT_SHIP for word, _ in standing.values()):
        return _refused(metrics, reasons)
    return _open(definition, looked, taken, metrics, reasons)


def days_left(taken: Plan) -> int | None:
    """Days until the horizon's units are in, at the pace of the last RECENT looks; None without a horizon or a pace."""
    if taken.horizon_units is None or not taken.looks:
        return None
    looks = taken.looks[-RECENT - 1 :]
    first, last = looks[0], looks[-1]
    days, units = (last.day - first.day).days, last.n_units - first.n_units
    if len(taken.looks) <= RECENT:
        days, units = (last.day - first.day).days + 1, last.n_units
    if units <= 0:
        return None
    return max(0, math.ceil((taken.horizon_units - last.n_units) * days / units))


def _standing(variant: str, metrics: Sequence[MetricAnalysis]) -> tuple[Word, list[str]]:
    """What the metrics say of one treatment: SHIP, DO_NOT_SHIP or KEEP_RUNNING (not settled), with reasons."""
    reasons, harmed, open_ = [], False, False
    for metric in metrics:
        if metric.spec.role is MetricRole.SECONDARY:
            continue
        one = next(one for one in metric.variants if one.variant == variant)
        reasons.append(_reason(metric.spec, one, metric.stratified_headline))
        harmed = harmed or one.finding is Finding.WORSE
        open_ = open_ or not _enough(metric.spec, one.finding)
    word = Word.DO_NOT_SHIP if harmed else Word.KEEP_RUNNING if open_ else Word.SHIP
    return word, reasons


def _enough(spec: MetricSpec, finding: Finding) -> bool:
    """Whether a finding lets a release pass."""
    if spec.role is MetricRole.PRIMARY:
        return finding is Finding.BETTER or (bool(spec.margin) and finding is Finding.NOT_WORSE)
    if spec.margin:
        return finding in (Finding.NOT_WORSE, Finding.BETTER)
    return finding in (Finding.NOT_WORSE, Finding.BETTER, Finding.UNSETTLED)


def _reason(spec: MetricSpec, one: VariantAnalysis, stratified: bool) -> str:
    role = "" if spec.role is MetricRole.PRIMARY else f"{spec.role.value} "
    start = f"{one.variant}: {role}{spec.name}"
    if isinstance(one.effect, NoEffect):
        return f"{start} is missing: {one.effect.text}"
    words = {
        Finding.BETTER: "is better",
        Finding.WORSE: "is worse",
        Finding.NOT_WORSE: "is not worse by more than its margin",
        Finding.UNSETTLED: "is not settled",
        Finding.MISSING: "is missing",
    }
    text = f"{start} {words[one.finding]}, {told(one.effect, spec)}"
    text += " with the same mix of strata" if stratified else ""
    if spec.margin:
        margin = f"{spec.margin:.1%} of the control's" if spec.relative else figure(spec.margin, spec)
        text += f"; at most {margin} may be lost"
    if one.p_adjusted is not None and one.finding is Finding.WORSE:
        text += f"; p {one.p_adjusted:.3g}"
    return text


def _ship(taken: Plan, metrics: Sequence[MetricAnalysis], winners: list[str], reasons: tuple[str, ...]) -> Decision:
    primary = _primary(metrics)
    shown = [one for one in primary.variants if one.variant in winners and not isinstance(one.effect, NoEffect)]
    sign = 1 if primary.spec.better is Better.HIGHER else -1
    best = max(shown, key=lambda one: sign * _estimate(one))
    assert not isinstance(best.effect, NoEffect)
    word = "is better" if best.finding is Finding.BETTER else "is not worse by more than its margin"
    return Decision(
        word=Word.SHIP,
        headline=f"Ship {best.variant}: {primary.spec.name} {word}, {told(best.effect, primary.spec)}",
        reasons=reasons,
        caution=_caution(primary.spec, best, len(primary.variants), early=(taken.looks[-1].fraction or 0.0) < 1),
        variant=best.variant,
    )


def _caution(spec: MetricSpec, best: VariantAnalysis, n: int, *, early: bool) -> str | None:
    """Why a winner's estimate is too good, and what to plan with instead. `n`: of how many treatments it is the best;
    `early`: before a horizon."""
    if isinstance(best.effect, NoEffect) or best.finding is not Finding.BETTER:
        return None
    sure = best.effect.low if spec.better is Better.HIGHER else best.effect.high
    text = f"Expect less than {change(best.effect.estimate, spec)}: it is told because it is large"
    text += f", and it is the best of {n}" if n > 1 else ""
    selected = best.selected
    if selected is not None and selected.exaggeration is not None and selected.exaggeration > EXAGGERATED:
        who = "The test crossed early, where experiments" if early else "Experiments that cross here"
        text += (
            f". {who} show {selected.exaggeration:.2f} times what is there on average; allowing for it "
            f"{change(selected.median_unbiased, spec)} ({between(selected.low, selected.high, spec)})"
        )
    return f"{text}. What the interval stands for is {change(sure, spec)} at least: plan with that."


def _refused(metrics: Sequence[MetricAnalysis], reasons: tuple[str, ...]) -> Decision:
    harmed = [
        (metric.spec, one)
        for metric in metrics
        for one in metric.variants
        if one.finding is Finding.WORSE and metric.spec.role is not MetricRole.SECONDARY
    ]
    spec, one = harmed[0]
    assert not isinstance(one.effect, NoEffect)
    return Decision(
        word=Word.DO_NOT_SHIP,
        headline=f"Do not ship {one.variant}: {spec.name} is worse, {told(one.effect, spec)}",
        reasons=reasons,
    )


def _open(
    definition: Definition,
    looked: Looked,
    taken: Plan,
    metrics: Sequence[MetricAnalysis],
    reasons: tuple[str, ...],
) -> Decision:
    """Nothing is settled: go on while there is something to wait for."""
    primary = _primary(metrics)
    unjudged = [
        metric.spec.name
        for metric in metrics
        for one in metric.variants
        if isinstance(one.effect, NoEffect)
        and one.effect.why is Why.NOT_CERTIFIED
        and metric.spec.role is not MetricRole.SECONDARY
    ]
    if unjudged:
        names = ", ".join(dict.fromkeys(unjudged))
        headline = f"Inconclusive: the judge of {names} is not certified, so that its scores decide nothing"
        return Decision(word=Word.INCONCLUSIVE, headline=headline, reasons=reasons)
    over = bool(taken.looks) and (taken.looks[-1].fraction or 0) >= 1
    if looked.status is ExperimentStatus.STOPPED or over:
        headline = f"Inconclusive: {_end(definition, looked, over=over)} and it is not settled. {_where(primary)}"
        if not looked.exposure.n_units:
            headline = "Inconclusive: it was stopped before any unit was exposed"
        return Decision(word=Word.INCONCLUSIVE, headline=headline, reasons=reasons)
    left = days_left(taken)
    share = f" ({taken.looks[-1].fraction:.0%} of the planned units)" if left is not None else ""
    if not looked.exposure.n_units:
        headline = "Keep running: no unit has been exposed yet"
    elif not taken.looks:
        headline = "Keep running: the first look is taken when the first day is complete"
    elif left is None:
        headline = f"Keep running: no horizon was set, so look when you like. {_where(primary)}"
    else:
        headline = f"Keep running: about {left} more day{'s' * (left != 1)}{share}. {_where(primary)}"
    return Decision(word=Word.KEEP_RUNNING, headline=headline, reasons=reasons, days_left=left)


def _end(definition: Definition, looked: Looked, *, over: bool) -> str:
    """Why nothing more is awaited. What belongs to no app is a table: its rows are all there is."""
    if not definition.app:
        return f"all {looked.exposure.n_units:,} units are in"
    return "all planned units are in" if over else "it was stopped"


def _where(primary: MetricAnalysis) -> str:
    """Where the primary stands."""
    parts = []
    for one in primary.variants:
        name = f"{primary.spec.name}, {one.variant}" if len(primary.variants) > 1 else primary.spec.name
        parts.append(
            f"{name}: {one.effect.text if isinstance(one.effect, NoEffect) else told(one.effect, primary.spec)}"
        )
    return "; ".join(parts)


def _paradoxes(strata: Sequence[StrataAnalysis]) -> tuple[str, ...]:
    return tuple(
        f"{one.variant}, {one.metric} by {called(one.attribute)}: {one.sentence}"
        for one in strata
        if _disagrees(one) and one.sentence
    )


def _uneven(definition: Definition, strata: Sequence[StrataAnalysis]) -> tuple[str, ...]:
    """Where the primary has an effect of its own and where none is shown, of registered strata with both kinds."""
    told = []
    for one in strata:
        registered = one.attribute in definition.strata and one.metric == definition.primary.name
        clear = {has_effect(level) for level in one.levels if level.weight >= SHARE_NAMED}
        if registered and len(clear) == 2 and one.sentence and not _disagrees(one):
            told.append(f"{one.variant}, by {called(one.attribute)}: {one.sentence}")
    return tuple(told)


def _disagrees(one: StrataAnalysis) -> bool:
    return isinstance(one.simpson, Simpson) and one.simpson.disagrees


def _primary(metrics: Sequence[MetricAnalysis]) -> MetricAnalysis:
    return next(one for one in metrics if one.spec.role is MetricRole.PRIMARY)


def _estimate(one: VariantAnalysis) -> float:
    return 0.0 if isinstance(one.effect, NoEffect) else one.effect.estimate
