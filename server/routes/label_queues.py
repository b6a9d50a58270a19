"""Label queues: made, filled, shown, adjudicated, exported. What annotators do is in annotating.py."""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from core.ids import TenantId
from core.records import Principal, Role
from core.windows import window_of
from judges import service_draws
from judges.labels import figures
from judges.labels.draws import Wanted
from judges.service_draws import NewItem
from judges.service_labels import LabelService, NewQueue
from judges.stored import rubric_of
from server.policy import ServicesOf, known_parameters_only, names_once, needs
from server.redaction import redactor_of
from server.routes import label_shapes as shapes
from server.routes import label_told
from server.routes.answers import answer
from server.routes.scores import Name
from server.wiring import Services
from store.control.label_records import AnnotationRecord, TaskRecord, TaskStatus

router = APIRouter(
    prefix="/api/v1/label-queues", tags=["labels"], dependencies=[Depends(known_parameters_only), Depends(names_once)]
)

Viewer = Annotated[Principal, Depends(needs(Role.VIEWER))]
Power = Annotated[Principal, Depends(needs(Role.POWER_USER))]
Limit = Annotated[int, Query(ge=1, le=1000)]
Offset = Annotated[int, Query(ge=0, le=10**6)]


def labels_of(services: Services) -> LabelService:
    """What works on label queues of this server."""
    return LabelService(control=services.control, store=services.store, clock=services.clock)


def without_pii(services: Services, tenant: TenantId, text: str) -> str:
    """A text that a person wrote, under the tenant's choice."""
    return redactor_of(services, tenant).text(text) if text.strip() else text


@router.get("", response_model=shapes.LabelQueues)
def list_label_queues(caller: Viewer, services: ServicesOf, app: Annotated[Name | None, Query()] = None) -> Response:
    """The queues, of one app or of all, by name."""
    found = services.control.label_queues(caller.tenant)
    items = [label_told.queue_told(one) for one in found if app in (None, one.app)]
    return answer({"items": items, "next_cursor": None})


@router.post("", status_code=201, response_model=shapes.LabelQueue)
def create_label_queue(wanted: shapes.NewLabelQueue, caller: Power, services: ServicesOf) -> Response:
    """A queue without tasks. Raises NotFound for its rubric or judge, Conflict when the name is taken."""
    made = labels_of(services).create(NewQueue(**wanted.model_dump()), by=caller)
    return answer(label_told.queue_told(made), status=201)


@router.get("/{name}", response_model=shapes.LabelQueueWithDraws)
def read_label_queue(name: Name, caller: Viewer, services: ServicesOf) -> Response:
    """One queue with its draws and how far it is. Raises NotFound."""
    queue, tasks = services.control.label_tasks(caller.tenant, name)
    told = label_told.progress_told(figures.progress(queue, tasks, services.clock()), caller)
    return answer({**label_told.queue_told(queue), "draws": list(queue.draws), "progress": told})


@router.delete("/{name}", response_model=shapes.LabelQueue)
def delete_label_queue(name: Name, caller: Power, services: ServicesOf) -> Response:
    """Deletes a queue with all that was said in it; labels in the lake stay. Shows it as it was. Raises NotFound."""
    return answer(label_told.queue_told(services.control.delete_label_queue(caller.tenant, name, by=caller)))


@router.post("/{name}/sample", response_model=shapes.Sampled)
def sample_label_queue(name: Name, wanted: shapes.WantedSample, caller: Power, services: ServicesOf) -> Response:
    """Draws tasks for a queue, or says how it would (`dry_run`). Raises NotFound, InvalidInput, Conflict."""
    if "judge" not in wanted.model_fields_set:
        wanted = wanted.model_copy(update={"judge": services.control.label_queue(caller.tenant, name).judge})
    window = window_of(now_ns=services.clock(), start=wanted.start, end=wanted.end, since=wanted.since)
    names = ("n", "floor", "random_share", "by_segment", "judge", "judge_version")
    asked = Wanted(
        start_ns=window.start_ns,
        end_ns=window.end_ns,
        seed=secrets.randbelow(2**53) if wanted.seed is None else wanted.seed,
        assign=tuple(wanted.assign),
        **{each: getattr(wanted, each) for each in names},
    )
    drawn = service_draws.sample(labels_of(services), name, asked, window, dry_run=wanted.dry_run, by=caller)
    return answer(label_told.drawn_told(drawn, dry_run=wanted.dry_run))


