"""What a label queue is filled from: samples of what a judge said, samples of sessions, items by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import polars as pl

from core.errors import InvalidInput, NotFound
from core.ids import trace_id
from core.records import EvaluatorKind, Principal, TargetKind
from core.windows import Window
from evaluators import owners
from judges.choosing import id_of
from judges.content import Content
from judges.labels import draws, items
from judges.labels.draws import Candidate, Wanted
from judges.labels.sampling import Design
from judges.records import ScaleKind
from judges.service_labels import LabelService
from judges.service_targets import live_only, reading
from judges.stored import rubric_of
from store.control.judge_records import TargetRecord
from store.control.label_records import QueueRecord, TaskRecord
from store.judged import newest_said

MOST_ITEMS: Final = 1_000  # by hand at once


@dataclass(frozen=True, kw_only=True)
class NewItem:
    """Something to label that was chosen by hand: a session, a turn, or `item` with its `content` from elsewhere."""

    session_id: str | None = None
    trace_id: str | None = None
    item: str | None = None
    content: Mapping[str, Any] | None = field(default=None, repr=False)
    user_id: str | None = None
    segment: str | None = None
    probability: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What a draw did, or would do: `n_new` tasks joined the queue, of `n_changed` there already the chance is another
    now."""

    design: Design
    n_new: int = 0
    n_changed: int = 0
    n_there: int = 0  # of the population in the queue before


def sample(service: LabelService, name: str, wanted: Wanted, window: Window, *, dry_run: bool, by: Principal) -> Drawn:
    """Draws for a queue from what its judge said in the window, or from the sessions that begin in it where `wanted`
    names no judge. Raises NotFound, InvalidInput, Conflict for a queue that was drawn for otherwise."""
    queue, tasks = service.control.label_tasks(by.tenant, name)
    wanted = with_version(service, queue, wanted)
    draws.require_alike(queue, wanted)
    candidates = population(service, queue, wanted, window)
    design = draws.plan(candidates, _labels(queue, tasks), wanted)
    there = {(one.target, one.item) for one in tasks}
    n_there = sum(1 for one in candidates if (one.target, one.item) in there)
    if dry_run:
        return Drawn(design=design, n_there=n_there)
    draw = draws.told(design, wanted, len(queue.draws) + 1, service.clock())

    def made(queue: QueueRecord, tasks: Sequence[TaskRecord]) -> tuple[list[TaskRecord], list[TaskRecord]]:
        return draws.merged(queue, tasks, candidates, design, draw, wanted)

    texts = {draws.task_id(one.target, one.item): one.text for one in candidates if one.text is not None}
    n_new, n_changed = service.control.add_label_tasks(by.tenant, name, made, texts=texts, draw=draw, by=by)
    if n_changed:
        service.settle(name, by.tenant)
    return Drawn(design=design, n_new=n_new, n_changed=n_changed, n_there=n_there)


def with_version(service: LabelService, queue: QueueRecord, wanted: Wanted) -> Wanted:
    """The wish with the judge's version that holds, where it names none. Raises NotFound, InvalidInput when the judge
    is one of another rubric, or of another version of it: labels of this queue would say nothing of its verdicts."""
    if wanted.judge is None:
        return wanted
    record = service.control.judge(queue.tenant, wanted.judge, wanted.judge_version)
    by = f"{record.spec['rubric']} v{record.spec['rubric_version']}"
    if record.spec["rubric_digest"] != queue.rubric_digest:
        own = f"{queue.rubric} v{queue.rubric_version}"
        raise InvalidInput(f"judge {wanted.judge!r} judges by {by}, this queue labels by {own}", field="judge")
    return replace(wanted, judge_version=record.version)


def population(service: LabelService, queue: QueueRecord, wanted: Wanted, window: Window) -> list[Candidate]:
    """What a draw is made from, in order of the item: nothing that came after now. Sessions of judges themselves and of
    evaluation runs are never among it, nor pairs of runs that are gone."""
    store = service.store.tenant(queue.tenant)
    if wanted.judge is None:
        found = owners.beginning_in(store, window, queue.app, None)
        is_live = live_only(service.control, queue.tenant)
        return [
            Candidate(target=TargetKind.SESSION, session_id=row["session_id"], at_ns=row["start_ns"])
            for row in found.sort("session_id").iter_rows(named=True)
            if is_live(row["session_id"])
        ]
    said = newest_said(store, wanted.judge, EvaluatorKind.JUDGE, version=wanted.judge_version, window=window)
    made = (_candidate(row) for row in said.iter_rows(named=True))
    now = service.clock()
    own = [one for one, app in made if app in (queue.app, None) and one.at_ns < now]
    if queue.rubric_body["kind"] != ScaleKind.PAIRWISE.value:
        return own
    texts = _pairs(service, queue, said)
    return [replace(one, text=texts[one.session_id]) for one in own if one.session_id in texts]


