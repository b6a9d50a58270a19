"""A decision in sentences: every one has both numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from experiments.gates.policy import GatePolicy, MetricRole
from experiments.gates.records import Asked, Cause, Difference, Finding, MetricEvidence, Reason, StratumEvidence

_RUN_AGAIN: Final = {
    Cause.NOT_FINISHED: "wait until both runs are done",
    Cause.STALE: "run the older release again: evidence this old counts no more",
    Cause.OTHER_DATASET: "run both releases on the same version of the policy's dataset",
    Cause.OTHER_EVALUATOR: "score both runs with the same version of the evaluator",
    Cause.NO_EVALUATOR: "score both runs with every required evaluator",
    Cause.WRONG_APP: "name runs of the app that the gate is of",
    Cause.WRONG_RELEASE: "name a run of each release that the gate was asked about",
    Cause.SAME_RUN: "name another release as the baseline",
    Cause.NO_METRIC: "score both runs with the evaluator of every metric",
    Cause.NOT_A_NUMBER: "mend the evaluator that gave NaN or infinity, and score again",
    Cause.UNSCORED: "run the trials again that have no score, or allow more in max_unscored_share",
    Cause.CONTRADICTORY: "look at the scores: they cannot all be right",
    Cause.NO_SPREAD: "more examples, of more than one kind",
    Cause.UNCERTIFIED_JUDGE: "assay judges calibrate NAME: more labels, or where it failed another rubric or model",
}


def number(value: float | None) -> str:
    """A figure in at most four digits; a dash when there is none."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def figures(one: Difference) -> str:
    """'0.61 against 0.7, difference -0.09 [-0.15, -0.03] over 140 examples'."""
    between = f"{number(one.difference)} [{number(one.low)}, {number(one.high)}]"
    means = f"{number(one.candidate_mean)} against {number(one.baseline_mean)}"
    return f"{means}, difference {between} over {one.n} examples"


def metric_reasons(judged: Sequence[MetricEvidence], alpha: float) -> list[Reason]:
    """What harms and what is open."""
    found = []
    for one in judged:
        if one.measured is None:
            continue
        if one.finding is Finding.HARMED:
            slack = one.margin if one.role is MetricRole.GUARDRAIL and one.margin else 0.0
            allowed = f"more than {number(slack)}" if slack else "any"
            text = (
                f"{one.metric} is worse: {figures(one.measured)}; "
                f"p of no harm of {allowed} {number(one.p_adjusted)} (Holm), at most {alpha:g}"
            )
            found.append(Reason(cause=Cause.HARM, text=text, metric=one.metric))
        elif one.finding is Finding.UNSETTLED:
            text = (
                f"{one.metric} is open: {figures(one.measured)}; lower bound {number(one.measured.lower)}, "
                f"needed above {number(-(one.margin or 0.0))}; p of no harm {number(one.p_adjusted)}, over {alpha:g}"
            )
            found.append(Reason(cause=Cause.UNSETTLED, text=text, metric=one.metric))
    return sorted(found, key=lambda one: one.cause is not Cause.HARM)


def gain_reasons(judged: Sequence[MetricEvidence], strata: Sequence[StratumEvidence]) -> list[Reason]:
    """What was gained and where nothing was, for information."""
    found = []
    for one in judged:
        if one.finding is not Finding.HELD or one.measured is None:
            continue
        gained = one.measured.lower is not None and one.measured.lower > 0
        said = "is better" if gained else "is not worse by more than its margin, and no gain is shown"
        text = f"{one.metric} {said}: {figures(one.measured)}"
        found.append(Reason(cause=Cause.GAINED if gained else Cause.NO_GAIN, text=text, metric=one.metric))
    primary = {one.metric for one in judged if one.role is MetricRole.PRIMARY}
    for part in strata:
        cause = of_stratum(part.measured)
        if part.metric not in primary or cause is Cause.GAINED:
            continue
        said = "worse" if cause is Cause.LOST_HERE else "nothing gained"
        text = f"{part.metric} in {part.stratum}: {said}, {figures(part.measured)}"
        found.append(Reason(cause=cause, text=text, metric=part.metric, stratum=part.stratum))
    return found


def of_stratum(one: Difference) -> Cause:
    """Whether a group of examples gained, lost or shows neither; one-sided bounds, not corrected."""
    if one.lower is not None and one.lower > 0:
        return Cause.GAINED
    return Cause.LOST_HERE if one.upper is not None and one.upper < 0 else Cause.NO_GAIN


def settling(
    judged: Sequence[MetricEvidence], wrong: Sequence[Reason], missing: Sequence[Reason], policy: GatePolicy
) -> tuple[str, ...]:
    """What would decide it, in the order in which to do it."""
    found = [_RUN_AGAIN[one.cause] for one in (*wrong, *missing) if one.cause in _RUN_AGAIN]
    causes = {one.cause for one in (*wrong, *missing)}
    if Cause.TOO_FEW_TRIALS in causes:
        found.append(f"run with --trials {policy.evidence.min_trials}")
    if Cause.TOO_FEW_EXAMPLES in causes:
        found.append(f"a dataset of {policy.evidence.min_examples} examples or more that both runs can be scored on")
    for one in judged:
        if one.finding is not Finding.UNSETTLED or one.measured is None:
            continue
        seen = "" if one.mde is None else f"; {one.measured.n} find a difference of {number(one.mde)} in 4 of 5 cases"
        if one.n_to_settle is None:
            text = f"{one.metric}: no number of examples would settle a difference that lies on its margin{seen}"
        elif one.n_to_settle <= one.measured.n:
            how_many = f"more than these {one.measured.n} examples would settle it; how many more cannot be told"
            text = f"{one.metric}: {how_many}{seen}"
        else:
            text = f"{one.metric}: about {one.n_to_settle:,} examples would settle it, if it is as it looks{seen}"
        found.append(text)
    return tuple(dict.fromkeys(found))


def evidence_notes(asked: Asked) -> list[Reason]:
    """What limits the evidence and keeps nothing from passing."""
    notes = []
    if asked.n_runs > 1:
        text = (
            f"the candidate has {asked.n_runs} finished runs over these examples and one of them decides: a release "
            "that is run again until it passes has a higher error rate than alpha"
        )
        notes.append(Reason(cause=Cause.RUN_AGAIN, text=text))
    if asked.n_repeats:
        text = f"{asked.n_repeats} examples repeat another's input, expectation and metadata: each counts once"
        notes.append(Reason(cause=Cause.REPEATED, text=text))
    return notes
