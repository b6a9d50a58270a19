"""Hard caps: what a tool does not do whatever the model says, and above which a person is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent_runtime.records import Parameters
from agent_runtime.tools.table import money


def over_cap(tool: str, args: Mapping[str, Any], parameters: Parameters) -> dict[str, Any] | None:
    """Gives the refusal of a call above its cap, None when it may go on. `args` are validated."""
    amount = money(args)
    if amount == 0:
        return {"refused": "the amount is zero"}
    if amount is not None and amount > parameters.refund_cap_usd:
        return {"refused": "above the cap", "cap_usd": str(parameters.refund_cap_usd), "asked_usd": str(amount)}
    if tool == "apply_discount" and args["percent"] > parameters.discount_cap_percent:
        return {
            "refused": "above the cap",
            "cap_percent": parameters.discount_cap_percent,
            "asked_percent": args["percent"],
        }
    return None


def needs_person(args: Mapping[str, Any], parameters: Parameters) -> str | None:
    """Says why a person has to approve the call, None when nobody has to."""
    amount = money(args)
    if amount is None or amount <= parameters.approval_above_usd:
        return None
    return f"${amount} is above ${parameters.approval_above_usd}, up to which the agent may act alone"
