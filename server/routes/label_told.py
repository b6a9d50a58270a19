"""Queues, tasks, answers and draws as the API tells them; server/routes/label_shapes.py has the shapes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from core.records import Principal, Role
from judges.content import Content
from judges.labels.states import is_complete_for
from judges.service_draws import Drawn
from server.routes.keys import rfc3339
from store.control.label_records import AnnotationRecord, QueueRecord, TaskRecord, TaskStatus


def queue_told(queue: QueueRecord) -> dict[str, Any]:
    """A queue in an answer."""
    names = ("name", "app", "judge", "n_annotators", "reservation_s", "note", "n_tasks", "n_erased", "created_by")
    body = queue.rubric_body
    rubric = {name: body[name] for name in ("kind", "target", "labels", "passing", "anchors", "text")}
    return {
        **{name: getattr(queue, name) for name in names},
        "rubric": {
            "name": queue.rubric,
            "version": queue.rubric_version,
            "digest": queue.rubric_digest,
            **rubric,
        },
        "n_draws": len(queue.draws),
        "created_at": rfc3339(queue.created_at_ns),
    }


def task_told(queue: QueueRecord, task: TaskRecord, said: Sequence[AnnotationRecord], annotator: str) -> dict[str, Any]:
    """A task as this annotator may see it."""
    own = next((one for one in said if one.annotator == annotator), None)
    done = is_complete_for(task)
    until = task.reserved.get(annotator)
    return {
        **_named(task),
        "app": queue.app,
        "status": status_for(task, own).value,
        "reserved_until": rfc3339(until),
        "own": None if own is None else answer_told(own),
        "label": task.label if done else None,
        "how": task.how.value if done and task.how else None,
        "completed_at": rfc3339(task.completed_at_ns) if done else None,
    }


def status_for(task: TaskRecord, own: AnnotationRecord | None) -> TaskStatus:
    """A task's status as an annotator may know it, who must not learn from it whether others agreed: what they did
    themselves, until it is completed."""
    if is_complete_for(task):
        return TaskStatus.COMPLETED
    if own is None:
        return TaskStatus.NEEDS_REVIEW
    return TaskStatus.SKIPPED if own.label is None else TaskStatus.NEEDS_OTHERS_REVIEW


def progress_told(progress: dict[str, Any], caller: Principal) -> dict[str, Any]:
    """How far a queue is. Only who may decide learns how many tasks annotators disagree on: from that count moving, the
    last one to answer a task would know what the others said."""
    if caller.role.allows(Role.POWER_USER):
        return progress
    hidden = progress["n_needs_adjudication"] + progress["n_needs_others_review"]
    return {**progress, "n_needs_adjudication": None, "n_needs_others_review": hidden}


def answer_told(said: AnnotationRecord) -> dict[str, Any]:
    """What somebody said."""
    told = {name: getattr(said, name) for name in ("annotator", "skipped", "note", "duration_ms")}
    return {**told, "labels": list(said.labels), "made_at": rfc3339(said.made_at_ns)}


def adjudicable_told(task: TaskRecord, said: Sequence[AnnotationRecord]) -> dict[str, Any]:
    """A task with all that was said of it."""
    return {
        **_named(task),
        "status": task.status.value,
        "assigned": list(task.assigned),
        "answers": [answer_told(one) for one in said],
        "label": task.label,
        "how": None if task.how is None else task.how.value,
        "decided_by": task.decided_by,
        "note": task.note,
        "completed_at": rfc3339(task.completed_at_ns),
    }


def labelled_told(task: TaskRecord, said: Sequence[AnnotationRecord]) -> dict[str, Any]:
    """A completed task for export."""
    drawn = {name: getattr(task, name) for name in ("stratum", "segment", "probability", "revision")}
    return {**adjudicable_told(task, said), **drawn}


def content_told(shown: Content) -> dict[str, Any]:
    """Content in an answer: the lines of JSON that a judge is shown, read."""
    parts = [
        {"name": part.name, "entries": [json.loads(line) for line in part.text.split("\n") if line]}
        for part in shown.parts
    ]
    told = {name: getattr(shown, name) for name in ("pair", "hash", "n_cut", "n_hidden")}
    return {"parts": parts, **told}


def drawn_told(drawn: Drawn, *, dry_run: bool) -> dict[str, Any]:
    """A draw in an answer."""
    design = drawn.design
    told = {name: getattr(design, name) for name in ("n_population", "n_random", "floor")}
    counts = {name: getattr(drawn, name) for name in ("n_new", "n_changed", "n_there")}
    return {"dry_run": dry_run, **told, "strata": [vars(one) for one in design.strata], **counts}


def _named(task: TaskRecord) -> dict[str, Any]:
    told = {name: getattr(task, name) for name in ("task_id", "queue", "item", "trace_id")}
    return {**told, "target": task.target.value, "session_id": task.session_id or None}
