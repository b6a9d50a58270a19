"""Clusters: list them, look at one with its sessions and lineage, the map, and what emerges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from clustering import noise
from clustering.known_share import told_by_of, warnings
from clustering.records import State
from clustering.service_reading import (
    AppNow,
    ClusterNow,
    Sort,
    app_of,
    chosen,
    clusters_now,
    exemplars_of,
    page_of,
    usual_in,
)
from core.clock import NS_PER_S
from core.errors import InvalidInput, NotFound
from core.windows import Window, parse_duration_s
from server.policy import known_parameters_only
from server.routes import cluster_shapes as shapes
from server.routes.answers import answer
from server.routes.asking import NO_TIME, Reading, ReadingOf
from server.routes.cluster_told import (
    IN_THIS_RUN,
    alert_told,
    event_told,
    figures_told,
    finding_told,
    lag_told,
    look_told,
    noise_told,
    now_told,
    run_says,
    run_told,
    watch_told,
    window_told,
)
from server.routes.emerging_shapes import EmergingFeed
from server.routes.keys import rfc3339
from server.routes.scores import Name
from store.cluster_counts import n_placed, n_without_place, placed_sessions
from store.control.cluster_records import ClusterAppRecord, ClusterRunRecord, Scope
from store.control.run_records import RunStatus
from store.cursor import Position

router = APIRouter(prefix="/api/v1/clusters", tags=["clusters"], dependencies=[Depends(known_parameters_only)])

MOST_POINTS: Final = 100_000
ClusterId = Annotated[str, Path(pattern="^[A-Za-z0-9-]{1,24}$")]
_STATES: Final = frozenset(state.value for state in State)
_NOT_MEANING: Final = (
    "distances on this map are not distances in meaning: what is near was near before, what is far may be as alike"
)


class AskedClusters(BaseModel):
    """Which clusters of an app (the only one with runs): in one of `state` (born,grown; none: those that live)."""

    model_config = ConfigDict(extra="forbid")

    app: Name | None = None
    state: Annotated[str | None, Field(max_length=200)] = None
    sort: Sort = Sort.FAILURES
    limit: Annotated[int, Field(ge=1, le=1000)] = 200


class AskedMap(BaseModel):
    """The map of an app now, by its newest run over a window, or as `run` drew it; at most so many sessions."""

    model_config = ConfigDict(extra="forbid")

    app: Name | None = None
    run: Annotated[str | None, Field(max_length=60)] = None
    most: Annotated[int, Field(ge=1, le=MOST_POINTS)] = 20_000


class AskedEmerging(BaseModel):
    """What emerged in an app, or in all, since so long ago (30 days)."""

    model_config = ConfigDict(extra="forbid")

    app: Name | None = None
    since: Annotated[str, Field(max_length=20)] = "30d"


class AskedSessions(BaseModel):
    """A page of a cluster's sessions."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=1000)] = 50
    cursor: Annotated[str | None, Field(max_length=2000)] = None


@router.get("", response_model=shapes.Clusters)
def list_clusters(reading: ReadingOf, asked: Annotated[AskedClusters, Query()]) -> Response:
    """The clusters of an app as they stand. Raises InvalidInput for an unknown state, and where no app is named of
    several."""
    states = _growing(frozenset(one.strip() for one in (asked.state or "").split(",") if one.strip()))
    if unknown := sorted(states - _STATES):
        known = ", ".join(sorted(_STATES))
        raise InvalidInput(f"{unknown[0][:40]!r} is no state; there are {known}", field="state")
    found = _now(reading, asked.app)
    wanted = chosen(found.clusters, states, asked.sort)
    line = None if found.app is None else reading.services.control.cluster_app(reading.caller.tenant, found.app)
    return answer(
        {
            "items": [now_told(one) for one in wanted[: asked.limit]],
            "run": None if found.run is None else run_told(found.run, reading.services.clock()),
            "window": None if found.window is None else window_told(found.window),
            "n_all": sum(bool(one.record.standing["alive"]) for one in found.clusters),
            "n_by_state": dict(Counter(one.record.state for one in found.clusters)),
            "n_sessions": found.whole.n,
            "n_known": found.whole.n_known,
            "counted_at": rfc3339(found.at_ns),
            "noise": noise_told(found),
            "n_waiting": found.n_waiting,
            **lag_told(line),
            "says": _says(found),
            "next_cursor": None,
        }
    )


