"""What a person does with rollouts: deploy, approve, pause, resume, abort, report a check, verify certificates."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from core.clock import Clock
from core.errors import Conflict, Forbidden, InvalidInput, NotFound
from core.ids import TenantId
from core.records import Principal
from experiments.canary import certificate
from experiments.canary.records import Block, GuardrailKind
from experiments.rollouts.policy import MODEL_AS_REGISTERED, hash_of, policy_json, policy_of
from experiments.rollouts.records import Change, RolloutPolicy, RolloutState, StepRun
from experiments.rollouts.replay import counted_of
from experiments.rollouts.state import aborted, approved, paused, planned, resumed, state_json, state_of
from experiments.service_rollouts import arms_of, baseline_past, plan_of
from store.control.control import Control
from store.control.rollout_records import CheckRecord, Happened, RolloutMove, RolloutRecord, RolloutStatus
from store.tenant import TenantStore

_TRIES: Final = 20  # a look may come between a person's reading and writing


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A rollout that is asked for. `baseline` None: that of the app's plan. `unreachable`: the candidate may be
    registered without an endpoint, the gateway's file names one."""

    app: str
    candidate: str
    policy: RolloutPolicy
    baseline: str | None = None
    unreachable: bool = False


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """What was begun, or would be, and what may go wrong with it."""

    record: RolloutRecord
    warnings: tuple[str, ...]


def deploy(
    control: Control, store: TenantStore, clock: Clock, wanted: Wanted, *, by: Principal, dry_run: bool = False
) -> Deployed:
    """Begins a rollout, which waits for what it needs; with `bypass` the candidate has all sessions at once. Raises
    InvalidInput, Conflict and NotFound as `Control.start_rollout`, and for releases that cannot be compared."""
    baseline = wanted.baseline or _baseline_now(control, by.tenant, wanted.app)
    _releases(control, by.tenant, wanted, baseline)
    policy = policy_json(wanted.policy)
    now = clock()
    state = planned(wanted.policy)
    bypass = wanted.policy.bypass
    if bypass is not None:
        run = StepRun(entered_at_ns=now, decision="bypass")
        state = replace(state, step=len(state.steps) - 1, steps=(*state.steps[:-1], run), reasons=(bypass,))
    record = RolloutRecord(
        tenant=by.tenant,
        rollout_id=f"ro_{secrets.token_hex(6)}",
        app=wanted.app,
        baseline=baseline,
        candidate=wanted.candidate,
        status=RolloutStatus.WAITING if bypass is None else RolloutStatus.PROMOTED,
        policy=policy,
        policy_hash=hash_of(policy),
        state=state_json(state),
    )
    warnings = () if bypass is not None else _warnings(control, store, record, wanted.policy, now)
    weights = " → ".join(f"{100 * one.weight:g} %" for one in wanted.policy.canary.steps)
    said = f"{wanted.candidate} over {baseline}: {weights}"
    if bypass is not None:
        said = f"{wanted.candidate} over {baseline} at once, not tested: {bypass}"
    plan = plan_of(record, 0.0 if bypass is None else 1.0, said)
    if dry_run:
        control.try_rollout(record, plan)
        return Deployed(record=record, warnings=warnings)
    return Deployed(record=control.start_rollout(record, plan, said, by=by), warnings=warnings)


def newest(control: Control, tenant: TenantId, app: str, rollout_id: str | None = None) -> RolloutRecord:
    """The rollout of this id, or the newest of the app. Raises NotFound."""
    if rollout_id is not None:
        found = control.rollout(tenant, rollout_id)
        if found.app != app:
            raise NotFound(f"rollout {rollout_id[:60]!r} is not of this app")
        return found
    every = control.rollouts(tenant, app)
    if not every:
        raise NotFound(f"this app has no rollout; begin one: assay deploy {app[:80]} RELEASE")
    return next((one for one in every if not one.status.ended), every[0])


def abort(control: Control, clock: Clock, found: RolloutRecord, reason: str | None, *, by: Principal) -> RolloutRecord:
    """Gives the baseline all sessions; one that ended so already is left as it is. Raises Conflict after a
    promotion."""
    why = reason or "aborted"
    return _act(control, found, lambda r, s: aborted(r.status, s, why, now_ns=clock()), by=by)


def pause(control: Control, found: RolloutRecord, reason: str | None, *, by: Principal) -> RolloutRecord:
    """Goes on to no further step; harm still rolls it back. Raises Conflict where it does not run."""
    return _act(control, found, lambda r, s: paused(r.status, s, reason or "paused"), by=by)


def resume(control: Control, found: RolloutRecord, reason: str | None, *, by: Principal) -> RolloutRecord:
    """Lets it go on. Raises Conflict where it is not paused."""
    return _act(control, found, lambda r, s: resumed(r.status, s, reason or "resumed"), by=by)


def approve(control: Control, found: RolloutRecord, reason: str | None, *, by: Principal) -> RolloutRecord:
    """Approves one that waits. Raises Forbidden for who deployed it, Conflict once it does not wait."""
    same_key = by.key_id is not None and by.key_id == found.started_key
    if same_key or by.name[:200] == found.started_by:
        raise Forbidden(
            f"{found.started_by[:80]} deployed this rollout; somebody else approves it: another key with the role admin"
        )
    return _act(control, found, lambda r, s: approved(r.status, s, by.name[:200], reason), by=by)


def report_check(control: Control, check: CheckRecord, *, by: Principal) -> CheckRecord:
    """Keeps what was reported of a release's check. Raises NotFound for a release that is not registered."""
    known = {one.spec.name for one in control.releases(by.tenant, check.app)}
    if check.release not in known:
        raise NotFound(f"release {check.release[:80]!r} is not registered for this app")
    return control.report_check(by.tenant, check, by=by)


