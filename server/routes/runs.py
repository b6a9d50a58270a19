"""Evaluation runs: begin one or foresee what it takes, list them, look at one with its trials and scores, cancel it."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from auth.keys import credential_of
from core.errors import InvalidInput
from core.ids import TenantId
from core.records import Principal, Role
from core.windows import Window, window_of
from evaluators.runs import service
from evaluators.runs.planning import Params
from evaluators.runs.reading import scores_of_run
from server.policy import ServicesOf, known_parameters_only, names_once, needs
from server.routes.answers import answer
from server.routes.asking import Text
from server.routes.gateway import gateway_says
from server.routes.keys import rfc3339
from server.routes.scores import Name
from server.running import kept
from server.wiring import Services
from store.control.run_records import RunRecord, RunSource, RunStatus, TrialRecord, TrialStatus

router = APIRouter(
    prefix="/api/v1/runs", tags=["runs"], dependencies=[Depends(known_parameters_only), Depends(names_once)]
)
MOST_OUTPUTS: Final = 50_000
_EVER_NS: Final = 10 * 366 * 86_400_000_000_000

RunId = Annotated[str, Path(max_length=60)]
Viewer = Annotated[Principal, Depends(needs(Role.VIEWER))]
PowerUser = Annotated[Principal, Depends(needs(Role.POWER_USER))]
Amount = Annotated[float | None, Field(allow_inf_nan=False)]


class WantedRun(BaseModel):
    """A run to be begun. `source`: a `release` is asked, stored `traces` are scored, or `outputs` are given as `file`.
    Without a `dataset` every stored session of the release is an example. `trials` of each example: 1, or as many as
    there are. `via` the gateway or the endpoint that the release was registered with; whichever works when it is left
    out. With `stop_against`, the run of a baseline, it ends as soon as harm in one of `stop_metrics` (none named: all
    shares) is proved beside that run, at `stop_alpha` over all looks. `dry_run` says what it would take, and begins
    nothing."""

    model_config = ConfigDict(extra="forbid")

    dataset: Name | None = None
    version: Annotated[int | None, Field(ge=1)] = None
    app: Name | None = None
    release: Name
    evaluators: Annotated[list[Name], Field(min_length=1, max_length=100)] = ["correctness", "latency", "cost"]
    trials: int | None = None
    source: RunSource = RunSource.RELEASE
    outputs: Annotated[list[dict[str, Any]], Field(max_length=MOST_OUTPUTS)] = []
    split: Name | None = None
    limit: int | None = None
    concurrency: int = 4
    per_minute: Amount = None
    timeout_s: float = 300.0
    attempts: int = 4
    trace_wait_s: float = 30.0
    max_cost_usd: Amount = None
    via: Annotated[str, Field(pattern="^(gateway|endpoint)?$")] = ""
    stop_against: Name | None = None
    stop_metrics: Annotated[tuple[Name, ...], Field(max_length=100)] = ()
    stop_alpha: Annotated[float, Field(gt=0, le=0.5, allow_inf_nan=False)] = 0.05
    since: Annotated[str | None, Field(max_length=20)] = None
    start: Annotated[str | None, Field(max_length=40)] = None
    end: Annotated[str | None, Field(max_length=40)] = None
    dry_run: bool = False


class Metric(BaseModel):
    """The mean of a metric over examples with its 95 % interval (null where there is none), and how many values there
    are; `unscored` counts those that are missing, by reason."""

    metric: str
    unit: str
    direction: str
    n_trials: int
    n_examples: int
    n_unscored: int
    unscored: dict[str, int]
    mean: float | None
    low: float | None
    high: float | None
    se: float | None


class Run(BaseModel):
    """A run and how far it is. `metrics` are there once it is over; `reason` says why it failed or ended early."""

    run_id: str
    app: str
    release: str
    dataset: str
    dataset_version: int
    content_hash: str
    evaluators: list[str]
    trials: int
    source: RunSource
    status: RunStatus
    n_trials: int
    n_done: int
    n_failed: int
    n_scored: int
    cost_usd: float
    created_at: str
    created_by: str
    started_at: str | None
    finished_at: str | None
    reason: str | None
    params: dict[str, Any]
    metrics: list[Metric]


class Forecast(BaseModel):
    """What a run would take; null where nothing is known to tell from."""

    dry_run: bool
    app: str
    release: str
    n_examples: int
    n_trials: int
    n_calls: int
    evaluators: list[str]
    tokens: float | None
    usd: float | None
    usd_p50: float | None
    usd_p95: float | None
    n_sessions: int
    of: str


class Runs(BaseModel):
    """Runs, newest first."""

    items: list[Run]
    next_cursor: None = None


class Trial(BaseModel):
    """A trial. `detail` holds turns, tool calls and what else its source told."""

    example_id: str
    trial: int
    status: TrialStatus
    session_id: str
    trace_ids: list[str]
    stratum: str | None
    output: str | None
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    latency_ms: float | None
    n_calls: int
    error: str | None
    scored: bool
    started_at: str | None
    finished_at: str | None
    detail: dict[str, Any]


class Trials(BaseModel):
    """Trials of a run, in its order."""

    items: list[Trial]
    next_cursor: str | None


class RunScore(BaseModel):
    """What an evaluator said of a trial: a value, or why there is none."""

    example_id: str
    trial: int
    metric: str
    score_id: str
    value: float | None
    label: str | None
    explanation: str | None
    unscored: str | None
    metadata: dict[str, Any]
    at: str


class RunScoresPage(BaseModel):
    """Scores of a run, by trial in its order. `limit` counts trials."""

    items: list[RunScore]
    next_cursor: str | None


class Asked(BaseModel):
    """Which runs."""

    model_config = ConfigDict(extra="forbid")

    app: Text = None
    release: Text = None
    dataset: Text = None
    status: RunStatus | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 50


class AskedPage(BaseModel):
    """Which trials. `cursor` is the `next_cursor` of the page before."""

    model_config = ConfigDict(extra="forbid")

    example_id: Text = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    cursor: Annotated[str | None, Field(pattern="^[0-9]{1,9}$")] = None


@router.post("", status_code=201, response_model=Run | Forecast)
def begin_run(request: Request, wanted: WantedRun, caller: PowerUser, services: ServicesOf) -> Response:
    """Begins a run, which goes on in the server, or says what it would take. Raises NotFound for an unknown dataset,
    InvalidInput naming the field."""
    store = services.store.tenant(caller.tenant)
    plan = service.plan(services.control, store, caller.tenant, _wanted(wanted, services.clock()))
    if wanted.dry_run:
        told = service.foresee(store, plan, services.clock())
        return answer({"dry_run": True, "app": plan.spec.app, "release": plan.spec.release, **asdict(told)}, status=200)
    if plan.spec.source is RunSource.RELEASE:
        params = _addressed(request, services, caller, plan.spec.app, wanted)
        plan = replace(
            plan, spec=replace(plan.spec, params={**plan.spec.params, "via": params.via, "address": params.address})
        )
    if plan.spec.source is RunSource.FILE:
        plan = replace(plan, trials=tuple(kept(services, caller.tenant, plan.trials)))
    run = service.begin(services.control, caller.tenant, plan, by=caller)
    services.run_asked.set()
    return answer(_run(run), status=201)


@router.get("", response_model=Runs)
def list_runs(asked: Annotated[Asked, Query()], caller: Viewer, services: ServicesOf) -> Response:
    """The runs of the tenant, newest first."""
    found = [one for one in services.control.runs(caller.tenant) if _passes(one, asked)]
    return answer({"items": [_run(one) for one in found[: asked.limit]], "next_cursor": None})


@router.get("/{run_id}", response_model=Run)
def read_run(run_id: RunId, caller: Viewer, services: ServicesOf) -> Response:
    """One run. Raises NotFound."""
    return answer(_run(services.control.run(caller.tenant, run_id)))


@router.get("/{run_id}/trials", response_model=Trials)
def read_trials(run_id: RunId, asked: Annotated[AskedPage, Query()], caller: Viewer, services: ServicesOf) -> Response:
    """The trials of a run. Raises NotFound."""
    page, cursor = _page(services, caller.tenant, run_id, asked)
    return answer({"items": [_trial(one) for one in page], "next_cursor": cursor})


@router.get("/{run_id}/scores", response_model=RunScoresPage)
def read_run_scores(
    run_id: RunId, asked: Annotated[AskedPage, Query()], caller: Viewer, services: ServicesOf
) -> Response:
    """What evaluators said of the trials of a run. Raises NotFound."""
    run = services.control.run(caller.tenant, run_id)
    page, cursor = _page(services, caller.tenant, run_id, asked)
    rows = scores_of_run(services.store.tenant(caller.tenant), run, page).to_dicts()
    items = [row | {"metadata": json.loads(row["metadata"] or "{}"), "at": str(row["at"])} for row in rows]
    return answer({"items": items, "next_cursor": cursor})


@router.post("/{run_id}/cancel", response_model=Run)
def cancel_run(run_id: RunId, caller: PowerUser, services: ServicesOf) -> Response:
    """Ends a run where it is: what was asked is kept and scored. One that is over stays as it is. Raises NotFound."""
    run = services.control.cancel_run(caller.tenant, run_id, by=caller)
    services.run_asked.set()
    return answer(_run(run))


def _wanted(said: WantedRun, now_ns: int) -> service.Wanted:
    if said.outputs and said.source is not RunSource.FILE:
        raise InvalidInput("outputs belong to a run of source file", field="outputs")
    if said.source is RunSource.FILE and not said.outputs:
        raise InvalidInput("a run of source file has its outputs", field="outputs")
    if said.since or said.start:
        within = window_of(now_ns=now_ns, start=said.start, end=said.end, since=said.since)
    else:
        within = Window(start_ns=now_ns - _EVER_NS, end_ns=now_ns + 3_600_000_000_000)
    return service.Wanted(
        dataset=said.dataset,
        version=said.version,
        app=said.app,
        release=said.release,
        evaluators=said.evaluators,
        k=said.trials,
        source=said.source,
        params=_params(said),
        outputs=said.outputs,
        within=within,
    )


def _params(said: WantedRun) -> Params:
    names = Params.__dataclass_fields__.keys() & WantedRun.model_fields.keys()
    return Params(**{name: getattr(said, name) for name in sorted(names)})


def _addressed(request: Request, services: Services, caller: Principal, app: str, wanted: WantedRun) -> Params:
    """How the release is reached: through the gateway where that knows it, else where it was registered to be. Raises
    InvalidInput when nobody said."""
    params = _params(wanted)
    endpoint = next(
        (one.spec.endpoint for one in services.control.releases(caller.tenant, app) if one.spec.name == wanted.release),
        None,
    )
    port = services.settings.gateway_port
    told, why = (
        ({}, "") if wanted.via == "endpoint" else gateway_says(port, credential_of(request.headers.items()) or "")
    )
    knows = app in told.get("apps", ())
    planned = bool(services.control.plans(caller.tenant, app))
    if knows and (wanted.via == "gateway" or planned or not endpoint):
        return replace(params, via="gateway", address=f"http://127.0.0.1:{port}/apps/{quote(app, safe='')}")
    if endpoint and wanted.via != "gateway":
        return replace(params, via="endpoint", address=endpoint.rstrip("/"))
    gateway = why or f"the gateway has no app {app[:60]!r}"
    raise InvalidInput(
        f"release {wanted.release[:60]!r} of {app[:60]!r} cannot be asked: it is not registered with an endpoint, and "
        f"{gateway}"
        if not endpoint
        else f"the release cannot be asked through the gateway: {gateway}",
        field="release",
    )


def _passes(run: RunRecord, asked: Asked) -> bool:
    said = {"app": run.spec.app, "release": run.spec.release, "dataset": run.spec.dataset, "status": run.status}
    return all(getattr(asked, name) in (None, value) for name, value in said.items())


def _page(services: Services, tenant: TenantId, run_id: str, asked: AskedPage) -> tuple[list[TrialRecord], str | None]:
    found = services.control.trials(tenant, run_id)
    if asked.example_id is not None:
        found = [one for one in found if one.example_id == asked.example_id]
    start = int(asked.cursor or 0)
    end = start + asked.limit
    return found[start:end], str(end) if end < len(found) else None


def _run(run: RunRecord) -> dict[str, Any]:
    spec = run.spec
    return {
        "run_id": run.run_id,
        **{name: getattr(spec, name) for name in ("app", "release", "dataset", "dataset_version", "content_hash")},
        "evaluators": list(spec.evaluators),
        "trials": spec.k,
        "source": spec.source.value,
        "status": run.status.value,
        **{name: getattr(run, name) for name in ("n_trials", "n_done", "n_failed", "n_scored", "cost_usd")},
        "created_at": rfc3339(run.created_at_ns),
        "created_by": run.created_by,
        "started_at": rfc3339(run.started_at_ns),
        "finished_at": rfc3339(run.finished_at_ns),
        "reason": run.reason,
        "params": dict(spec.params),
        "metrics": list((run.summary or {}).get("metrics", ())),
    }


def _trial(one: TrialRecord) -> dict[str, Any]:
    same = ("example_id", "trial", "session_id", "stratum", "output", "input_tokens", "output_tokens", "cost_usd")
    more = ("latency_ms", "n_calls", "error", "scored")
    return {
        **{name: getattr(one, name) for name in (*same, *more)},
        "status": one.status.value,
        "trace_ids": list(one.trace_ids),
        "started_at": rfc3339(one.started_at_ns),
        "finished_at": rfc3339(one.finished_at_ns),
        "detail": dict(one.detail),
    }
