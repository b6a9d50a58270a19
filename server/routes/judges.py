"""Judges: made and changed, foreseen and run over stored sessions, watching live ones, deleted."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from core.errors import Forbidden, InvalidInput, NotFound
from core.records import Principal, Role
from core.windows import Window, window_of
from judges.reach import model_ref
from judges.records import JudgeSpec, Rubric
from judges.stored import rubric_of, rubric_record, spec_json
from server.calibrating import certificate
from server.policy import ServicesOf, known_parameters_only, names_once, needs
from server.routes import judge_shapes as shapes
from server.routes.answers import answer
from server.routes.scores import Name
from server.wiring import Services
from store.control.judge_records import JobRecord, JobStatus, JudgeRecord, JudgeSchedule

if TYPE_CHECKING:  # what knows prices loads what asks models
    from judges.service_jobs import Wanted

router = APIRouter(
    prefix="/api/v1/judges", tags=["judges"], dependencies=[Depends(known_parameters_only), Depends(names_once)]
)
MOST_SHOWN = 20
_EVER_NS = 10 * 366 * 86_400_000_000_000
Viewer = Annotated[Principal, Depends(needs(Role.VIEWER))]
Power = Annotated[Principal, Depends(needs(Role.POWER_USER))]


@router.get("", response_model=shapes.Judges)
def list_judges(caller: Viewer, services: ServicesOf) -> Response:
    """Every judge as it is now."""
    found = [_told(services, one) for one in services.control.judges(caller.tenant)]
    return answer({"items": found, "next_cursor": None})


@router.post("", status_code=201, response_model=shapes.Judge)
def create_judge(wanted: shapes.NewJudge, caller: Power, services: ServicesOf) -> Response:
    """Makes a judge, or its next version; the same again changes nothing. Raises InvalidInput naming the field,
    NotFound for a rubric that is not there, Conflict for a rubric's version with another text, Forbidden for an address
    from who is no admin."""
    if (wanted.url or wanted.key_env) and not caller.role.allows(Role.ADMIN):
        raise Forbidden("the address of a model's server and the name of its key are an admin's to choose")
    if (wanted.url or wanted.key_env) and len(wanted.models) > 1:
        raise InvalidInput("a URL and a key are for a judge of one model", field="url")
    rubric = _rubric(wanted, caller, services)
    same = ("name", "temperature", "max_output_tokens", "repeats", "both_orders", "app", "own_family")
    spec = JudgeSpec(
        rubric=rubric.name,
        rubric_version=rubric.version,
        rubric_digest=rubric.digest,
        models=tuple(model_ref(one, wanted.url, wanted.key_env) for one in wanted.models),
        **{name: getattr(wanted, name) for name in same},
    )
    if len(set(spec.models)) < len(spec.models):
        raise InvalidInput("name each model of a panel once; repeats ask it again", field="models")
    made = services.control.put_judge(caller.tenant, spec.name, spec.version, spec_json(spec), by=caller)
    return answer(_told(services, made), status=201)


@router.get("/{name}", response_model=shapes.JudgeShown)
def read_judge(name: Name, caller: Viewer, services: ServicesOf) -> Response:
    """One judge with its versions, schedules and newest jobs. Raises NotFound."""
    control, tenant = services.control, caller.tenant
    versions = control.judge_versions(tenant, name)
    jobs = control.judge_jobs(tenant, name)
    schedules = [one for one in control.judge_schedules(tenant) if one.judge == name]
    return answer(
        {
            **_told(services, versions[0]),
            "versions": [shapes.version_told(one) for one in versions],
            "schedules": [shapes.schedule_told(one) for one in schedules],
            "runs": [shapes.job_told(one) for one in jobs[:MOST_SHOWN]],
            "cost_usd": sum(one.cost_usd for one in jobs),
            "n_verdicts": sum(one.n_paid for one in jobs),
        }
    )


def _told(services: Services, record: JudgeRecord) -> dict[str, Any]:
    return shapes.judge_told(record, certificate(services, record.tenant, record.name, record.version))


@router.delete("/{name}", response_model=shapes.DeletedJudge)
def delete_judge(
    name: Name, caller: Power, services: ServicesOf, dry_run: Annotated[bool, Query()] = False
) -> Response:
    """Deletes a judge with its jobs, kept verdicts, schedules and calibrations, or says what would go. Its scores and
    its rubric stay. Raises NotFound, Conflict while a job is under way."""
    n = services.control.delete_judge(caller.tenant, name, by=caller, dry_run=dry_run)
    return answer({"name": name, "dry_run": dry_run, "n": n})


@router.post("/{name}/forecast", response_model=shapes.JudgeForecast)
def foresee_judge_run(
    name: Name, wanted: shapes.WantedJudgeRun, caller: Annotated[Principal, Depends(needs(Role.USER))],
    services: ServicesOf,
) -> Response:  # fmt: skip
    """What a job would take: targets, calls, tokens and money; nothing is asked. Raises as starting one."""
    from judges import service_jobs

    plan = service_jobs.plan(
        services.control, services.store.tenant(caller.tenant), caller.tenant, _wanted(name, wanted, services)
    )
    told = asdict(service_jobs.foresee(services.control, plan))
    about = {"judge": name, "version": plan.job.version, "app": plan.job.app, "warnings": list(plan.warnings)}
    return answer({**about, **told})


@router.post("/{name}/runs", status_code=201, response_model=shapes.JudgeRun)
def start_judge_run(name: Name, wanted: shapes.WantedJudgeRun, caller: Power, services: ServicesOf) -> Response:
    """Begins a job, which goes on in the server. Raises NotFound for an unknown judge or evaluation run, InvalidInput
    naming the field, among others for a budget where no price is known."""
    from judges import service_jobs

    plan = service_jobs.plan(
        services.control, services.store.tenant(caller.tenant), caller.tenant, _wanted(name, wanted, services)
    )
    job = service_jobs.begin(services.control, plan, by=caller)
    services.judge_asked.set()
    return answer(shapes.job_told(job), status=201)


@router.get("/{name}/runs", response_model=shapes.JudgeRuns)
def list_judge_runs(
    name: Name,
    caller: Viewer,
    services: ServicesOf,
    status: JobStatus | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> Response:
    """The jobs of a judge, newest first. Raises NotFound."""
    services.control.judge(caller.tenant, name)
    found = [one for one in services.control.judge_jobs(caller.tenant, name) if status in (None, one.status)]
    return answer({"items": [shapes.job_told(one) for one in found[:limit]], "next_cursor": None})


@router.get("/{name}/runs/{job_id}", response_model=shapes.JudgeRun)
def read_judge_run(name: Name, job_id: Name, caller: Viewer, services: ServicesOf) -> Response:
    """One job and how far it is. Raises NotFound."""
    return answer(shapes.job_told(_job(name, job_id, caller, services)))


@router.post("/{name}/runs/{job_id}/cancel", response_model=shapes.JudgeRun)
def cancel_judge_run(name: Name, job_id: Name, caller: Power, services: ServicesOf) -> Response:
    """Ends a job where it is: what was paid for is kept and scored. One that is over stays so. Raises NotFound."""
    _job(name, job_id, caller, services)
    job = services.control.cancel_judge_job(caller.tenant, job_id, by=caller)
    services.judge_asked.set()
    return answer(shapes.job_told(job))


@router.get("/{name}/verdicts/{key}", response_model=shapes.VerdictShown)
def read_verdict(name: Name, key: Name, caller: Viewer, services: ServicesOf) -> Response:
    """A verdict with the reply as it came, by the `verdict` in its score's metadata. Raises NotFound."""
    found = services.control.verdicts(caller.tenant, [key]).get(key)
    if found is None or found.judge != name:
        raise NotFound(f"judge {name[:80]} has no verdict {key[:80]!r}; an erasure or a deletion may have taken it")
    return answer(shapes.verdict_told(found))


