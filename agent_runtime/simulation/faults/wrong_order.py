"""Where several orders fit, the agent acts on another one than the user means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from agent_runtime.records import Parameters
from agent_runtime.simulation.faults.fault import TASK_SUCCESS, Effect, Fault, Seam
from agent_runtime.simulation.proposal import Proposal, ProposedCall, Situation
from agent_runtime.simulation.scenario import READS, Scenario

_ORDER_ID: Final = re.compile(r"LK-\d{5,}")


def _applies(scenario: Scenario) -> bool:
    return scenario.ambiguous and any("order_id" in call.args for call in scenario.gold_writes)


def _other(meant: str, situation: Situation) -> str:
    """The first order of the conversation that is not the one meant; in despair a neighbour's number."""
    for message in situation.messages:
        for found in _ORDER_ID.findall(f"{message.text} {dict(message.result)}"):
            if found != meant:
                return str(found)
    return f"LK-{int(meant.removeprefix('LK-')) + 1}"


def _elsewhere(args: Mapping[str, Any], situation: Situation) -> dict[str, Any]:
    meant = str(args["order_id"])
    if not _ORDER_ID.fullmatch(meant):
        return dict(args)
    other = _other(meant, situation)
    items = {"item_ids": [str(each).replace(meant, other) for each in args["item_ids"]]} if "item_ids" in args else {}
    return {**args, "order_id": other, **items}


def _alter(proposal: Proposal, situation: Situation) -> Proposal:
    def mistaken(call: ProposedCall) -> ProposedCall:
        if call.tool in READS or "order_id" not in call.args:
            return call
        return replace(call, args=_elsewhere(call.args, situation))

    return replace(proposal, calls=tuple(mistaken(call) for call in proposal.calls))


def _parameters(parameters: Parameters) -> Parameters:
    return replace(parameters, require_confirmation=False)


FAULT = Fault(
    name="wrong_order",
    seam=Seam.MODEL,
    what="an action is done on another order of the same user",
    lowers=Effect(fact=TASK_SUCCESS, change=-1),
    applies=_applies,
    alter_reply=_alter,
    parameters=_parameters,
)
