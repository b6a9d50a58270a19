"""The state machine of a rollout: pure functions from where it stands and what happened to what becomes of it.

    waiting ──▶ running ──▶ ... steps ... ──▶ promoted
       │           │  ▲
       │           ▼  │          harm at any step, paused or not ──▶ rolled_back
       │         paused
       └───────────┴──────── abort ──▶ aborted

What has ended never changes: a function that is asked to answers None, so doing it twice is doing it once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, Final

from core.errors import Conflict
from experiments.canary.records import Step
from experiments.rollouts.evidence import SETTLE_NS, Past
from experiments.rollouts.records import Change, Json, RolloutPolicy, RolloutState, StepRun, Verb
from store.control.rollout_records import RolloutStatus

WHOLE: Final = 1.0
NONE: Final = 0.0


def planned(policy: RolloutPolicy) -> RolloutState:
    """Where a rollout stands before anything happened."""
    return RolloutState(steps=tuple(StepRun() for _ in policy.canary.steps))


def begun(policy: RolloutPolicy, state: RolloutState, *, now_ns: int, past: Past, met: Sequence[str]) -> Change:
    """The first step, once everything that is required is there; `met` says what that was."""
    said = f"step 1 of {len(policy.canary.steps)}: {_share(policy.canary.steps[0])} of sessions"
    text = "; ".join([*met, said])
    entered = replace(
        _entered(state, 0, now_ns),
        seen_until_ns=now_ns + SETTLE_NS,
        thresholds=past.thresholds,
        history=past.history,
        reasons=(),
        causes=(),
    )
    share = policy.canary.steps[0].weight
    return Change(status=RolloutStatus.RUNNING, state=entered, share=share, verb=Verb.STEP, text=text)


def held(
    status: RolloutStatus, state: RolloutState, reasons: Sequence[str], causes: Sequence[str], *, told: bool
) -> Change:
    """It stays where it is, and why. With `told` it is an event, where other causes have come."""
    after = replace(state, reasons=tuple(reasons), causes=tuple(causes))
    is_news = told and bool(reasons) and after.causes != state.causes
    return Change(status=status, state=after, verb=Verb.HOLD if is_news else None, text="; ".join(reasons))


def rolled_back(status: RolloutStatus, state: RolloutState, reasons: Sequence[str], *, now_ns: int) -> Change | None:
    """The baseline gets all sessions back, for good."""
    if status.ended:
        return None
    left = replace(_left(state, now_ns, "roll_back"), reasons=tuple(reasons))
    return Change(
        status=RolloutStatus.ROLLED_BACK, state=left, share=NONE, verb=Verb.ROLL_BACK, text="; ".join(reasons),
        certified=True,
    )  # fmt: skip


def gone_on(
    policy: RolloutPolicy, status: RolloutStatus, state: RolloutState, reasons: Sequence[str], *, now_ns: int
) -> Change | None:
    """The next step, or the promotion after the last that has a baseline beside it. Only a running one goes on."""
    if status is not RolloutStatus.RUNNING:
        return None
    steps, onto = policy.canary.steps, state.step + 1
    left = _left(state, now_ns, "promote")
    why = "; ".join(reasons)
    if is_last(policy, state):
        ended = _entered(left, onto, now_ns) if onto < len(steps) else left
        runs = tuple(replace(one, decision="promoted") if n == onto else one for n, one in enumerate(ended.steps))
        ended = replace(ended, steps=runs, reasons=tuple(reasons))
        return Change(
            status=RolloutStatus.PROMOTED, state=ended, share=WHOLE, verb=Verb.PROMOTE, text=why, certified=True
        )
    said = f"step {onto + 1} of {len(steps)}: {_share(steps[onto])} of sessions; {why}"
    entered = replace(_entered(left, onto, now_ns), reasons=(), causes=())
    return Change(
        status=status, state=entered, share=steps[onto].weight, verb=Verb.STEP, text=said, certified=True
    )  # fmt: skip


def is_last(policy: RolloutPolicy, state: RolloutState) -> bool:
    """Whether the promotion follows this step."""
    steps, onto = policy.canary.steps, state.step + 1
    return onto >= len(steps) or steps[onto].weight >= WHOLE


def aborted(status: RolloutStatus, state: RolloutState, why: str, *, now_ns: int) -> Change | None:
    """A person puts the baseline back. Raises Conflict after a promotion: the candidate is the baseline then."""
    if status is RolloutStatus.PROMOTED:
        raise Conflict(
            "this rollout has ended in a promotion; to go back, deploy the earlier release, or set the plan by hand"
        )
    if status.ended:
        return None
    left = replace(_left(state, now_ns, "abort"), reasons=(why,))
    return Change(status=RolloutStatus.ABORTED, state=left, share=NONE, verb=Verb.ABORT, text=why)


def paused(status: RolloutStatus, state: RolloutState, why: str) -> Change | None:
    """It goes on to no further step; harm still rolls it back. Raises Conflict where there is nothing to pause."""
    if status is RolloutStatus.PAUSED:
        return None
    if status is not RolloutStatus.RUNNING:
        raise Conflict(f"this rollout is {status.value}; only one that runs is paused")
    return Change(status=RolloutStatus.PAUSED, state=state, verb=Verb.PAUSE, text=why)


def resumed(status: RolloutStatus, state: RolloutState, why: str) -> Change | None:
    """It may go on. Raises Conflict where it is not paused."""
    if status is RolloutStatus.RUNNING:
        return None
    if status is not RolloutStatus.PAUSED:
        raise Conflict(f"this rollout is {status.value}; only a paused one is resumed")
    return Change(status=RolloutStatus.RUNNING, state=state, verb=Verb.RESUME, text=why)


def approved(status: RolloutStatus, state: RolloutState, by: str, why: str | None = None) -> Change | None:
    """Somebody approved. Raises Conflict once it does not wait any more."""
    if state.approved_by is not None:
        return None
    if status is not RolloutStatus.WAITING:
        raise Conflict(f"this rollout is {status.value}; only one that waits is approved")
    after = replace(state, approved_by=by)
    return Change(status=status, state=after, verb=Verb.APPROVE, text=why or f"approved by {by}")


def state_json(state: RolloutState) -> dict[str, Any]:
    """The state as a JSON object."""
    return {
        "step": state.step,
        "steps": [asdict(one) for one in state.steps],
        "seen_until_ns": state.seen_until_ns,
        "thresholds": dict(state.thresholds),
        "history": {name: list(sums) for name, sums in state.history.items()},
        "approved_by": state.approved_by,
        "reasons": list(state.reasons),
        "causes": list(state.causes),
    }


def state_of(said: Json) -> RolloutState:
    """The state that `state_json` wrote."""
    return RolloutState(
        step=said["step"],
        steps=tuple(StepRun(**one) for one in said["steps"]),
        seen_until_ns=said["seen_until_ns"],
        thresholds=said["thresholds"],
        history={name: (failures, units) for name, (failures, units) in said["history"].items()},
        approved_by=said["approved_by"],
        reasons=tuple(said["reasons"]),
        causes=tuple(said["causes"]),
    )


def _entered(state: RolloutState, step: int, now_ns: int) -> RolloutState:
    run = replace(state.steps[step], entered_at_ns=now_ns)
    return replace(state, step=step, steps=(*state.steps[:step], run, *state.steps[step + 1 :]))


def _left(state: RolloutState, now_ns: int, decision: str) -> RolloutState:
    if state.step < 0:
        return state
    run = replace(state.run, left_at_ns=now_ns, decision=decision)
    return replace(state, steps=(*state.steps[: state.step], run, *state.steps[state.step + 1 :]))


def _share(step: Step) -> str:
    return f"{100 * step.weight:g} %"
