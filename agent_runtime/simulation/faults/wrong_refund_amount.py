"""The agent refunds half of what is due."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agent_runtime.records import Parameters
from agent_runtime.simulation.faults.fault import TASK_SUCCESS, Effect, Fault, Seam
from agent_runtime.simulation.proposal import Proposal, Situation
from agent_runtime.simulation.scenario import Scenario, cents, usd


def _applies(scenario: Scenario) -> bool:
    return bool(scenario.gold_calls("refund_order"))


def _halved(args: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return {**args, "amount_usd": usd(max(1, cents(args["amount_usd"]) // 2))}
    except (KeyError, ValueError):  # no amount that could be halved: the tool refuses the call as it is
        return dict(args)


def _alter(proposal: Proposal, situation: Situation) -> Proposal:
    calls = tuple(
        replace(call, args=_halved(call.args)) if call.tool == "refund_order" else call for call in proposal.calls
    )
    return replace(proposal, calls=calls)


def _parameters(parameters: Parameters) -> Parameters:
    return replace(parameters, require_confirmation=False)


FAULT = Fault(
    name="wrong_refund_amount",
    seam=Seam.MODEL,
    what="a refund is half of what the user agreed to",
    lowers=Effect(fact=TASK_SUCCESS, change=-1),
    applies=_applies,
    alter_reply=_alter,
    parameters=_parameters,
)
