"""The analysis of an experiment on live traffic: what to do, health, effects, strata, exposure."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from core.ids import TenantId
from core.windows import Window, moment_ns
from evaluators.statistics.estimates import Unestimated
from experiments.records import Arm
from experiments.service_analysis import ArmRate, Judges, analysis_of
from experiments.shown import as_json
from experiments.statistics.records import NoEffect, Why
from judges.service_corrected import CorrectedAsked, corrected_metric
from server.calibrating import certificate
from server.policy import known_parameters_only, names_once
from server.routes.answers import answer
from server.routes.asking import Reading, ReadingOf
from server.routes.scores import Name

router = APIRouter(
    prefix="/api/v1/experiments",
    tags=["experiments"],
    dependencies=[Depends(known_parameters_only), Depends(names_once)],
)


class AskedAnalysis(BaseModel):
    """Which version (the newest that was started, else the newest), and `as_of` when: what was stored later is hidden,
    and nothing that is decided is kept."""

    model_config = ConfigDict(extra="forbid")

    version: Annotated[int | None, Field(ge=1, le=1_000_000)] = None
    as_of: Annotated[str | None, Field(max_length=40)] = None


class DecisionTold(BaseModel):
    """not_started, keep_running, ship, do_not_ship, unhealthy or inconclusive, and why."""

    word: str
    headline: str
    reasons: list[str]
    days_left: int | None
    caution: str | None


class AnalysisTold(BaseModel):
    """Every figure is told with its interval, or why there is none; docs/experiments.md says what each means."""

    model_config = ConfigDict(extra="allow")

    experiment: str
    version: int
    app: str
    unit: str
    status: str
    design: str
    alpha: float
    started_at: int | None
    looked_at: int
    horizon: dict[str, Any] | None
    n_units: int
    fraction: float | None
    decision: DecisionTold
    arms: list[dict[str, Any]]
    health: list[dict[str, Any]]
    metrics: list[dict[str, Any]]
    sequence: list[dict[str, Any]]
    strata: list[dict[str, Any]]
    exposure: dict[str, Any]


@router.get("/{name}/analysis", response_model=AnalysisTold)
def read_analysis(
    name: Annotated[Name, Path()], reading: ReadingOf, asked: Annotated[AskedAnalysis, Query()]
) -> Response:
    """What the traces say of an experiment by now. Raises NotFound, InvalidInput for a moment that is none."""
    services, tenant = reading.services, reading.caller.tenant
    as_of_ns = None if asked.as_of is None else moment_ns(asked.as_of, "as_of")
    now_ns = services.clock() if as_of_ns is None else min(as_of_ns, services.clock())
    record = services.control.experiment(tenant, name, asked.version)
    found = analysis_of(
        services.control, reading.store, tenant, name, _judges(reading, tenant, record.app, as_of_ns),
        version=asked.version, now_ns=now_ns, as_of_ns=as_of_ns,
    )  # fmt: skip
    return answer(as_json(found))


def _judges(reading: Reading, tenant: TenantId, app: str, as_of_ns: int | None) -> Judges:
    """What the room experiments has to be told of judges."""
    services = reading.services

    def rate(name: str, arm: Arm, window: Window) -> ArmRate | NoEffect:
        wanted = CorrectedAsked(
            name=name, app=app, window=window, release=arm.release, variant=arm.variant, as_of_ns=as_of_ns
        )
        found = corrected_metric(reading.store, services.control, tenant, wanted, now_ns=services.clock()).rate
        if isinstance(found, Unestimated):
            return NoEffect(why=Why.NO_OBSERVATIONS, text=f"{arm.variant}: {found.detail}")
        return ArmRate(value=found.value, se=found.se, n=found.n_judged)

    return Judges(facts=lambda judge: certificate(services, tenant, judge, app=app), rate=rate)
