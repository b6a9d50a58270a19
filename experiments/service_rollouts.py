"""Looks after open rollouts: reads what has come of both releases, decides, and acts, a look at a time.

Everything that has to outlive the process is in the control database: block, state, plan and certificate of a look are
one transaction there, so that a process killed anywhere leaves a rollout that the next one goes on with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import polars as pl

from core.clock import Clock, to_datetime
from core.errors import AssayError
from core.ids import TenantId
from core.windows import Window
from experiments.canary.certificate import Subject, make
from experiments.canary.decide import Act, StepDecision, step_gate
from experiments.canary.maturity import Cohort
from experiments.canary.records import Block, GuardrailKind
from experiments.canary.watched import Watched, replayed
from experiments.records import UnitKind
from experiments.rollouts.evidence import (
    LATE_NS,
    NS_PER_S,
    Arms,
    Past,
    blocks_of,
    cohort_of,
    counts_json,
    past_of,
    sessions_in,
    threshold,
)
from experiments.rollouts.policy import policy_of
from experiments.rollouts.records import Change, RolloutPolicy, RolloutState
from experiments.rollouts.replay import Counted, at_step, begins_ns, counted_of, ledgers_of, start_of
from experiments.rollouts.required import Needed, needed
from experiments.rollouts.state import begun, gone_on, held, is_last, rolled_back, state_json, state_of
from experiments.service_sessions import sessions_of
from experiments.statistics.mismatch import Mismatch, mismatch
from store.control.control import Control
from store.control.monitor_records import RolloutAsking
from store.control.records import PlanSpec
from store.control.rollout_records import Happened, RolloutMove, RolloutRecord, RolloutStatus
from store.tenant import TenantStore

PAST_NS: Final = 7 * 86_400 * NS_PER_S  # of the baseline, before a rollout
AHEAD_NS: Final = 3600 * NS_PER_S  # clocks of agents that are fast
PAST_AGAIN_NS: Final = 30 * NS_PER_S  # between tries to fix a threshold that could not be
SKEW_NS: Final = 60 * NS_PER_S  # a clock that is fast by more keeps a rollout where it is
SILENCE_NS: Final = 300 * NS_PER_S  # without any session before that is told as a reason
ROLL_BACK: Final = "roll_back"  # what a firing guardrail monitor may ask; anything else it asks is to hold
SPLIT_E: Final = 1000.0  # an e-value of a wrong split: one of a thousand rollouts with a right one is held by it


@dataclass(kw_only=True)
class _Memory:
    """What of a rollout need not be read again at every look; made anew from the control database after a start."""

    n_blocks: int
    step: int
    counted: Counted
    watched: dict[str, Watched]
    known: set[str] | None = None  # sessions that were seen, of the last LATE_NS
    past_at_ns: int = 0


@dataclass(frozen=True, kw_only=True)
class _Look:
    """What one look found: the state with what has been seen, and the block of it (None: no session). `ahead`: how many
    sessions began after now, the most nanoseconds of it, and of which releases."""

    state: RolloutState
    block: Mapping[str, object] | None = None
    step: int = 0
    newest_ns: int | None = None
    ahead: tuple[int, int, str] = (0, 0, "")


@dataclass(kw_only=True)
class Ticker:
    """Looks at rollouts that are this process's to look after. Not thread-safe."""

    control: Control
    store_of: Callable[[TenantId], TenantStore]
    clock: Clock
    _memories: dict[str, _Memory] = field(default_factory=dict)

    def tick(self, record: RolloutRecord) -> RolloutRecord:
        """One look at an open rollout, and what it asks for. Raises Conflict when somebody changed it meanwhile (look
        at it again), StorageFailed, Corrupt."""
        if record.status.ended:
            return record
        policy, state = policy_of(record.policy), state_of(record.state)
        if record.status is RolloutStatus.WAITING:
            return self._await(record, policy, state)
        memory = self._memory(record, policy, state)
        try:
            return self._go_on(record, policy, state, memory)
        except AssayError:
            self._memories.pop(record.rollout_id, None)  # what was counted of this look was not kept
            raise

    def forget(self, open_ids: set[str]) -> None:
        """Drops what was remembered of rollouts that are not among these any more."""
        for gone in self._memories.keys() - open_ids:
            del self._memories[gone]

    def _await(self, record: RolloutRecord, policy: RolloutPolicy, state: RolloutState) -> RolloutRecord:
        found = self._needed(record, policy, state)
        lacking = _lacking(found)
        if lacking:
            texts, causes = [text for _, text in lacking], [f"{cause}: {text}" for cause, text in lacking]
            return self._keep(record, policy, held(record.status, state, texts, causes, told=True), _Look(state=state))
        now = self.clock()
        past = baseline_past(self.control, self.store_of(record.tenant), record, policy, now)
        change = begun(policy, state, now_ns=now, past=past, met=[one.text for one in found])
        return self._keep(record, policy, change, _Look(state=change.state))

    def _needed(self, record: RolloutRecord, policy: RolloutPolicy, state: RolloutState) -> list[Needed]:
        requires, tenant = policy.requires, record.tenant
        gates = self.control.gates(tenant, record.app) if requires.gate else []
        checks = self.control.rollout_checks(tenant, record.app, record.candidate) if requires.checks else []
        return needed(requires, (record.candidate, record.baseline), gates, checks, state.approved_by)

    def _go_on(
        self, record: RolloutRecord, policy: RolloutPolicy, state: RolloutState, memory: _Memory
    ) -> RolloutRecord:
        look = self._look(record, policy, state, memory)
        decision = step_gate(policy.canary, memory.watched, at_step(policy, look.state))
        change = self._decided(record, policy, look, memory, decision)
        if change is None:
            return record
        after = self._keep(record, policy, change, look, memory=memory)
        memory.n_blocks = after.n_blocks
        return after

    def _look(self, record: RolloutRecord, policy: RolloutPolicy, state: RolloutState, memory: _Memory) -> _Look:
        """Counts the sessions that are due, into `memory`, and answers the block to be kept."""
        now, mature_s = self.clock(), policy.canary.mature_s
        arms = arms_of(self.control, record)
        first_ns = begins_ns(replace(state, step=0))
        from_ns = first_ns if policy.unit is UnitKind.USER else max(first_ns, state.seen_until_ns - LATE_NS)
        window = Window(start_ns=from_ns, end_ns=max(now, from_ns) + AHEAD_NS)
        store = self.store_of(record.tenant)
        frame = sessions_of(self.control, store, record.app, window, policy.canary.guardrails)
        state = self._with_thresholds(record, policy, state, memory)
        newest_ns, ahead = _newest(frame, now)
        cohort = cohort_of(state.seen_until_ns, begins_ns(state), newest_ns, now, mature_s)
        late = _late(frame, state.seen_until_ns, memory)
        if cohort is None:
            return _Look(state=state, newest_ns=newest_ns, ahead=ahead)
        blocks = blocks_of(
            frame, cohort, policy.canary.guardrails, arms,
            unit=policy.unit, thresholds=state.thresholds, mature_s=mature_s, late=late,
        )  # fmt: skip
        seen = replace(state, seen_until_ns=cohort.until_ns)
        sessions = sessions_in(frame, cohort, arms)
        step = state.step if cohort.from_ns >= begins_ns(state) else state.step - 1
        if not any(sessions) and not any(map(_counts, blocks.values())):
            return _Look(state=seen, newest_ns=newest_ns, ahead=ahead)
        memory.counted = memory.counted.plus(step, blocks, sessions)
        for name, block in blocks.items():
            memory.watched[name] = memory.watched[name].after(block)
        _remember(frame, cohort, memory)
        counts = counts_json(blocks, cohort, sessions)
        return _Look(state=seen, block=counts, step=step, newest_ns=newest_ns, ahead=ahead)

    def _with_thresholds(
        self, record: RolloutRecord, policy: RolloutPolicy, state: RolloutState, memory: _Memory
    ) -> RolloutState:
        """Thresholds that could not be fixed before the first step are, as soon as the baseline has enough sessions;
        of those that were seen before, so that what is counted has no say in it."""
        kinds = [one for one in policy.canary.guardrails if one.kind is GuardrailKind.EXCEEDS]
        missing = [one for one in kinds if one.name not in state.thresholds]
        if not missing or self.clock() < memory.past_at_ns + PAST_AGAIN_NS:
            return state
        memory.past_at_ns = self.clock()
        window = Window(start_ns=record.started_at_ns - PAST_NS, end_ns=state.seen_until_ns)
        frame = sessions_of(self.control, self.store_of(record.tenant), record.app, window, missing)
        own = frame.filter(pl.col("release") == record.baseline)
        found = {one.name: fixed for one in missing if (fixed := threshold(own, one)) is not None}
        return replace(state, thresholds={**state.thresholds, **found})

    def _decided(
        self, record: RolloutRecord, policy: RolloutPolicy, look: _Look, memory: _Memory, decision: StepDecision
    ) -> Change | None:
        now, texts = self.clock(), [one.text for one in decision.reasons]
        causes = [f"{one.cause.value}:{one.guardrail or ''}" for one in decision.reasons]
        if decision.act is Act.ROLL_BACK:
            return rolled_back(record.status, look.state, texts, now_ns=now)
        asking = self.control.rollout_asking(record.tenant, record.rollout_id)
        if asking is not None and asking.guard == ROLL_BACK:
            change = rolled_back(record.status, look.state, _of_monitors(asking), now_ns=now)
            return None if change is None else replace(change, certified=False)  # the ledgers do not ask for it
        halts = _halts(policy, look, memory, now)
        halts += [] if asking is None else [("monitor", text) for text in _of_monitors(asking)]
        if decision.act is Act.PROMOTE and is_last(policy, look.state):  # what failed meanwhile is not promoted
            halts += _lacking(self._needed(record, policy, look.state))
        if decision.act is Act.PROMOTE and not halts and record.status is RolloutStatus.RUNNING:
            return gone_on(policy, record.status, look.state, texts, now_ns=now)
        if record.status is RolloutStatus.PAUSED:
            texts = ["paused: it goes on to no further step until somebody resumes it", *texts]
            causes = ["paused", *causes]
        told = decision.act is Act.HOLD or bool(halts)
        texts, causes = [*[text for _, text in halts], *texts], [*[cause for cause, _ in halts], *causes]
        before = state_of(record.state)
        known = (before.thresholds, before.causes)
        if look.block is None and known == (look.state.thresholds, tuple(causes)):
            return None
        return held(record.status, look.state, texts, causes, told=told)

    def _keep(
        self,
        record: RolloutRecord,
        policy: RolloutPolicy,
        change: Change,
        look: _Look,
        memory: _Memory | None = None,
    ) -> RolloutRecord:
        """Writes a change, unless it says nothing new."""
        state = state_json(change.state)
        if change.verb is None and look.block is None and state == record.state:
            return record
        certificate = None
        if change.certified and memory is not None:
            certificate = self._certificate(record, policy, look.state, memory)
        events = [Happened(kind=change.verb, text=change.text, certified=change.certified)] if change.verb else []
        move = RolloutMove(
            before=record,
            status=change.status,
            state=state,
            plan=None if change.share is None else plan_of(record, change.share, change.text),
            block=look.block,
            step=look.step,
            events=events,
            certificate=certificate,
        )
        return self.control.move_rollout(move)

    def _certificate(
        self, record: RolloutRecord, policy: RolloutPolicy, state: RolloutState, memory: _Memory
    ) -> dict[str, object]:
        kept = self.control.rollout_certificates(record.tenant, record.rollout_id)
        subject = Subject(
            rollout=record.rollout_id, app=record.app, baseline=record.baseline, candidate=record.candidate
        )  # fmt: skip
        ledgers = ledgers_of(state, memory.counted, [one.name for one in policy.canary.guardrails])
        previous = kept[-1].digest if kept else None
        return make(subject, record.policy, ledgers, at_step(policy, state), previous=previous)

    def _memory(self, record: RolloutRecord, policy: RolloutPolicy, state: RolloutState) -> _Memory:
        known = self._memories.get(record.rollout_id)
        if known is None or known.n_blocks != record.n_blocks:
            counted = counted_of(policy, self.control.rollout_blocks(record.tenant, record.rollout_id))
            states = start_of(policy, state)
            begun_at = begins_ns(state)
            mature_s = policy.canary.mature_s
            made = {
                name: replayed(one.at_step(begun_at, mature_s), counted.blocks.get(name, ()))[0]
                for name, one in states.items()
            }
            known = _Memory(n_blocks=record.n_blocks, step=state.step, counted=counted, watched=made)
            self._memories[record.rollout_id] = known
        if known.step != state.step:
            entered, mature_s = begins_ns(state), policy.canary.mature_s
            known.watched = {name: one.at_step(entered, mature_s) for name, one in known.watched.items()}
            known.step = state.step
        return known


