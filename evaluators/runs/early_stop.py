"""Ends a run against a release as soon as harm is proved beside another run: see evaluators/early.py."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from core.errors import InvalidInput
from core.ids import TenantId
from evaluators.early import Proof, can_be_watched, proof_of_harm
from evaluators.evidence import RunScores, read_run
from evaluators.pairing import Metric, metric_named
from evaluators.runs.planning import Params
from store.control.control import Control
from store.control.run_records import RunRecord, RunSource, RunSpec
from store.tenant import TenantStore

LOOK_EVERY_S: Final = 5.0  # a look reads all that the run has scored


@dataclass(kw_only=True)
class HarmWatch:
    """Looks for harm in a run under way."""

    control: Control
    store: TenantStore
    run: RunRecord
    baseline: RunScores
    metrics: Sequence[Metric]
    alpha: float
    _next_at: float = field(default=0.0)

    def look(self) -> Proof | None:
        """The proof, once there is one; looks no more often than every LOOK_EVERY_S."""
        if time.monotonic() < self._next_at:
            return None
        self._next_at = time.monotonic() + LOOK_EVERY_S
        candidate = read_run(self.control, self.store, self.run.tenant, self.run.run_id)
        return proof_of_harm(self.baseline, candidate, self.metrics, alpha=self.alpha)


def watch(control: Control, store: TenantStore, run: RunRecord, params: Params) -> HarmWatch | None:
    """The watch over a run that asked for one. Raises as `check_watch`."""
    if params.stop_against is None:
        return None
    baseline = read_run(control, store, run.tenant, params.stop_against)
    metrics = _metrics(baseline, run.spec, params)
    return HarmWatch(control=control, store=store, run=run, baseline=baseline, metrics=metrics, alpha=params.stop_alpha)


def check_watch(control: Control, store: TenantStore, tenant: TenantId, spec: RunSpec, params: Params) -> RunSpec:
    """The run's spec with the metrics that it is watched by. Raises InvalidInput, naming the field, where it cannot be
    watched, NotFound for an unknown other run."""
    if params.stop_against is None:
        if params.stop_metrics:
            raise InvalidInput("name the run that it is compared with", field="stop_against")
        return spec
    if spec.source is not RunSource.RELEASE:
        raise InvalidInput("only a run that asks a release can end early", field="stop_against")
    metrics = _metrics(read_run(control, store, tenant, params.stop_against), spec, params)
    chosen = replace(params, stop_metrics=tuple(one.name for one in metrics))
    return replace(spec, params=chosen.json())


def _metrics(baseline: RunScores, spec: RunSpec, params: Params) -> list[Metric]:
    """Those that were named; else all that have a range and that both runs score by the same version."""
    if baseline.content_hash != spec.content_hash:
        raise InvalidInput(f"run {baseline.run_id} is over other examples", field="stop_against")
    versions = dict(one.split("@", 1) for one in spec.evaluators)
    shared = [name for name in versions if baseline.evaluators.get(name) == versions[name]]
    found = [metric_named(name) for name in params.stop_metrics or shared]
    watched = [one for one in found if one.name in shared and can_be_watched(one)]
    if not watched or (params.stop_metrics and len(watched) < len(found)):
        lacking = sorted({one.name for one in found} - {one.name for one in watched})
        raise InvalidInput(
            f"{', '.join(lacking)[:200] or 'no metric'} cannot end a run: it needs a range from 0 to 1, and scores by "
            f"the same version in {baseline.run_id}",
            field="stop_metrics",
        )
    return watched
