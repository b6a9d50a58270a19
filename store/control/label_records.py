"""Label queues, their tasks and what annotators said, as the control database keeps them.

What a rubric says is plain JSON here: the room `judges` gives it its meaning, and holds the rules of a task's life.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from core.ids import TenantId
from core.records import TargetKind


class TaskStatus(StrEnum):
    """NEEDS_ADJUDICATION: everybody answered, and no label has a majority. SKIPPED: as many as should answer would
    not."""

    NEEDS_REVIEW = "needs_review"
    NEEDS_OTHERS_REVIEW = "needs_others_review"
    NEEDS_ADJUDICATION = "needs_adjudication"
    COMPLETED = "completed"
    SKIPPED = "skipped"

    @property
    def is_open(self) -> bool:
        """Whether somebody new may answer."""
        return self in (TaskStatus.NEEDS_REVIEW, TaskStatus.NEEDS_OTHERS_REVIEW)


class How(StrEnum):
    """How a task came to its label."""

    UNANIMOUS = "unanimous"
    MAJORITY = "majority"
    ADJUDICATED = "adjudicated"


@dataclass(frozen=True, kw_only=True)
class QueueRecord:
    """A queue: each of its tasks is labelled by `n_annotators` people under one version of a rubric, whose `body` is
    kept here as it was. A reservation ends after `reservation_s`. `draws` are the samples that its tasks came from, in
    order, as plain JSON: judges/labels/draws.py. `judge` None: it labels for no judge in particular."""

    tenant: TenantId
    name: str
    app: str
    rubric: str
    rubric_version: int
    rubric_digest: str
    rubric_body: Mapping[str, Any]
    n_annotators: int = 1
    reservation_s: int = 1800
    judge: str | None = None
    note: str = ""
    draws: tuple[Mapping[str, Any], ...] = ()
    n_tasks: int = 0
    n_erased: int = 0
    created_at_ns: int = 0
    created_by: str = ""


@dataclass(frozen=True, kw_only=True)
class TaskRecord:
    """One thing to label. `item` is its name within the queue: the id of a session or trace, or an imported one's own.

    `probability` is the chance that it was drawn. `assigned` names who is asked, nobody: everybody. `reserved` says
    until when (ns) it is whose; `answered` who said something already, True for a label and False for a skip. `label`
    is several joined by "," where the scale is multi-label. `revision` counts the labels it has had; up to `scored`
    they are in the lake. `has_text`: its content is kept beside it, see `Labelling.task_text`.
    """

    queue: str
    task_id: str
    position: int
    item: str
    target: TargetKind
    session_id: str
    trace_id: str | None = None
    user_id: str | None = None
    has_text: bool = False
    stratum: str | None = None
    segment: str | None = None
    probability: float = 1.0
    assigned: tuple[str, ...] = ()
    reserved: Mapping[str, int] = field(default_factory=dict)
    answered: Mapping[str, bool] = field(default_factory=dict)
    status: TaskStatus = TaskStatus.NEEDS_REVIEW
    label: str | None = None
    how: How | None = None
    revision: int = 0
    scored: int = 0
    decided_by: str | None = None
    note: str = ""
    created_at_ns: int = 0
    completed_at_ns: int | None = None

    @property
    def n_answers(self) -> int:
        """How many gave a label."""
        return sum(self.answered.values())

    @property
    def n_skips(self) -> int:
        """How many would not."""
        return len(self.answered) - self.n_answers


@dataclass(frozen=True, kw_only=True)
class AnnotationRecord:
    """What one annotator said of one task: labels, or that it was skipped and why. `duration_ms` None: not known."""

    queue: str
    task_id: str
    annotator: str
    labels: tuple[str, ...] = ()
    skipped: str | None = None
    note: str = ""
    made_at_ns: int = 0
    duration_ms: int | None = None
    key_id: str | None = None

    @property
    def label(self) -> str | None:
        """As a task's label is written; None for a skip."""
        return ",".join(sorted(self.labels)) if self.labels else None
