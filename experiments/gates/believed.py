"""Judged metrics: a gate believes a judge only while it is certified for the app, over the policy's own bar."""

from __future__ import annotations

from collections.abc import Mapping

from evaluators.evidence import RunScores
from experiments.gates.policy import GatePolicy
from experiments.gates.records import Cause, Reason
from store.control.certificates import JudgeFacts


def judged_metrics(baseline: RunScores, candidate: RunScores, policy: GatePolicy) -> list[str]:
    """Those of a policy's metrics that a judge gave, in either run."""
    judges = baseline.judges | candidate.judges
    return [rule.metric for rule in policy.metrics if rule.metric in judges]


def judge_reasons(
    baseline: RunScores, candidate: RunScores, policy: GatePolicy, judges: Mapping[str, JudgeFacts]
) -> tuple[list[Reason], list[Reason]]:
    """Why judged metrics decide nothing, with kappa's bounds and the bar; and notes on those that may."""
    missing, notes = [], []
    for metric in judged_metrics(baseline, candidate, policy):
        known = judges.get(metric)
        versions = {run.evaluators.get(metric) for run in (baseline, candidate) if metric in run.judges}
        if known is None or versions != {known.version}:
            said = ", ".join(sorted(f"{metric}@{one}" for one in versions))
            text = f"{metric} is judged by {said}, of which no calibration is known"
            missing.append(Reason(cause=Cause.UNCERTIFIED_JUDGE, text=text, metric=metric))
        elif not known.certified:
            text = f"{metric} is given by a judge that may not decide: {known.text}"
            missing.append(Reason(cause=Cause.UNCERTIFIED_JUDGE, text=text, metric=metric))
        elif (known.kappa_low or 0.0) < policy.evidence.judge_bar:
            text = (
                f"{metric} is given by a judge that was certified over a lower bar than this policy's "
                f"{policy.evidence.judge_bar:g}: {known.text}"
            )
            missing.append(Reason(cause=Cause.UNCERTIFIED_JUDGE, text=text, metric=metric))
        else:
            text = f"{metric} is given by a judge: {known.text}; the intervals here do not hold its errors"
            notes.append(Reason(cause=Cause.CERTIFIED_JUDGE, text=text, metric=metric))
    return missing, notes
