"""The agent says that it is done, and did nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from agent_runtime.simulation.faults.fault import TASK_SUCCESS, Effect, Fault, Seam
from agent_runtime.simulation.proposal import Proposal, Situation
from agent_runtime.simulation.scenario import READS, TICKETS, Scenario

_CLAIMS: Final = {
    "cancel_order": "Order {order_id} is cancelled.",
    "change_address": "The address of order {order_id} is changed.",
    "refund_order": "I have refunded {amount_usd} USD for order {order_id}.",
    "apply_discount": "The discount of {percent} percent is applied to order {order_id}.",
    "create_return": "The return for order {order_id} is created.",
    "cancel_return": "Return {return_id} is cancelled.",
    "update_email": "Your e-mail address is updated.",
    "update_address": "Your address is updated.",
    "reset_password": "I have sent you a link to reset your password.",
    "close_account": "Your account is closed.",
}


class _Blank(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return ""


def _applies(scenario: Scenario) -> bool:
    return any(call.tool in _CLAIMS for call in scenario.gold)


def _alter(proposal: Proposal, situation: Situation) -> Proposal:
    writes = [call for call in proposal.calls if call.tool not in READS | TICKETS and call.tool in _CLAIMS]
    if not writes or not situation.is_specialist:
        return proposal
    claims = [_CLAIMS[call.tool].format_map(_Blank({k: str(v) for k, v in call.args.items()})) for call in writes]
    return replace(proposal, text=" ".join(claims), thought="", calls=(), asks=())


FAULT = Fault(
    name="invented_confirmation",
    seam=Seam.MODEL,
    what="the reply claims an action that no tool call did",
    lowers=Effect(fact=TASK_SUCCESS, change=-1),
    applies=_applies,
    alter_reply=_alter,
)