@router.get("/{name}/schedule", response_model=shapes.Schedules)
def read_judge_schedule(name: Name, caller: Viewer, services: ServicesOf) -> Response:
    """Whose sessions the judge looks at as they end. Raises NotFound."""
    services.control.judge(caller.tenant, name)
    found = [one for one in services.control.judge_schedules(caller.tenant) if one.judge == name]
    return answer({"items": [shapes.schedule_told(one) for one in found], "next_cursor": None})


@router.put("/{name}/schedule", response_model=shapes.ChangedSchedule)
def set_judge_schedule(name: Name, wanted: shapes.WantedSchedule, caller: Power, services: ServicesOf) -> Response:
    """Watches an app's sessions from now on, or no more. Raises NotFound, InvalidInput: the rubric is not of sessions
    or turns, or no price is known, so that no budget can be kept."""
    from judges import service_jobs, service_watch

    store, now = services.store.tenant(caller.tenant), services.clock()
    schedule = JudgeSchedule(
        tenant=caller.tenant,
        judge=name,
        app=wanted.app,
        share=wanted.share,
        budget_usd=wanted.budget_per_day_usd,
        idle_s=wanted.idle_s,
        is_on=wanted.on,
        marks=service_watch.marks_now(store),
        changed_at_ns=now,
        changed_by=caller.name[:200],
    )
    day = Window(start_ns=now - 86_400_000_000_000, end_ns=now + 1)
    asked = service_jobs.Wanted(
        judge=name, app=wanted.app, within=day, share=wanted.share, budget_usd=schedule.budget_usd
    )
    plan = service_jobs.plan(services.control, store, caller.tenant, asked)
    service_watch.check(plan.spec, plan.rubric)
    told = service_jobs.foresee(services.control, plan)
    if not wanted.dry_run:
        schedule = services.control.set_judge_schedule(schedule, by=caller)
    said: dict[str, Any] = {"dry_run": wanted.dry_run, "n_day": told.n_targets, "n_day_all": told.n_all}
    said |= {"usd_day": told.usd, "warnings": list(plan.warnings)}
    return answer({**shapes.schedule_told(schedule), **said})


