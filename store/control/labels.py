"""Rows of label queues: the queues, their tasks, the texts of imported ones, annotations.

All four tables are sealed. A queue counts its tasks and a task names its annotators, so both are read by the index
alone; only when there are fewer rows than that says is the whole table gone through.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa
from sqlalchemy import Connection, Table, delete, insert, select

from core.errors import Corrupt, NotFound
from core.ids import TenantId
from core.records import TargetKind
from store.control import seals
from store.control.label_records import AnnotationRecord, How, QueueRecord, TaskRecord, TaskStatus
from store.control.tables import ANNOTATIONS, LABEL_QUEUES, LABEL_TASKS, LABEL_TEXTS

_CHUNK: Final = 500
_OF_QUEUE: Final = (
    *("name", "app", "rubric", "rubric_version", "rubric_digest", "n_annotators", "reservation_s", "judge", "note"),
    *("n_tasks", "n_erased", "created_at_ns", "created_by"),
)
_OF_TASK: Final = (
    *("queue", "task_id", "position", "item", "session_id", "trace_id", "user_id", "stratum", "segment", "label"),
    *("revision", "scored", "decided_by", "note", "created_at_ns", "completed_at_ns"),
)
_OF_ANNOTATION: Final = ("queue", "task_id", "annotator", "skipped", "note", "made_at_ns", "duration_ms", "key_id")


def add_queue(connection: Connection, queue: QueueRecord) -> None:
    """Writes a queue."""
    key = {"tenant": str(queue.tenant)}
    seals.add(connection, LABEL_QUEUES, {**key, **_queue_values(queue)})


def change_queue(connection: Connection, queue: QueueRecord) -> None:
    """Writes a queue anew. Raises NotFound."""
    seals.change(connection, LABEL_QUEUES, _queue_row(connection, queue.tenant, queue.name), **_queue_values(queue))


def queues(connection: Connection, tenant: TenantId) -> list[QueueRecord]:
    """The queues of a tenant, by name."""
    found = map(_queue, seals.rows(connection, LABEL_QUEUES, {"tenant": str(tenant)}))
    return sorted(found, key=lambda one: one.name)


def need_queue(connection: Connection, tenant: TenantId, name: str) -> QueueRecord:
    """One queue. Raises NotFound."""
    return _queue(_queue_row(connection, tenant, name))


def has_queue(connection: Connection, tenant: TenantId, name: str) -> bool:
    """Whether there is a queue of that name."""
    return seals.one(connection, LABEL_QUEUES, {"tenant": str(tenant), "name": name}) is not None


def add_tasks(
    connection: Connection, tenant: TenantId, tasks: Sequence[TaskRecord], texts: Mapping[str, Mapping[str, Any]]
) -> None:
    """Writes tasks, and the texts of imported ones by task_id."""
    _insert(connection, LABEL_TASKS, [{"tenant": str(tenant), **_task_values(one)} for one in tasks])
    packed = []
    for one in tasks:
        if one.task_id in texts:
            raw = _text(texts[one.task_id]).encode()
            body = bytes(pa.compress(raw, codec="zstd", asbytes=True))
            key = {"tenant": str(tenant), "queue": one.queue, "task_id": one.task_id}
            packed.append({**key, "n_bytes": len(raw), "body": body})
    _insert(connection, LABEL_TEXTS, packed)


def tasks(connection: Connection, queue: QueueRecord) -> list[TaskRecord]:
    """The tasks of a queue, in their order. Raises Corrupt when one was altered or is gone."""
    key = {"tenant": str(queue.tenant), "queue": queue.name}
    found = seals.by_index(connection, LABEL_TASKS, key)
    if len(found) < queue.n_tasks:
        found = seals.rows(connection, LABEL_TASKS, key)
    if len(found) < queue.n_tasks:
        raise Corrupt(f"{queue.n_tasks - len(found)} tasks of the queue {queue.name!r} are gone; run assay doctor")
    return sorted(map(_task, found), key=lambda one: (one.position, one.task_id))


def need_task(connection: Connection, tenant: TenantId, queue: str, task_id: str) -> TaskRecord:
    """One task. Raises NotFound."""
    return _task(_task_row(connection, tenant, queue, task_id))


def find_task(connection: Connection, tenant: TenantId, queue: str, task_id: str) -> TaskRecord | None:
    """One task, None when there is none."""
    row = seals.one(connection, LABEL_TASKS, {"tenant": str(tenant), "queue": queue, "task_id": task_id})
    return None if row is None else _task(row)


def change_task(connection: Connection, tenant: TenantId, task: TaskRecord) -> None:
    """Writes a task anew. Raises NotFound."""
    seals.change(connection, LABEL_TASKS, _task_row(connection, tenant, task.queue, task.task_id), **_task_values(task))


def text(connection: Connection, tenant: TenantId, queue: str, task_id: str) -> dict[str, Any]:
    """The text of an imported task. Raises NotFound, Corrupt."""
    row = seals.one(connection, LABEL_TEXTS, {"tenant": str(tenant), "queue": queue, "task_id": task_id})
    if row is None:
        raise NotFound(f"the task {task_id[:60]!r} has no text")
    try:
        raw = bytes(pa.decompress(row.body, decompressed_size=row.n_bytes, codec="zstd", asbytes=True))
        found: dict[str, Any] = json.loads(raw)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise Corrupt(f"the text of the task {task_id[:60]!r} cannot be unpacked; run assay doctor") from error
    return found


def said_of(connection: Connection, tenant: TenantId, task: TaskRecord) -> list[AnnotationRecord]:
    """What was said of a task, in order of time. Raises Corrupt when one was altered or is gone."""
    key = {"tenant": str(tenant), "queue": task.queue, "task_id": task.task_id}
    return _whole(connection, key, len(task.answered))


def all_annotations(connection: Connection, tenant: TenantId, queue: str, n_said: int) -> list[AnnotationRecord]:
    """What was said of all tasks of a queue, of which there must be `n_said`. Raises Corrupt."""
    return _whole(connection, {"tenant": str(tenant), "queue": queue}, n_said)


def add_annotations(connection: Connection, tenant: TenantId, said: Sequence[AnnotationRecord]) -> None:
    """Writes what was said of tasks of which nothing was said yet."""
    _insert(connection, ANNOTATIONS, [{"tenant": str(tenant), **_annotation_values(one)} for one in said])


def put_annotation(connection: Connection, tenant: TenantId, said: AnnotationRecord) -> None:
    """Writes what an annotator said of a task, instead of what they said of it before."""
    key = {"tenant": str(tenant), "queue": said.queue, "task_id": said.task_id, "annotator": said.annotator}
    values = _annotation_values(said)
    row = seals.one(connection, ANNOTATIONS, key)
    if row is None:
        seals.add(connection, ANNOTATIONS, {**key, **values})
    else:
        seals.change(connection, ANNOTATIONS, row, **values)


def remove_queue(connection: Connection, tenant: TenantId, name: str) -> None:
    """Deletes a queue with all that belongs to it."""
    for table in (ANNOTATIONS, LABEL_TEXTS, LABEL_TASKS):
        connection.execute(delete(table).where(table.c.tenant == str(tenant), table.c.queue == name))
    connection.execute(delete(LABEL_QUEUES).where(LABEL_QUEUES.c.tenant == str(tenant), LABEL_QUEUES.c.name == name))


def of_user(
    connection: Connection,
    tenant: TenantId,
    user_ids: Sequence[str],
    sessions: Sequence[str],
    traces: Sequence[str],
) -> list[tuple[str, str]]:
    """(queue, task_id) of the tasks that are a user's: by their id, or over their sessions and traces."""
    found: set[tuple[str, str]] = set()
    columns = LABEL_TASKS.c
    for column, wanted in ((columns.user_id, user_ids), (columns.session_id, sessions), (columns.trace_id, traces)):
        for start in range(0, len(wanted), _CHUNK):
            asked = select(columns.queue, columns.task_id).where(
                columns.tenant == str(tenant), column.in_(wanted[start : start + _CHUNK])
            )
            found |= {(row.queue, row.task_id) for row in connection.execute(asked)}
    return sorted(found)


