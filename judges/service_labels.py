"""Label queues over the control database and the lake: made, handed out, answered, adjudicated, written as scores.

An answer is kept first; where it completes a task, the label is written to the lake then, under an id of its own for
every revision. Who is killed between the two leaves a task that says so, and whoever next looks at the queue writes it.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from core.clock import NS_PER_S, Clock
from core.errors import AssayError, InvalidInput, NotFound
from core.ids import TenantId
from core.records import EvaluatorKind, Principal, TargetKind
from evaluators.reading import trajectories
from judges import content
from judges.content import Content
from judges.labels import figures, states
from judges.labels.items import content_of
from judges.records import Rubric
from judges.stored import rubric_of
from store.control.control import Control
from store.control.label_records import AnnotationRecord, QueueRecord, TaskRecord
from store.control.labelling import TaskChange
from store.scores import LABEL, NewScore, append_scores, known_scores
from store.tenant import Store, TenantStore

MOST_NOTE: Final = 4_000  # characters
MOST_RESERVED_S: Final = 7 * 86_400
SETTLE_AFTER_S: Final = 30  # a label that another request may be about to write is left to it for so long
_TRIES: Final = 50
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_LOG: Final = logging.getLogger("assay.judges")


@dataclass(frozen=True, kw_only=True)
class NewQueue:
    """What a queue is made from. `rubric` None: the judge's; `rubric_version` None: the newest."""

    name: str
    app: str
    rubric: str | None = None
    rubric_version: int | None = None
    judge: str | None = None
    n_annotators: int = 1
    reservation_s: int = 1800
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What an annotator says: labels, or `skip` with the reason."""

    labels: tuple[str, ...] = ()
    skip: str | None = None
    note: str = ""
    duration_ms: int | None = None


@dataclass(frozen=True, kw_only=True)
class LabelService:
    """Label queues of a server. `by` is who acts; an annotator is their name, whichever of their keys they use."""

    control: Control
    store: Store
    clock: Clock

    def create(self, wanted: NewQueue, *, by: Principal) -> QueueRecord:
        """A queue without tasks. Raises NotFound for a rubric or judge that is not there, Conflict, InvalidInput."""
        if not _NAME.fullmatch(wanted.name):
            raise InvalidInput("a queue's name is 1 to 100 of letters, digits, '.', '_', '-'", field="name")
        if not 1 <= wanted.n_annotators <= states.MOST_ANNOTATORS:
            raise InvalidInput(f"a task has 1 to {states.MOST_ANNOTATORS} annotators", field="n_annotators")
        if not 10 <= wanted.reservation_s <= MOST_RESERVED_S:
            raise InvalidInput("a reservation is held for 10 seconds to a week", field="reservation_s")
        name, version = wanted.rubric, wanted.rubric_version
        if wanted.judge is not None:
            spec = self.control.judge(by.tenant, wanted.judge).spec
            if name is None:
                name, version = str(spec["rubric"]), int(spec["rubric_version"])
        if name is None:
            raise InvalidInput("name the rubric to label by, or the judge whose rubric it is", field="rubric")
        rubric = self.control.rubric(by.tenant, name, version)
        queue = QueueRecord(
            tenant=by.tenant,
            name=wanted.name,
            app=wanted.app,
            rubric=rubric.name,
            rubric_version=rubric.version,
            rubric_digest=rubric.digest,
            rubric_body=rubric.body,
            n_annotators=wanted.n_annotators,
            reservation_s=wanted.reservation_s,
            judge=wanted.judge,
            note=wanted.note,
        )
        return self.control.create_label_queue(queue, by=by)

    def next(self, name: str, *, by: Principal) -> tuple[QueueRecord, TaskRecord | None, dict[str, int]]:
        """A task that is reserved for the annotator from now on (the one they hold already, where they do), or None
        when nothing is left for them; and how far they are. Raises NotFound."""
        queue, tasks = self.control.label_tasks(by.tenant, name)
        now = self.clock()
        self._settle_left(queue, tasks, now)
        own = figures.own_progress(queue, tasks, by.name, now)
        for task in states.offer(queue, tasks, by.name, now)[:_TRIES]:
            taken = self.control.change_label_task(
                by.tenant, name, task.task_id, lambda queue, task, _, at_ns: _reserved(queue, task, by, at_ns), by=by
            )
            if taken is not None:
                return queue, taken, own
        return queue, None, own

    def answer(self, name: str, task_id: str, given: Answer, *, by: Principal) -> TaskRecord:
        """The task after an answer or a skip; the same again changes nothing. Durable when it returns; the label may be
        in the lake a little later. Raises NotFound, InvalidInput, Conflict when it is done without it, Forbidden."""
        _check(given)

        def decide(
            queue: QueueRecord, task: TaskRecord, said: Sequence[AnnotationRecord], at_ns: int
        ) -> TaskChange | None:
            labels = () if given.skip is not None else states.checked_labels(rubric_of(queue.rubric_body), given.labels)
            before = next((one for one in said if one.annotator == by.name), None)
            if before is not None and (before.labels, before.skipped, before.note) == (labels, given.skip, given.note):
                return None
            new = AnnotationRecord(
                queue=name,
                task_id=task_id,
                annotator=by.name,
                labels=labels,
                skipped=given.skip,
                note=given.note,
                made_at_ns=at_ns,
                duration_ms=given.duration_ms,
                key_id=by.key_id,
            )
            return states.answer(queue, task, said, new, at_ns)

        changed = self.control.change_label_task(by.tenant, name, task_id, decide, by=by)
        return self._settled(by.tenant, name, task_id, changed)

    def requeue(self, name: str, task_id: str, *, by: Principal) -> TaskRecord:
        """Gives a task back, to the end of the queue. Raises NotFound."""
        _, tasks = self.control.label_tasks(by.tenant, name)
        last = max((one.position for one in tasks), default=0)
        changed = self.control.change_label_task(
            by.tenant,
            name,
            task_id,
            lambda _q, task, _s, _n: TaskChange(task=states.requeue(task, by.name, last)),
            by=by,
        )
        return changed or self.control.label_task(by.tenant, name, task_id)[1]

    def adjudicate(self, name: str, task_id: str, labels: Sequence[str], note: str, *, by: Principal) -> TaskRecord:
        """Decides on a task's label, whatever was said of it. Raises NotFound, InvalidInput."""
        if len(note) > MOST_NOTE:
            raise InvalidInput(f"a note has at most {MOST_NOTE:,} characters", field="note")

        def decide(
            queue: QueueRecord, task: TaskRecord, said: Sequence[AnnotationRecord], at_ns: int
        ) -> TaskChange | None:
            checked = states.checked_labels(rubric_of(queue.rubric_body), labels)
            return states.adjudicate(task, said, checked, by=by.name[:200], note=note, at_ns=at_ns)

        changed = self.control.change_label_task(by.tenant, name, task_id, decide, by=by)
        return self._settled(by.tenant, name, task_id, changed)

    def reassign(self, name: str, away: str, to: str | None, *, by: Principal) -> int:
        """Takes what is left to somebody who is gone away from them, and gives it `to` another; how many tasks."""

        def made(_: QueueRecord, tasks: Sequence[TaskRecord]) -> tuple[list[TaskRecord], list[TaskRecord]]:
            held = [one for one in tasks if away in one.assigned or away in one.reserved]
            new = [(one, states.reassign(one, away, to)) for one in held]
            return [], [after for before, after in new if after != before]

        return self.control.add_label_tasks(by.tenant, name, made, action="labels.reassign", by=by)[1]

    def settle(self, name: str, tenant: TenantId) -> int:
        """Writes the labels that are not in the lake yet; how many there were. Raises NotFound, StorageFailed."""
        queue, tasks = self.control.label_tasks(tenant, name)
        left = [one for one in tasks if one.revision > one.scored]
        self._write(queue, left)
        return len(left)

    def shown(self, queue: QueueRecord, task: TaskRecord) -> Content:
        """What an annotator is shown of a task: what a judge is shown. Raises NotFound when it is gone."""
        if task.has_text:
            return content_of(self.control.task_text(queue.tenant, queue.name, task.task_id))
        return live_content(self.store.tenant(queue.tenant), task)

    def _settled(self, tenant: TenantId, name: str, task_id: str, changed: TaskRecord | None) -> TaskRecord:
        queue, task, _ = self.control.label_task(tenant, name, task_id)
        task = changed or task
        if task.revision > task.scored:
            try:
                self._write(queue, [task])
            except AssayError as error:
                _LOG.warning("a label of the queue %s is written to the lake later: %s", name, error)
        return task

    def _settle_left(self, queue: QueueRecord, tasks: Sequence[TaskRecord], now_ns: int) -> None:
        """Writes what somebody who was killed did not."""
        before_ns = now_ns - SETTLE_AFTER_S * NS_PER_S
        left = [one for one in tasks if one.revision > one.scored and (one.completed_at_ns or 0) < before_ns]
        try:
            self._write(queue, left)
        except AssayError as error:
            _LOG.warning("labels of the queue %s are written to the lake later: %s", queue.name, error)

    def _write(self, queue: QueueRecord, tasks: Sequence[TaskRecord]) -> None:
        """Appends the labels that are not there, in one commit, and notes that all are."""
        if not tasks:
            return
        store, rubric = self.store.tenant(queue.tenant), rubric_of(queue.rubric_body)
        made = {score_id_of(queue, one): one for one in tasks}
        known = known_scores(store, list(made))
        new = {score_id: label_score(queue, one, rubric) for score_id, one in made.items() if score_id not in known}
        if new:
            author = f"label-queue/{queue.name}"
            append_scores(store, list(new.values()), ids=list(new), author=author, now_ns=self.clock())
        self.control.note_labels_scored(queue.tenant, queue.name, {one.task_id: one.revision for one in tasks})


