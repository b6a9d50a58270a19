"""The agent gives a larger discount than it may."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from agent_runtime.records import Parameters
from agent_runtime.simulation.faults.fault import TASK_SUCCESS, Effect, Fault, Seam
from agent_runtime.simulation.proposal import Proposal, Situation
from agent_runtime.simulation.scenario import Scenario

_PERCENT: Final = 40


def _applies(scenario: Scenario) -> bool:
    return bool(scenario.gold_calls("apply_discount"))


def _alter(proposal: Proposal, situation: Situation) -> Proposal:
    calls = tuple(
        replace(call, args={**call.args, "percent": _PERCENT}) if call.tool == "apply_discount" else call
        for call in proposal.calls
    )
    return replace(proposal, calls=calls)


def _parameters(parameters: Parameters) -> Parameters:
    return replace(parameters, discount_cap_percent=100)


FAULT = Fault(
    name="discount_above_cap",
    seam=Seam.MODEL,
    what="a discount of 40 percent is given where 15 is the most, under a cap that was lifted",
    lowers=Effect(fact=TASK_SUCCESS, change=-1),
    applies=_applies,
    alter_reply=_alter,
    parameters=_parameters,
)
