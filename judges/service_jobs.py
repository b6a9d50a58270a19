"""Jobs of judges as callers ask for them: planned, foreseen without a call, begun."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from core.errors import InvalidInput
from core.ids import TenantId, fresh
from core.records import Principal
from core.windows import Window
from judges.batching import BATCH_SHARE, MOST_BATCHED, has_batches
from judges.choosing import chosen, id_of
from judges.forecasting import OUTPUT_TOKENS, Foreseen, foreseen
from judges.reach import check_family
from judges.records import JudgeSpec, Missing, OwnFamily, Rubric, ScaleKind
from judges.service_targets import MOST_TARGETS, Shown, reading, targets_in, targets_of_run
from judges.stored import rubric_json, rubric_of, spec_json, spec_of, verdict_key
from store.control.control import Control
from store.control.judge_records import JobRecord, JobStatus, TargetRecord
from store.tenant import TenantStore

SAMPLE: Final = 60  # targets that a forecast reads
MOST_CONCURRENCY: Final = 64
MOST_BUDGET_USD: Final = 1e6


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a caller asks for. With `run_id` the trials of that evaluation run are judged, else the sessions or turns of
    `app` (None: the judge's) that begin in `within`; with `against` too, its answers are judged beside that run's, by a
    rubric of pairs. `strict` refuses a judge of the product's own family; `batch` asks
    through the providers' batches. Raises InvalidInput naming the field."""

    judge: str
    app: str | None = None
    within: Window
    share: float = 1.0
    limit: int | None = None
    budget_usd: float | None = None
    run_id: str | None = None
    against: str | None = None
    concurrency: int = 8
    per_minute: float | None = None
    strict: bool = False
    batch: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:  # NaN neither
            raise InvalidInput("the share is above 0 and at most 1", field="share")
        if self.limit is not None and self.limit < 1:
            raise InvalidInput("the limit is 1 or more", field="limit")
        if self.budget_usd is not None and not 0 < self.budget_usd <= MOST_BUDGET_USD:
            raise InvalidInput("the budget is above 0 and at most a million dollars", field="budget_usd")
        if not 1 <= self.concurrency <= MOST_CONCURRENCY:
            raise InvalidInput(f"calls in flight are 1 to {MOST_CONCURRENCY}", field="concurrency")
        if self.per_minute is not None and not 0 < self.per_minute < 1e6:
            raise InvalidInput("requests a minute are more than 0", field="per_minute")
        if self.against is not None and self.run_id is None:
            raise InvalidInput("a run is judged against another: name both", field="run_id")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A job that could begin: its targets in the order of judging, out of `n_all`."""

    job: JobRecord
    spec: JudgeSpec
    rubric: Rubric
    targets: tuple[TargetRecord, ...]
    n_all: int
    sample: tuple[tuple[TargetRecord, Shown], ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class JobForecast:
    """What a job would take, told from `n_read` of its targets: `n_cached` have a verdict already, the others take
    `n_calls`. Money in US dollars, as expected and at the very most; None: no price is known. `n_within_budget` of the
    targets are expected to fit."""

    n_targets: int
    n_all: int
    probability: float
    n_read: int
    n_cached: int
    n_calls: int
    input_tokens: int
    output_tokens: int
    usd: float | None
    usd_most: float | None
    budget_usd: float | None
    n_within_budget: int


def plan(control: Control, store: TenantStore, tenant: TenantId, wanted: Wanted) -> Plan:
    """The plan of a job; nothing is written or asked. Raises NotFound for an unknown judge or run, InvalidInput naming
    the field for what cannot be judged."""
    spec = spec_of(control.judge(tenant, wanted.judge).spec)
    if wanted.strict:
        spec = replace(spec, own_family=OwnFamily.REFUSE)
    rubric = rubric_of(control.rubric(tenant, spec.rubric, spec.rubric_version).body)
    if wanted.run_id is not None:
        run, found = targets_of_run(control, tenant, rubric, wanted.run_id, wanted.against)
        app = run.spec.app
    else:
        app = wanted.app or spec.app or ""
        if not app:
            raise InvalidInput("name the app whose sessions are judged", field="app")
        found = targets_in(control, store, tenant, rubric, app, wanted.within)
    targets = chosen(tenant, rubric.name, found, wanted.share, wanted.limit)
    if len(targets) > MOST_TARGETS:
        raise InvalidInput(
            f"{len(targets):,} targets; a job has at most {MOST_TARGETS:,}: name a smaller share", "share"
        )
    if wanted.batch:
        _check_batch(spec, len(targets))
    read = reading(control, store, tenant, wanted.run_id, wanted.against)(targets[:SAMPLE])
    sample = tuple((one, read[id_of(one)]) for one in targets[:SAMPLE] if id_of(one) in read)
    models = [name for _, shown in sample for name in shown.models]
    models += [one.spec.model for one in control.releases(tenant, app) if one.spec.model]
    warnings = tuple(check_family(spec, dict.fromkeys(models)))
    _check_money(spec, rubric, sample, wanted)
    job = _job(tenant, spec, rubric, app, wanted, warnings)
    return Plan(
        job=job, spec=spec, rubric=rubric, targets=tuple(targets), n_all=len(found), sample=sample, warnings=warnings
    )


def foresee(control: Control, found: Plan) -> JobForecast:
    """What the job would take."""
    spec, rubric, tenant = found.spec, found.rubric, found.job.tenant
    output = _usual_output(control, tenant, spec)
    each = [
        (verdict_key(spec, shown.content), foreseen(spec, rubric, shown.content, output)) for _, shown in found.sample
    ]
    kept = control.verdicts(tenant, [key for key, _ in each])
    kept = {key: one for key, one in kept.items() if one.missing != Missing.MODEL_FAILED.value}
    asked = [one for key, one in each if key not in kept]
    whole = len(found.targets) / max(1, len(each))
    usd, most = _sum([one.usd for one in asked]), _sum([one.usd_most for one in asked])
    share = whole * (BATCH_SHARE if found.job.params.get("batch") else 1.0)
    usd, most = (None if one is None else one * share for one in (usd, most))
    return JobForecast(
        n_targets=len(found.targets),
        n_all=found.n_all,
        probability=found.targets[0].probability if found.targets else 0.0,
        n_read=len(each),
        n_cached=round((len(each) - len(asked)) * whole),
        n_calls=round(sum(one.n_calls for one in asked) * whole),
        input_tokens=round(sum(one.input_tokens for one in asked) * whole),
        output_tokens=round(sum(one.output_tokens for one in asked) * whole),
        usd=usd,
        usd_most=most,
        budget_usd=found.job.budget_usd,
        n_within_budget=_within(found, asked, usd),
    )


def begin(control: Control, found: Plan, *, by: Principal) -> JobRecord:
    """Writes the job and its targets; who works on jobs takes it from there. One without targets is done."""
    job = control.start_job(found.job, found.targets, by=by)
    if found.targets:
        return job
    return control.end_judge_job(job.tenant, job.job_id, JobStatus.DONE, reason="there was nothing to judge")


def _job(
    tenant: TenantId, spec: JudgeSpec, rubric: Rubric, app: str, wanted: Wanted, warnings: Sequence[str]
) -> JobRecord:
    job_id = fresh("judging")
    params: dict[str, Any] = {
        "source": "run",
        "share": wanted.share,
        "limit": wanted.limit,
        "run_id": wanted.run_id,
        "against": wanted.against,
        "order_seed": _seed(job_id) if rubric.kind is ScaleKind.PAIRWISE and not spec.both_orders else None,
        "concurrency": wanted.concurrency,
        "per_minute": wanted.per_minute,
        "batch": wanted.batch or None,
        "start_ns": wanted.within.start_ns,
        "end_ns": wanted.within.end_ns,
        "warnings": list(warnings),
    }
    return JobRecord(
        tenant=tenant,
        job_id=job_id,
        judge=spec.name,
        version=spec.version,
        spec=spec_json(spec),
        rubric=rubric_json(rubric),
        app=app,
        params={name: value for name, value in params.items() if value is not None},
        budget_usd=wanted.budget_usd,
    )


def _seed(job_id: str) -> int:
    """What decides the order in which a pair is shown, where it is shown in one only."""
    return int.from_bytes(hashlib.sha256(job_id.encode()).digest()[:4])


def _check_batch(spec: JudgeSpec, n_targets: int) -> None:
    strange = [one.text for one in spec.models if not has_batches(one)]
    if strange:
        raise InvalidInput(f"{strange[0]} has no batch API that is known here; leave batch out", field="batch")
    if n_targets > MOST_BATCHED:
        raise InvalidInput(f"{n_targets:,} targets; a batched job has at most {MOST_BATCHED:,}: set a limit", "limit")


def _check_money(spec: JudgeSpec, rubric: Rubric, sample: Sequence[tuple[TargetRecord, Shown]], wanted: Wanted) -> None:
    """Raises InvalidInput where a budget is asked for that nobody could keep."""
    if wanted.budget_usd is None:
        return
    for _, shown in sample:
        if foreseen(spec, rubric, shown.content).usd_most is None:
            raise InvalidInput(
                f"no price is known for {', '.join(one.text for one in spec.models)}, so no budget can be kept; leave "
                "the budget out and give a limit",
                field="budget_usd",
            )


def _usual_output(control: Control, tenant: TenantId, spec: JudgeSpec) -> float:
    """Tokens of an answer, as this version's jobs had them."""
    jobs = [one for one in control.judge_jobs(tenant, spec.name) if one.version == spec.version and one.n_calls]
    n_calls = sum(one.n_calls for one in jobs)
    return sum(one.output_tokens for one in jobs) / n_calls if n_calls else OUTPUT_TOKENS


def _within(found: Plan, asked: Sequence[Foreseen], usd: float | None) -> int:
    n, budget = len(found.targets), found.job.budget_usd
    if budget is None or not usd or not asked or usd <= budget:
        return n
    return min(n, int(n * budget / usd))


def _sum(amounts: Sequence[float | None]) -> float | None:
    return None if None in amounts else sum(one for one in amounts if one is not None)
