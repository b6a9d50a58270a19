"""One metric of a gate: what is missing, what is measured, and what that says."""

from __future__ import annotations

import math
from dataclasses import replace

from core.errors import InvalidInput
from evaluators.evidence import RunScores
from evaluators.statistics.estimates import Unestimated
from evaluators.statistics.multiplicity import holm
from evaluators.statistics.power import detectable, examples_needed
from experiments.gates.pairs import Pairs, checked, measured, pairs_of
from experiments.gates.policy import EvidenceRule, GatePolicy, MetricRole, MetricRule
from experiments.gates.records import Cause, Difference, Finding, MetricEvidence, MetricFacts, Reason

MOST_EXAMPLES = 10**9


def judge(
    baseline: RunScores, candidate: RunScores, rule: MetricRule, facts: MetricFacts, policy: GatePolicy, seed: int
) -> tuple[MetricEvidence, list[Reason], Pairs]:
    """One metric with what is missing of it; whether it is harmed is known once all of them are: see `settled`."""
    pairs = pairs_of(baseline, candidate, rule.metric, policy.evidence.min_trials)
    bare = _bare(rule, facts, pairs)
    if not rule.required and not pairs.in_baseline and not pairs.in_candidate:
        return replace(bare, finding=Finding.LEFT_OUT), [], pairs
    missing = _missing(rule.metric, pairs, facts, policy.evidence)
    if not pairs.n or checked(pairs, facts):
        return bare, missing, pairs
    margin = rule.margin_of(float(pairs.baseline.mean()))
    slack = margin if rule.role is MetricRole.GUARDRAIL else 0.0
    if facts.bounds is not None and margin >= facts.bounds[1] - facts.bounds[0]:
        low, high = facts.bounds
        said = f"{rule.metric}: a margin of {margin:g} is its whole range {low:g} to {high:g}, so nothing could fail it"
        return bare, [*missing, Reason(cause=Cause.CONTRADICTORY, text=said, metric=rule.metric)], pairs
    try:
        found = measured(pairs, facts, alpha=policy.alpha, slack=slack, seed=seed)
    except InvalidInput as error:
        return bare, [*missing, Reason(cause=Cause.CONTRADICTORY, text=str(error), metric=rule.metric)], pairs
    if isinstance(found, Unestimated):
        said = f"{rule.metric}: {found.reason.value.replace('_', ' ')}"
        return bare, [*missing, Reason(cause=Cause.NO_SPREAD, text=said, metric=rule.metric)], pairs
    if found.lower is None or found.upper is None:
        said = f"{rule.metric}: its {found.n} examples have no spread to tell a bound from"
        missing.append(Reason(cause=Cause.NO_SPREAD, text=said, metric=rule.metric))
    whole = replace(bare, measured=found, margin=margin)
    return (_sized(whole, facts, policy.alpha) if not missing else whole), missing, pairs


def settled(judged: list[MetricEvidence], missing: set[str], alpha: float) -> list[MetricEvidence]:
    """With p of harm corrected over all metrics (Holm) and what each metric says. A metric without a p counts as one
    that showed no harm."""
    counted = [one for one in judged if one.finding is not Finding.LEFT_OUT]
    sound = {one.metric: one.measured for one in counted if one.measured is not None and one.metric not in missing}
    raw = []
    for one in counted:
        found = sound.get(one.metric)
        raw.append(1.0 if found is None or found.p_harm is None else found.p_harm)
    adjusted = dict(zip((one.metric for one in counted), holm(raw), strict=True))
    done = []
    for one in judged:
        found = sound.get(one.metric)
        if found is None:
            done.append(one)
            continue
        p = adjusted[one.metric]
        finding = _finding(found, one.margin or 0.0, p, alpha)
        n_to_settle = one.n_to_settle if finding is Finding.UNSETTLED else None
        done.append(replace(one, p_adjusted=p, finding=finding, n_to_settle=n_to_settle))
    return done


def _finding(found: Difference, margin: float, p: float, alpha: float) -> Finding:
    if p <= alpha:
        return Finding.HARMED
    return Finding.HELD if found.lower is not None and found.lower > -margin else Finding.UNSETTLED