@router.post("/{name}/tasks", status_code=201)
def add_label_tasks(name: Name, wanted: shapes.ItemsBody, caller: Power, services: ServicesOf) -> dict[str, int]:
    """Puts items into a queue by hand: `n_new` of them were not there. Raises NotFound, InvalidInput."""
    items = [_item(services, caller.tenant, one) for one in wanted.items]
    n_new = service_draws.add(labels_of(services), name, items, wanted.assign, by=caller)
    return {"n_new": n_new, "n_there": len(items) - n_new}


@router.get("/{name}/tasks", response_model=shapes.Adjudicables)
def list_label_tasks(
    name: Name,
    caller: Power,
    services: ServicesOf,
    status: TaskStatus | None = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Response:
    """Tasks with all their answers, for who decides; nothing of a judge's. Raises NotFound."""
    return _listed(services, caller, name, status, limit, offset, label_told.adjudicable_told)


@router.get("/{name}/labels", response_model=shapes.LabelledTasks)
def export_labels(name: Name, caller: Power, services: ServicesOf, limit: Limit = 1000, offset: Offset = 0) -> Response:
    """Completed tasks with their answers, strata and probabilities. Raises NotFound."""
    return _listed(services, caller, name, TaskStatus.COMPLETED, limit, offset, label_told.labelled_told)


@router.post("/{name}/tasks/{task_id}/adjudications", response_model=shapes.Adjudicable)
def adjudicate(
    name: Name, task_id: Name, wanted: shapes.AdjudicationBody, caller: Power, services: ServicesOf
) -> Response:
    """Decides on a task's label, whatever was said of it. Raises NotFound, InvalidInput."""
    note = without_pii(services, caller.tenant, wanted.note)
    labels_of(services).adjudicate(name, task_id, wanted.labels, note, by=caller)
    _, task, said = services.control.label_task(caller.tenant, name, task_id)
    return answer(label_told.adjudicable_told(task, said))


@router.post("/{name}/assignments")
def reassign(name: Name, wanted: shapes.AssignmentBody, caller: Power, services: ServicesOf) -> dict[str, int]:
    """Gives what is left to somebody who is gone to another, or to anybody. Raises NotFound."""
    return {"n_changed": labels_of(services).reassign(name, wanted.away, wanted.to, by=caller)}


@router.get("/{name}/progress", response_model=shapes.Progress)
def read_progress(name: Name, caller: Viewer, services: ServicesOf) -> Response:
    """How far a queue is. Raises NotFound."""
    queue, tasks = services.control.label_tasks(caller.tenant, name)
    return answer(label_told.progress_told(figures.progress(queue, tasks, services.clock()), caller))


@router.get("/{name}/agreement", response_model=shapes.Agreement)
def read_agreement(name: Name, caller: Viewer, services: ServicesOf) -> Response:
    """How much annotators agree. Raises NotFound."""
    queue, tasks = services.control.label_tasks(caller.tenant, name)
    said = services.control.annotations(caller.tenant, name)
    by_tens = not caller.role.allows(Role.POWER_USER)
    return answer(figures.agreement(rubric_of(queue.rubric_body), tasks, said, by_tens=by_tens))


def _listed(
    services: Services,
    caller: Principal,
    name: str,
    status: TaskStatus | None,
    limit: int,
    offset: int,
    told: Callable[[TaskRecord, Sequence[AnnotationRecord]], dict[str, Any]],
) -> Response:
    _, tasks = services.control.label_tasks(caller.tenant, name)
    said: dict[str, list[AnnotationRecord]] = defaultdict(list)
    for one in services.control.annotations(caller.tenant, name):
        said[one.task_id].append(one)
    chosen = [one for one in tasks if status in (None, one.status)]
    items = [told(one, said[one.task_id]) for one in chosen[offset : offset + limit]]
    return answer({"items": items, "total": len(chosen), "next_cursor": None})


def _item(services: Services, tenant: TenantId, one: shapes.ItemBody) -> NewItem:
    """An item under the tenant's choice of what becomes of personal information."""
    given = one.model_dump()
    if one.session_id or one.user_id or one.content:
        redactor = redactor_of(services, tenant)
        for each in ("session_id", "user_id"):
            given[each] = redactor.identifier(given[each]) if given[each] else None
        given["content"] = None if one.content is None else _texts(one.content, redactor.text)
    return NewItem(**given)


def _texts(value: Any, change: Callable[[str], str]) -> Any:
    """The same value with every text in it changed."""
    match value:
        case str():
            return change(value)
        case list():
            return [_texts(one, change) for one in value]
        case dict():
            return {name: _texts(one, change) for name, one in value.items()}
        case _:
            return value