def add(service: LabelService, name: str, wanted: Sequence[NewItem], assign: Sequence[str], *, by: Principal) -> int:
    """Puts items into a queue by hand, those that are not there yet; how many were new. They stand for themselves only,
    unless their probability says otherwise. Raises NotFound, InvalidInput."""
    if not 1 <= len(wanted) <= MOST_ITEMS:
        raise InvalidInput(f"add 1 to {MOST_ITEMS:,} items at once", field="items")
    texts = {}
    made = []
    for one in wanted:
        task, text = _task(name, one, service.clock())
        made.append(task)
        if text is not None:
            texts[task.task_id] = text

    def new(queue: QueueRecord, tasks: Sequence[TaskRecord]) -> tuple[list[TaskRecord], list[TaskRecord]]:
        there = {one.task_id for one in tasks}
        last = max((one.position for one in tasks), default=-1)
        fresh = list({one.task_id: one for one in made if one.task_id not in there}.values())
        draws.require_room(queue, len(fresh))
        placed = [
            replace(one, position=last + 1 + k, assigned=draws.assigned_to(assign, queue.n_annotators, k))
            for k, one in enumerate(fresh)
        ]
        return placed, []

    return service.control.add_label_tasks(by.tenant, name, new, texts=texts, by=by)[0]


def _task(queue: str, one: NewItem, at_ns: int) -> tuple[TaskRecord, dict[str, Any] | None]:
    given = [name for name in ("session_id", "trace_id", "item") if getattr(one, name)]
    if len(given) != 1:
        raise InvalidInput("an item is one of session_id, trace_id, and item with its content", field="items")
    if (one.content is None) == (one.item is not None):
        raise InvalidInput("content belongs to an item that is named, and such an item needs it", field="content")
    if not 0 < one.probability <= 1:
        raise InvalidInput("a probability is above 0 and at most 1", field="probability")
    kind = {"session_id": TargetKind.SESSION, "trace_id": TargetKind.TURN, "item": TargetKind.EXAMPLE}[given[0]]
    name = one.session_id or one.item or trace_id(one.trace_id or "")
    task = TaskRecord(
        queue=queue,
        task_id=draws.task_id(kind, name),
        position=0,
        item=name,
        target=kind,
        session_id="" if kind is TargetKind.TURN else name,
        trace_id=name if kind is TargetKind.TURN else None,
        user_id=one.user_id,
        has_text=one.content is not None,
        segment=one.segment,
        probability=one.probability,
        created_at_ns=at_ns,
    )
    return task, None if one.content is None else items.checked(one.content)


def _pairs(service: LabelService, queue: QueueRecord, said: pl.DataFrame) -> dict[str, dict[str, str]]:
    """Both answers of each pair as its judge was shown them, by the session of the first."""
    runs: dict[tuple[str, str], list[TargetRecord]] = {}
    for row in said.iter_rows(named=True):
        about = json.loads(row["metadata"] or "{}")
        if row["session_id"] and about.get("run_id") and about.get("against"):
            one = TargetRecord(
                target=TargetKind.EXAMPLE.value, session_id=row["session_id"], probability=1.0, run_id=about["run_id"],
                example_id=about.get("example_id"), trial=about.get("trial"),
            )  # fmt: skip
            runs.setdefault((about["run_id"], about["against"]), []).append(one)
    found: dict[str, dict[str, str]] = {}
    for (run_id, against), targets in runs.items():
        try:
            read = reading(service.control, service.store.tenant(queue.tenant), queue.tenant, run_id, against)
        except NotFound:
            continue
        shown = read(targets)
        found |= {one.session_id: _texts(shown[id_of(one)].content) for one in targets if id_of(one) in shown}
    return found


def _texts(pair: Content) -> dict[str, str]:
    names = {"question": "question", "answer_1": "answer_a", "answer_2": "answer_b"}
    return {names[part.name]: next(iter(json.loads(part.text).values())) for part in pair.parts}


def _candidate(row: Mapping[str, Any]) -> tuple[Candidate, str | None]:
    kind, _, name = row["target"].partition(":")
    target = TargetKind(kind)
    if target is TargetKind.SPAN:
        raise InvalidInput("verdicts on spans cannot be labelled", field="judge")
    said = json.loads(row["metadata"] or "{}")
    confidence, segment = said.get("confidence"), said.get("segment") or said.get("release")
    one = Candidate(
        target=target,
        session_id=row["session_id"] or "",
        trace_id=name if target is TargetKind.TURN else None,
        at_ns=row["at_ns"],
        verdict=row["label"],
        confidence=float(confidence) if isinstance(confidence, int | float) else None,
        segment=None if segment is None else str(segment)[:200],
    )
    return one, said.get("app")


def _labels(queue: QueueRecord, tasks: Sequence[TaskRecord]) -> dict[str, float]:
    """The values of what is labelled already, by item."""
    rubric = rubric_of(queue.rubric_body)
    return {one.item: rubric.value_of_all(tuple(one.label.split(","))) for one in tasks if one.label is not None}