def _bare(rule: MetricRule, facts: MetricFacts, pairs: Pairs) -> MetricEvidence:
    said = rule.margin.strip() if isinstance(rule.margin, str) else f"{rule.margin:g}"
    return MetricEvidence(
        metric=rule.metric,
        role=rule.role,
        direction=facts.direction,
        finding=Finding.MISSING,
        margin=None,
        margin_said=said,
        measured=None,
        p_adjusted=None,
        mde=None,
        n_to_settle=None,
        unscored_baseline=pairs.unscored_baseline if pairs.in_baseline else None,
        unscored_candidate=pairs.unscored_candidate if pairs.in_candidate else None,
    )


def _missing(metric: str, pairs: Pairs, facts: MetricFacts, evidence: EvidenceRule) -> list[Reason]:
    sides = (("baseline", pairs.in_baseline), ("candidate", pairs.in_candidate))
    absent = [side for side, there in sides if not there]
    if absent:
        return [
            Reason(
                cause=Cause.NO_METRIC,
                text=f"{metric}: no score in the run of the {' and of the '.join(absent)}",
                metric=metric,
            )
        ]
    found = []
    if pairs.n_not_finite:
        text = f"{metric}: {pairs.n_not_finite} scores are NaN or infinite"
        found.append(Reason(cause=Cause.NOT_A_NUMBER, text=text, metric=metric))
    if (wrong := checked(pairs, facts)) is not None:
        found.append(Reason(cause=Cause.CONTRADICTORY, text=f"{metric}: {wrong}", metric=metric))
    shares = (("baseline", pairs.unscored_baseline), ("candidate", pairs.unscored_candidate))
    for side, share in shares:
        if share > evidence.max_unscored_share + 1e-12:
            text = (
                f"{metric}: {100 * share:.3g} % of the {side}'s trials have no score; "
                f"the policy takes {100 * evidence.max_unscored_share:g} % at most"
            )
            found.append(Reason(cause=Cause.UNSCORED, text=text, metric=metric))
    if pairs.n < evidence.min_examples:
        thin = f" ({pairs.n_thin} more in fewer than {evidence.min_trials} trials)" if pairs.n_thin else ""
        text = (
            f"{metric}: {pairs.n} examples are scored in both runs{thin}; the policy asks for {evidence.min_examples}"
        )
        found.append(Reason(cause=Cause.TOO_FEW_EXAMPLES, text=text, metric=metric))
    return found


def _sized(one: MetricEvidence, facts: MetricFacts, alpha: float) -> MetricEvidence:
    """With what this evidence could have found, and how many examples would settle it."""
    found, margin = one.measured, one.margin or 0.0
    if found is None or found.lower is None:
        return one
    variance = 0.0 if found.se is None else found.se**2 * found.n
    mde = detectable(variance, found.n, alpha) if variance else None
    return replace(one, mde=mde, n_to_settle=_n_to_settle(found, margin, one.role, facts, variance, alpha))


def _n_to_settle(
    found: Difference, margin: float, role: MetricRole, facts: MetricFacts, variance: float, alpha: float
) -> int | None:
    """The fewest examples with which, in 4 of 5 cases, a candidate as good as it looks now would pass or fail; None:
    no number would, because it lies on the line."""
    assert found.lower is not None
    slack = margin if role is MetricRole.GUARDRAIL else 0.0
    to_pass = found.difference + margin
    to_fail = -slack - found.difference
    needed = [examples_needed(variance, gap, alpha) for gap in (to_pass, to_fail) if gap > 1e-12]
    if to_pass > 1e-12 and facts.bounds is not None:
        reach = facts.bounds[1] - facts.bounds[0]
        if found.method == "gaffke" and to_fail <= 0 and 0 < margin < reach:  # so many without a loss: rule of three
            needed[0] = max(needed[0], math.ceil(math.log(alpha) / math.log1p(-margin / reach)))
    fewest = min(needed, default=MOST_EXAMPLES)
    return fewest if fewest < MOST_EXAMPLES else None