def plan_of(record: RolloutRecord, share: float, why: str) -> PlanSpec:
    """What the gateway obeys while the candidate has this share of the sessions; after a promotion it is the
    baseline."""
    reason = f"rollout {record.rollout_id}: {why}"[:2000]
    if share >= 1:
        return PlanSpec(app=record.app, baseline=record.candidate, weights={record.candidate: 1.0}, reason=reason)
    weights = {record.baseline: round(1 - share, 9), record.candidate: share}
    return PlanSpec(app=record.app, baseline=record.baseline, weights=weights, reason=reason)


def arms_of(control: Control, record: RolloutRecord) -> Arms:
    """Both releases with the models that they were registered with; several are separated by commas."""
    known = {one.spec.name: one.spec.model or "" for one in control.releases(record.tenant, record.app)}
    models = {
        name: tuple(each.strip() for each in known.get(name, "").split(",") if each.strip())
        for name in (record.candidate, record.baseline)
    }
    return Arms(candidate=record.candidate, baseline=record.baseline, models=models)


def baseline_past(
    control: Control, store: TenantStore, record: RolloutRecord, policy: RolloutPolicy, now_ns: int
) -> Past:
    """What the baseline's sessions of the last seven days say, but for those that are not mature."""
    until = now_ns - round(policy.canary.mature_s * NS_PER_S)
    window = Window(start_ns=until - PAST_NS, end_ns=until)
    frame = sessions_of(control, store, record.app, window, policy.canary.guardrails)
    return past_of(frame, policy.canary.guardrails, arms_of(control, record))