def forget(connection: Connection, tenant: TenantId, gone: Sequence[tuple[str, str]]) -> None:
    """Deletes tasks with their texts and annotations; their queues count them as erased."""
    for queue, task_id in gone:
        for table in (ANNOTATIONS, LABEL_TEXTS, LABEL_TASKS):
            wanted = (table.c.tenant == str(tenant), table.c.queue == queue, table.c.task_id == task_id)
            connection.execute(delete(table).where(*wanted))
    for name in {queue for queue, _ in gone}:
        row = _queue_row(connection, tenant, name)
        n = sum(1 for queue, _ in gone if queue == name)
        seals.change(connection, LABEL_QUEUES, row, n_tasks=row.n_tasks - n, n_erased=row.n_erased + n)


def _whole(connection: Connection, key: Mapping[str, str], n_said: int) -> list[AnnotationRecord]:
    found = seals.by_index(connection, ANNOTATIONS, key)
    if len(found) < n_said:
        found = seals.rows(connection, ANNOTATIONS, key)
    if len(found) < n_said:
        raise Corrupt(f"{n_said - len(found)} annotations of the queue {key['queue']!r} are gone; run assay doctor")
    return sorted(map(_annotation, found), key=lambda one: (one.made_at_ns, one.annotator))


def _insert(connection: Connection, table: Table, values: Sequence[Mapping[str, object]]) -> None:
    for some in _parts([seals.sealed(table, one) for one in values]):
        connection.execute(insert(table), some)


