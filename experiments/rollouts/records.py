"""What a rollout is: its policy, where it stands, and what becomes of it. All of it can be written as JSON and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from experiments.canary.records import CanaryPolicy
from experiments.records import UnitKind
from store.control.rollout_records import RolloutStatus

Json = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Requires:
    """What has to be there before the first step: the newest decision of a gate on this pair passes, these named checks
    were reported as passed, somebody else with the role admin has approved."""

    gate: bool = False
    checks: tuple[str, ...] = ()
    approval: bool = False


@dataclass(frozen=True, kw_only=True)
class RolloutPolicy:
    """By what a rollout is decided. `bypass`: why nothing is tested at all; then the candidate gets all sessions."""

    canary: CanaryPolicy
    unit: UnitKind = UnitKind.SESSION
    requires: Requires = field(default_factory=Requires)
    bypass: str | None = None


class Verb(StrEnum):
    """What happens to a rollout; the kinds of its events."""

    DEPLOY = "deploy"
    STEP = "step"  # a step begins
    HOLD = "hold"  # why it does not go on has changed
    ROLL_BACK = "roll_back"
    PROMOTE = "promote"
    ABORT = "abort"
    PAUSE = "pause"
    RESUME = "resume"
    APPROVE = "approve"


@dataclass(frozen=True, kw_only=True)
class StepRun:
    """One step as it went: when its weight was set, until when, and what ended it."""

    entered_at_ns: int | None = None
    left_at_ns: int | None = None
    decision: str | None = None


@dataclass(frozen=True, kw_only=True)
class RolloutState:
    """Where a rollout stands. `step` counts from 0; -1 before the first.

    `seen_until_ns`: sessions that began before then have been counted, or came too late to be. `thresholds`: of
    guardrails of the kind exceeds, once they are fixed. `history`: the baseline's failures and units before the first
    step, by guardrail. `approved_by`: who approved. `reasons`: why it stands where it stands, in words with both
    numbers; `causes`: the same without numbers, by which it is seen that another reason has come.
    """

    step: int = -1
    steps: tuple[StepRun, ...]
    seen_until_ns: int = 0
    thresholds: Mapping[str, float] = field(default_factory=dict)
    history: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    approved_by: str | None = None
    reasons: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()

    @property
    def run(self) -> StepRun:
        """The step that it is in."""
        return self.steps[self.step]


@dataclass(frozen=True, kw_only=True)
class Change:
    """What becomes of a rollout: its status and state, the candidate's share of sessions from now on (None: as
    before), and what happened, in words. `certified`: an automatic action that leaves a certificate."""

    status: RolloutStatus
    state: RolloutState
    share: float | None = None
    verb: Verb | None = None
    text: str = ""
    certified: bool = False
