"""The requests with a structured answer: where to route, how to plan, how to rate, and the summariser's plain text."""

from __future__ import annotations

import re
from typing import Any, Final

from agent_runtime.simulation.proposal import Proposal, ProposedCall, Situation
from agent_runtime.simulation.provider.brain import accounts, orders, payments, technical
from agent_runtime.simulation.provider.brain.conversation import Wish
from agent_runtime.simulation.provider.brain.understanding import content_words
from agent_runtime.simulation.provider.brain.words import Act

_HIGH_USD: Final = 100
_WRITES: Final = {
    Act.CANCEL: "cancel_order",
    Act.REFUND: "refund_order",
    Act.ORDER_ADDRESS: "change_address",
    Act.DISCOUNT: "apply_discount",
    Act.RETURN: "create_return",
}
_KEPT: Final = re.compile(r"LK-\d+(?:/\d+)?|RT-\d+|TK-\d+|GEAR-\d+|\$\d[\d.]*|[\w.+-]+@[\w.-]+\w|<EMAIL_\d+>")


def route(wish: Wish) -> dict[str, Any]:
    """Gives the supervisor's route."""
    act = wish.act
    agent, intent = "technical", "other"
    if act is Act.PERSON:
        agent = "escalation"
    elif act in orders.POLICIES:
        agent, intent = "order", "order"
    elif act in payments.POLICIES:
        agent, intent = "order", "refund"
    elif act in accounts.POLICIES:
        agent, intent = "account", "account"
    elif act in technical.POLICIES:
        intent = "policy" if act is Act.POLICY else "technical"
    risky = act is Act.CLOSE or (act is Act.REFUND and float(wish.amount_usd or 0) > _HIGH_USD)
    ambiguous = not wish.agreed and not wish.declined and _is_ambiguous(wish)
    confidence = 0.55 if act is None else 0.7 if ambiguous else 0.92
    return {
        "agent": agent,
        "intent": intent,
        "risk": "high" if risky or wish.last.injection else "low",
        "ambiguous": ambiguous,
        "confidence": confidence,
    }


def _is_ambiguous(wish: Wish) -> bool:
    if wish.act is None:
        return bool(wish.last.text)
    if wish.act not in _WRITES or wish.order_id is not None:
        return False
    return not content_words(wish.said) - {"please", "refund", "discount", "address"}


def plan(wish: Wish, failed: bool) -> dict[str, Any]:
    """Gives the planner's steps: what is to be looked up first. After a plan that failed there is none."""
    steps: list[dict[str, Any]] = []
    if failed or wish.act not in orders.POLICIES.keys() | payments.POLICIES.keys():
        return {"steps": steps}
    order_id = wish.order_id
    if order_id is None:
        steps.append(_step("find_orders", {"status": ""}, "", "find the order that is meant"))
    else:
        steps.append(_step("get_order", {"order_id": order_id}, "", "see state, items and price"))
    if wish.act is Act.DISCOUNT:
        steps.append(_step("search_policy", {"query": "late delivery discount"}, "", "see what may be given"))
    return {"steps": steps}


def _step(tool: str, args: dict[str, Any], precondition: str, purpose: str) -> dict[str, Any]:
    return {"tool": tool, "args": args, "precondition": precondition, "purpose": purpose}


def rate(wish: Wish) -> dict[str, Any]:
    """Gives the critic's ratings of the ways there are."""
    known = wish.order_id is not None or wish.act not in _WRITES
    options = [
        (
            "look up the facts first, then propose one action and ask for a yes",
            0.9 if known else 0.75,
            "nothing is done that cannot be undone",
        ),
        (
            "ask the customer which of several things is meant",
            0.4 if known else 0.85,
            "the request may mean several things",
        ),
        ("hand the case to a person", 0.9 if wish.act is Act.PERSON else 0.3, "slow, but safe"),
    ]
    rated = [{"approach": approach, "score": score, "why": why} for approach, score, why in options]
    return {"options": sorted(rated, key=lambda option: -float(str(option["score"])))}


def structured(situation: Situation, wish: Wish) -> Proposal | None:
    """Answers where one of the structured tools is offered; None where none is."""
    if "route" in situation.tools:
        return _call("route", route(wish))
    if "make_plan" in situation.tools:
        told = situation.messages[0].text if situation.messages[0].role == "system" else ""
        return _call("make_plan", plan(wish, "The last plan failed" in told))
    return _call("rate_options", rate(wish)) if "rate_options" in situation.tools else None


def _call(tool: str, args: dict[str, Any]) -> Proposal:
    return Proposal(calls=(ProposedCall(tool=tool, args=args),))


def summary(situation: Situation) -> str:
    """Shortens what it is given: ids and amounts first, then the start of each line, to a third of its length."""
    text = "\n".join(situation.user_texts())
    kept = dict.fromkeys(_KEPT.findall(text))
    most = max(60, min(900, len(text) // 3))
    lines = [" ".join(line.split()[:14]) for line in text.splitlines() if line.strip()]
    about = f"Mentioned: {', '.join(list(kept)[:12])}. " if kept else ""
    return (about + " | ".join(lines))[: most + len(about)].strip() or "Nothing was said yet."
