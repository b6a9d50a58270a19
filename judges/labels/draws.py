"""Samples of a queue: what they were drawn from, how, and what chance each task had over all of them. Pure.

A queue may be drawn for again. Each draw knows nothing of those before, so a thing that was in the population of
several is in the queue with the chance of being in either; the tasks that were there already get theirs anew. All
draws of a queue are by the same version of the same judge and by the same segments: a stratum means the same in each.
Once labels of a first draw decide how a second one is allocated, its chances are those given that allocation.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from core.errors import Conflict, InvalidInput
from core.records import TargetKind
from judges.labels import sampling
from judges.labels.sampling import Design
from store.control.label_records import QueueRecord, TaskRecord

MOST_DRAWN: Final = 5_000
MOST_TASKS: Final = 20_000
_SAME: Final = ("judge", "judge_version", "by_segment")


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Something that may be drawn: a session or a turn, and what a judge said of it when. Without a judge there is no
    `verdict`, and `at_ns` is when it began. `text` is what is shown of a pair: both answers."""

    target: TargetKind
    session_id: str
    at_ns: int
    trace_id: str | None = None
    verdict: str | None = None
    confidence: float | None = None
    segment: str | None = None
    text: Mapping[str, str] | None = field(default=None, repr=False)

    @property
    def item(self) -> str:
        """What it is called within a queue."""
        return self.trace_id if self.target is TargetKind.TURN and self.trace_id else self.session_id


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is asked of a draw: `n` things, of each stratum at least `floor`, `random_share` of `n` at random over all;
    strata by segment too; from which window (ns); by which judge, None: by none."""

    n: int
    start_ns: int
    end_ns: int
    seed: int
    floor: int = sampling.FLOOR
    random_share: float = sampling.RANDOM_SHARE
    by_segment: bool = False
    judge: str | None = None
    judge_version: str | None = None
    assign: tuple[str, ...] = ()


def task_id(target: TargetKind, item: str) -> str:
    """The id of a task: the same thing is in a queue once."""
    said = f"{target.value}\0{item}"
    return f"task_{hashlib.sha256(said.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}"


def stratum(one: Candidate, wanted: Wanted) -> str:
    """The stratum of a candidate."""
    segment = (one.segment or "none") if wanted.by_segment else None
    if wanted.judge is None:
        return segment or "all"
    return sampling.stratum_of(one.verdict, one.confidence, segment)


def plan(candidates: Sequence[Candidate], labels: Mapping[str, float], wanted: Wanted) -> Design:
    """The design of a draw. `labels` are the values (0 to 1) of things that people have labelled, by item.

    Raises InvalidInput when there is nothing to draw from, or too few draws are asked for.
    """
    if not candidates:
        raise InvalidInput("there is nothing to draw from in this window", field="since")
    if wanted.n > MOST_DRAWN:
        raise InvalidInput(f"draw at most {MOST_DRAWN:,} at once", field="n")
    strata = [stratum(one, wanted) for one in candidates]
    members: dict[str, list[Candidate]] = defaultdict(list)
    for name, one in zip(strata, candidates, strict=True):
        members[name].append(one)
    sds = {}
    for name, group in members.items():
        known = wanted.judge is not None and group[0].verdict is not None
        assumed = sampling.assumed_sd([one.confidence for one in group], has_verdict=known)
        sds[name] = sampling.seen_sd(assumed, [labels[one.item] for one in group if one.item in labels])
    return sampling.design(strata, sds, wanted.n, floor=wanted.floor, random_share=wanted.random_share)


def told(design: Design, wanted: Wanted, number: int, at_ns: int) -> dict[str, Any]:
    """A draw as the queue keeps it."""
    return {
        "draw": number,
        "at_ns": at_ns,
        "start_ns": wanted.start_ns,
        "end_ns": min(wanted.end_ns, at_ns),
        "judge": wanted.judge,
        "judge_version": wanted.judge_version,
        "by_segment": wanted.by_segment,
        "seed": wanted.seed,
        "n_asked": wanted.n,
        "n_population": design.n_population,
        "n_random": design.n_random,
        "floor": design.floor,
        "strata": [vars(one) for one in design.strata],
    }


def require_alike(queue: QueueRecord, wanted: Wanted) -> None:
    """Raises Conflict when the queue was drawn for by another judge, version or segments."""
    for draw in queue.draws:
        for name in _SAME:
            if draw[name] != getattr(wanted, name):
                raise Conflict(
                    f"the queue {queue.name!r} was drawn for with {name} {draw[name]!r}, not "
                    f"{getattr(wanted, name)!r}: chances of both cannot be put together; make another queue"
                )


def chance(one: Candidate, draws: Sequence[Mapping[str, Any]], wanted: Wanted) -> float:
    """The chance that a candidate was drawn by any of these."""
    name = stratum(one, wanted)
    return sampling.either([_in_draw(draw, name, one.at_ns) for draw in draws])


def merged(
    queue: QueueRecord,
    tasks: Sequence[TaskRecord],
    candidates: Sequence[Candidate],
    design: Design,
    draw: Mapping[str, Any],
    wanted: Wanted,
) -> tuple[list[TaskRecord], list[TaskRecord]]:
    """(new tasks in random order, those whose chance is another now). What was put into the queue by hand stays as it
    is. Raises Conflict as `require_alike`; InvalidInput for a queue that would be too long, or too few to assign to."""
    require_alike(queue, wanted)
    strata = [stratum(one, wanted) for one in candidates]
    drawn = sampling.draw(strata, design, np.random.default_rng(wanted.seed))
    draws = [*queue.draws, draw]
    there = {(one.target, one.item): one for one in tasks}
    changed = []
    for one in candidates:
        task = there.get((one.target, one.item))
        if task is not None and task.stratum is not None:
            p = chance(one, draws, wanted)
            if p != task.probability:
                changed.append(replace(task, probability=p, revision=task.revision + (task.label is not None)))
    fresh = [candidates[at] for at in drawn if (candidates[at].target, candidates[at].item) not in there]
    last = max((one.position for one in tasks), default=-1)
    new = [
        TaskRecord(
            queue=queue.name,
            task_id=task_id(one.target, one.item),
            position=last + 1 + k,
            item=one.item,
            target=one.target,
            session_id=one.session_id,
            trace_id=one.trace_id,
            has_text=one.text is not None,
            stratum=stratum(one, wanted),
            segment=one.segment,
            probability=chance(one, draws, wanted),
            assigned=assigned_to(wanted.assign, queue.n_annotators, k),
            created_at_ns=int(draw["at_ns"]),
        )
        for k, one in enumerate(fresh)
    ]
    require_room(queue, len(new))
    return new, changed


def require_room(queue: QueueRecord, n_new: int) -> None:
    """Raises InvalidInput when the queue would be too long."""
    if queue.n_tasks + n_new > MOST_TASKS:
        raise InvalidInput(f"a queue has at most {MOST_TASKS:,} tasks; make another", field="n")


def assigned_to(names: Sequence[str], n: int, k: int) -> tuple[str, ...]:
    """Who is asked for task number `k`: `n` of the names in turn; nobody: anybody. Raises InvalidInput."""
    if not names:
        return ()
    if len(set(names)) < n:
        raise InvalidInput(f"each task is for {n} annotators: name at least so many", field="assign")
    return tuple(names[(k + each) % len(names)] for each in range(n))


def _in_draw(draw: Mapping[str, Any], name: str, at_ns: int) -> float:
    if not draw["start_ns"] <= at_ns < draw["end_ns"]:
        return 0.0
    return next((float(one["probability"]) for one in draw["strata"] if one["name"] == name), 0.0)