def _halts(policy: RolloutPolicy, look: _Look, memory: _Memory, now_ns: int) -> list[tuple[str, str]]:
    """What keeps a rollout from going on whatever its guardrails say, with the cause: evidence that stopped coming,
    clocks that are fast, a split that is not the plan's."""
    found = []
    since = max(look.newest_ns or 0, begins_ns(look.state))
    if now_ns - since > SILENCE_NS + round(policy.canary.mature_s * NS_PER_S):
        at = to_datetime(since).strftime("%H:%M:%S")
        text = f"no session of this app has begun since {at} UTC, {(now_ns - since) // (60 * NS_PER_S)} minutes ago"
        found.append(("silence", f"{text}: without evidence it holds"))
    n_ahead, ahead_ns, whose = look.ahead
    if n_ahead:
        text = f"{n_ahead} sessions of {whose} began up to {ahead_ns // NS_PER_S} s after now: clocks there are fast"
        found.append(("clock", f"{text}; they count once their time has come, and until then it holds"))
    share = policy.canary.steps[look.state.step].weight
    counts = memory.counted.sessions.get(look.state.step, (0, 0))
    split = mismatch(counts, (share, 1 - share)) if 0 < share < 1 else None
    if isinstance(split, Mismatch) and split.e_value >= SPLIT_E:
        text = (
            f"the candidate has {counts[0]} of {sum(counts)} sessions of this step, {share:.1%} by plan (e-value "
            f"{split.e_value:.3g}, boundary {SPLIT_E:.0f}): traces of one release are missing, or somebody else splits"
        )
        found.append(("split", text))
    return found


