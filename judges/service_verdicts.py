"""Verdicts and labels from elsewhere: a judge that cannot be asked, its verdicts, outcomes, and what people said.

Verdicts and outcomes are scores at once. What people said goes through a label queue of its own, so that it counts for
the agreement among them, and what they disagree on can be adjudicated. Everything is written once: ids are made of what
is said.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from core.errors import Conflict, InvalidInput, NotFound
from core.records import EvaluatorKind, Principal, TargetKind
from judges.imported import ImportedItem, Read, read_all, read_labels
from judges.labels import draws, states
from judges.parsing import MOST_EXPLANATION, cleaned
from judges.records import JudgeSpec, Missing, ModelRef, Rubric, ScaleKind
from judges.service_labels import LabelService
from judges.stored import rubric_json, rubric_record, spec_json, spec_of
from store.control.label_records import AnnotationRecord, QueueRecord, TaskRecord, TaskStatus
from store.scores import NewScore, append_scores, known_scores

PROVIDER: Final = "imported"  # of the model of a judge that cannot be asked
MOST_ITEMS: Final = 1_000
_MOST_SAID: Final = 200  # characters of a raw verdict


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Whose verdicts they are, under which rubric, of which app. `judge` None: there are only labels. `n_annotators`
    are those of the item that has most."""

    rubric: Rubric
    judge: str | None = None
    model: str = "unknown"
    app: str | None = None
    n_annotators: int = 1


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What became of them. `missing` counts verdicts that are none, by reason; `refused` are (place among the items,
    why); `n_known` of all were there before."""

    judge_version: str | None
    n_verdicts: int
    missing: Mapping[str, int]
    n_outcomes: int
    n_labels: int
    n_unresolved: int
    n_new: int
    n_known: int
    refused: Sequence[tuple[int, str]]
    queue: str | None


def import_verdicts(
    service: LabelService, origin: Origin, items: Sequence[ImportedItem], *, dry_run: bool, by: Principal
) -> Imported:
    """Writes what is not there yet, or says what it would. A verdict that is none of the rubric's labels is unscored; a
    label that is none is refused, with its item. Raises Conflict for a judge that asks models and for a rubric whose
    version is there with another text, InvalidInput for too many items."""
    if not 1 <= len(items) <= MOST_ITEMS:
        raise InvalidInput(f"import 1 to {MOST_ITEMS:,} items at once", field="items")
    rubric = origin.rubric
    _require_same(service, rubric, by)
    spec = _judge(service, origin, rubric, by)
    read, refused = read_all(rubric, items, spec is not None)
    scores = {**_verdicts(by.tenant, spec, rubric, read, origin), **_outcomes(by.tenant, rubric, read, origin)}
    queue = QueueRecord(
        tenant=by.tenant,
        name=f"import-{rubric.name}-v{rubric.version}",
        app=origin.app or PROVIDER,
        rubric=rubric.name,
        rubric_version=rubric.version,
        rubric_digest=rubric.digest,
        rubric_body=rubric_json(rubric),
        n_annotators=min(origin.n_annotators, states.MOST_ANNOTATORS),
        note="labels from elsewhere",
    )
    tasks, said = _tasks(queue.name, [one for one in read if one.said], service.clock())
    there = _there(service, queue)
    store = service.store.tenant(by.tenant)
    known = known_scores(store, list(scores)) if scores else set()
    new = {name: score for name, score in scores.items() if name not in known}
    n_new_tasks = sum(1 for one in tasks if one.task_id not in there)
    if not dry_run:
        service.control.add_rubric(rubric_record(by.tenant, rubric), by=by)
        if spec is not None:
            service.control.put_judge(by.tenant, spec.name, spec.version, spec_json(spec), by=by)
        if new:
            append_scores(store, list(new.values()), ids=list(new), author="import", now_ns=service.clock())
        if tasks:
            _add(service, queue, tasks, said, by)
    return Imported(
        judge_version=None if spec is None else spec.version,
        n_verdicts=sum(1 for one in read if one.verdict is not None or one.missing is not None),
        missing=dict(Counter(one.missing.value for one in read if one.missing is not None)),
        n_outcomes=sum(1 for one in read if one.outcome is not None),
        n_labels=len(tasks),
        n_unresolved=sum(1 for one in tasks if one.status is not TaskStatus.COMPLETED),
        n_new=len(new) + n_new_tasks,
        n_known=len(scores) - len(new) + len(tasks) - n_new_tasks,
        refused=refused,
        queue=queue.name if tasks else None,
    )


def _require_same(service: LabelService, rubric: Rubric, by: Principal) -> None:
    """Raises Conflict when the rubric's version is there with another text."""
    try:
        there = service.control.rubric(by.tenant, rubric.name, rubric.version)
    except NotFound:
        return
    if there.digest != rubric.digest:
        raise Conflict(f"rubric {rubric.name} has a version {rubric.version} with another text; give this one the next")


def _judge(service: LabelService, origin: Origin, rubric: Rubric, by: Principal) -> JudgeSpec | None:
    """The judge as the control database has to have it. Raises Conflict."""
    if origin.judge is None:
        return None
    spec = JudgeSpec(
        name=origin.judge,
        rubric=rubric.name,
        rubric_version=rubric.version,
        rubric_digest=rubric.digest,
        models=(ModelRef(provider=PROVIDER, model=origin.model),),
    )
    try:
        there = spec_of(service.control.judge(by.tenant, origin.judge).spec)
    except NotFound:
        return spec
    if any(one.provider != PROVIDER for one in there.models):
        raise Conflict(f"there is a judge {origin.judge[:80]!r} that asks models; import under another name")
    return spec