def _parts(whole: list[dict[str, object]]) -> Iterator[list[dict[str, object]]]:
    for start in range(0, len(whole), _CHUNK):
        yield whole[start : start + _CHUNK]


def _queue_row(connection: Connection, tenant: TenantId, name: str) -> Any:
    row = seals.one(connection, LABEL_QUEUES, {"tenant": str(tenant), "name": name})
    if row is None:
        raise NotFound(f"there is no label queue {name[:80]!r}")
    return row


def _task_row(connection: Connection, tenant: TenantId, queue: str, task_id: str) -> Any:
    row = seals.one(connection, LABEL_TASKS, {"tenant": str(tenant), "queue": queue, "task_id": task_id})
    if row is None:
        raise NotFound(f"the queue {queue[:80]!r} has no task {task_id[:60]!r}")
    return row


def _queue_values(one: QueueRecord) -> dict[str, object]:
    values = {name: getattr(one, name) for name in _OF_QUEUE}
    return {**values, "rubric_body": _text(one.rubric_body), "draws": _text([dict(draw) for draw in one.draws])}


def _queue(row: Any) -> QueueRecord:
    return QueueRecord(
        tenant=TenantId(row.tenant),
        **{name: getattr(row, name) for name in _OF_QUEUE},
        rubric_body=json.loads(row.rubric_body),
        draws=tuple(json.loads(row.draws)),
    )


def _task_values(one: TaskRecord) -> dict[str, object]:
    return {
        **{name: getattr(one, name) for name in _OF_TASK},
        "target": one.target.value,
        "has_text": int(one.has_text),
        "probability": repr(float(one.probability)),
        "assigned": _text(list(one.assigned)),
        "reserved": _text(dict(one.reserved)),
        "answered": _text(dict(one.answered)),
        "status": one.status.value,
        "how": None if one.how is None else one.how.value,
    }


def _task(row: Any) -> TaskRecord:
    return TaskRecord(
        **{name: getattr(row, name) for name in _OF_TASK},
        target=TargetKind(row.target),
        has_text=bool(row.has_text),
        probability=float(row.probability),
        assigned=tuple(json.loads(row.assigned)),
        reserved=json.loads(row.reserved),
        answered=json.loads(row.answered),
        status=TaskStatus(row.status),
        how=None if row.how is None else How(row.how),
    )


def _annotation_values(said: AnnotationRecord) -> dict[str, object]:
    return {**{name: getattr(said, name) for name in _OF_ANNOTATION}, "labels": _text(list(said.labels))}


def _annotation(row: Any) -> AnnotationRecord:
    said = {name: getattr(row, name) for name in _OF_ANNOTATION}
    return AnnotationRecord(**said, labels=tuple(json.loads(row.labels)))


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False)
