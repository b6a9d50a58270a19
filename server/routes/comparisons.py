"""Comparisons: a candidate's run beside a baseline's, by metric and stratum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field

from evaluators.comparison import Compared, Comparison, ExampleDelta
from evaluators.evidence import RunScores
from evaluators.service_comparison import compare_runs
from evaluators.statistics.estimates import Unestimated
from evaluators.statistics.paired import Paired
from server.calibrating import certificate
from server.policy import known_parameters_only
from server.routes.answers import answer
from server.routes.asking import Reading, ReadingOf
from server.routes.keys import rfc3339
from server.routes.scores import Name
from store.control.certificates import JudgeFacts

router = APIRouter(prefix="/api/v1/comparisons", tags=["comparisons"], dependencies=[Depends(known_parameters_only)])

_COUNTS = ("n_better", "n_worse", "n_tied")
_FIGURES = ("difference", "se", "lower", "upper", "p_two_sided", "p_harm")


class WantedComparison(BaseModel):
    """`run_b`, the candidate, beside `run_a`, the baseline. `metrics`: only these. `margins`: by metric, the loss that
    `needed` is asked for. `worst`: how many examples of a metric are listed, those that lost most first;
    `every_example` lists also those that lost nothing."""

    model_config = ConfigDict(extra="forbid")

    run_a: Name
    run_b: Name
    metrics: Annotated[list[Name], Field(min_length=1, max_length=200)] | None = None
    strata: Annotated[list[Name], Field(max_length=200)] | None = None
    alpha: Annotated[float, Field(gt=0, le=0.5, allow_inf_nan=False)] = 0.05
    margins: Annotated[dict[Name, Annotated[float, Field(gt=0, allow_inf_nan=False)]], Field(max_length=200)] = {}
    worst: Annotated[int, Field(ge=0, le=1000)] = 10
    every_example: bool = False


class ComparedRun(BaseModel):
    """One of the two runs."""

    run_id: str
    app: str
    release: str | None
    dataset: str
    dataset_version: int
    k: int
    status: str
    finished_at: str | None
    evaluators: dict[str, str]


class ComparedExample(BaseModel):
    """One example. `difference` is positive where the candidate is better; the sessions are the baseline's best and the
    candidate's worst trial, `diff` the path of the dashboard's page that aligns them."""

    example_id: str
    stratum: str | None
    baseline: float
    candidate: float
    difference: float
    session_baseline: str | None
    session_candidate: str | None
    trace_baseline: str | None
    trace_candidate: str | None
    diff: str | None


class MetricsJudge(BaseModel):
    """The judge that gave a metric, as it stands now: only a certified one may decide."""

    version: str
    state: str
    reason: str
    kappa_low: float | None
    kappa_high: float | None
    bar: float | None


class ComparedMetric(BaseModel):
    """One metric over all examples, or one stratum. `difference` and what follows from it are positive where the
    candidate is better, also where lower is better; `low` and `high` are two-sided, `lower` and `upper` one-sided at
    1 - alpha each. `finding`: better, worse, no_evidence (of either, at q <= alpha) or unknown. Where a figure is null
    `lack` says why. `judge` is null for what no judge gave. docs/statistics.md says which test is used when."""

    metric: str
    stratum: str | None
    direction: str
    unit: str
    finding: str
    n: int
    n_better: int
    n_worse: int
    n_tied: int
    baseline: float | None
    candidate: float | None
    difference: float | None
    se: float | None
    low: float | None
    high: float | None
    lower: float | None
    upper: float | None
    p_two_sided: float | None
    q: float | None
    p_harm: float | None
    test: str | None
    interval_method: str | None
    lack: str | None
    detail: str | None
    detectable: float | None
    needed: int | None
    k_baseline: float | None
    k_candidate: float | None
    variance_between: float | None
    variance_within: float | None
    unpaired: dict[str, int]
    unscored_baseline: dict[str, int]
    unscored_candidate: dict[str, int]
    worst: list[ComparedExample]
    judge: MetricsJudge | None


class ComparisonMade(BaseModel):
    """Two runs compared. `notes` say what limits the comparison."""

    run_a: ComparedRun
    run_b: ComparedRun
    alpha: float
    notes: list[str]
    metrics: list[ComparedMetric]
    strata: list[ComparedMetric]


@router.post("", response_model=ComparisonMade)
def compare_two(reading: ReadingOf, wanted: WantedComparison) -> Response:
    """Compares two runs over the same examples; nothing is stored."""
    control, tenant = reading.services.control, reading.caller.tenant
    found = compare_runs(
        control,
        reading.store,
        tenant,
        wanted.run_a,
        wanted.run_b,
        None if wanted.metrics is None else list(dict.fromkeys(wanted.metrics)),
        margins=wanted.margins,
        alpha=wanted.alpha,
        strata=wanted.strata,
        worst=wanted.worst,
        every_example=wanted.every_example,
    )
    return answer(shown(found, _judges(reading, found)))


def shown(found: Comparison, judges: Mapping[str, JudgeFacts]) -> dict[str, Any]:
    """A comparison as it is answered; `judges` by the metric that each gave."""
    doubts = [
        f"{name} is given by a judge that may not decide: {facts.text}"
        for name, facts in judges.items()
        if not facts.certified
    ]
    return {
        "run_a": _run(found.baseline),
        "run_b": _run(found.candidate),
        "alpha": found.alpha,
        "notes": [*found.notes, *doubts],
        "metrics": [_metric(one, found.alpha, judges) for one in found.metrics],
        "strata": [_metric(one, found.alpha, judges) for one in found.strata],
    }


def _run(one: RunScores) -> dict[str, Any]:
    names = ("run_id", "app", "release", "dataset", "dataset_version", "k", "status")
    finished = None if one.finished_at_ns is None else rfc3339(one.finished_at_ns)
    return {
        **{name: getattr(one, name) for name in names},
        "finished_at": finished,
        "evaluators": dict(one.evaluators),
    }


def _judges(reading: Reading, found: Comparison) -> dict[str, JudgeFacts]:
    """What holds of the judges that gave metrics, each in the version of the candidate's run."""
    versions = {**found.baseline.evaluators, **found.candidate.evaluators}
    judged = sorted(found.baseline.judges | found.candidate.judges)
    return {
        name: certificate(reading.services, reading.caller.tenant, name, versions[name], found.candidate.app)
        for name in judged
        if name in {one.metric.name for one in found.metrics}
    }


