"""The analysis of an experiment on live traffic: its definition and state, the sums that the store makes of the traces,
and what judges' metrics are once their errors are taken out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from math import sqrt

import polars as pl

from core.clock import NS_PER_S
from core.ids import TenantId
from core.windows import Window
from evaluators.catalogue import BY_NAME
from experiments import sums
from experiments.analysed import BY_DAY, BY_STRATUM, Analysis, ArmExposure, Decision, Exposure, Looked
from experiments.analysis import analyse
from experiments.metrics import BUILT_IN
from experiments.records import Arm, Definition, ExperimentStatus
from experiments.registered import definition_of
from experiments.service_reading import LiveReading, day_of_ns
from experiments.statistics.effects import z_of
from experiments.statistics.records import Effect, NoEffect, Why
from store.control.certificates import JudgeFacts
from store.control.control import Control
from store.control.experiment_records import ExperimentRecord, LookRecord
from store.tenant import TenantStore


@dataclass(frozen=True, kw_only=True)
class ArmRate:
    """A judge's rate in an arm with the judge's errors taken out: its standard error, and the targets it is of."""

    value: float
    se: float
    n: int


@dataclass(frozen=True, kw_only=True)
class Judges:
    """What the server knows of judges, which this room may not: whether one may decide now, and its corrected rate
    among the sessions of an arm that begin in a window."""

    facts: Callable[[str], JudgeFacts]
    rate: Callable[[str, Arm, Window], ArmRate | NoEffect]


def analysis_of(
    control: Control,
    store: TenantStore,
    tenant: TenantId,
    name: str,
    judges: Judges,
    *,
    version: int | None = None,
    now_ns: int,
    as_of_ns: int | None = None,
) -> Analysis:
    """The analysis of a version (None: the newest that was started, else the newest), by what is known now. What it
    decides is kept with the experiment, unless it is one of the past. Raises NotFound."""
    record = _record(control, tenant, name, version)
    definition = definition_of(record)
    found = analyse(definition, *_looked(control, store, record, definition, judges, now_ns, as_of_ns))
    earlier = sum(
        one.started_at_ns is not None and one.version < record.version
        for one in control.experiment_versions(tenant, name)
    )
    found = replace(found, decision=_begun_again(_registered_late(found.decision, record), record, earlier))
    if as_of_ns is None and record.started_at_ns is not None:
        said = found.decision
        n_units = found.looked.exposure.n_units
        look = LookRecord(word=said.word.value, headline=said.headline, n_units=n_units, at_ns=now_ns)
        if record.look is None or replace(record.look, at_ns=now_ns) != look:
            control.note_look(tenant, name, record.version, look)
    return found


def _registered_late(said: Decision, record: ExperimentRecord) -> Decision:
    """With a caution where what is registered could be chosen by what had come."""
    if record.started_at_ns is None or record.started_at_ns >= record.made_at_ns:
        return said
    hours = (record.made_at_ns - record.started_at_ns) / (3600 * NS_PER_S)
    late = (
        f"Registered {hours:.3g} hours after its first units came: metrics, margins and horizon could be chosen by "
        "what was seen by then, and no interval allows for that."
    )
    return replace(said, caution=late if said.caution is None else f"{said.caution} {late}")


def _begun_again(said: Decision, record: ExperimentRecord, earlier: int) -> Decision:
    """With a caution where earlier versions ran: what the first did not show, one of many will by chance."""
    if not earlier:
        return said
    ran = "one earlier one ran" if earlier == 1 else f"{earlier} earlier ones ran"
    again = (
        f"This is version {record.version}, and {ran}. Each has an error rate of its own, so that beginning again "
        "until one ships finds chance."
    )
    return replace(said, caution=again if said.caution is None else f"{said.caution} {again}")


def _record(control: Control, tenant: TenantId, name: str, version: int | None) -> ExperimentRecord:
    if version is not None:
        return control.experiment(tenant, name, version)
    versions = control.experiment_versions(tenant, name)
    return next((one for one in versions if one.started_at_ns is not None), versions[0])


def _looked(
    control: Control,
    store: TenantStore,
    record: ExperimentRecord,
    definition: Definition,
    judges: Judges,
    now_ns: int,
    as_of_ns: int | None,
) -> tuple[pl.DataFrame, Looked]:
    """The sums, and what was looked at."""
    judged = judged_metrics(control, record.tenant, definition)
    if record.started_at_ns is None:
        return sums.no_sums(), _unstarted(record, definition, now_ns)
    until_ns = min(now_ns, record.stopped_at_ns or now_ns)
    window = Window(start_ns=record.started_at_ns, end_ns=max(until_ns, record.started_at_ns + 1))
    reading = LiveReading(store, record, definition, judged, now_ns, as_of_ns)
    runs = [one.run_id for one in control.runs(record.tenant) if one.spec.app == record.app]
    frame, exposure = reading.sums(runs)
    values, sampled = reading.observations(runs, exposure)
    looked = Looked(
        at_ns=now_ns,
        started_at_ns=record.started_at_ns,
        days=looks_of(record, now_ns),
        exposure=exposure,
        status=ExperimentStatus(record.status),
        observations=values,
        corrected=_corrected(definition, judged, judges, window, lambda names: reading.alike(names, runs)),
        sampled=sampled,
    )
    return frame, looked


def judged_metrics(control: Control, tenant: TenantId, definition: Definition) -> list[str]:
    """The metrics that a judge of the tenant tells: named as it is, and neither built in nor an evaluator of ours."""
    judges = {one.name for one in control.judges(tenant)}
    return [one.name for one in definition.metrics if one.name in judges - set(BUILT_IN) - set(BY_NAME)]


def _unstarted(record: ExperimentRecord, definition: Definition, now_ns: int) -> Looked:
    """Of a draft nothing is known."""
    nobody = Exposure(
        arms=tuple(ArmExposure(variant=one.variant, n_units=0, n_sessions=0) for one in definition.arms),
        by_day=pl.DataFrame(schema=BY_DAY),
        by_stratum=pl.DataFrame(schema=BY_STRATUM),
    )
    status = ExperimentStatus(record.status)
    return Looked(at_ns=now_ns, started_at_ns=None, days=(), exposure=nobody, status=status)


def looks_of(record: ExperimentRecord, now_ns: int) -> tuple[date, ...]:
    """The days of first exposures that are complete: over by the clock (UTC), or cut short by the stop."""
    assert record.started_at_ns is not None
    first = day_of_ns(record.started_at_ns)
    stopped = record.stopped_at_ns is not None and record.stopped_at_ns <= now_ns
    last = day_of_ns(record.stopped_at_ns or 0) if stopped else day_of_ns(now_ns) - timedelta(days=1)
    return tuple(first + timedelta(days=n) for n in range((last - first).days + 1))


def _corrected(
    definition: Definition,
    judged: Sequence[str],
    judges: Judges,
    window: Window,
    alike: Callable[[Sequence[str]], Mapping[tuple[str, str], float]],
) -> Mapping[tuple[str, str], Effect | NoEffect]:
    """Every judged metric of every treatment: corrected, or why it is not. `alike` says by metric and variant how many
    times the variance of sessions is that of their units; the corrected rates take sessions for independent."""
    found: dict[tuple[str, str], Effect | NoEffect] = {}
    facts = {name: judges.facts(name) for name in judged}
    times = alike([name for name, one in facts.items() if one.certified])
    for name, known in facts.items():
        treatments = definition.arms[1:]
        if not known.certified:
            why = NoEffect(why=Why.NOT_CERTIFIED, text=known.text)
            found |= {(name, arm.variant): why for arm in treatments}
            continue
        control, *rates = (
            _widened(judges.rate(name, arm, window), times.get((name, arm.variant), 1.0)) for arm in definition.arms
        )
        for arm, rate in zip(treatments, rates, strict=True):
            found[name, arm.variant] = _between(control, rate, definition.alpha)
    return found


def _widened(rate: ArmRate | NoEffect, times: float) -> ArmRate | NoEffect:
    return rate if isinstance(rate, NoEffect) else replace(rate, se=rate.se * sqrt(times))


def _between(control: ArmRate | NoEffect, treatment: ArmRate | NoEffect, alpha: float) -> Effect | NoEffect:
    """The difference of two rates that were corrected apart: the variances of its parts add."""
    if isinstance(control, NoEffect):
        return control
    if isinstance(treatment, NoEffect):
        return treatment
    se = sqrt(control.se**2 + treatment.se**2)
    if se == 0:
        return NoEffect(why=Why.CONSTANT, text="All verdicts of both arms are the same; nothing can be weighed.")
    estimate = treatment.value - control.value
    half = z_of(alpha) * se
    return Effect(
        control=control.value,
        treatment=treatment.value,
        n_control=control.n,
        n_treatment=treatment.n,
        estimate=estimate,
        se=se,
        low=estimate - half,
        high=estimate + half,
        level=1 - alpha,
        method="corrected for the judge's errors",
    )
