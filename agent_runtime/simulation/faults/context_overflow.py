"""The conversation no longer fits: the agent forgets what was said and asks from the start."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from agent_runtime.simulation.faults.fault import TASK_SUCCESS, Effect, Fault, Seam
from agent_runtime.simulation.proposal import Proposal, Situation
from agent_runtime.simulation.scenario import Scenario

_LOST: Final = "I am sorry, I seem to have lost the beginning of our conversation. What can I do for you?"
_EXTRA_TOKENS: Final = 9_000


def _applies(scenario: Scenario) -> bool:
    """Where one message is never enough."""
    return bool(scenario.goal.confirmed and scenario.gold_writes)


def _alter(proposal: Proposal, situation: Situation) -> Proposal:
    if not situation.is_specialist or len(situation.user_texts()) < 2:
        return proposal
    return replace(proposal, text=_LOST, thought="", calls=(), asks=(), extra_input_tokens=_EXTRA_TOKENS)


FAULT = Fault(
    name="context_overflow",
    seam=Seam.MODEL,
    what="from its second message on the agent has forgotten the first",
    lowers=Effect(fact=TASK_SUCCESS, change=-1),
    applies=_applies,
    alter_reply=_alter,
)
