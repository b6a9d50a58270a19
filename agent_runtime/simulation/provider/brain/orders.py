"""The order agent: which order is meant, its state, cancelling it and sending it elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NoReturn

from agent_runtime.simulation.proposal import ProposedCall
from agent_runtime.simulation.provider.brain import rules
from agent_runtime.simulation.provider.brain.facts import Bought, bought, fitting, orders_in
from agent_runtime.simulation.provider.brain.talk import Talk, refusal_of
from agent_runtime.simulation.provider.brain.words import Act

_ALLOWED_IN: Final = {
    Act.CANCEL: ("processing",),
    Act.ORDER_ADDRESS: ("processing",),
    Act.RETURN: ("delivered",),
    Act.REFUND: ("delivered",),
    Act.DISCOUNT: ("delivered",),
}
_VERBS: Final = {
    Act.CANCEL: "cancel",
    Act.ORDER_ADDRESS: "send elsewhere",
    Act.RETURN: "return",
    Act.REFUND: "have refunded",
    Act.DISCOUNT: "mean",
    Act.CANCEL_RETURN: "mean",
}


def the_order(talk: Talk) -> Bought:
    """Gives the order that is meant, looked up; asks which one when several fit."""
    wish = talk.wish
    if wish.order_id is None:
        found = orders_in(talk.look("find_orders", {"status": ""}, "No order number was given, so I list the orders."))
        if not found:
            talk.say("I can't find any order in your account. Which order number do you mean?")
        fits = fitting(found, wish.said)
        if len(fits) > 1 and wish.act in _ALLOWED_IN:
            fits = [order for order in fits if order.status in _ALLOWED_IN[wish.act]] or fits
        if len(fits) > 1:
            ask_which(talk, fits)
        order_id = fits[0].order_id
    else:
        order_id = wish.order_id
    result = talk.look(
        "get_order", {"order_id": order_id}, f"I look at order {order_id} before I say anything about it."
    )
    why = refusal_of(result)
    if why is not None:
        talk.say(f"I can't find order {order_id} in your account ({why}). Which order number do you mean?")
    return bought({"order_id": order_id, **result})


def ask_which(talk: Talk, orders: list[Bought]) -> NoReturn:
    """Asks which of several orders is meant."""
    listed = "; ".join(f"{order.order_id} ({order.names()}, {order.status})" for order in orders[:6])
    verb = _VERBS.get(talk.wish.act or Act.STATUS, "mean")
    opening = talk.pick("You have several orders", "I see more than one order")
    talk.say(f"{opening}: {listed}. Which order do you {verb if verb == 'mean' else f'want to {verb}'}?")


def status(talk: Talk) -> None:
    """Tells where an order is."""
    order = the_order(talk)
    told = f"Order {order.order_id} ({order.names()}) is {order.status}"
    if order.delivered_on:
        told += f", delivered on {order.delivered_on}"
    late = f" It is {order.late_days} days late." if order.late_days and not order.delivered_on else ""
    if order.late_days and order.delivered_on:
        late = f" It arrived {order.late_days} days late."
    address = f" It goes to {order.address}." if order.address and order.status in ("processing", "shipped") else ""
    talk.say(f"{told}.{late}{address} The total was ${order.total_usd}.")


def list_orders(talk: Talk) -> None:
    """Lists the user's orders."""
    found = orders_in(talk.look("find_orders", {"status": ""}, "The user wants to see the orders."))
    listed = "; ".join(f"{order.order_id} ({order.names()}, {order.status})" for order in found[:10])
    talk.say(f"Your orders: {listed}." if listed else "There is no order in your account.")


def cancel(talk: Talk) -> None:
    """Cancels an order that has not shipped, after a yes."""
    did = talk.did("cancel_order")
    if did is not None and refusal_of(did) is None:
        talk.say(f"Order {did.get('order_id', talk.wish.order_id)} is cancelled. Its payment is released.")
    order = the_order(talk)
    order_id = order.order_id
    if order.status == "cancelled":
        talk.say(f"Order {order_id} is already cancelled; its payment is released.")
    if order.status not in ("processing", ""):
        text = f"Order {order_id} cannot be cancelled: {order.why.get('cancel', f'it is {order.status}')}."
        rules.cannot(talk, text, "cancelling an order once it has shipped")
    call = cancel_call(talk, order)
    facts = f"Order {order_id} ({order.names()}, ${order.total_usd}) has not shipped yet."
    agree(talk, call, facts, f"Shall I cancel order {order_id}?")
    result = talk.do(call.tool, call.args, f"The user said yes, so I cancel {order_id}.")
    done_or_why(
        talk,
        result,
        f"Order {result.get('order_id', order_id)} is cancelled. Its payment is released.",
        "cancelling an order",
    )


def agree(talk: Talk, call: ProposedCall, facts: str, question: str) -> None:
    """Asks for a yes to `call` unless there was one, or it was made in this turn already.

    A call that a guardrail refused as not confirmed is asked for again: the user's yes was not plain enough.
    """
    did = talk.did(call.tool)
    unsure = did is not None and "not confirmed" in str(did.get("refused", ""))
    if not unsure and (did is not None or talk.wish.agreed):
        return
    talk.say(f"{facts} {question} (yes/no)", call)


def done_or_why(talk: Talk, result: Mapping[str, Any], done: str, rule: str) -> NoReturn:
    """Tells that it is done, or why not with the rule that says so."""
    why = refusal_of(result)
    if why is None:
        talk.say(talk.pick(f"Done. {done}", f"{done} Is there anything else I can do?", done))
    rules.cannot(talk, f"I could not do that: {why}.", rule)


def change_address(talk: Talk) -> None:
    """Changes where an order is sent while it has not shipped."""
    order = the_order(talk)
    if order.status not in ("processing", ""):
        why = order.why.get("change_address", f"it is {order.status}")
        text = f"The address of order {order.order_id} cannot be changed: {why}."
        rules.cannot(talk, text, "changing the delivery address of an order that has shipped")
    address = talk.wish.address
    if address is None:
        talk.say("What is the new address? Please give me street, number and town.")
    args = {"order_id": order.order_id, "address": address}
    result = talk.do("change_address", args, f"{order.order_id} has not shipped, so its address can change.")
    done_or_why(
        talk, result, f"The address of order {order.order_id} is changed to {address}.", "changing the delivery address"
    )


def cancel_call(talk: Talk, order: Bought) -> ProposedCall:
    """The call that cancels `order`."""
    args = {"order_id": order.order_id, "reason": talk.wish.reason or "the customer asked"}
    return ProposedCall(tool="cancel_order", args=args)


POLICIES: Final = {Act.STATUS: status, Act.LIST: list_orders, Act.CANCEL: cancel, Act.ORDER_ADDRESS: change_address}
