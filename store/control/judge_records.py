"""Rubrics, judges, their jobs, verdicts, schedules and calibrations as the control database keeps them.

What a rubric or a judge says is plain JSON here: the room `judges` gives it its meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from core.errors import InvalidInput
from core.ids import TenantId

MOST_IDLE_S: Final = 86_400.0


class JobStatus(StrEnum):
    """WAITING: nobody works on it yet. OUT_OF_BUDGET: what is left was not asked. FAILED: it could not go on."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    OUT_OF_BUDGET = "out_of_budget"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self not in (JobStatus.WAITING, JobStatus.RUNNING)


class CalibrationState(StrEnum):
    """What a judge's agreement with people is known to be."""

    CERTIFIED = "certified"
    FAILED = "failed"
    UNDETERMINED = "undetermined"


@dataclass(frozen=True, kw_only=True)
class RubricRecord:
    """One version of a rubric; it never changes. `digest` is of all that a verdict depends on."""

    tenant: TenantId
    name: str
    version: int
    digest: str
    body: Mapping[str, Any]
    made_by: str = ""
    made_at_ns: int = 0


@dataclass(frozen=True, kw_only=True)
class JudgeRecord:
    """One version of a judge. `seq` counts the changes from 1; the last one holds."""

    tenant: TenantId
    name: str
    seq: int
    version: str
    spec: Mapping[str, Any]
    made_by: str = ""
    made_at_ns: int = 0


@dataclass(frozen=True, kw_only=True)
class JobRecord:
    """A job of a judge and how far it is. `spec` and `rubric` are as they were when it began. Of `n_targets`, `n_done`
    have a verdict and `n_missing` the reason why there is none (`missing`, by reason), both with scores in the lake.
    `n_paid` verdicts were paid for by this job and are kept, `n_cached` by others. `budget_usd` None: no limit."""

    tenant: TenantId
    job_id: str
    judge: str
    version: str
    spec: Mapping[str, Any]
    rubric: Mapping[str, Any]
    app: str
    params: Mapping[str, Any]
    status: JobStatus = JobStatus.WAITING
    n_targets: int = 0
    n_done: int = 0
    n_missing: int = 0
    n_paid: int = 0
    n_cached: int = 0
    n_calls: int = 0
    n_unpriced: int = 0
    missing: Mapping[str, int] = field(default_factory=dict)
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    budget_usd: float | None = None
    created_at_ns: int = 0
    created_by: str = ""
    started_at_ns: int | None = None
    finished_at_ns: int | None = None
    reason: str | None = None

    @property
    def n_left(self) -> int:
        """Targets without a verdict or a reason."""
        return self.n_targets - self.n_done - self.n_missing


@dataclass(frozen=True, kw_only=True)
class TargetRecord:
    """What is to be judged: `target` session, turn or example; `probability` that it was chosen. `run_id`, `example_id`
    and `trial` are of an evaluation run's."""

    target: str
    session_id: str
    probability: float
    trace_id: str | None = None
    run_id: str | None = None
    example_id: str | None = None
    trial: int | None = None


@dataclass(frozen=True, kw_only=True)
class VerdictRecord:
    """A verdict that was paid for: labels, or the reason `missing`; `raw` is the reply as it came. `cost_usd` None: no
    price is known. `session_id` is whose content it is of; `replies` and `calls` (plain JSON) are what it
    was made of."""

    tenant: TenantId
    key: str
    job_id: str
    judge: str
    version: str
    rubric_digest: str
    target_hash: str
    session_id: str
    labels: tuple[str, ...] = ()
    missing: str | None = None
    confidence: float | None = None
    explanation: str = ""
    raw: str = ""
    repaired: bool = False
    input_tokens: int = 0
    output_tokens: int = 0
    n_calls: int = 0
    cost_usd: float | None = None
    at_ns: int = 0
    replies: tuple[Mapping[str, Any], ...] = ()
    calls: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, kw_only=True)
class JudgeSchedule:
    """A judge that looks at an app's sessions as they end: at which share of them, for how much a day (UTC).

    Raises InvalidInput naming the field.
    """

    tenant: TenantId
    judge: str
    app: str
    share: float
    budget_usd: float
    idle_s: float = 30.0
    is_on: bool = True
    marks: Mapping[int, int] = field(default_factory=dict)
    told: Mapping[str, Any] = field(default_factory=dict)
    changed_at_ns: int = 0
    changed_by: str = ""

    def __post_init__(self) -> None:
        if not 1 <= len(self.app) <= 200:
            raise InvalidInput("an app's name has 1 to 200 characters", field="app")
        if not 0 < self.share <= 1:  # NaN neither
            raise InvalidInput("the share of sessions is above 0 and at most 1", field="share")
        if not 0 < self.budget_usd <= 1e6:
            raise InvalidInput("the budget of a day is above 0 and at most a million dollars", field="budget_per_day")
        if not 1 <= self.idle_s <= MOST_IDLE_S:
            raise InvalidInput("a session has ended 1 second to a day after its last span", field="idle_s")


@dataclass(frozen=True, kw_only=True)
class JudgeCalibration:
    """How a version of a judge agreed with people when it was last looked at: kappa's 95 % interval, the bar that its
    lower end has to reach, over `n` labels. `report` is all of it as plain JSON."""

    tenant: TenantId
    judge: str
    version: str
    at_ns: int
    state: CalibrationState
    report: Mapping[str, Any]
    kappa_low: float | None
    kappa_high: float | None
    bar: float
    n: int
    made_by: str = ""
