"""A candidate's run that ended because harm was proved: the same proof, computed again from its scores."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from core.errors import InvalidInput
from evaluators.early import proof_of_harm
from evaluators.evidence import RunScores
from evaluators.pairing import Metric
from experiments.gates.policy import GatePolicy, MetricRole
from experiments.gates.records import Cause, MetricFacts, Reason

ENDED = "cancelled"  # the status of a run that was not asked to its end


def early_harm(
    baseline: RunScores,
    candidate: RunScores,
    policy: GatePolicy,
    facts: Mapping[str, MetricFacts],
    *,
    without: Collection[str | None] = (),
) -> Reason | None:
    """Harm that holds however early the run ended, at the policy's alpha over all its metrics with a range; None when
    the run was asked to its end, and when none is proved. A guardrail with a relative margin is not looked at, as its
    slack would depend on scores, nor are the metrics in `without`."""
    if candidate.status != ENDED:
        return None
    metrics = []
    for rule in policy.metrics:
        known = facts[rule.metric]
        if rule.metric in without or known.low is None or known.high is None:
            continue
        guards = rule.role is MetricRole.GUARDRAIL
        if guards and isinstance(rule.margin, str):
            continue
        slack = float(rule.margin) if guards else 0.0
        bounds = (known.low, known.high)
        metrics.append(Metric(name=rule.metric, direction=known.direction, bounds=bounds, slack=slack))
    try:
        found = proof_of_harm(baseline, candidate, metrics, alpha=policy.alpha)
    except InvalidInput:  # a score beyond its range: said elsewhere
        return None
    return None if found is None else Reason(cause=Cause.HARM, text=found.text, metric=found.metric)