def live_content(store: TenantStore, task: TaskRecord) -> Content:
    """A session's or a turn's content from the lake. Raises NotFound."""
    turn = task.target is TargetKind.TURN
    item = (task.trace_id or "") if turn else task.session_id
    found = trajectories(store, trace_ids=[item]) if turn else trajectories(store, session_ids=[item])
    if item not in found:
        raise NotFound(f"there is no {task.target.value} {item[:80]!r} in the lake any more: skip it")
    return content.of_target(task.target, found[item])


def score_id_of(queue: QueueRecord, task: TaskRecord) -> str:
    """The id of a label's score: its own for each label that a task has had."""
    of_queue = f"{queue.tenant}\0{queue.name}\0{queue.created_at_ns}"  # another queue may get its name
    said = f"{of_queue}\0{task.target.value}\0{task.item}"
    name = f"{LABEL}{hashlib.sha256(said.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}"
    return name if task.revision <= 1 else f"{name}_{task.revision:04d}"


def label_score(queue: QueueRecord, task: TaskRecord, rubric: Rubric) -> NewScore:
    """A task's label as the lake keeps it: evaluator is the rubric. A label that was taken back is unscored."""
    known: dict[str, Any] = {
        "queue": queue.name,
        "item": task.item,
        "app": queue.app,
        "segment": task.segment,
        "rubric_digest": queue.rubric_digest,
        "probability": task.probability,
        "n_annotators": task.n_answers,
        "how": None if task.how is None else task.how.value,
        "revision": task.revision,
    }
    labels = tuple(task.label.split(",")) if task.label is not None else ()
    return NewScore(
        evaluator=queue.rubric,
        evaluator_version=str(queue.rubric_version),
        evaluator_kind=EvaluatorKind.HUMAN,
        target=task.target,
        trace_id=task.trace_id if task.target is TargetKind.TURN else None,
        session_id=task.session_id or None,
        value=rubric.value_of_all(labels) if labels else None,
        label=task.label,
        unscored=None if labels else "label_taken_back",
        explanation=task.note or None,
        at_ns=task.completed_at_ns,
        metadata={name: value for name, value in known.items() if value is not None},
    )


def _reserved(queue: QueueRecord, task: TaskRecord, by: Principal, at_ns: int) -> TaskChange | None:
    taken = states.reserve(queue, task, by.name, at_ns)
    return None if taken is None else TaskChange(task=taken)


def _check(given: Answer) -> None:
    if (given.skip is None) == (not given.labels):
        raise InvalidInput("give labels, or skip with the reason", field="labels")
    if given.skip is not None and not given.skip.strip():
        raise InvalidInput("say why it is skipped", field="skip")
    if len(given.note) > MOST_NOTE or len(given.skip or "") > MOST_NOTE:
        raise InvalidInput(f"a note has at most {MOST_NOTE:,} characters", field="note")
    if given.duration_ms is not None and not 0 <= given.duration_ms <= 10**10:
        raise InvalidInput("a duration is from 0 to 10^10 ms", field="duration_ms")