def _rubric(wanted: shapes.NewJudge, caller: Principal, services: Services) -> Rubric:
    """The rubric of a judge, kept if it was given."""
    from judges.rubrics import read_rubric

    if (wanted.rubric is None) == (wanted.rubric_name is None):
        raise InvalidInput("give one of rubric, the file's text, and rubric_name", field="rubric")
    if wanted.rubric is not None:
        given = read_rubric(wanted.rubric)
        return rubric_of(services.control.add_rubric(rubric_record(caller.tenant, given), by=caller).body)
    found = services.control.rubric(caller.tenant, wanted.rubric_name or "", wanted.rubric_version)
    return rubric_of(found.body)


def _job(name: str, job_id: str, caller: Principal, services: Services) -> JobRecord:
    job = services.control.judge_job(caller.tenant, job_id)
    if job.judge != name:
        raise NotFound(f"judge {name[:80]} has no job {job_id[:60]!r}")
    return job


def _wanted(name: str, said: shapes.WantedJudgeRun, services: Services) -> Wanted:
    from judges.service_jobs import Wanted

    now = services.clock()
    if said.since or said.start or said.run_id is None:
        within = window_of(now_ns=now, start=said.start, end=said.end, since=said.since)
    else:
        within = Window(start_ns=now - _EVER_NS, end_ns=now + 3_600_000_000_000)
    same = ("app", "share", "limit", "budget_usd", "run_id", "against", "concurrency", "per_minute", "strict", "batch")
    return Wanted(judge=name, within=within, **{each: getattr(said, each) for each in same})
