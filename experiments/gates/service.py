"""Finds the runs that a gate is about, decides, and keeps the decision with its bundle."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Final

import polars as pl

from core.clock import Clock
from core.errors import Conflict, InvalidInput, NotFound
from core.ids import TenantId
from core.records import Principal
from evaluators import catalogue
from evaluators.evidence import RunScores
from evaluators.pairing import UNITS_OF_TRIALS, metric_named
from evaluators.repeats import once, repeats_of
from experiments.gates.believed import judged_metrics
from experiments.gates.bundle import Evidence, bundle_of
from experiments.gates.policy import GatePolicy
from experiments.gates.records import Asked, Cause, MetricFacts, Reason, as_json
from store.control.certificates import DAY_NS, MAX_AGE_DAYS, JudgeFacts, facts_of_judge
from store.control.control import Control
from store.control.gates import GateRecord
from store.control.run_records import RunRecord, RunStatus

SEED: Final = 0  # one for all: who asks again gets the same answer

ReadRun = Callable[[TenantId, str], RunScores]
ReadPolicy = Callable[[str, Collection[str] | None], GatePolicy]


@dataclass(frozen=True, kw_only=True)
class GateRequest:
    """What a caller asks: may `candidate` take the place of `baseline`? Runs that are not named are found."""

    app: str
    candidate: str
    baseline: str
    policy_text: str
    policy_name: str | None = None
    candidate_run: str | None = None
    baseline_run: str | None = None


@dataclass(frozen=True, kw_only=True)
class Found:
    """The runs of a gate, or why one is missing."""

    baseline: RunScores | None
    candidate: RunScores | None
    absent: tuple[Reason, ...] = ()
    n_runs: int = 1


@dataclass(frozen=True, kw_only=True)
class GateService:
    """Decides gates of one server. `read_run` gives the scores of a run, `read_policy` the policy that a text says,
    measured by the metrics there are."""

    control: Control
    read_run: ReadRun
    read_policy: ReadPolicy
    clock: Clock
    assay_version: str
    certificate_ns: int = MAX_AGE_DAYS * DAY_NS  # how long a judge's certificate counts

    def decide(self, request: GateRequest, *, by: Principal) -> GateRecord:
        """The decision, which is kept and in the audit log when this returns.

        Raises InvalidInput for a policy that cannot be used or names a metric that is none, NotFound for a run that is
        named and not there.
        """
        policy = self.read_policy(request.policy_text, None)
        asked = Asked(app=request.app, candidate=request.candidate, baseline=request.baseline)
        if policy.app is not None and policy.app != asked.app:
            raise InvalidInput(f"the policy is of the app {policy.app[:80]!r}, not {asked.app[:80]!r}", "policy")
        found = self._found(request, policy, by.tenant)
        if found.baseline is not None and found.candidate is not None:
            self.read_policy(request.policy_text, known_metrics(found.baseline, found.candidate))
            _check_directions(policy, found.baseline.judges | found.candidate.judges)
        found, n_repeats = self._each_once(found, by.tenant)
        evidence = Evidence(
            policy_text=request.policy_text,
            asked=replace(asked, n_runs=found.n_runs, n_repeats=n_repeats),
            baseline=_narrowed(found.baseline, policy),
            candidate=_narrowed(found.candidate, policy),
            facts=_facts(found, policy),
            absent=found.absent,
            now_ns=(now_ns := self.clock()),
            seed=SEED,
            judges=self._judges(found, policy, by.tenant, now_ns),
        )
        return self._keep(request, evidence, policy, by)

    def _judges(self, found: Found, policy: GatePolicy, tenant: TenantId, now_ns: int) -> dict[str, JudgeFacts]:
        """What is known of the judges that gave the policy's metrics, of the version that gave them."""
        if found.baseline is None or found.candidate is None:
            return {}
        return {
            name: facts_of_judge(
                self.control,
                tenant,
                name,
                found.candidate.evaluators.get(name) or found.baseline.evaluators[name],
                app=found.candidate.app,
                now_ns=now_ns,
                max_age_ns=self.certificate_ns,
            )
            for name in judged_metrics(found.baseline, found.candidate, policy)
        }

    def _keep(self, request: GateRequest, evidence: Evidence, policy: GatePolicy, by: Principal) -> GateRecord:
        decision = evidence.decided(policy)
        bundle = bundle_of(evidence, decision, assay_version=self.assay_version)
        datasets = {run.dataset for run in (evidence.candidate, evidence.baseline) if run is not None}
        record = GateRecord(
            tenant=by.tenant,
            gate_id=f"gate_{secrets.token_hex(10)}",
            app=request.app,
            candidate=request.candidate,
            baseline=request.baseline,
            dataset=policy.dataset or (datasets.pop() if len(datasets) == 1 else None),
            policy_name=request.policy_name,
            decision=decision.decision.value,
            told=as_json(decision),
            digest=bundle["digest"],
            made_by=by.name[:200],
            made_at_ns=evidence.now_ns,
        )
        text = json.dumps(bundle, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
        self.control.add_gate(record, text.encode("ascii"), by=by)
        return record

    def _found(self, request: GateRequest, policy: GatePolicy, tenant: TenantId) -> Found:
        every = self.control.runs(tenant)
        of_app = [one for one in every if one.spec.app == request.app and policy.dataset in (None, one.spec.dataset)]
        absent: list[Reason] = []
        candidate = _run_named(every, request.candidate_run) or _newest(of_app, request.candidate, ended=True)
        if candidate is None:
            absent.append(_no_run("candidate", request.candidate, of_app, policy))
        elif request.candidate_run is None:
            absent += _later_ones(of_app, candidate)
        baseline = _run_named(every, request.baseline_run)
        if baseline is None:
            beside = None if candidate is None else candidate.spec.params.get("stop_against")
            own = [one for one in of_app if one.run_id == beside]
            baseline = _newest(own, request.baseline) or _newest(of_app, request.baseline, like=candidate)
        if baseline is None:
            absent.append(_no_run("baseline", request.baseline, of_app, policy))
        read = [self._read(tenant, one, absent) for one in (baseline, candidate)]
        n_runs = 1 if candidate is None else _n_finished(of_app, candidate)
        return Found(baseline=read[0], candidate=read[1], absent=tuple(absent), n_runs=n_runs)

    def _each_once(self, found: Found, tenant: TenantId) -> tuple[Found, int]:
        """The runs with examples that repeat another averaged into it, and how many these are."""
        runs = [one for one in (found.baseline, found.candidate) if one is not None]
        repeated = repeats_of(self.control, tenant, runs[-1]) if runs else {}
        asked = {str(name) for run in runs for name in run.rows["example_id"].unique()}
        repeated = {name: first for name, first in repeated.items() if name in asked and first in asked}
        merged = [None if one is None else once(one, repeated) for one in (found.baseline, found.candidate)]
        return replace(found, baseline=merged[0], candidate=merged[1]), len(repeated)

    def _read(self, tenant: TenantId, run: RunRecord | None, absent: list[Reason]) -> RunScores | None:
        """The scores of a run; what contradicts itself in them is a reason."""
        if run is None:
            return None
        try:
            return self.read_run(tenant, run.run_id)
        except (InvalidInput, Conflict) as error:
            absent.append(Reason(cause=Cause.CONTRADICTORY, text=f"run {run.run_id}: {error}"))
            return None


def facts_of(metric: str) -> MetricFacts:
    """What the catalogue knows of a metric."""
    found = metric_named(metric)
    low, high = found.bounds or (None, None)
    return MetricFacts(direction=found.direction, low=low, high=high)


def _facts(found: Found, policy: GatePolicy) -> dict[str, MetricFacts]:
    """Of every metric of the policy; what a judge gave lies between 0 and 1."""
    judges = frozenset().union(*(one.judges for one in (found.baseline, found.candidate) if one is not None))
    share = MetricFacts(low=0.0, high=1.0)
    return {rule.metric: share if rule.metric in judges else facts_of(rule.metric) for rule in policy.metrics}


def known_metrics(*runs: RunScores) -> frozenset[str]:
    """Every metric there is: of the catalogue, of trials, and those of the runs."""
    scored = {name for run in runs for name in (*run.metrics, *run.evaluators)}
    return frozenset(catalogue.BY_NAME) | frozenset(UNITS_OF_TRIALS) | scored


def _check_directions(policy: GatePolicy, judges: frozenset[str]) -> None:
    """Raises InvalidInput for a metric of which only scores are left: its evaluator said which way is better."""
    known = {*catalogue.BY_NAME, *UNITS_OF_TRIALS, *judges}
    for rule in policy.metrics:
        if rule.direction is None and rule.metric not in known:
            said = (
                f"the evaluator {rule.metric} is not here any more: say its direction (higher or lower) in the policy"
            )
            raise InvalidInput(said, "policy")


def _narrowed(run: RunScores | None, policy: GatePolicy) -> RunScores | None:
    """Only what the policy judges, so that a bundle holds no more. All examples stay known."""
    if run is None:
        return None
    named = [rule.metric for rule in policy.metrics]
    examples = {str(one): "" for one in run.rows["example_id"].unique()} | dict(run.examples)
    return replace(run, rows=run.rows.filter(pl.col("metric").is_in(named)), examples=examples)


def _run_named(every: Sequence[RunRecord], run_id: str | None) -> RunRecord | None:
    if run_id is None:
        return None
    found = next((one for one in every if one.run_id == run_id), None)
    if found is None:
        raise NotFound(f"there is no run {run_id[:60]!r}")
    return found


def _newest(
    runs: Sequence[RunRecord], release: str, like: RunRecord | None = None, *, ended: bool = False
) -> RunRecord | None:
    """The newest finished run of a release; over the same examples as `like`, if there is one, and best over the same
    part of them (`split`, `limit`): a short try of the baseline takes no whole run's place. With `ended`, one that
    was watched beside another and ended before its end counts as finished: it may have proved harm."""
    done = [one for one in runs if one.spec.release == release and one.status is RunStatus.DONE]
    if ended:
        over = [one for one in runs if one.spec.release == release and one.status is RunStatus.CANCELLED]
        done += [one for one in over if one.spec.params.get("stop_against")]
    done.sort(key=lambda one: (one.finished_at_ns or 0, one.created_at_ns, one.run_id), reverse=True)
    if like is not None:
        same = [one for one in done if one.spec.content_hash == like.spec.content_hash]
        on_it = [one for one in done if one.spec.dataset == like.spec.dataset]
        alike = [one for one in same if _part(one) == _part(like)]
        done = alike or same or on_it or done
    return done[0] if done else None


def _part(run: RunRecord) -> tuple[object, ...]:
    return run.spec.params.get("split"), run.spec.params.get("limit")


def _n_finished(runs: Sequence[RunRecord], like: RunRecord) -> int:
    """The finished runs of a release over the same examples."""
    return sum(
        one.spec.release == like.spec.release
        and one.spec.content_hash == like.spec.content_hash
        and one.status is RunStatus.DONE
        for one in runs
    )


def _later_ones(runs: Sequence[RunRecord], chosen: RunRecord) -> list[Reason]:
    """Runs of the candidate that were begun after the one that is finished, and are not: they may say otherwise."""
    return [
        Reason(
            cause=Cause.NOT_FINISHED,
            text=f"the candidate's run {one.run_id}, begun after {chosen.run_id}, is {one.status.value}, not done",
        )
        for one in runs
        if one.spec.release == chosen.spec.release
        and one.created_at_ns > chosen.created_at_ns
        and one.status is not RunStatus.DONE
    ][:3]


def _no_run(side: str, release: str, runs: Sequence[RunRecord], policy: GatePolicy) -> Reason:
    of_it = [one for one in runs if one.spec.release == release]
    on = f" on dataset {policy.dataset!r}" if policy.dataset else ""
    if of_it:
        newest = max(of_it, key=lambda one: one.created_at_ns)
        text = f"the {side} {release[:80]!r} has no finished run{on}; {newest.run_id} is {newest.status.value}"
        return Reason(cause=Cause.NO_RUN, text=text)
    near = get_close_matches(release, {one.spec.release for one in runs}, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return Reason(cause=Cause.NO_RUN, text=f"the {side} {release[:80]!r} has no run{on}{hint}")
