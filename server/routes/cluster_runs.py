"""Runs of clusters: begin one or foresee what it takes, list them, look at one, cancel it."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from clustering.params import params_of
from core.errors import InvalidInput, NotFound
from core.ids import fresh
from core.records import Principal, Role
from core.windows import AHEAD_NS, Window, window_of
from server.clustering_rounds import OWN_APPS
from server.policy import ServicesOf, known_parameters_only, names_once, needs
from server.routes.answers import answer
from server.routes.cluster_shapes import ClusterForecast, ClusterRun, ClusterRuns
from server.routes.cluster_told import run_told, window_told
from server.routes.scores import Name
from server.wiring import Services
from store.apps import apps_with_sessions
from store.control.cluster_records import ClusterRunRecord

router = APIRouter(
    prefix="/api/v1/clusters/runs",
    tags=["clusters"],
    dependencies=[Depends(known_parameters_only), Depends(names_once)],
)

RunId = Annotated[str, Path(max_length=60)]
Viewer = Annotated[Principal, Depends(needs(Role.VIEWER))]
PowerUser = Annotated[Principal, Depends(needs(Role.POWER_USER))]
MOST_NAMED: Final = 20  # apps, where the one that is asked for is none


class WantedClusterRun(BaseModel):
    """A run over the app's sessions that began in a window (7 days). `failure`: the evaluator whose score below 0.5
    says that a session failed, instead of its outcome. `params`: those of docs/clusters.md, others by default.
    `dry_run` says what it would take, and begins nothing."""

    model_config = ConfigDict(extra="forbid")

    app: Name
    since: Annotated[str | None, Field(max_length=20)] = None
    start: Annotated[str | None, Field(max_length=40)] = None
    end: Annotated[str | None, Field(max_length=40)] = None
    failure: Name | None = None
    params: dict[str, Any] = {}
    dry_run: bool = False


@router.post("", status_code=201, response_model=ClusterRun | ClusterForecast)
def start_cluster_run(wanted: WantedClusterRun, caller: PowerUser, services: ServicesOf) -> Response:
    """Begins a run, which goes on in a process of the server. Raises InvalidInput naming the field; NotFound for an app
    of which no session is stored; Conflict while one of this app is under way."""
    run = _asked(wanted, caller, services)
    _need_sessions(run, services)
    if wanted.dry_run:
        return answer(_foreseen(run, services))
    made = services.control.start_cluster_run(run, by=caller)
    services.cluster_asked.set()
    return answer(run_told(made, services.clock()), status=201)


@router.get("", response_model=ClusterRuns)
def list_cluster_runs(
    caller: Viewer,
    services: ServicesOf,
    app: Name | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> Response:
    """The runs of an app, or of all, newest first."""
    found = services.control.cluster_runs(caller.tenant, app)
    return answer({"items": [run_told(one, services.clock()) for one in found[:limit]], "next_cursor": None})


@router.get("/{run_id}", response_model=ClusterRun)
def read_cluster_run(run_id: RunId, caller: Viewer, services: ServicesOf) -> Response:
    """One run and how far it is. Raises NotFound."""
    return answer(run_told(services.control.cluster_run(caller.tenant, run_id), services.clock()))


@router.post("/{run_id}/cancel", response_model=ClusterRun)
def cancel_cluster_run(run_id: RunId, caller: PowerUser, services: ServicesOf) -> Response:
    """Ends a run where it is; its embeddings are kept for the next one. One that is over stays so. Raises NotFound."""
    run = services.control.cancel_cluster_run(caller.tenant, run_id, by=caller)
    services.cluster_asked.set()
    return answer(run_told(run, services.clock()))


def _asked(wanted: WantedClusterRun, caller: Principal, services: Services) -> ClusterRunRecord:
    if wanted.app in OWN_APPS:
        raise InvalidInput(f"{wanted.app} is Assay's own; its sessions are no product's", field="app")
    since = "7d" if wanted.since is None and wanted.start is None else wanted.since
    window = _until_now(window_of(now_ns=services.clock(), start=wanted.start, end=wanted.end, since=since), services)
    params = params_of({"embedder": services.settings.clusters_embedder, **wanted.params})
    return ClusterRunRecord(
        tenant=caller.tenant,
        run_id=fresh("clusters"),
        app=wanted.app,
        start_ns=window.start_ns,
        end_ns=window.end_ns,
        params=params.as_json(),
        params_hash=params.digest,
        failure=wanted.failure,
    )


def _need_sessions(run: ClusterRunRecord, services: Services) -> None:
    """Raises NotFound where the store has no session of the app, in the run's window or ever: a mistyped name would
    be an app that is looked at every night."""
    store = services.store.tenant(run.tenant)
    if run.app in apps_with_sessions(store, run.window):
        return
    known = apps_with_sessions(store)
    if run.app in known:
        return
    names = sorted(known - set(OWN_APPS))
    more = f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
    there = f"there are {', '.join(name[:80] for name in names[:MOST_NAMED])}{more}" if names else "no app has any yet"
    raise NotFound(f"no session of an app {run.app[:80]!r} is stored; {there}")


def _until_now(window: Window, services: Services) -> Window:
    """The window without what lies ahead: by its end a run says which clusters are away, and since when sessions are
    new. Raises InvalidInput where all of it does."""
    latest = services.clock() + AHEAD_NS
    if window.start_ns >= latest:
        raise InvalidInput("the window lies ahead: no session has begun in it", field="start")
    return Window(start_ns=window.start_ns, end_ns=min(window.end_ns, latest))


def _foreseen(run: ClusterRunRecord, services: Services) -> dict[str, Any]:
    from clustering.service_forecast import foreseen
    from clustering.traffic import runs_of
    from server.clustering_child import place_of

    store = services.store.tenant(run.tenant)
    runs = runs_of(services.control, run.tenant, run.app)
    found = foreseen(store, run, place_of(services.settings, run.tenant, run.app), runs)
    return {
        "dry_run": True,
        "app": run.app,
        "window": window_told(run.window),
        **vars(found),
        "params": dict(run.params),
        "params_hash": run.params_hash,
        "says": list(found.says),
    }
