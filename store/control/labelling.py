"""The part of the control database that human labels are made in.

What an annotator's act makes of a task is decided by the caller (judges/labels/states.py); read, decided and written
is one transaction, so two people never decide on the same state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from core.errors import Conflict
from core.ids import TenantId
from core.records import Principal
from store.control import labels, tenants
from store.control.label_records import AnnotationRecord, QueueRecord, TaskRecord
from store.control.transactions import Transactions


@dataclass(frozen=True, kw_only=True)
class TaskChange:
    """What an act makes of a task: the task anew, what was `said` (None: nothing), and how the audit log has it.
    `action` None: it is not noted there."""

    task: TaskRecord
    said: AnnotationRecord | None = None
    action: str | None = None
    after: Mapping[str, Any] = field(default_factory=dict)
    before: Mapping[str, Any] | None = None


Decide = Callable[[QueueRecord, TaskRecord, Sequence[AnnotationRecord], int], TaskChange | None]


class Labelling(Transactions):
    """Label queues; every method is one transaction, as everywhere in `Control`."""

    def create_label_queue(self, queue: QueueRecord, *, by: Principal) -> QueueRecord:
        """A queue without tasks. Raises NotFound for an unknown tenant, Conflict when the name is taken."""
        made = replace(queue, created_at_ns=self._clock(), created_by=by.name[:200])
        with self._changing() as connection:
            tenants.need(connection, queue.tenant)
            if labels.has_queue(connection, queue.tenant, queue.name):
                raise Conflict(f"there is a label queue {queue.name[:80]!r} already")
            labels.add_queue(connection, made)
            names = ("app", "rubric", "rubric_version", "rubric_digest", "n_annotators", "judge")
            after = {name: getattr(made, name) for name in names}
            self._audit(connection, by, queue.tenant, "labels.create", f"label-queue/{queue.name}", after)
        return made

    def label_queues(self, tenant: TenantId) -> list[QueueRecord]:
        """The tenant's queues, by name."""
        with self._database.read() as connection:
            return labels.queues(connection, tenant)

    def label_queue(self, tenant: TenantId, name: str) -> QueueRecord:
        """One queue. Raises NotFound, also for another tenant's."""
        with self._database.read() as connection:
            return labels.need_queue(connection, tenant, name)

    def delete_label_queue(self, tenant: TenantId, name: str, *, by: Principal) -> QueueRecord:
        """Deletes a queue with its tasks and annotations. Labels that are in the lake stay there. Raises NotFound."""
        with self._changing() as connection:
            queue = labels.need_queue(connection, tenant, name)
            labels.remove_queue(connection, tenant, name)
            before = {"app": queue.app, "rubric": queue.rubric, "n_tasks": queue.n_tasks}
            self._audit(connection, by, tenant, "labels.delete", f"label-queue/{name}", {}, before=before)
            return queue

    def add_label_tasks(
        self,
        tenant: TenantId,
        name: str,
        made: Callable[[QueueRecord, Sequence[TaskRecord]], tuple[Sequence[TaskRecord], Sequence[TaskRecord]]],
        *,
        texts: Mapping[str, Mapping[str, Any]] | None = None,
        said: Sequence[AnnotationRecord] = (),
        draw: Mapping[str, Any] | None = None,
        action: str = "labels.add",
        by: Principal,
    ) -> tuple[int, int]:
        """(new tasks, changed ones). `made` gets the queue and its tasks and answers which to add and which to write
        anew; `texts` are of imported ones, by task_id, `said` of new ones; `draw` joins the queue's. Raises NotFound
        and what it raises."""
        with self._changing() as connection:
            queue = labels.need_queue(connection, tenant, name)
            new, changed = made(queue, labels.tasks(connection, queue))
            labels.add_tasks(connection, tenant, new, texts or {})
            added = {one.task_id for one in new}
            labels.add_annotations(connection, tenant, [one for one in said if one.task_id in added])
            for one in changed:
                labels.change_task(connection, tenant, one)
            draws = queue.draws if draw is None else (*queue.draws, draw)
            labels.change_queue(connection, replace(queue, n_tasks=queue.n_tasks + len(new), draws=draws))
            after = {"n_new": len(new), "n_changed": len(changed), "draw": None if draw is None else draw.get("draw")}
            self._audit(connection, by, tenant, action, f"label-queue/{name}", after)
            return len(new), len(changed)

    def label_tasks(self, tenant: TenantId, name: str) -> tuple[QueueRecord, list[TaskRecord]]:
        """A queue and its tasks, in their order. Raises NotFound."""
        with self._database.read() as connection:
            queue = labels.need_queue(connection, tenant, name)
            return queue, labels.tasks(connection, queue)

    def label_task(
        self, tenant: TenantId, name: str, task_id: str
    ) -> tuple[QueueRecord, TaskRecord, list[AnnotationRecord]]:
        """A task with its queue and all that was said of it. Raises NotFound."""
        with self._database.read() as connection:
            queue = labels.need_queue(connection, tenant, name)
            task = labels.need_task(connection, tenant, name, task_id)
            return queue, task, labels.said_of(connection, tenant, task)

    def task_text(self, tenant: TenantId, name: str, task_id: str) -> dict[str, Any]:
        """The content of an imported task. Raises NotFound, Corrupt."""
        with self._database.read() as connection:
            return labels.text(connection, tenant, name, task_id)

    def annotations(self, tenant: TenantId, name: str) -> list[AnnotationRecord]:
        """All that was said in a queue, in order of time. Raises NotFound."""
        with self._database.read() as connection:
            queue = labels.need_queue(connection, tenant, name)
            n_said = sum(len(one.answered) for one in labels.tasks(connection, queue))
            return labels.all_annotations(connection, tenant, name, n_said)

    def change_label_task(
        self, tenant: TenantId, name: str, task_id: str, decide: Decide, *, by: Principal
    ) -> TaskRecord | None:
        """A task after what `decide` makes of it; None where it decides not to (and nothing is written).

        `decide` gets the queue, the task, what was said of it so far and the time in ns. Raises NotFound and what
        `decide` raises.
        """
        with self._changing() as connection:
            queue = labels.need_queue(connection, tenant, name)
            task = labels.need_task(connection, tenant, name, task_id)
            change = decide(queue, task, labels.said_of(connection, tenant, task), self._clock())
            if change is None:
                return None
            labels.change_task(connection, tenant, change.task)
            if change.said is not None:
                labels.put_annotation(connection, tenant, change.said)
            if change.action is not None:
                resource = f"label-queue/{name}/{task_id}"
                self._audit(connection, by, tenant, change.action, resource, change.after, before=change.before)
            return change.task

    def note_labels_scored(self, tenant: TenantId, name: str, revisions: Mapping[str, int]) -> None:
        """Notes up to which revision the labels of tasks are in the lake. A task that is gone by now is passed over."""
        with self._changing() as connection:
            for task_id, revision in revisions.items():
                task = labels.find_task(connection, tenant, name, task_id)
                if task is not None and task.scored < revision:
                    labels.change_task(connection, tenant, replace(task, scored=revision))

    def count_label_tasks(
        self, tenant: TenantId, user_ids: Sequence[str], sessions: Sequence[str], traces: Sequence[str]
    ) -> int:
        """How many tasks are a user's."""
        with self._database.read() as connection:
            return len(labels.of_user(connection, tenant, user_ids, sessions, traces))

    def forget_label_tasks(
        self, tenant: TenantId, user_ids: Sequence[str], sessions: Sequence[str], traces: Sequence[str]
    ) -> int:
        """Deletes the tasks that are a user's, with all that was said of them; how many there were."""
        with self._changing() as connection:
            gone = labels.of_user(connection, tenant, user_ids, sessions, traces)
            labels.forget(connection, tenant, gone)
            return len(gone)
