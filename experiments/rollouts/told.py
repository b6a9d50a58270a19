"""A rollout as people and pages read it: steps, guardrails with both rates, e-values over time, what happened. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from core.clock import to_datetime
from experiments.canary.decide import AtStep, Figures, step_gate
from experiments.canary.records import Guardrail
from experiments.canary.watched import Watched, replayed
from experiments.rollouts.policy import policy_of
from experiments.rollouts.records import RolloutPolicy, RolloutState
from experiments.rollouts.replay import Counted, at_step, counted_of, start_of
from experiments.rollouts.state import state_of
from store.control.rollout_records import BlockRecord, EventRecord, RolloutRecord

MOST_POINTS: Final = 200  # of one guardrail's series
_LN10: Final = math.log(10)


def summary(record: RolloutRecord) -> dict[str, Any]:
    """A rollout in a list: without evidence."""
    state = state_of(record.state)
    policy = policy_of(record.policy)
    return {
        "id": record.rollout_id,
        "app": record.app,
        "baseline": record.baseline,
        "candidate": record.candidate,
        "status": record.status.value,
        "step": state.step if state.step >= 0 else None,
        "steps": _steps(policy, state, {}),
        "reasons": list(state.reasons),
        "requires": record.policy["requires"],
        "started_at": moment(record.started_at_ns),
        "ended_at": moment(record.ended_at_ns),
        "started_by": record.started_by,
        "bypass": policy.bypass,
    }


def told(record: RolloutRecord, blocks: Sequence[BlockRecord], events: Sequence[EventRecord]) -> dict[str, Any]:
    """All of it."""
    policy, state = policy_of(record.policy), state_of(record.state)
    counted = counted_of(policy, blocks)
    return {
        **summary(record),
        "steps": _steps(policy, state, counted.sessions),
        "guardrails": _guardrails(policy, state, counted),
        "series": _series(policy, state, counted),
        "timeline": [_event(one) for one in events],
        "policy": record.policy,
        "policy_hash": record.policy_hash,
        "approved_by": state.approved_by,
        "n_certificates": record.n_certificates,
    }


def moment(at_ns: int | None) -> str | None:
    """RFC 3339 in UTC; None of None."""
    if at_ns is None:
        return None
    return to_datetime(at_ns).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _steps(policy: RolloutPolicy, state: RolloutState, sessions: Mapping[int, tuple[int, int]]) -> list[dict[str, Any]]:
    return [
        {
            "weight": step.weight,
            "min_units": step.min_units,
            "bake_s": step.bake_s,
            "entered_at": moment(run.entered_at_ns),
            "left_at": moment(run.left_at_ns),
            "decision": run.decision,
            "n_candidate": sessions.get(number, (0, 0))[0],
            "n_baseline": sessions.get(number, (0, 0))[1],
        }
        for number, (step, run) in enumerate(zip(policy.canary.steps, state.steps, strict=True))
    ]


def _guardrails(policy: RolloutPolicy, state: RolloutState, counted: Counted) -> list[dict[str, Any]]:
    """Figures of every guardrail; of a rollout that has ended those of its last watched step."""
    at = AtStep(index=0, entered_at_ns=0, now_ns=0)
    states: dict[str, Watched] = {}
    watched_step = _watched_step(policy, state)
    if watched_step is not None:
        at = at_step(policy, watched_step)
        states = {
            name: replayed(one.at_step(at.entered_at_ns, policy.canary.mature_s), counted.blocks.get(name, ()))[0]
            for name, one in start_of(policy, state).items()
        }
    decision = step_gate(policy.canary, states, at)
    return [_figures(one, state) for one in decision.figures]


def _watched_step(policy: RolloutPolicy, state: RolloutState) -> RolloutState | None:
    """The state at its last step with a baseline beside it; None before the first."""
    entered = [n for n, run in enumerate(state.steps) if run.entered_at_ns is not None]
    beside = [n for n in entered if policy.canary.steps[n].weight < 1]
    if not beside:
        return None
    return RolloutState(step=beside[-1], steps=state.steps, seen_until_ns=state.seen_until_ns)


def _figures(one: Figures, state: RolloutState) -> dict[str, Any]:
    guardrail: Guardrail = one.guardrail
    history = state.history.get(guardrail.name)
    return {
        "name": guardrail.name,
        "kind": guardrail.kind.value,
        "better": guardrail.better.value,
        "alpha": one.alpha,
        "boundary": one.boundary,
        "boundary_non_inferior": one.boundary_non_inferior,
        "e_harm": one.e_harm,
        "e_non_inferior": one.e_non_inferior,
        "margin": guardrail.margin,
        "tolerated": guardrail.tolerated,
        "n_candidate": one.counts.n_candidate,
        "n_baseline": one.counts.n_baseline,
        "n_missing_candidate": one.counts.n_missing_candidate,
        "n_missing_baseline": one.counts.n_missing_baseline,
        "rate_candidate": one.counts.rate_candidate,
        "rate_baseline": one.counts.rate_baseline,
        "rate_before": None if history is None else history[0] / history[1],
        "threshold": state.thresholds.get(guardrail.name),
        "finding": one.finding.value,
    }


def _series(policy: RolloutPolicy, state: RolloutState, counted: Counted) -> list[dict[str, Any]]:
    """The logarithms of both e-values after blocks, in order of time; of zero tolerance there are none."""
    found = []
    for name, start in start_of(policy, state).items():
        blocks = counted.blocks.get(name, ())
        if start.harm is None or not blocks:
            continue
        _, harmed, other = replayed(start, blocks)
        for number in _chosen(len(blocks)):
            at = moment(blocks[number].at_ns)
            logs = {"log10_e_harm": harmed[number] / _LN10, "log10_e_non_inferior": other[number] / _LN10}
            found.append({"at": at, "guardrail": name, **logs})
    return sorted(found, key=lambda one: str(one["at"]))


def _chosen(n: int) -> list[int]:
    """At most MOST_POINTS of n places, evenly, the last among them."""
    if n <= MOST_POINTS:
        return list(range(n))
    return sorted({round(place * (n - 1) / (MOST_POINTS - 1)) for place in range(MOST_POINTS)})


def _event(one: EventRecord) -> dict[str, Any]:
    return {
        "at": moment(one.at_ns),
        "kind": one.kind,
        "text": one.text,
        "by": one.made_by,
        "certificate": one.certificate,
    }