def verify(certificates: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is wrong with a rollout's certificates, oldest first, a sentence each; empty: all comes out the same."""
    return certificate.verify_all(certificates)


def verify_kept(control: Control, record: RolloutRecord) -> list[str]:
    """The same of those that are kept, and whether they say what the kept blocks and policy say."""
    kept = control.rollout_certificates(record.tenant, record.rollout_id)
    problems = verify([one.body for one in kept])
    blocks = control.rollout_blocks(record.tenant, record.rollout_id)
    counted = counted_of(policy_of(record.policy), blocks)
    if len(kept) != record.n_certificates:
        problems.append(f"{len(kept)} certificates are kept of {record.n_certificates} that were made")
    whose = {"rollout": record.rollout_id}
    whose |= {name: getattr(record, name) for name in ("app", "baseline", "candidate", "policy_hash")}
    for one in kept:
        for name, value in whose.items():
            if one.body.get(name) != value:
                problems.append(f"certificate {one.number}: {name} is not the rollout's")
        for name, ledger in one.body.get("evidence", {}).items():
            rows = [_counts(block) for block in counted.blocks.get(name, ())]
            if ledger["blocks"] != rows[: len(ledger["blocks"])]:
                problems.append(f"certificate {one.number}: the blocks of {name} are not those that are kept")
    return problems


def _counts(block: Block) -> list[float]:
    """A block as certificates write it."""
    return [
        *(block.at_ns, block.n_candidate, block.failures_candidate, block.n_baseline, block.failures_baseline),
        *(block.n_missing_candidate, block.n_missing_baseline),
    ]


def _act(
    control: Control,
    found: RolloutRecord,
    change_of: Callable[[RolloutRecord, RolloutState], Change | None],
    *,
    by: Principal,
) -> RolloutRecord:
    """Does what a person asked for to the rollout as it is now, whatever a look has made of it meanwhile."""
    record = found
    for _ in range(_TRIES):
        change = change_of(record, state_of(record.state))
        if change is None:
            return record
        plan = None if change.share is None else plan_of(record, change.share, change.text)
        events = [] if change.verb is None else [Happened(kind=change.verb, text=change.text)]
        move = RolloutMove(
            before=record, status=change.status, state=state_json(change.state), plan=plan, events=events
        )  # fmt: skip
        try:
            return control.move_rollout(move, by=by)
        except Conflict:
            record = control.rollout(record.tenant, record.rollout_id)
    raise Conflict(f"rollout {found.rollout_id} changes faster than it can be written; try again")


def _baseline_now(control: Control, tenant: TenantId, app: str) -> str:
    plans = control.plans(tenant, app)
    if not plans:
        raise InvalidInput(
            "this app has no plan, so nobody said what its baseline is: name it (baseline, --baseline RELEASE)",
            field="baseline",
        )
    return plans[0].spec.baseline


def _releases(control: Control, tenant: TenantId, wanted: Wanted, baseline: str) -> None:
    if wanted.candidate == baseline:
        raise InvalidInput(
            f"{baseline[:80]} is the baseline itself; a rollout compares it with another release", field="candidate"
        )
    known = {one.spec.name: one.spec for one in control.releases(tenant, wanted.app)}
    for field, name in (("candidate", wanted.candidate), ("baseline", baseline)):
        if name not in known:
            raise InvalidInput(
                f"release {name[:80]} is not registered for this app: assay releases register {wanted.app[:80]} "
                f"{name[:80]}",
                field=field,
            )
    if not known[wanted.candidate].endpoint and not wanted.unreachable:
        raise InvalidInput(
            f"release {wanted.candidate[:80]} was registered without an endpoint, so its sessions would get 503; "
            "register it with one, or say that the gateway's file names its address "
            "(endpoint_elsewhere, --endpoint-elsewhere)",
            field="candidate",
        )


def _warnings(
    control: Control, store: TenantStore, record: RolloutRecord, policy: RolloutPolicy, now_ns: int
) -> tuple[str, ...]:
    """Guardrails of which the baseline's last seven days say nothing, zero tolerance that it violates itself, and
    experiments of the app's own assignment, which will count the rollout's sessions by variant."""
    past = baseline_past(control, store, record, policy, now_ns)
    models = arms_of(control, record).models
    found = [f"the baseline {record.baseline} has had no session in the last seven days"] * (past.n_sessions == 0)
    for one in policy.canary.guardrails:
        if one.name == MODEL_AS_REGISTERED and not models[record.candidate]:
            found.append(f"{one.name}: {record.candidate} was registered without a model; it will hold for ever")
        elif past.n_sessions and one.name in past.silent:
            found.append(
                f"{one.name}: none of {past.n_sessions} sessions of {record.baseline} tells it, and missing evidence "
                f"holds; leave it out (--without {one.name}), or see that it is scored"
            )
        elif one.kind is GuardrailKind.ZERO_TOLERANCE and past.history.get(one.name, (0, 0))[0] > one.tolerated:
            failures, n = past.history[one.name]
            found.append(
                f"{one.name}: {failures:g} of {n} sessions of {record.baseline} violate it, {one.tolerated} are "
                "tolerated of the candidate: an equal candidate will be rolled back"
            )
    for other in control.running_experiments(record.tenant, record.app):
        found.append(
            f"the app assigns experiment {other.name} itself, which counts sessions by variant: this rollout's shares "
            f"will look like a sample-ratio mismatch there. Stop it first (assay experiments stop {other.name})"
        )
    return tuple(found)
