"""Shapes of what is asked of label queues and of what they answer. docs/labels.md has them with examples."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from server.routes.asking import Times
from server.routes.scores import Name, Ref

Labels = Annotated[list[Name], Field(max_length=50)]


def _storable(text: str) -> str:
    """`text` when every control database can hold it: PostgreSQL has no NUL. Raises ValueError."""
    if "\0" in text:
        raise ValueError("holds the control character U+0000")
    return text


Note = Annotated[str, Field(max_length=4000), AfterValidator(_storable)]
Segment = Annotated[str, Field(max_length=200), AfterValidator(_storable)] | None


class Asked(BaseModel):
    """A body without unknown names."""

    model_config = ConfigDict(extra="forbid")


class NewLabelQueue(Asked):
    """A queue to make. `rubric` may be left out where `judge` is named: then it is the judge's."""

    name: Name
    app: Name
    rubric: Name | None = None
    rubric_version: Annotated[int | None, Field(ge=1, le=10**6)] = None
    judge: Name | None = None
    n_annotators: Annotated[int, Field(ge=1, le=20)] = 1
    reservation_s: Annotated[int, Field(ge=10, le=604_800)] = 1800
    note: Note = ""


class WantedSample(Times, Asked):
    """What to draw. `judge` is the queue's where it is not said; null draws sessions, whatever was judged."""

    n: Annotated[int, Field(ge=1, le=5000)]
    judge: Name | None = None
    judge_version: Name | None = None
    floor: Annotated[int, Field(ge=0, le=1000)] = 10
    random_share: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.02
    by_segment: bool = False
    seed: Annotated[int | None, Field(ge=0, lt=2**53)] = None
    assign: Annotated[list[Name], Field(max_length=100)] = []
    dry_run: bool = False


class ItemBody(Asked):
    """One of `session_id`, `trace_id`, and `item` with its `content`."""

    session_id: Ref = None
    trace_id: Ref = None
    item: Ref = None
    content: dict[str, Any] | None = None
    user_id: Ref = None
    segment: Segment = None
    probability: Annotated[float, Field(gt=0, le=1)] = 1.0


class ItemsBody(Asked):
    """Items to put into a queue by hand."""

    items: Annotated[list[ItemBody], Field(min_length=1, max_length=1000)]
    assign: Annotated[list[Name], Field(max_length=100)] = []


class AnswerBody(Asked):
    """Labels, or `skip` with the reason."""

    labels: Labels = []
    skip: Note | None = None
    note: Note = ""
    duration_ms: Annotated[int | None, Field(ge=0, le=10**10)] = None


class AdjudicationBody(Asked):
    """The label that was decided on."""

    labels: Labels
    note: Note = ""


class AssignmentBody(Asked):
    """Who left, and who takes their place: nobody in particular where `to` is left out."""

    away: Name
    to: Name | None = None


class RubricShown(BaseModel):
    """What to label by. `labels` in order, `anchors` what each means."""

    name: str
    version: int
    digest: str
    kind: str
    target: str
    labels: list[str]
    passing: list[str]
    anchors: dict[str, str]
    text: str


class LabelQueue(BaseModel):
    """A queue."""

    name: str
    app: str
    rubric: RubricShown
    judge: str | None
    n_annotators: int
    reservation_s: int
    note: str
    n_tasks: int
    n_erased: int
    n_draws: int
    created_by: str
    created_at: str


class LabelQueues(BaseModel):
    """Queues by name."""

    items: list[LabelQueue]
    next_cursor: None = None


class LabelQueueWithDraws(LabelQueue):
    """A queue with how it was drawn for, and how far it is."""

    draws: list[dict[str, Any]]
    progress: dict[str, Any]


class OwnAnswer(BaseModel):
    """What an annotator said of a task."""

    annotator: str
    labels: list[str]
    skipped: str | None
    note: str
    made_at: str
    duration_ms: int | None


class LabelTask(BaseModel):
    """A task as its annotator sees it. `label` and `how` are null until it is completed, and `status` says until then
    only what the annotator did; nobody else's answer and nothing of a judge's is ever in it."""

    task_id: str
    queue: str
    app: str
    target: str
    item: str
    session_id: str | None
    trace_id: str | None
    status: str
    reserved_until: str | None
    own: OwnAnswer | None
    label: str | None
    how: str | None
    completed_at: str | None


class ShownContent(BaseModel):
    """What is to be labelled, as a judge is shown it: `parts` with `entries` in order. `n_cut` characters were left
    out, `n_hidden` hidden ones taken out."""

    parts: list[dict[str, Any]]
    pair: bool
    hash: str
    n_cut: int
    n_hidden: int


class OwnProgress(BaseModel):
    """How far an annotator is."""

    n_done: int
    n_left: int
    n_reserved: int
    n_total: int


class NextTask(BaseModel):
    """A reserved task, null when nothing is left; its content, null with `unreadable` where it is not there."""

    queue: LabelQueue
    task: LabelTask | None
    content: ShownContent | None
    unreadable: str | None
    progress: OwnProgress


class TaskWithContent(BaseModel):
    """A task with its content."""

    task: LabelTask
    content: ShownContent | None
    unreadable: str | None


class Adjudicable(BaseModel):
    """A task with all its answers, for who decides. Nothing of a judge's is in it."""

    task_id: str
    queue: str
    target: str
    item: str
    session_id: str | None
    trace_id: str | None
    status: str
    assigned: list[str]
    answers: list[OwnAnswer]
    label: str | None
    how: str | None
    decided_by: str | None
    note: str
    completed_at: str | None


class Adjudicables(BaseModel):
    """Tasks in the order of the queue."""

    items: list[Adjudicable]
    total: int
    next_cursor: None = None


class Labelled(Adjudicable):
    """A label with how its task was drawn."""

    stratum: str | None
    segment: str | None
    probability: float
    revision: int


class LabelledTasks(BaseModel):
    """Completed tasks."""

    items: list[Labelled]
    total: int
    next_cursor: None = None


class Sampled(BaseModel):
    """A draw. `strata`: of `n` things `n_drawn` each, and the chance of each thing."""

    dry_run: bool
    n_population: int
    n_random: int
    floor: int
    strata: list[dict[str, Any]]
    n_new: int
    n_changed: int
    n_there: int


class Progress(BaseModel):
    """Tasks by status, answers by annotator. `n_needs_adjudication` is null for who may not decide; they stand among
    `n_needs_others_review` then."""

    n_tasks: int
    n_erased: int
    n_needs_review: int
    n_needs_others_review: int
    n_needs_adjudication: int | None
    n_completed: int
    n_skipped: int
    n_reserved: int
    n_answers: int
    n_answers_wanted: int
    n_waiting: int
    labels: dict[str, int]
    annotators: list[dict[str, Any]]


class Agreement(BaseModel):
    """How annotators agree; `value` of a coefficient is null where there is none, and `lack` says why."""

    n_items: int
    n_annotators: int
    n_pairs: int
    weighting: str
    kappa: dict[str, Any]
    alpha: dict[str, Any]
    annotators: list[dict[str, Any]]