@router.get("/map", response_model=shapes.ClusterMap)
def read_map(reading: ReadingOf, asked: Annotated[AskedMap, Query()]) -> Response:
    """Sessions with their places. Raises NotFound for an unknown run, InvalidInput for a run of another app."""
    control, tenant = reading.services.control, reading.caller.tenant
    if asked.run is not None:
        run = control.cluster_run(tenant, asked.run)
        if asked.app not in (None, run.app):
            raise InvalidInput(f"run {run.run_id} is of the app {run.app[:80]}, not of {asked.app[:80]}", field="app")
    else:
        app = app_of(control, tenant, asked.app)
        over = [
            one
            for one in ([] if app is None else control.cluster_runs(tenant, app))
            if one.status is RunStatus.DONE and one.scope is Scope.WINDOW
        ]
        if not over:
            empty: dict[str, list[Any]] = {name: [] for name in shapes.Points.model_fields}
            told: dict[str, Any] = {"run": None, "points": empty, "n": 0, "n_shown": 0}
            return answer({**told, "says": [f"no run is done yet: assay clusters run --app {app or 'APP'}"]})
        run = over[0]
    by = told_by_of(control, tenant, run.app)
    frame = placed_sessions(reading.store, run.app, run.window, asked.most, asked.run, told_by=by)
    points = {name: frame["cluster_id" if name == "cluster" else name].to_list() for name in shapes.Points.model_fields}
    n = frame.height if frame.height < asked.most else n_placed(reading.store, run.app, run.window, asked.run)
    says = [_NOT_MEANING, *(_drew_nothing(run) if asked.run else _later(reading, run))]
    told_run = run_told(run, reading.services.clock())
    return answer({"run": told_run, "points": points, "n": n, "n_shown": frame.height, "says": says})


@router.get("/emerging", response_model=EmergingFeed)
def read_emerging(reading: ReadingOf, asked: Annotated[AskedEmerging, Query()]) -> Response:
    """New and growing failures, newest first, and watched clusters that grew. Raises InvalidInput."""
    control, tenant = reading.services.control, reading.caller.tenant
    since_ns = reading.services.clock() - parse_duration_s(asked.since) * NS_PER_S
    records = {one.cluster_id: one for one in control.clusters(tenant, asked.app)}
    alerts = [one for one in control.cluster_alerts(tenant) if one.at_ns >= since_ns and one.cluster_id in records]
    by_day = {(one.cluster_id, one.day): one for one in alerts}
    findings = [one for one in control.cluster_findings(tenant, asked.app, since_ns) if one.cluster_id in records]
    lines = sorted((one for one in control.cluster_apps(tenant) if asked.app in (None, one.app)), key=_app)
    return answer(
        {
            "items": [
                finding_told(one, records[one.cluster_id], by_day.get((one.cluster_id, one.day))) for one in findings
            ],
            "alerts": [alert_told(one, records[one.cluster_id]) for one in alerts],
            "looks": [look_told(one) for one in lines],
            **_looked(lines),
            "says": _emerging_says(lines, asked.app),
            "next_cursor": None,
        }
    )


