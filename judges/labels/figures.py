"""Figures of a queue: how far it is, and how much its annotators agree. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from evaluators.statistics.estimates import Estimate, Lack, Unestimated
from judges.agreement.ceiling import human_ceiling
from judges.agreement.intervals import Coefficient
from judges.agreement.kappa import Weighting
from judges.agreement.tables import MISSING
from judges.labels.states import holds, is_offered
from judges.records import Rubric, ScaleKind
from store.control.label_records import AnnotationRecord, QueueRecord, TaskRecord, TaskStatus

_TEN: Final = 10
_FULL: Final = (TaskStatus.COMPLETED, TaskStatus.NEEDS_ADJUDICATION)  # left out, disagreement would be left out


def progress(queue: QueueRecord, tasks: Sequence[TaskRecord], at_ns: int) -> dict[str, Any]:
    """Counts of tasks by status and of what each annotator said; `n_waiting`: labels that are not in the lake yet."""
    said: dict[str, Counter[str]] = defaultdict(Counter)
    for task in tasks:
        for name, labelled in task.answered.items():
            said[name]["n_labels" if labelled else "n_skips"] += 1
    statuses = Counter(one.status for one in tasks)
    labels = Counter(one.label for one in tasks if one.label is not None)
    return {
        "n_tasks": len(tasks),
        "n_erased": queue.n_erased,
        **{f"n_{status.value}": statuses[status] for status in TaskStatus},
        "n_reserved": sum(1 for one in tasks if any(until > at_ns for until in one.reserved.values())),
        "n_answers": sum(one.n_answers for one in tasks),
        "n_answers_wanted": queue.n_annotators * len(tasks),
        "n_waiting": sum(1 for one in tasks if one.revision > one.scored),
        "labels": dict(sorted(labels.items())),
        "annotators": [
            {"annotator": name, "n_labels": each["n_labels"], "n_skips": each["n_skips"]}
            for name, each in sorted(said.items())
        ],
    }


def own_progress(queue: QueueRecord, tasks: Sequence[TaskRecord], annotator: str, at_ns: int) -> dict[str, int]:
    """How far one annotator is: `n_done` of `n_total`, `n_left` that are on offer to them or theirs."""
    n_done = sum(1 for one in tasks if annotator in one.answered)
    n_left = sum(1 for one in tasks if is_offered(queue, one, annotator, at_ns))
    n_held = sum(1 for one in tasks if holds(one, annotator, at_ns) and is_offered(queue, one, annotator, at_ns))
    return {"n_done": n_done, "n_left": n_left, "n_reserved": n_held, "n_total": n_done + n_left}


def agreement(
    rubric: Rubric,
    tasks: Sequence[TaskRecord],
    said: Sequence[AnnotationRecord],
    *,
    by_tens: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """How annotators agree on tasks that all who should have answered: the mean of their pairs' kappas (weighted for an
    ordinal scale) and Krippendorff's alpha with 95 % intervals, or why there is none; and of each annotator how often
    their answer is the task's label. `by_tens` leaves the newest tasks out until there are ten more: who answers last
    would read from a figure that moves whether the others agreed."""
    full = {one.task_id: one for one in tasks if one.status in _FULL}
    if by_tens:
        full = _whole_tens(full, said)
    answers = [one for one in said if one.task_id in full and one.label is not None]
    classes = _classes(rubric, answers)
    names = sorted({one.annotator for one in answers})
    items = sorted({one.task_id for one in answers})
    ratings = np.full((len(items), len(names)), MISSING, dtype=np.int64)
    place, who = {one: at for at, one in enumerate(items)}, {one: at for at, one in enumerate(names)}
    for one in answers:
        ratings[place[one.task_id], who[one.annotator]] = classes.index(one.label or "")
    weighting = Weighting.QUADRATIC if rubric.kind is ScaleKind.ORDINAL else Weighting.NOMINAL
    judge = np.full(len(items), MISSING, dtype=np.int64)
    found = human_ceiling(ratings, judge, len(classes), weighting, seed=seed) if items else _NOBODY
    if isinstance(found, Unestimated):
        lacking = coefficient_told(Coefficient(estimate=found))
        figures: dict[str, Any] = {"n_pairs": 0, "kappa": lacking, "alpha": lacking}
    else:
        kappa, alpha = coefficient_told(found.kappa), coefficient_told(found.alpha)
        figures = {"n_pairs": found.n_pairs, "kappa": kappa, "alpha": alpha}
    return {
        "n_items": int(((ratings != MISSING).sum(axis=1) >= 2).sum()) if items else 0,
        "n_annotators": len(names),
        "weighting": weighting.value,
        **figures,
        "annotators": [_against_label(name, answers, full) for name in names],
    }


_NOBODY: Final = Unestimated(reason=Lack.NO_LABELS, detail="no task has all its answers yet")


def _whole_tens(full: Mapping[str, TaskRecord], said: Sequence[AnnotationRecord]) -> dict[str, TaskRecord]:
    """The tasks that were full first, as many tens of them as there are."""
    last: dict[str, int] = {}
    for one in said:
        last[one.task_id] = max(last.get(one.task_id, 0), one.made_at_ns)
    ordered = sorted(full, key=lambda task_id: (last.get(task_id, 0), task_id))
    return {task_id: full[task_id] for task_id in ordered[: len(full) // _TEN * _TEN]}


def coefficient_told(one: Coefficient) -> dict[str, Any]:
    """A coefficient as plain JSON: `value` null and why, where there is none."""
    found = one.estimate
    if isinstance(found, Unestimated):
        return {"value": None, "low": None, "high": None, "n": 0, "lack": found.reason.value, "detail": found.detail}
    return _estimate_told(found)


def _estimate_told(found: Estimate) -> dict[str, Any]:
    between = found.interval
    return {
        "value": found.value,
        "low": None if between is None else between.low,
        "high": None if between is None else between.high,
        "n": found.n,
        "lack": None if found.lack is None else found.lack.value,
        "detail": "",
    }


def _classes(rubric: Rubric, answers: Sequence[AnnotationRecord]) -> list[str]:
    """The classes that answers are compared by: the labels in order, or of several the sets that were given."""
    if rubric.kind is not ScaleKind.MULTI_LABEL:
        return list(rubric.labels)
    given = sorted({one.label or "" for one in answers})
    return [*given, *(label for label in rubric.labels if label not in given)]


def _against_label(name: str, answers: Sequence[AnnotationRecord], tasks: Mapping[str, TaskRecord]) -> dict[str, Any]:
    own = [one for one in answers if one.annotator == name and tasks[one.task_id].label is not None]
    same = sum(1 for one in own if one.label == tasks[one.task_id].label)
    took = sorted(one.duration_ms for one in own if one.duration_ms is not None)
    median = took[len(took) // 2] if took else None
    return {"annotator": name, "n": len(own), "n_as_label": same, "median_duration_ms": median}
