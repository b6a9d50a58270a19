"""What the blocks of a rollout come to: each guardrail's e-processes and counts, as far as any moment. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from experiments.canary.certificate import Ledger
from experiments.canary.decide import AtStep
from experiments.canary.records import Block
from experiments.canary.watched import Watched, watched
from experiments.rollouts.evidence import NS_PER_S, SETTLE_NS, blocks_in
from experiments.rollouts.records import RolloutPolicy, RolloutState
from store.control.rollout_records import BlockRecord


@dataclass(frozen=True, kw_only=True)
class Counted:
    """All blocks of a rollout by guardrail, in order, and the sessions of candidate and baseline by step."""

    blocks: Mapping[str, tuple[Block, ...]]
    sessions: Mapping[int, tuple[int, int]]

    def plus(self, step: int, blocks: Mapping[str, Block], sessions: tuple[int, int]) -> Counted:
        """With one look more."""
        grown = {name: (*self.blocks.get(name, ()), block) for name, block in blocks.items()}
        n_c, n_b = self.sessions.get(step, (0, 0))
        of_step = {step: (n_c + sessions[0], n_b + sessions[1])}
        return Counted(blocks={**self.blocks, **grown}, sessions={**self.sessions, **of_step})


NOTHING = Counted(blocks={}, sessions={})


def counted_of(policy: RolloutPolicy, records: Iterable[BlockRecord]) -> Counted:
    """What the kept blocks say."""
    found: dict[str, list[Block]] = {}
    sessions: dict[int, tuple[int, int]] = {}
    for one in records:
        for name, block in blocks_in(one.counts, policy.canary.mature_s).items():
            found.setdefault(name, []).append(block)
        n_c, n_b = sessions.get(one.step, (0, 0))
        more_c, more_b = one.counts["sessions"]
        sessions[one.step] = (n_c + more_c, n_b + more_b)
    return Counted(blocks={name: tuple(each) for name, each in found.items()}, sessions=sessions)


def begins_ns(state: RolloutState) -> int:
    """Since when the weight of the step at hand is obeyed everywhere. Of a rollout that has begun."""
    entered = state.run.entered_at_ns
    assert entered is not None
    return entered + SETTLE_NS


def at_step(policy: RolloutPolicy, state: RolloutState) -> AtStep:
    """The step at hand, and how far evidence reaches: time in which none came does not bake."""
    now_ns = state.seen_until_ns + round(policy.canary.mature_s * NS_PER_S)
    return AtStep(index=state.step, entered_at_ns=begins_ns(state), now_ns=max(now_ns, begins_ns(state)))


def ledgers_of(state: RolloutState, counted: Counted, names: Sequence[str]) -> dict[str, Ledger]:
    """What a certificate is made of."""
    return {
        name: Ledger(
            blocks=counted.blocks.get(name, ()),
            history=state.history.get(name, (0.0, 0)),
            threshold=state.thresholds.get(name),
        )
        for name in names
    }


def start_of(policy: RolloutPolicy, state: RolloutState) -> dict[str, Watched]:
    """Every guardrail before its first block."""
    found = {}
    for one in policy.canary.guardrails:
        failures, units = state.history.get(one.name, (0.0, 0))
        found[one.name] = watched(one, history_failures=failures, history_units=units)
    return found
