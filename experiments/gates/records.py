"""What a gate says: its decision, the reasons with both numbers, and the evidence of every metric."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from evaluators.records import Direction
from experiments.gates.policy import MetricRole


class GateDecision(StrEnum):
    """The three answers. Inconclusive is never a pass."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


class Finding(StrEnum):
    """What the evidence of one metric says."""

    HARMED = "harmed"  # worse than allowed, at the gate's error rate
    HELD = "held"  # no more than the margin lost
    UNSETTLED = "unsettled"  # neither is shown
    MISSING = "missing"  # not enough evidence to say any of these
    LEFT_OUT = "left_out"  # not required and in neither run


class Cause(StrEnum):
    """Why a decision is not a pass, or what a pass does not say."""

    HARM = "harm"
    UNSETTLED = "unsettled"
    NO_RUN = "no_run"
    NOT_FINISHED = "not_finished"
    STALE = "stale"
    WRONG_APP = "wrong_app"
    WRONG_RELEASE = "wrong_release"
    SAME_RUN = "same_run"
    OTHER_DATASET = "other_dataset"
    OTHER_EVALUATOR = "other_evaluator"
    NO_EVALUATOR = "no_evaluator"
    NO_METRIC = "no_metric"
    NOT_A_NUMBER = "not_a_number"
    UNSCORED = "unscored"
    TOO_FEW_EXAMPLES = "too_few_examples"
    TOO_FEW_TRIALS = "too_few_trials"
    CONTRADICTORY = "contradictory"
    NO_SPREAD = "no_spread"
    NO_GAIN = "no_gain"  # of a pass: nothing was gained here
    LOST_HERE = "lost_here"  # a stratum lost, for information
    GAINED = "gained"
    RUN_AGAIN = "run_again"  # the candidate has several runs: one of them decides
    REPEATED = "repeated"  # examples that say the same count once
    UNCERTIFIED_JUDGE = "uncertified_judge"  # a metric that a judge gave whose agreement with people is not proved
    CERTIFIED_JUDGE = "certified_judge"  # one that a judge gave who may decide, for information


NOTES = frozenset(
    {Cause.NO_GAIN, Cause.LOST_HERE, Cause.GAINED, Cause.RUN_AGAIN, Cause.REPEATED, Cause.CERTIFIED_JUDGE}
)


@dataclass(frozen=True, kw_only=True)
class Reason:
    """One sentence with both numbers. `metric` and `stratum` where it is about one."""

    cause: Cause
    text: str
    metric: str | None = None
    stratum: str | None = None

    @property
    def blocks(self) -> bool:
        """Whether it keeps the gate from passing; what is left is said for information."""
        return self.cause not in NOTES


@dataclass(frozen=True, kw_only=True)
class MetricFacts:
    """What is known of a metric beside its values: which way is better, and the range that a value can have."""

    direction: Direction = Direction.HIGHER
    low: float | None = None
    high: float | None = None

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Both ends of the range, where both are known."""
        return None if self.low is None or self.high is None else (self.low, self.high)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Candidate against baseline over `n` examples. Means are in the metric's unit; `difference`, `lower`, `upper`
    (one-sided at 1 - alpha each) and `low`, `high` (two-sided) are oriented: above 0 the candidate is better. None is
    what the evidence does not tell."""

    n: int
    baseline_mean: float
    candidate_mean: float
    difference: float
    lower: float | None
    upper: float | None
    low: float | None
    high: float | None
    se: float | None
    n_better: int
    n_worse: int
    p_harm: float | None
    method: str | None


@dataclass(frozen=True, kw_only=True)
class MetricEvidence:
    """What the gate knows of one metric. Shares are of the trials that should have a score; `n_to_settle` is how many
    examples would decide, `mde` the least difference that this evidence would have found in 4 of 5 cases."""

    metric: str
    role: MetricRole
    direction: Direction
    finding: Finding
    margin: float | None  # in the metric's unit
    margin_said: str
    measured: Difference | None
    p_adjusted: float | None
    mde: float | None
    n_to_settle: int | None
    unscored_baseline: float | None
    unscored_candidate: float | None


@dataclass(frozen=True, kw_only=True)
class StratumEvidence:
    """One metric within one group of examples, for information: no correction for how many groups are looked at."""

    metric: str
    stratum: str
    measured: Difference


@dataclass(frozen=True, kw_only=True)
class Regression:
    """An example that got worse, with where to look."""

    metric: str
    example_id: str
    baseline_mean: float
    candidate_mean: float
    difference: float
    baseline_session: str | None = None
    candidate_session: str | None = None
    baseline_trace: str | None = None
    candidate_trace: str | None = None


@dataclass(frozen=True, kw_only=True)
class RunNote:
    """Which run was read."""

    run_id: str
    release: str | None
    dataset: str
    dataset_version: int
    content_hash: str
    status: str
    k: int
    n_examples: int
    finished_at_ns: int | None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the gate was asked: may this release of the app take the other's place?

    `n_runs` are the finished runs of the candidate over these examples, of which the newest decides unless one is
    named; `n_repeats` the examples that repeat another and were averaged into it.
    """

    app: str
    candidate: str
    baseline: str
    n_runs: int = 1
    n_repeats: int = 0


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A whole decision. `reasons` that block come first; `settle` says what would decide an inconclusive one."""

    decision: GateDecision
    asked: Asked
    reasons: tuple[Reason, ...]
    settle: tuple[str, ...]
    metrics: tuple[MetricEvidence, ...]
    strata: tuple[StratumEvidence, ...]
    worst: tuple[Regression, ...]
    baseline: RunNote | None
    candidate: RunNote | None
    alpha: float
    seed: int
    at_ns: int


def as_json(decision: Decision) -> dict[str, Any]:
    """The decision as plain JSON values; enums by their words."""
    found = asdict(decision)
    found["reasons"] = [{**asdict(one), "blocks": one.blocks} for one in decision.reasons]
    plain: dict[str, Any] = _plain(found)
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value
