"""From the scores of two runs and a policy to pass, fail or inconclusive. Pure: time and chance are arguments.

    fail            a metric is harmed: p of H0 "no worse" (difference >= 0, for a guardrail >= -margin), corrected over
                    all metrics by Holm, is at most alpha
    pass            nothing is missing, and every metric's lower bound (one-sided, 1 - alpha) is above -margin. All of
                    them have to be: an intersection-union test needs no correction (Berger 1982, Technometrics 24:295)
    inconclusive    all else: what is missing, or what evidence would settle it, is said

A candidate's run that ended itself (evaluators/early.py) fails by the same proof, computed again from its scores.
A metric that a judge gave counts as missing unless the judge is certified (experiments/gates/believed.py). What is
wrong with a whole run (not finished, stale, of another release or dataset) makes it inconclusive even where
harm shows; what is missing of one metric does not hide the harm of another.
"""

from __future__ import annotations

from collections.abc import Mapping

from core.errors import InvalidInput
from evaluators.evidence import RunScores
from evaluators.statistics.estimates import Unestimated
from experiments.gates.believed import judge_reasons
from experiments.gates.early_harm import early_harm
from experiments.gates.judging import judge, settled
from experiments.gates.pairs import Pairs, examples_of, measured
from experiments.gates.policy import GatePolicy, MetricRole, MetricRule
from experiments.gates.records import (
    Asked,
    Cause,
    Decision,
    Finding,
    GateDecision,
    MetricEvidence,
    MetricFacts,
    Reason,
    Regression,
    RunNote,
    StratumEvidence,
)
from experiments.gates.soundness import run_reasons
from experiments.gates.words import evidence_notes, gain_reasons, metric_reasons, settling
from experiments.gates.worst import regressions
from store.control.certificates import JudgeFacts

LEAST_OF_A_STRATUM = 2


def decide(
    baseline: RunScores | None,
    candidate: RunScores | None,
    policy: GatePolicy,
    asked: Asked,
    *,
    facts: Mapping[str, MetricFacts],
    now_ns: int,
    seed: int = 0,
    absent: tuple[Reason, ...] = (),
    judges: Mapping[str, JudgeFacts] | None = None,
) -> Decision:
    """Decides. A run that is None is not there; `absent` says why. `facts` of a metric that is not among them: higher
    is better, of unknown range. `judges` says by metric what is known of the judge that gave it."""
    if baseline is None or candidate is None or absent:
        return _without_runs(baseline, candidate, policy, asked, now_ns, seed, absent)
    known = {rule.metric: _facts_of(rule, facts) for rule in policy.metrics}
    missing, notes = judge_reasons(baseline, candidate, policy, judges or {})
    unproved = {one.metric for one in missing}
    early = early_harm(baseline, candidate, policy, known, without=unproved)
    wrong = run_reasons(baseline, candidate, asked, policy, now_ns, may_have_ended=early is not None)
    judged: list[MetricEvidence] = []
    pairs: dict[str, Pairs] = {}
    for rule in policy.metrics:
        evidence, lacking, pairs[rule.metric] = judge(baseline, candidate, rule, known[rule.metric], policy, seed)
        judged.append(evidence)
        missing += lacking
    judged = settled(judged, {one.metric for one in missing if one.metric}, policy.alpha)
    harmed = [one for one in judged if one.finding is Finding.HARMED]
    held = all(one.finding in (Finding.HELD, Finding.LEFT_OUT) for one in judged)
    decision = GateDecision.INCONCLUSIVE
    if not wrong and (harmed or early):
        decision = GateDecision.FAIL
    elif not wrong and not missing and held and any(one.finding is Finding.HELD for one in judged):
        decision = GateDecision.PASS
    strata = _strata(policy, known, pairs, seed) if policy.strata else ()
    said = [*([early] if early else []), *wrong, *metric_reasons(judged, policy.alpha), *missing]
    said += [*gain_reasons(judged, strata), *evidence_notes(asked), *notes]
    return Decision(
        decision=decision,
        asked=asked,
        reasons=tuple(said),
        settle=settling(judged, wrong, missing, policy) if decision is GateDecision.INCONCLUSIVE else (),
        metrics=tuple(judged),
        strata=strata,
        worst=_worst(policy, known, pairs, baseline, candidate),
        baseline=_note(baseline, baseline, candidate),
        candidate=_note(candidate, baseline, candidate),
        alpha=policy.alpha,
        seed=seed,
        at_ns=now_ns,
    )


def _facts_of(rule: MetricRule, facts: Mapping[str, MetricFacts]) -> MetricFacts:
    found = facts.get(rule.metric, MetricFacts())
    if rule.direction is None or rule.direction is found.direction:
        return found
    return MetricFacts(direction=rule.direction, low=found.low, high=found.high)


def _without_runs(
    baseline: RunScores | None,
    candidate: RunScores | None,
    policy: GatePolicy,
    asked: Asked,
    now_ns: int,
    seed: int,
    absent: tuple[Reason, ...],
) -> Decision:
    sides = (("baseline", baseline, asked.baseline), ("candidate", candidate, asked.candidate))
    said = absent or tuple(
        Reason(cause=Cause.NO_RUN, text=f"the {side} {release!r} has no finished run")
        for side, run, release in sides
        if run is None
    )
    return Decision(
        decision=GateDecision.INCONCLUSIVE,
        asked=asked,
        reasons=said,
        settle=("a finished run of each release on the same version of the dataset",),
        metrics=(),
        strata=(),
        worst=(),
        baseline=None if baseline is None else _note(baseline, baseline, baseline),
        candidate=None if candidate is None else _note(candidate, candidate, candidate),
        alpha=policy.alpha,
        seed=seed,
        at_ns=now_ns,
    )


def _strata(
    policy: GatePolicy, known: Mapping[str, MetricFacts], pairs: Mapping[str, Pairs], seed: int
) -> tuple[StratumEvidence, ...]:
    found = []
    for rule in policy.metrics:
        for stratum in pairs[rule.metric].strata:
            part = pairs[rule.metric].of(stratum)
            if part.n < LEAST_OF_A_STRATUM:
                continue
            try:
                one = measured(part, known[rule.metric], alpha=policy.alpha, slack=0.0, seed=seed)
            except InvalidInput:  # said already, of the whole
                continue
            if not isinstance(one, Unestimated):
                found.append(StratumEvidence(metric=rule.metric, stratum=stratum, measured=one))
    return tuple(found)


def _worst(
    policy: GatePolicy,
    known: Mapping[str, MetricFacts],
    pairs: Mapping[str, Pairs],
    baseline: RunScores,
    candidate: RunScores,
) -> tuple[Regression, ...]:
    primary = [rule.metric for rule in policy.metrics if rule.role is MetricRole.PRIMARY]
    named = primary or [rule.metric for rule in policy.metrics]
    return regressions({name: (pairs[name], known[name]) for name in named}, baseline, candidate)


def _note(run: RunScores, baseline: RunScores, candidate: RunScores) -> RunNote:
    return RunNote(
        run_id=run.run_id,
        release=run.release,
        dataset=run.dataset,
        dataset_version=run.dataset_version,
        content_hash=run.content_hash,
        status=run.status,
        k=run.k,
        n_examples=len(examples_of(baseline, candidate)),
        finished_at_ns=run.finished_at_ns,
    )
