"""What servers do by the clock, what failed of it and is done again from here, and work that was asked for."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response

from core.records import Principal, Role
from server.policy import known_parameters_only, names_once, needs
from server.routes import job_shapes as shapes
from server.routes.answers import answer
from server.routes.asking import ReadingOf
from server.routes.job_told import clusters_told, evaluation_told, job_told, judging_told

router = APIRouter(prefix="/api/v1", tags=["jobs"], dependencies=[Depends(known_parameters_only), Depends(names_once)])

PowerUser = Annotated[Principal, Depends(needs(Role.POWER_USER))]
Name = Annotated[str, Path(max_length=100)]


@router.get("/jobs", response_model=shapes.Jobs)
def list_jobs(reading: ReadingOf) -> Response:
    """The jobs that servers do for this tenant by the clock."""
    items = [job_told(one) for one in reading.services.control.jobs(reading.caller.tenant)]
    return answer({"items": items, "next_cursor": None})


@router.get("/jobs/{job}", response_model=shapes.Job)
def read_job(job: Name, reading: ReadingOf) -> Response:
    """One job with its newest runs. Raises NotFound."""
    return answer(job_told(reading.services.control.job(reading.caller.tenant, job)))


@router.post("/jobs/{job}/replay", response_model=shapes.Job)
def replay_job(job: Name, caller: PowerUser, reading: ReadingOf) -> Response:
    """Does a job that failed again as soon as a server looks, with all its tries. Raises NotFound; Conflict while it is
    done, and where it did not fail."""
    return answer(job_told(reading.services.control.replay_job(caller.tenant, job, by=caller)))


@router.post("/jobs/{job}/run", response_model=shapes.Job)
def run_job(job: Name, caller: PowerUser, reading: ReadingOf) -> Response:
    """Does a job before its time, as soon as a server looks. Raises NotFound; Conflict while it is done."""
    return answer(job_told(reading.services.control.run_job(caller.tenant, job, by=caller)))


@router.get("/work", response_model=shapes.Asked)
def list_work(reading: ReadingOf) -> Response:
    """Evaluation runs, jobs of judges and runs of clusters that wait or are worked on, the oldest first."""
    control, tenant = reading.services.control, reading.caller.tenant
    found = [evaluation_told(one) for one in control.runs(tenant) if not one.status.ended]
    found += [judging_told(one) for one in control.judge_jobs(tenant) if not one.status.ended]
    found += [clusters_told(one) for one in control.cluster_runs(tenant) if not one.status.ended]
    return answer({"items": sorted(found, key=lambda one: str(one["asked_at"])), "next_cursor": None})