@router.get("/{cluster_id}", response_model=shapes.ClusterWhole)
def read_cluster(cluster_id: ClusterId, reading: ReadingOf) -> Response:
    """One cluster with all that is known of it. Raises NotFound."""
    control, tenant = reading.services.control, reading.caller.tenant
    record = control.cluster(tenant, cluster_id)
    found = clusters_now(control, reading.store, record.app, reading.services.clock())
    one = next((each for each in found.clusters if each.record.cluster_id == cluster_id), None)
    if one is None or found.window is None:
        raise NotFound(
            f"there is no cluster {cluster_id!r}; assay clusters list --app {record.app} has those there are"
        )
    titles = {each.record.cluster_id: each.record.title for each in found.clusters}
    said = record.said
    watch = next((each for each in control.cluster_watches(tenant) if each.cluster_id == cluster_id), None)
    alerts = [each for each in control.cluster_alerts(tenant) if each.cluster_id == cluster_id]
    events = control.cluster_events(tenant, cluster_id)
    siblings = [name for name in said.get("siblings", []) if name in titles]
    return answer(
        {
            **now_told(one),
            "exemplars": _exemplars(reading, found, cluster_id),
            "figures": figures_told(one),
            **{name: said.get(name, []) for name in ("profile", "wrong_at")},
            "lineage": [event_told(each) for each in events],
            "siblings": [{"id": name, "title": titles[name]} for name in siblings],
            "embedder": record.embedder,
            "watch": None if watch is None else watch_told(watch, record, alerts),
            "says": [*_cluster_says(said), *_known_says(one, found)],
        }
    )


@router.get("/{cluster_id}/sessions", response_model=shapes.ClusterSessions)
def list_cluster_sessions(
    cluster_id: ClusterId, reading: ReadingOf, asked: Annotated[AskedSessions, Query()]
) -> Response:
    """The sessions that are in a cluster now, the latest first. Raises NotFound."""
    record = reading.services.control.cluster(reading.caller.tenant, cluster_id)
    position = reading.position(asked.cursor)
    after = None if position is None else (position.order, position.row_id)
    by = told_by_of(reading.services.control, reading.caller.tenant, record.app)
    page, more = page_of(reading.store, record, asked.limit, after, usual_in(reading.services.control, record), by)
    items = [
        {
            "session_id": row["session_id"],
            "started_at": rfc3339(row["at_ns"]),
            "failed": row["failed"],
            "confidence": row["confidence"] or 0.0,
            "first_input": row["first_input"],
        }
        for row in page.iter_rows(named=True)
    ]
    cursor = None if more is None else reading.cursor(Position(order=more[0], row_id=more[1], window=NO_TIME))
    return answer({"items": items, "next_cursor": cursor})


def _now(reading: Reading, app: str | None) -> AppNow:
    control = reading.services.control
    named = app_of(control, reading.caller.tenant, app)
    return clusters_now(control, reading.store, named, reading.services.clock())


def _drew_nothing(run: ClusterRunRecord) -> list[str]:
    """Why a run has no map of its own."""
    if run.scope is not Scope.WINDOW:
        return ["a run over what waited draws no map; the next run over a window does"]
    return [] if run.status is RunStatus.DONE else [f"this run is {run.status.value}, and has drawn no map"]


def _later(reading: Reading, run: ClusterRunRecord) -> list[str]:
    """That sessions which came since the run that drew the map are not on it."""
    now_ns = max(reading.services.clock(), run.end_ns)
    n = n_without_place(reading.store, run.app, Window(start_ns=run.start_ns, end_ns=now_ns))
    many = "1 session that came since is" if n == 1 else f"{n:,} sessions that came since are"
    return [f"{many} not on the map: the next run over a window gives them a place"] if n else []


def _growing(states: frozenset[str]) -> frozenset[str]:
    """`growing` is what people say of the state `grown`."""
    return frozenset(State.GROWN.value if one == "growing" else one for one in states)