def _judge(facts: JudgeFacts | None) -> dict[str, Any] | None:
    if facts is None:
        return None
    return {name: getattr(facts, name) for name in MetricsJudge.model_fields}


def _metric(one: Compared, alpha: float, judges: Mapping[str, JudgeFacts]) -> dict[str, Any]:
    return {
        "metric": one.metric.name,
        "stratum": one.stratum,
        "direction": one.metric.direction.value,
        "unit": one.metric.unit,
        "finding": finding(one, alpha),
        "n": one.n,
        "baseline": one.baseline,
        "candidate": one.candidate,
        **_estimated(one.found),
        **{name: getattr(one, name) for name in ("q", "detectable", "needed", "k_baseline", "k_candidate")},
        "variance_between": None if one.spread is None else one.spread.between,
        "variance_within": None if one.spread is None else one.spread.within,
        **{name: dict(getattr(one, name)) for name in ("unpaired", "unscored_baseline", "unscored_candidate")},
        "worst": [_example(each) for each in one.worst],
        "judge": _judge(judges.get(one.metric.name)),
    }


def finding(one: Compared, alpha: float) -> str:
    """In a word. Strata go by their own p, as only metrics are adjusted for one another."""
    found = one.found
    if isinstance(found, Unestimated):
        return "unknown"
    p = found.p_two_sided if one.stratum is not None else one.q
    if p is None:
        return "unknown" if found.lower is None else "no_evidence"
    if p > alpha:
        return "no_evidence"
    return "better" if found.difference > 0 else "worse"


def _estimated(found: Paired | Unestimated) -> dict[str, Any]:
    if isinstance(found, Unestimated):
        said = {"lack": found.reason.value, "detail": found.detail or None, "test": None, "interval_method": None}
        return {**dict.fromkeys(_COUNTS, 0), **dict.fromkeys((*_FIGURES, "low", "high")), **said}
    interval = found.interval
    return {
        **{name: getattr(found, name) for name in (*_COUNTS, *_FIGURES)},
        "low": None if interval is None else interval.low,
        "high": None if interval is None else interval.high,
        "interval_method": None if interval is None else interval.method,
        "test": None if found.test is None else found.test.value,
        "lack": None if found.lack is None else found.lack.value,
        "detail": None,
    }


def _example(one: ExampleDelta) -> dict[str, Any]:
    sides = (one.session_baseline, one.session_candidate)
    diff = None if None in sides else "/trace_diff?" + urlencode({"a": sides[0], "b": sides[1]})
    return {**{name: getattr(one, name) for name in ExampleDelta.__dataclass_fields__}, "diff": diff}
