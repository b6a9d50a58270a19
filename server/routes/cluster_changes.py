"""What is done with a cluster: its sessions become a dataset, and somebody is told when it grows."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field

from clustering.service_watching import baseline
from core.errors import Conflict, InvalidInput
from core.records import Principal, Role
from evaluators.datasets.records import DEFAULT_SPLIT, checked_split
from evaluators.datasets.service import Options, add_examples
from evaluators.datasets.traced import MOST_SESSIONS, examples_of
from server.policy import ServicesOf, known_parameters_only, names_once, needs
from server.routes import cluster_change_shapes as shapes
from server.routes.answers import answer
from server.routes.asking import ReadingOf
from server.routes.cluster_told import watch_told
from server.routes.clusters import ClusterId
from server.settings import Settings
from server.urls import callee
from store.control.cluster_records import ClusterRecord, WatchRecord
from store.control.control import Control
from store.memberships import members, n_members

router = APIRouter(
    prefix="/api/v1/clusters",
    tags=["clusters"],
    dependencies=[Depends(known_parameters_only), Depends(names_once)],
)

User = Annotated[Principal, Depends(needs(Role.USER))]
LEAST_RATIO: Final = 1.0
MIN_RATIO: Final = 1.5


class WantedFreeze(BaseModel):
    """A dataset that gets the cluster's sessions as its next version, made if it is not there. `with_answer`: what the
    agent said is expected. `limit`: the latest so many sessions."""

    model_config = ConfigDict(extra="forbid")

    dataset: Annotated[str, Field(min_length=1, max_length=200)]
    split_name: Annotated[str, Field(max_length=60)] = DEFAULT_SPLIT
    with_answer: bool = False
    limit: Annotated[int, Field(ge=1, le=MOST_SESSIONS)] = 1000
    dry_run: bool = False


class WantedWatch(BaseModel):
    """An alert when a cluster comes `min_ratio` times as often as when the watch began. `url`: also told, beside the
    addresses of the settings; signed with their key."""

    model_config = ConfigDict(extra="forbid")

    min_ratio: Annotated[float, Field(ge=LEAST_RATIO, le=1000, allow_inf_nan=False)] = MIN_RATIO
    url: Annotated[str, Field(max_length=1000)] | None = None


@router.get("/watches", response_model=shapes.Watches)
def list_watches(reading: ReadingOf) -> Response:
    """The clusters that are watched, with their alerts."""
    control, tenant = reading.services.control, reading.caller.tenant
    records = {one.cluster_id: one for one in control.clusters(tenant)}
    alerts = control.cluster_alerts(tenant)
    items = [
        watch_told(one, records[one.cluster_id], [each for each in alerts if each.cluster_id == one.cluster_id])
        for one in control.cluster_watches(tenant)
        if one.cluster_id in records
    ]
    return answer({"items": items, "next_cursor": None})


@router.post("/{cluster_id}/freeze", response_model=shapes.Frozen)
def freeze_cluster(cluster_id: ClusterId, wanted: WantedFreeze, caller: User, reading: ReadingOf) -> Response:
    """Adds the cluster's sessions to a dataset, or says what would be added. Raises NotFound, InvalidInput where no
    session of it is left in which a user said something."""
    services, store = reading.services, reading.store
    record = services.control.cluster(caller.tenant, cluster_id)
    split = checked_split(wanted.split_name)
    found = members(store, cluster_id, MOST_SESSIONS, told_by=None)
    ids = found["session_id"].to_list()
    made = list(examples_of(store, session_ids=ids[: wanted.limit], with_answer=wanted.with_answer, split=split))
    if not made:
        raise InvalidInput(f"no session is left in {cluster_id} in which a user said something", field="cluster_id")
    options = Options(
        note=f"sessions of cluster {cluster_id}: {record.title}"[:2000],
        create=True,
        description=f"frozen from cluster {cluster_id} of {record.app}"[:2000],
        replace=True,
        dry_run=wanted.dry_run,
    )
    done = add_examples(services.control, caller.tenant, wanted.dataset, made, options, by=caller)
    n_left_out, of = len(ids) - len(made), max(len(ids), n_members(store, cluster_id))
    return answer(
        {
            "cluster": cluster_id,
            "dataset": wanted.dataset,
            "dry_run": wanted.dry_run,
            "version": done.version,
            "n_sessions": len(ids),
            "of": of,
            "capped": of > len(ids),
            "n_examples": len(made),
            "n_left_out": n_left_out,
            **{name: getattr(done, name) for name in ("n_added", "n_same", "n_replaced")},
            "says": [*_capped(len(ids), of), *_left_out(n_left_out, max(0, len(ids) - wanted.limit))],
        }
    )


@router.put("/{cluster_id}/watch", response_model=shapes.Watch)
def watch_cluster(cluster_id: ClusterId, wanted: WantedWatch, caller: User, reading: ReadingOf) -> Response:
    """Watches a cluster from now on. Raises NotFound; Conflict for one that ended; InvalidInput for an address that may
    not be called, and where no key is set to sign what is sent."""
    services = reading.services
    record = services.control.cluster(caller.tenant, cluster_id)
    _need_living(record, services.control)
    url = None if wanted.url is None else _callable(wanted.url, services.settings)
    watch = WatchRecord(
        tenant=caller.tenant,
        cluster_id=cluster_id,
        min_ratio=wanted.min_ratio,
        url=url,
        body=baseline(reading.store, record, services.clock()),
    )
    return answer(watch_told(services.control.watch_cluster(watch, by=caller), record, []))


@router.delete("/{cluster_id}/watch", response_model=shapes.Watch)
def unwatch_cluster(cluster_id: ClusterId, caller: User, services: ServicesOf) -> Response:
    """Watches a cluster no more; its alerts stay. Raises NotFound for one that is not watched."""
    record = services.control.cluster(caller.tenant, cluster_id)
    return answer(watch_told(services.control.unwatch_cluster(caller.tenant, cluster_id, by=caller), record, []))


def _need_living(record: ClusterRecord, control: Control) -> None:
    """Raises Conflict with what became of a cluster that ended: no session joins it, so that nobody would be told."""
    if record.standing["alive"]:
        return
    why = instead = ""
    for last in control.cluster_events(record.tenant, record.cluster_id)[-1:]:
        why = f": {last.text}"
        instead = f"; watch {' or '.join(last.others)} instead" if last.others else ""
    raise Conflict(f"{record.cluster_id} ended ({record.state}){why}{instead}"[:500])


def _left_out(n: int, n_over: int) -> list[str]:
    said = []
    if n_over:
        said.append(f"{n_over:,} older sessions are over the limit")
    if n > n_over:
        said.append(f"in {n - n_over:,} sessions no user said anything, or nothing of them is stored any more")
    return said


def _capped(n: int, of: int) -> list[str]:
    """That a freeze does not look at all of a large cluster."""
    return [f"of its {of:,} sessions only the latest {n:,} were looked at: no freeze takes more"] if of > n else []


def _callable(url: str, settings: Settings) -> str:
    """The address, where it may be called from here. Raises InvalidInput."""
    if settings.rollout_webhook_key is None:
        raise InvalidInput("nothing can be signed: set rollout_webhook_key (docs/deploying.md)", field="url")
    try:
        callee(url, private=settings.rollout_webhooks_private)
    except ValueError as error:
        raise InvalidInput(str(error), field="url") from None
    return url
