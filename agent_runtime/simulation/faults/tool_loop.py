"""The agent calls the same tool again and again instead of going on."""

from __future__ import annotations

from dataclasses import replace

from agent_runtime.simulation.faults.fault import TASK_SUCCESS, Effect, Fault, Seam
from agent_runtime.simulation.proposal import Proposal, Situation
from agent_runtime.simulation.scenario import Scenario


def _applies(scenario: Scenario) -> bool:
    return bool(scenario.gold)


def _alter(proposal: Proposal, situation: Situation) -> Proposal:
    called = [message.calls for message in situation.of_turn() if message.calls]
    if not called or not situation.is_specialist:
        return proposal
    return replace(proposal, text="", calls=called[-1], asks=())


FAULT = Fault(
    name="tool_loop",
    seam=Seam.MODEL,
    what="a tool is called with the same arguments until the turn's limit",
    lowers=Effect(fact=TASK_SUCCESS, change=-1),
    applies=_applies,
    alter_reply=_alter,
)