def _of_monitors(asking: RolloutAsking) -> list[str]:
    """Why firing guardrail monitors ask for something."""
    return [f"a guardrail monitor: {text}" for text in asking.reasons]


def _lacking(found: Sequence[Needed]) -> list[tuple[str, str]]:
    """What of this is not there: what it is, and in words."""
    return [(one.what, one.text) for one in found if not one.is_there]


def _newest(frame: pl.DataFrame, now_ns: int) -> tuple[int | None, tuple[int, int, str]]:
    """When the newest session up to now began, and those that began later by more than SKEW_NS: a clock that is fast
    does not show that telemetry comes in."""
    newest = frame.filter(pl.col("start_ns") <= now_ns)["start_ns"].max()
    later = frame.filter(pl.col("start_ns") > now_ns + SKEW_NS)
    most = later["start_ns"].max()
    ahead = (0, 0, "")
    if isinstance(most, int):
        ahead = (later.height, most - now_ns, ", ".join(sorted(later["release"].drop_nulls().unique()))[:200])
    return newest if isinstance(newest, int) else None, ahead


def _late(frame: pl.DataFrame, seen_until_ns: int, memory: _Memory) -> Sequence[str]:
    """Sessions that were due before and are first seen now; none at the first look of a process."""
    before = frame.filter(pl.col("start_ns") < seen_until_ns)["session_id"].to_list()
    if memory.known is None:
        memory.known = set(before)
        return ()
    return [one for one in before if one not in memory.known]


def _remember(frame: pl.DataFrame, cohort: Cohort, memory: _Memory) -> None:
    memory.known = set(frame.filter(pl.col("start_ns") < cohort.until_ns)["session_id"].to_list())


def _counts(block: Block) -> int:
    return block.n_candidate + block.n_baseline + block.n_missing_candidate + block.n_missing_baseline
