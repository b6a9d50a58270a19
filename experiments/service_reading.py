"""What one analysis of live traffic asks the store, each question once: who scored, which sessions are no traffic, the
sums, the effects by age, lost telemetry, and the observations of quantiles. Six queries, seven with quantiles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Final

import polars as pl

from core.clock import NS_PER_S
from core.records import EvaluatorKind, TargetKind
from core.windows import LAST_NS, Window
from experiments import live_sums, splits, sums
from experiments.analysed import Exposure
from experiments.metrics import Metric, metric_or_own, scored_of
from experiments.records import AssignedBy, Better, Definition, MetricKind, MetricSpec, UnitKind
from experiments.statistics.effects import design_effect
from store.control.experiment_records import ExperimentRecord
from store.experiment_arms import Arms, ArmSeen, Enrolment, Range
from store.experiment_levels import OF_SCORES
from store.experiment_moments import MOST_UNITS, Measure, MetricAsked, UnitsAsked, by_age, cells, observations
from store.experiment_scores import Scored, Told, evaluators_seen
from store.experiment_telemetry import sent_and_lost
from store.experiment_units import chosen_sessions
from store.sessions import MARGIN_S
from store.tenant import TenantStore, around

# Strata that are looked at whatever was registered; those that no session has are left out.
ALWAYS: Final = ("complexity", "tenant_tier", "topic", "cluster", "hour")
SETTLE_S: Final = 5  # until every gateway obeys a start or a ramp; what begins earlier may be as before
_NOBODY: Final = Range(salt="", first="1", last="0")


def asked_of(
    record: ExperimentRecord,
    definition: Definition,
    metrics: Sequence[MetricAsked],
    *,
    attributes: Sequence[str] = (),
    labels: Sequence[Scored] = (),
    runs: Sequence[str] = (),
    now_ns: int,
    as_of_ns: int | None = None,
) -> UnitsAsked:
    """The units of a version that was started, as the store is asked for them."""
    assert record.started_at_ns is not None
    return UnitsAsked(
        app=record.app,
        arms=arms_of(record, definition),
        metrics=tuple(metrics),
        by_user=definition.unit is UnitKind.USER,
        started_ns=record.started_at_ns,
        until_ns=LAST_NS if record.stopped_at_ns is None else record.stopped_at_ns,
        now_ns=now_ns,
        attributes=tuple(attributes),
        labels=tuple(labels),
        covariate_days=definition.covariate_days,
        runs=tuple(runs),
        as_of_ns=as_of_ns,
    )


class LiveReading:
    """The questions that one analysis asks the store, each once."""

    def __init__(
        self,
        store: TenantStore,
        record: ExperimentRecord,
        definition: Definition,
        judged: Sequence[str],
        now_ns: int,
        as_of_ns: int | None,
    ) -> None:
        assert record.started_at_ns is not None
        self._store, self._record, self._definition = store, record, definition
        self._now_ns, self._as_of_ns = now_ns, as_of_ns
        self._names = live_sums.metrics_of(definition, judged)
        self._quantiles = [one for one in definition.metrics if one.kind is MetricKind.QUANTILE]
        self._attributes = tuple(dict.fromkeys((*definition.strata, *ALWAYS)))
        begins = Window(start_ns=record.started_at_ns, end_ns=LAST_NS)
        self._chosen = tuple(chosen_sessions(store, record.app, around(begins, MARGIN_S), as_of_ns))
        self._seen = self._who_scored(begins)

    def sums(self, runs: Sequence[str]) -> tuple[pl.DataFrame, Exposure]:
        """The sums with those by age, and who was exposed."""
        definition, metrics = self._definition, [self._metric(name) for name in self._names]
        labels = [self._labels(name) for name in self._attributes if name.startswith(OF_SCORES)]
        asked = self._asked(metrics, runs, attributes=self._attributes, labels=labels)
        found = live_sums.levelled(cells(self._store, asked), self._attributes, definition.strata)
        sent = sent_and_lost(self._store, asked)
        frame = live_sums.sums_of(found, definition, self._names)
        if asked.by_user and metrics and self._names[0] == definition.primary.name:
            ages = by_age(self._store, asked)
            day = day_of_ns(asked.started_ns)
            frame = sums.added(frame, live_sums.ages_of(ages, definition, self._names[0], day))
        return frame, live_sums.exposure_of(found, sent, definition, self._names)

    def observations(self, runs: Sequence[str], exposure: Exposure) -> tuple[dict[str, pl.DataFrame], bool]:
        """What quantiles are taken of, and whether it is a sample of the units."""
        if not self._quantiles:
            return {}, False
        one_in = -(-max(exposure.n_units, 1) // MOST_UNITS)
        metrics = [self._metric(one.name) for one in self._quantiles]
        rows = observations(self._store, self._asked(metrics, runs), one_in=one_in)
        told = {
            spec.name: live_sums.observations_of(rows, self._definition, asked.of is Measure.LATENCY_MS, index)
            for index, (spec, asked) in enumerate(zip(self._quantiles, metrics, strict=True))
        }
        return told, one_in > 1

    def alike(self, judged: Sequence[str], runs: Sequence[str]) -> dict[tuple[str, str], float]:
        """By metric and variant how many times the variance of a judge's share is what sessions would give that were
        units by themselves: of what the judge said, by the spread between units."""
        told = {
            name: next(
                (row for row in self._seen if (row["evaluator"], row["kind"]) == (name, EvaluatorKind.JUDGE)), None
            )
            for name in judged
        }
        metrics = [
            MetricAsked(name=name, of=Scored(name=name, told=(_of_judge(name, row),)))
            for name, row in told.items()
            if row is not None
        ]
        if not metrics:
            return {}
        found = live_sums.levelled(cells(self._store, self._asked(metrics, runs)), (), ())
        frame = live_sums.sums_of(found, self._definition, [one.name for one in metrics])
        return {
            (one.name, arm.variant): design_effect(sums.moments(frame, one.name, variant=arm.variant))
            for one in metrics
            for arm in self._definition.arms
        }

    def _asked(
        self,
        metrics: Sequence[MetricAsked],
        runs: Sequence[str],
        *,
        attributes: Sequence[str] = (),
        labels: Sequence[Scored] = (),
    ) -> UnitsAsked:
        asked = asked_of(
            self._record, self._definition, metrics, attributes=attributes, labels=labels, runs=runs,
            now_ns=self._now_ns, as_of_ns=self._as_of_ns,
        )  # fmt: skip
        return replace(asked, chosen=self._chosen)

    def _who_scored(self, begins: Window) -> list[dict[str, object]]:
        """Who scored what, of the evaluators that metrics and strata name: since the start, and as long before it as
        sessions are looked back for, so that the first outcome of a young experiment changes nothing."""
        names = {one for spec in self._definition.metrics for one in _metric(spec).evaluators}
        names |= {one.removeprefix(OF_SCORES) for one in self._attributes if one.startswith(OF_SCORES)}
        if not names:
            return []
        found = evaluators_seen(self._store, sorted(names), around(begins, 4 * MARGIN_S), self._as_of_ns)
        return found.to_dicts()

    def _metric(self, name: str) -> MetricAsked:
        metric = _metric(next(one for one in self._definition.metrics if one.name == name))
        if metric.measure is not None:
            return MetricAsked(name=name, of=metric.measure)
        return MetricAsked(name=name, of=scored_of(metric, self._seen), mature_s=self._definition.mature_s)

    def _labels(self, attribute: str) -> Scored:
        """Who labels sessions under the name of the stratum."""
        name = attribute.removeprefix(OF_SCORES)
        told = scored_of(Metric(name=name, text="", unit="", better=Better.HIGHER, evaluators=(name,)), self._seen).told
        return Scored(name=attribute, told=told)


def day_of_ns(ns: int) -> date:
    """The UTC day."""
    return datetime.fromtimestamp(ns // NS_PER_S, UTC).date()


def arms_of(record: ExperimentRecord, definition: Definition) -> Arms:
    """The arms as spans show them, and who takes part where the gateway assigns (experiments/splits.py)."""
    if definition.assigned_by is AssignedBy.APP:
        plain = tuple(ArmSeen(variant=one.variant, release=one.release) for one in definition.arms)
        return Arms(arms=plain, testers=tuple(record.overrides), tester_key=record.override_key)
    parts = splits.arms(definition)
    seen = tuple(
        ArmSeen(variant=one.variant, release=one.release, part=_range(parts.get(one.variant)))
        for one in definition.arms
    )
    outside, slot, _ = splits.entrance(definition, 1.0)
    ramps = [
        (at_ns + SETTLE_S * NS_PER_S, _range(splits.entrance(definition, coverage)[2]))
        for at_ns, coverage in record.ramps
    ]
    enrolment = Enrolment(within=(_range(outside), _range(slot)), ramps=tuple(ramps))
    return Arms(arms=seen, enrolment=enrolment, testers=tuple(record.overrides), tester_key=record.override_key)


def _range(part: splits.Part | None) -> Range:
    return _NOBODY if part is None else Range(salt=part.salt, first=part.digits[0], last=part.digits[1])


def _of_judge(name: str, row: Mapping[str, object]) -> Told:
    return Told(evaluator=name, kind=EvaluatorKind.JUDGE, target=TargetKind(str(row["target"])))


def _metric(spec: MetricSpec) -> Metric:
    return metric_or_own(spec.name, spec.better)
