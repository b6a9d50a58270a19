"""The life of a task of a label queue: who is offered it, what an answer, a skip and an adjudication make of it. Pure.

needs_review -> needs_others_review -> completed, or needs_adjudication where everybody answered and no label has a
majority; skipped where as many as should answer would not. A person's own answer may be given again until as many have
answered as should: later, who learns that the others said something else could join them. One person's alone may be,
until somebody adjudicates it. Who answers when others were faster is told
so, and nothing of it is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from core.clock import NS_PER_S
from core.errors import Conflict, Forbidden, InvalidInput
from judges.records import Rubric, ScaleKind
from store.control.label_records import AnnotationRecord, How, QueueRecord, TaskRecord, TaskStatus
from store.control.labelling import TaskChange

MOST_ANNOTATORS: Final = 20
_DECIDED: Final = (TaskStatus.COMPLETED, TaskStatus.NEEDS_ADJUDICATION)
_OVER: Final = "others completed this task meanwhile; your answer was not counted, go on with the next"


def checked_labels(rubric: Rubric, labels: Sequence[str]) -> tuple[str, ...]:
    """The labels in the rubric's order. Raises InvalidInput when one is not offered or given twice, or when there are
    not as many as the scale asks for: one, of a multi-label scale at least one."""
    for label in labels:
        if label not in rubric.labels:
            offered = ", ".join(rubric.labels)
            raise InvalidInput(f"{label[:80]!r} is none of the labels {offered}", field="labels")
    if len(set(labels)) != len(labels):
        raise InvalidInput("a label is given twice", field="labels")
    if not labels or (len(labels) > 1 and rubric.kind is not ScaleKind.MULTI_LABEL):
        wanted = "at least one label" if rubric.kind is ScaleKind.MULTI_LABEL else "one label"
        raise InvalidInput(f"this scale asks for {wanted}, not {len(labels)}", field="labels")
    return tuple(one for one in rubric.labels if one in labels)


def is_offered(queue: QueueRecord, task: TaskRecord, annotator: str, at_ns: int) -> bool:
    """Whether the task may be reserved for this annotator: it is open, not theirs already, not somebody else's to do,
    and no more people are at it than there are answers wanted."""
    if not task.status.is_open or annotator in task.answered:
        return False
    if task.assigned and annotator not in task.assigned:
        return False
    return task.n_answers + len(_others(task, annotator, at_ns)) < queue.n_annotators


def offer(queue: QueueRecord, tasks: Iterable[TaskRecord], annotator: str, at_ns: int) -> list[TaskRecord]:
    """The tasks that this annotator may be given, in the order to try: what they hold already, what is theirs alone to
    do, and then as they stand in the queue."""
    found = [one for one in tasks if is_offered(queue, one, annotator, at_ns)]
    return sorted(
        found, key=lambda one: (not holds(one, annotator, at_ns), not one.assigned, one.position, one.task_id)
    )


def holds(task: TaskRecord, annotator: str, at_ns: int) -> bool:
    """Whether the task is reserved for this annotator at that time."""
    return task.reserved.get(annotator, 0) > at_ns


def reserve(queue: QueueRecord, task: TaskRecord, annotator: str, at_ns: int) -> TaskRecord | None:
    """The task, reserved from now on; None when it is not on offer any more."""
    if not is_offered(queue, task, annotator, at_ns):
        return None
    until_ns = at_ns + queue.reservation_s * NS_PER_S
    return replace(task, reserved={**_others(task, annotator, at_ns), annotator: until_ns})


def requeue(task: TaskRecord, annotator: str, last: int) -> TaskRecord:
    """The task at the end of the queue (`last` is the highest position there), not reserved for them any more."""
    return replace(task, position=last + 1, reserved=_without(task, annotator))


def answer(
    queue: QueueRecord,
    task: TaskRecord,
    said: Sequence[AnnotationRecord],
    new: AnnotationRecord,
    at_ns: int,
) -> TaskChange:
    """What an answer or a skip makes of the task. `said` is all that was said of it so far.

    Raises Conflict when the task is done without it, Forbidden when it is assigned to others.
    """
    _may_answer(task, new.annotator)
    before = next((one for one in said if one.annotator == new.annotator), None)
    whole = [one for one in said if one.annotator != new.annotator] + [new]
    answers = [one.label for one in whole if one.label is not None]
    status, label, how = outcome(answers, len(whole) - len(answers), queue.n_annotators)
    changed = replace(
        _decided(task, status, label, how, at_ns),
        answered={**task.answered, new.annotator: new.label is not None},
        reserved=_without(task, new.annotator),
        decided_by=None,
        note="",
    )
    told = None if before is None else _told(before)
    action = "labels.annotate" if new.label is not None else "labels.skip"
    return TaskChange(task=changed, said=new, action=action, after=_told(new), before=told)


def adjudicate(
    task: TaskRecord, said: Sequence[AnnotationRecord], labels: Sequence[str], *, by: str, note: str, at_ns: int
) -> TaskChange:
    """The task with the label that a person with the right to decided on, whatever was said of it before."""
    label = ",".join(sorted(labels))
    changed = replace(_decided(task, TaskStatus.COMPLETED, label, How.ADJUDICATED, at_ns), decided_by=by, note=note)
    changed = replace(changed, reserved={})
    before = {"label": task.label, "how": None if task.how is None else task.how.value}
    after = {"label": label, "answers": sorted(one.label or "skipped" for one in said)}
    return TaskChange(task=changed, action="labels.adjudicate", after=after, before=before)


def outcome(answers: Sequence[str], n_skips: int, n_wanted: int) -> tuple[TaskStatus, str | None, How | None]:
    """What so many answers and skips make of a task of which `n_wanted` answers are wanted."""
    if len(answers) >= n_wanted:
        label, n = Counter(answers).most_common(1)[0]
        if n == len(answers):
            return TaskStatus.COMPLETED, label, How.UNANIMOUS
        if 2 * n > len(answers):
            return TaskStatus.COMPLETED, label, How.MAJORITY
        return TaskStatus.NEEDS_ADJUDICATION, None, None
    if n_skips >= n_wanted:
        return TaskStatus.SKIPPED, None, None
    return (TaskStatus.NEEDS_OTHERS_REVIEW if answers else TaskStatus.NEEDS_REVIEW), None, None


def reassign(task: TaskRecord, away: str, to: str | None) -> TaskRecord:
    """The task without what is reserved for or assigned to somebody who left; `to` takes their place. What they said
    stays said."""
    assigned = [one for one in task.assigned if one != away or one in task.answered]
    if to is not None and away in task.assigned and away not in task.answered and to not in assigned:
        assigned.append(to)
    return replace(task, assigned=tuple(assigned), reserved=_without(task, away))


def is_complete_for(task: TaskRecord) -> bool:
    """Whether an annotator may see what became of the task: it has its label."""
    return task.status is TaskStatus.COMPLETED


def _may_answer(task: TaskRecord, annotator: str) -> None:
    if task.how is How.ADJUDICATED:
        raise Conflict("this task was adjudicated; it takes no more answers")
    if task.assigned and annotator not in task.assigned:
        raise Forbidden("this task is assigned to others")
    if annotator not in task.answered:
        if not task.status.is_open:
            raise Conflict(_OVER)
    elif task.status in _DECIDED and (task.n_answers > 1 or not task.answered[annotator]):
        raise Conflict("as many have answered this task as were asked to; what you said of it stays as it is")


def _decided(task: TaskRecord, status: TaskStatus, label: str | None, how: How | None, at_ns: int) -> TaskRecord:
    """The task in its new status. A label that changes, or is no more, is another revision."""
    is_new = (label, how) != (task.label, task.how)
    done = status is TaskStatus.COMPLETED
    completed = (at_ns if is_new else task.completed_at_ns) if done else None
    revision = task.revision + int(is_new)
    return replace(task, status=status, label=label, how=how, revision=revision, completed_at_ns=completed)


def _others(task: TaskRecord, annotator: str, at_ns: int) -> dict[str, int]:
    """Who else holds the task, and until when."""
    return {name: until for name, until in task.reserved.items() if name != annotator and until > at_ns}


def _without(task: TaskRecord, annotator: str) -> dict[str, int]:
    return {name: until for name, until in task.reserved.items() if name != annotator}


def _told(said: AnnotationRecord) -> dict[str, object]:
    """As the audit log has it: no text of the annotator's, since the log is never erased."""
    return {"annotator": said.annotator, "labels": list(said.labels), "skipped": said.skipped is not None}
