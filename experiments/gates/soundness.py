"""Whether two runs may be compared at all: each thing that is wrong is a reason with both numbers."""

from __future__ import annotations

from collections.abc import Iterator

from evaluators.evidence import RunScores
from experiments.gates.policy import GatePolicy
from experiments.gates.records import Asked, Cause, Reason

_HOUR_NS = 3_600 * 10**9
_AHEAD_NS = 300 * 10**9  # how far another machine's clock may be ahead


def run_reasons(
    baseline: RunScores,
    candidate: RunScores,
    asked: Asked,
    policy: GatePolicy,
    now_ns: int,
    *,
    may_have_ended: bool = False,
) -> list[Reason]:
    """Why these runs decide nothing; empty when they can. `may_have_ended`: the candidate's run may be unfinished."""
    found = [*_of_each("baseline", baseline, asked.baseline, asked, policy, now_ns)]
    of_candidate = _of_each("candidate", candidate, asked.candidate, asked, policy, now_ns)
    found += [one for one in of_candidate if not (may_have_ended and one.cause is Cause.NOT_FINISHED)]
    return [*found, *_of_both(baseline, candidate, policy)]


def _of_each(
    side: str, run: RunScores, release: str, asked: Asked, policy: GatePolicy, now_ns: int
) -> Iterator[Reason]:
    name = f"the {side}'s run {run.run_id}"
    if run.app != asked.app or (policy.app is not None and run.app != policy.app):
        wanted = asked.app if run.app != asked.app else policy.app
        yield Reason(cause=Cause.WRONG_APP, text=f"{name} is of the app {run.app!r}, not {wanted!r}")
    if run.release != release:
        said = "no release" if run.release is None else f"release {run.release!r}"
        yield Reason(cause=Cause.WRONG_RELEASE, text=f"{name} is of {said}, not {release!r}")
    if not run.finished:
        yield Reason(cause=Cause.NOT_FINISHED, text=f"{name} is {run.status}, not done")
    if policy.dataset is not None and run.dataset != policy.dataset:
        yield Reason(cause=Cause.OTHER_DATASET, text=f"{name} is on dataset {run.dataset!r}, not {policy.dataset!r}")
    yield from _of_age(name, run, policy, now_ns)
    if run.k < policy.evidence.min_trials:
        text = f"{name} has {run.k} trials per example; the policy asks for {policy.evidence.min_trials}"
        yield Reason(cause=Cause.TOO_FEW_TRIALS, text=text)
    for needed in policy.required_evaluators:
        if needed not in run.evaluators:
            yield Reason(cause=Cause.NO_EVALUATOR, text=f"{name} was not scored by {needed}", metric=needed)


def _of_age(name: str, run: RunScores, policy: GatePolicy, now_ns: int) -> Iterator[Reason]:
    if run.finished_at_ns is None:
        if run.finished:
            yield Reason(cause=Cause.STALE, text=f"{name} does not say when it ended")
        return
    age_h = (now_ns - run.finished_at_ns) / _HOUR_NS
    if now_ns + _AHEAD_NS < run.finished_at_ns:
        yield Reason(cause=Cause.STALE, text=f"{name} ended {-age_h:.1f} hours from now: a clock is wrong")
    elif age_h > policy.evidence.max_age_h:
        text = f"{name} ended {age_h:,.1f} hours ago; the policy takes {policy.evidence.max_age_h:g} at most"
        yield Reason(cause=Cause.STALE, text=text)


def _of_both(baseline: RunScores, candidate: RunScores, policy: GatePolicy) -> Iterator[Reason]:
    if baseline.run_id == candidate.run_id:
        yield Reason(
            cause=Cause.SAME_RUN, text=f"both sides are the run {baseline.run_id}: it cannot be its own baseline"
        )
    if baseline.release is not None and baseline.release == candidate.release:
        yield Reason(cause=Cause.SAME_RUN, text=f"both runs are of release {baseline.release!r}: nothing is compared")
    if baseline.dataset != candidate.dataset:
        text = f"the baseline's run is on dataset {baseline.dataset!r}, the candidate's on {candidate.dataset!r}"
        yield Reason(cause=Cause.OTHER_DATASET, text=text)
    elif baseline.dataset_version != candidate.dataset_version or baseline.content_hash != candidate.content_hash:
        before, after = (f"version {r.dataset_version} ({r.content_hash[:12]})" for r in (baseline, candidate))
        text = f"the baseline's run is on {before} of dataset {baseline.dataset!r}, the candidate's on {after}"
        yield Reason(cause=Cause.OTHER_DATASET, text=text)
    judged = {rule.metric for rule in policy.metrics} | set(policy.required_evaluators)
    for name in sorted(judged & baseline.evaluators.keys() & candidate.evaluators.keys()):
        before, after = baseline.evaluators[name], candidate.evaluators[name]
        if before != after:
            text = f"the baseline was scored by {name}@{before}, the candidate by {name}@{after}"
            yield Reason(cause=Cause.OTHER_EVALUATOR, text=text, metric=name)
