"""Two stored runs compared: read from the control database and the lake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from core.errors import InvalidInput
from core.ids import TenantId
from evaluators.comparison import Comparison, compare
from evaluators.evidence import RunScores, read_run
from evaluators.pairing import Metric, metric_named
from store.control.control import Control
from store.tenant import TenantStore


def compare_runs(
    control: Control,
    store: TenantStore,
    tenant: TenantId,
    run_a: str,
    run_b: str,
    metrics: Sequence[str] | None = None,
    *,
    margins: Mapping[str, float] | None = None,
    alpha: float = 0.05,
    strata: Sequence[str] | None = None,
    worst: int = 10,
    every_example: bool = False,
) -> Comparison:
    """`run_b`, the candidate, beside `run_a`, the baseline. `margins`: by metric, the loss that a number of needed
    examples is asked for. Raises NotFound for an unknown run, InvalidInput for runs over other examples or without a
    trial, and for an unknown metric or stratum."""
    baseline, candidate = both(control, store, tenant, run_a, run_b)
    for one in (baseline, candidate):
        if one.rows.is_empty():
            raise InvalidInput(f"run {one.run_id} has no trial to compare", field="run_b")
    asked = dict(margins or {})
    known = {*baseline.metrics, *candidate.metrics}
    unknown = sorted({*asked, *(metrics or ())} - known)
    if unknown:
        said = f"neither run has a metric {', '.join(unknown)[:200]}; they have {', '.join(sorted(known))}"
        raise InvalidInput(said[:500], field="metrics" if metrics else "margins")
    judges = baseline.judges | candidate.judges
    chosen = [_metric(one, asked.get(one), one in judges) for one in metrics or sorted(known)]
    return compare(baseline, candidate, chosen, alpha=alpha, strata=strata, worst=worst, every_example=every_example)


def _metric(name: str, margin: float | None, judged: bool) -> Metric:
    """A metric by its name; what a judge gave lies between 0 and 1."""
    found = metric_named(name, margin=margin)
    return replace(found, bounds=(0.0, 1.0), unit="share") if judged else found


def both(control: Control, store: TenantStore, tenant: TenantId, run_a: str, run_b: str) -> tuple[RunScores, RunScores]:
    """Both runs; with the contents of their examples where they are over different versions of a dataset."""
    specs = [control.run(tenant, one).spec for one in (run_a, run_b)]
    other = specs[0].content_hash != specs[1].content_hash
    first, second = (read_run(control, store, tenant, one, with_examples=other) for one in (run_a, run_b))
    return first, second
