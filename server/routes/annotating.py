"""What annotators do in a label queue: take the next task, answer it, skip it, give it back.

An annotator is the name of the key they come with. No answer here holds what others said of a task, or a judge.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response

from core.errors import NotFound
from core.records import Principal, Role
from judges.service_labels import Answer, LabelService
from server.policy import ServicesOf, known_parameters_only, names_once, needs
from server.routes import label_shapes as shapes
from server.routes import label_told
from server.routes.answers import answer
from server.routes.label_queues import labels_of, without_pii
from server.routes.scores import Name
from store.control.label_records import QueueRecord, TaskRecord

router = APIRouter(
    prefix="/api/v1/label-queues", tags=["labels"], dependencies=[Depends(known_parameters_only), Depends(names_once)]
)

User = Annotated[Principal, Depends(needs(Role.USER))]


@router.post("/{name}/next", response_model=shapes.NextTask)
def take_next(name: Name, caller: User, services: ServicesOf) -> Response:
    """Reserves a task for the caller, or finds the one that they hold. Raises NotFound."""
    service = labels_of(services)
    queue, task, own = service.next(name, by=caller)
    told: dict[str, Any] = {"task": None, "content": None, "unreadable": None}
    if task is not None:
        said = services.control.label_task(caller.tenant, name, task.task_id)[2]
        told = {"task": label_told.task_told(queue, task, said, caller.name), **_content(service, queue, task)}
    return answer({"queue": label_told.queue_told(queue), **told, "progress": own})


@router.get("/{name}/tasks/{task_id}", response_model=shapes.TaskWithContent)
def read_task(name: Name, task_id: Name, caller: User, services: ServicesOf) -> Response:
    """A task as the caller may see it. Raises NotFound."""
    queue, task, said = services.control.label_task(caller.tenant, name, task_id)
    told = label_told.task_told(queue, task, said, caller.name)
    return answer({"task": told, **_content(labels_of(services), queue, task)})


@router.post("/{name}/tasks/{task_id}/annotations", response_model=shapes.LabelTask)
def annotate(name: Name, task_id: Name, wanted: shapes.AnswerBody, caller: User, services: ServicesOf) -> Response:
    """Answers or skips a task; again, it replaces the caller's own. Raises NotFound, InvalidInput, Forbidden when it is
    assigned to others, Conflict when others completed it."""
    given = Answer(
        labels=tuple(wanted.labels),
        skip=None if wanted.skip is None else without_pii(services, caller.tenant, wanted.skip),
        note=without_pii(services, caller.tenant, wanted.note),
        duration_ms=wanted.duration_ms,
    )
    labels_of(services).answer(name, task_id, given, by=caller)
    queue, task, said = services.control.label_task(caller.tenant, name, task_id)
    return answer(label_told.task_told(queue, task, said, caller.name))


@router.post("/{name}/tasks/{task_id}/requeue", response_model=shapes.LabelTask)
def requeue(name: Name, task_id: Name, caller: User, services: ServicesOf) -> Response:
    """Gives a task back, to the end of the queue. Raises NotFound."""
    labels_of(services).requeue(name, task_id, by=caller)
    queue, task, said = services.control.label_task(caller.tenant, name, task_id)
    return answer(label_told.task_told(queue, task, said, caller.name))


def _content(service: LabelService, queue: QueueRecord, task: TaskRecord) -> dict[str, Any]:
    """The content of a task, or why there is none."""
    try:
        return {"content": label_told.content_told(service.shown(queue, task)), "unreadable": None}
    except NotFound as error:
        return {"content": None, "unreadable": str(error)}
