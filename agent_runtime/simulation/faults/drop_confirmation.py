"""The agent acts without asking: the question that should come first is left out."""

from __future__ import annotations

from dataclasses import replace

from agent_runtime.records import Parameters
from agent_runtime.simulation.faults.fault import TASK_SUCCESS, Effect, Fault, Seam
from agent_runtime.simulation.proposal import Proposal, Situation
from agent_runtime.simulation.scenario import Scenario


def _applies(scenario: Scenario) -> bool:
    return bool(scenario.goal.confirmed)


def _alter(proposal: Proposal, situation: Situation) -> Proposal:
    if not proposal.asks or not situation.is_specialist:
        return proposal
    return replace(proposal, text="", calls=proposal.asks, asks=())


def _parameters(parameters: Parameters) -> Parameters:
    return replace(parameters, require_confirmation=False)


FAULT = Fault(
    name="drop_confirmation",
    seam=Seam.MODEL,
    what="an irreversible action is done before the user agreed to it",
    lowers=Effect(fact=TASK_SUCCESS, change=-1),
    applies=_applies,
    alter_reply=_alter,
    parameters=_parameters,
)