def _says(found: AppNow) -> list[str]:
    """What to do where there is nothing to see, or what is there is not whole."""
    if found.last is None:
        if found.run is None:
            of = "" if found.app is None else f" of {found.app[:80]}"
            return [f"no run over the sessions{of} yet; begin one: assay clusters run --app {found.app or 'APP'}"]
        run = found.run
        if not run.status.ended:
            return [f"the first run is {run.status.value}; its clusters are there once it is done"]
        return [f"the last run {run.status.value}: {run.error or 'without a reason'}"]
    # What the last run knew of failures is past: rates are of what is known now.
    past = [text for text in run_says(found.last) if not text.startswith(IN_THIS_RUN)]
    known = warnings(found.whole.n_known, found.whole.n, found.told_by.evaluator)
    shares = [one.noise_share for one in found.history if one.noise_share is not None]
    newest, says = found.run, [*known, *noise.says(shares), *past]
    if newest is not None and newest.status is RunStatus.FAILED:
        why = newest.error or "without a reason"
        says = [f"the newest run, {newest.run_id}, failed: {why}; what is shown is of the run before", *says]
    return says


def _exemplars(reading: Reading, found: AppNow, cluster_id: str) -> list[dict[str, Any]]:
    record = next(one.record for one in found.clusters if one.record.cluster_id == cluster_id)
    assert found.window is not None
    since = min(found.window.start_ns, record.first_seen_ns)
    within, usual = Window(start_ns=since, end_ns=found.window.end_ns), usual_in(reading.services.control, record)
    rows = exemplars_of(reading.store, record, within, usual, found.told_by)
    return [
        {
            "session_id": row["session_id"],
            "started_at": rfc3339(row["at_ns"]),
            "first_input": row["first_input"],
            "outcome_text": row["outcome"],
            "failed": row["failed"],
            "confidence": row["confidence"] or 0.0,
        }
        for row in rows.iter_rows(named=True)
    ]


def _cluster_says(said: Any) -> list[str]:
    told = []
    if said.get("stable") is False:
        told.append(
            f"this cluster is unstable: of sessions drawn anew only {said['stability']:.0%} of it comes back on average"
        )
    if said.get("refused"):
        told.append(f"a model's title was not taken: {said['refused']}")
    return told


def _known_says(one: ClusterNow, found: AppNow) -> list[str]:
    """Where its rate or the rest's is of few sessions."""
    of = (("of this cluster", one.count), ("of the rest of the app", one.rest))
    who = found.told_by.evaluator
    return [f"{name}: {text}" for name, count in of for text in warnings(count.n_known, count.n, who)]


def _app(one: ClusterAppRecord) -> str:
    return one.app


def _looked(lines: list[ClusterAppRecord]) -> dict[str, Any]:
    """The looks of all apps as one: the newest, the sum of clusters; what is of one app only where there is one."""
    looks = [look_told(one) for one in lines if one.told.get("looked_at_ns")]
    one = looks[0] if len(looks) == 1 else {}
    return {
        "looked_at": max((each["looked_at"] for each in looks), default=None),
        **{name: _sum(each[name] for each in looks) for name in ("n_tested", "n_sessions", "n_known")},
        "fdr": max((each["fdr"] for each in looks if each["fdr"] is not None), default=None),
        **{name: one.get(name) for name in ("dispersion", "overall_ratio")},
    }


def _sum(counts: Iterable[int | None]) -> int | None:
    """Of those that are known; None where none is."""
    known = [one for one in counts if one is not None]
    return sum(known) if known else None


def _emerging_says(lines: list[ClusterAppRecord], app: str | None) -> list[str]:
    """Of which apps nothing can be told, and why."""
    if not lines:
        return [f"no run is done yet: assay clusters run --app {app or 'APP'}"]
    said: list[str] = []
    for one in lines:
        of = f"{one.app}: " if len(lines) > 1 else ""
        if not one.told.get("looked_at_ns"):
            said.append(
                f"{of}nobody has looked yet: the first look follows the run, then one each hour in which sessions came"
            )
            continue
        if one.told.get("look_says"):
            said.append(f"{of}{one.told['look_says']}")
        elif not one.told.get("n_tested"):
            said.append(f"{of}nothing could be tested: the app has no cluster yet")
        said += [f"{of}of the seven days looked at, {text}" for text in one.told.get("known_says", [])]
    return said