def _verdicts(
    tenant: str, spec: JudgeSpec | None, rubric: Rubric, read: Sequence[Read], origin: Origin
) -> dict[str, NewScore]:
    if spec is None:
        return {}
    found = {}
    for one in read:
        if one.verdict is None and one.missing is None:
            continue
        said = one.item.missing if one.item.missing is not None else one.item.verdict or ""
        more = {
            "models": [ref.text for ref in spec.models],
            "confidence": one.item.confidence,
            "said": cleaned(said, _MOST_SAID),
            "orders": _orders(rubric, one.item),
        }
        score = _score(one, rubric, one.verdict, origin, more)
        name = _id("judge", [tenant, spec.name, spec.version, one.kind.value, one.name, said, one.item.at_ns])
        found[name] = replace(
            score,
            evaluator=spec.name,
            evaluator_version=spec.version,
            evaluator_kind=EvaluatorKind.JUDGE,
            unscored=None if one.missing is None else one.missing.value,
            explanation=cleaned(one.item.explanation, MOST_EXPLANATION) or None,
            metadata={**score.metadata, "probability": 1.0},  # all that was judged is here
        )
    return found


def _orders(rubric: Rubric, item: ImportedItem) -> list[str | None] | None:
    """What was chosen in both orders, as labels of the rubric; None where a pair's are not known."""
    if rubric.kind is not ScaleKind.PAIRWISE or item.orders is None:
        return None
    read = [None if said is None else read_labels(rubric, said) for said in item.orders]
    return [one[0] if isinstance(one, tuple) and len(one) == 1 else None for one in read]


def _outcomes(tenant: str, rubric: Rubric, read: Sequence[Read], origin: Origin) -> dict[str, NewScore]:
    found = {}
    for one in read:
        if one.outcome is not None:
            what = [tenant, rubric.name, rubric.version, one.kind.value, one.name, list(one.outcome), one.item.at_ns]
            found[_id("outcome", what)] = _score(one, rubric, one.outcome, origin, {})
    return found


def _score(
    one: Read, rubric: Rubric, labels: tuple[str, ...] | None, origin: Origin, more: Mapping[str, Any]
) -> NewScore:
    """A score of kind outcome by the rubric; a verdict is made of it."""
    known = {
        "rubric": rubric.name,
        "rubric_version": rubric.version,
        "rubric_digest": rubric.digest,
        "imported": True,
        "app": origin.app,
        "segment": one.item.segment,
        "probability": one.item.probability,
        **more,
    }
    return NewScore(
        evaluator=rubric.name,
        evaluator_version=str(rubric.version),
        evaluator_kind=EvaluatorKind.OUTCOME,
        target=one.kind,
        session_id=None if one.kind is TargetKind.TURN else one.name,
        trace_id=one.name if one.kind is TargetKind.TURN else None,
        value=rubric.value_of_all(labels) if labels else None,
        label=",".join(sorted(labels)) if labels else None,
        unscored=None if labels else Missing.NOT_OFFERED.value,
        at_ns=one.item.at_ns,
        metadata={name: value for name, value in known.items() if value is not None},
    )


def _tasks(queue: str, read: Sequence[Read], now_ns: int) -> tuple[list[TaskRecord], list[AnnotationRecord]]:
    """Tasks as they are after all that was said of them, and what was said."""
    tasks, said = [], []
    for position, one in enumerate(read):
        name, at_ns = draws.task_id(one.kind, one.name), one.item.at_ns or now_ns
        mine = [
            AnnotationRecord(queue=queue, task_id=name, annotator=who, labels=labels, made_at_ns=at_ns)
            for who, labels in one.said.items()
        ]
        status, label, how = states.outcome([each.label or "" for each in mine], 0, len(mine))
        tasks.append(
            TaskRecord(
                queue=queue,
                task_id=name,
                position=position,
                item=one.name,
                target=one.kind,
                session_id="" if one.kind is TargetKind.TURN else one.name,
                trace_id=one.name if one.kind is TargetKind.TURN else None,
                segment=one.item.segment,
                probability=1.0 if one.item.probability is None else one.item.probability,
                answered={each.annotator: True for each in mine},
                status=status,
                label=label,
                how=how,
                revision=int(label is not None),
                created_at_ns=now_ns,
                completed_at_ns=None if label is None else at_ns,
            )
        )
        said += mine
    return tasks, said


def _there(service: LabelService, queue: QueueRecord) -> set[str]:
    try:
        return {one.task_id for one in service.control.label_tasks(queue.tenant, queue.name)[1]}
    except NotFound:
        return set()


def _add(
    service: LabelService,
    queue: QueueRecord,
    tasks: Sequence[TaskRecord],
    said: Sequence[AnnotationRecord],
    by: Principal,
) -> None:
    """Puts labelled tasks into the queue, made when it is not there; those that are there stay as they are."""
    try:
        service.control.create_label_queue(queue, by=by)
    except Conflict:
        there = service.control.label_queue(by.tenant, queue.name)
        if there.rubric_digest != queue.rubric_digest:
            raise

    def made(now: QueueRecord, old: Sequence[TaskRecord]) -> tuple[list[TaskRecord], list[TaskRecord]]:
        known = {one.task_id for one in old}
        last = max((one.position for one in old), default=-1)
        fresh = [one for one in tasks if one.task_id not in known]
        draws.require_room(now, len(fresh))
        return [replace(one, position=last + 1 + k) for k, one in enumerate(fresh)], []

    service.control.add_label_tasks(by.tenant, queue.name, made, said=said, action="labels.import", by=by)
    service.settle(queue.name, by.tenant)


def _id(kind: str, what: Sequence[object]) -> str:
    """The id of a score: the same thing said of the same target is written once."""
    said = json.dumps(what, ensure_ascii=True, separators=(",", ":")).encode("ascii")
    return f"{kind}_{hashlib.sha256(said).hexdigest()[:24]}"
