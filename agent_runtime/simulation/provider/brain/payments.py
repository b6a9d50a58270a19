"""The order agent where money or goods go back: refunds, discounts, returns."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_DOWN, Decimal
from typing import Any, Final

from agent_runtime.simulation.proposal import ProposedCall
from agent_runtime.simulation.provider.brain import rules, words
from agent_runtime.simulation.provider.brain.facts import CENT, Bought, Piece, chosen_pieces, money
from agent_runtime.simulation.provider.brain.orders import agree, cancel_call, done_or_why, the_order
from agent_runtime.simulation.provider.brain.talk import Talk, refusal_of
from agent_runtime.simulation.provider.brain.words import Act

_WHICH: Final = "Which item do you want to"
_ASK_CAP_ABOVE: Final = Decimal(100)  # below it no policy sends a refund to a person
_CAPPED: Final = ("cap", "above the", "limit", "exceed")
_CAUSES: Final = (
    ("damaged", words.DAMAGED),
    ("late", words.LATE),
    ("wrong size", words.WRONG_SIZE),
)


def pieces_of(talk: Talk, order: Bought, verb: str) -> tuple[Piece, ...]:
    """Gives the items that are meant; asks once when the words name none of several."""
    asked = talk.wish.asked
    said = asked.text if talk.wish.agreed and asked else talk.wish.said
    pieces = chosen_pieces(order, said, talk.wish.item_ids)
    if not pieces and asked and _WHICH in asked.text:
        if talk.wish.last.amount_usd and talk.wish.act is Act.REFUND:  # asked about again, with items and amount
            return order.pieces
        talk.say(f"I can't tell which item of order {order.order_id} that is. Shall I pass this to a person? (yes/no)")
    if not pieces:
        listed = "; ".join(f"{piece.name} (${piece.price_usd})" for piece in order.pieces)
        talk.say(f"Order {order.order_id} has: {listed}. {_WHICH} {verb}, or everything?")
    return pieces


def refund(talk: Talk) -> None:
    """Refunds items at the price that was paid, after a yes; what the cap forbids goes to a person."""
    order = the_order(talk)
    _may_refund(talk, order)
    _insists(talk, order)
    pieces = pieces_of(talk, order, "have refunded")
    cause = reason_in(talk.situation.user_texts() if talk.situation else ())
    amount = amount_of(talk, order, pieces, cause)
    names = ", ".join(piece.name for piece in pieces)
    if amount <= 0:
        why = _why_not(order, pieces)
        rules.cannot(talk, f"I cannot refund the {names} of order {order.order_id}: {why}.", f"refund {why}")
    _within_cap(talk, order, amount)
    args = {"order_id": order.order_id, "item_ids": [piece.item_id for piece in pieces], "amount_usd": str(amount)}
    call = ProposedCall(tool="refund_order", args={**args, "reason": cause})
    facts = f"The refund for {names} of order {order.order_id} is ${amount}."
    agree(talk, call, facts, f"Shall I refund that for order {order.order_id}?")
    result = talk.do(call.tool, call.args, f"The user agreed, so I refund {amount} USD of {order.order_id}.")
    why_not = refusal_of(result)
    if why_not is None:
        paid = result.get("refunded_usd", result.get("amount_usd", amount))
        talk.say(f"I have refunded ${paid} for {names} of order {order.order_id}. It goes to your payment method.")
    if any(word in why_not.lower() for word in _CAPPED):
        _over_cap(talk, order, amount, why_not)
    if "did not approve" in why_not:  # the rest of it is for the model
        talk.say(f"Sorry, a colleague did not approve the refund for order {order.order_id}. Can I help otherwise?")
    rules.cannot(talk, f"I could not refund order {order.order_id}: {why_not}.", f"refund {why_not}")


def _may_refund(talk: Talk, order: Bought) -> None:
    if talk.did("refund_order") is not None:
        return
    if order.status == "cancelled":
        talk.say(f"Order {order.order_id} is cancelled and its payment was released, so nothing is left to refund.")
    if order.status == "processing":
        text = f"Order {order.order_id} ({order.names()}) has not shipped, so I can cancel it and release its payment."
        talk.say(f"{text} Shall I cancel order {order.order_id}? (yes/no)", cancel_call(talk, order))
    if order.why.get("refund"):
        why = order.why["refund"]
        rules.cannot(talk, f"Order {order.order_id} cannot be refunded: {why}.", "returning items days after delivery")


def _insists(talk: Talk, order: Bought) -> None:
    """An answer to a question of ours that wants more than the whole order can give back is told so at once."""
    wanted = money(talk.wish.last.amount_usd)
    most = sum((piece.refundable_usd for piece in order.pieces), Decimal(0))
    if talk.wish.asked is None or wanted is None or not 0 < most < wanted or talk.did("refund_order") is not None:
        return
    _within_cap(talk, order, wanted)
    talk.say(f"I cannot refund ${wanted} for order {order.order_id}: what was paid and can go back is ${most}.")


def _why_not(order: Bought, pieces: tuple[Piece, ...]) -> str:
    if any(piece.final_sale for piece in pieces):
        return "items marked final sale cannot be returned or refunded"
    return order.why.get("refund", "nothing is left to refund")


def _within_cap(talk: Talk, order: Bought, amount: Decimal) -> None:
    """A refund above the amount that the policy leaves to an agent is a person's, before anything is promised."""
    if amount <= _ASK_CAP_ABOVE or talk.did("refund_order") is not None or "search_policy" not in talk.tools:
        return
    found = rules.search(
        talk, "search_policy", "how much can a support agent refund", "A large refund: who may give it?"
    )
    caps = [int(n) for document in found for n in words.CAP.findall(str(document["text"]))]
    if caps and amount > caps[0]:
        _over_cap(talk, order, amount, f"above {caps[0]} USD a person handles it")


def _over_cap(talk: Talk, order: Bought, amount: Decimal, why: str) -> None:
    text = f"I may not refund ${amount} of order {order.order_id} myself: {why}."
    rules.hand_over(talk, f"Refund of {amount} USD wanted for order {order.order_id}", "refund above the cap", text)


def amount_of(talk: Talk, order: Bought, pieces: tuple[Piece, ...], cause: str) -> Decimal:
    """Gives what was paid for the pieces, or less when the user asked for less; 0 when nothing is due."""
    due = sum((piece.refundable_usd for piece in pieces), Decimal(0))
    if due == 0 and cause == "damaged" and not order.why.get("refund"):
        listed = sum((piece.price_usd for piece in order.pieces), Decimal(0))
        price = sum((piece.price_usd for piece in pieces), Decimal(0))
        due = (price * order.total_usd / listed).quantize(CENT, ROUND_DOWN) if listed else Decimal(0)
    wanted = money(talk.wish.amount_usd) if talk.wish.amount_usd else None
    return wanted if wanted is not None and 0 < wanted < due else due


def reason_in(said: tuple[str, ...]) -> str:
    """Names the cause of a refund in a word."""
    text = " ".join(said)
    return next((cause for cause, pattern in _CAUSES if pattern.search(text)), "the customer asked")


def discount(talk: Talk) -> None:
    """Gives the discount that a policy names for a late order, and no other."""
    order = the_order(talk)
    did = talk.did("apply_discount")
    why = order.why.get("discount") if did is None else None
    late = order.late_days > 0 and not why
    query = "discount for a delivery days late" if late or order.late_days else "discounts by support for a cause"
    found = rules.search(talk, "search_policy", query, "Only a policy grants a discount, so I read it.")
    rule = _rule_of_percent(found) if late else (found[0] if found else None)
    due = words.PERCENT.search(str(rule["text"])) if rule and late else None
    if rule is None or due is None:
        text = f"I cannot give a discount on order {order.order_id}: {why or 'no policy names a cause for it'}."
        talk.say(f"{text} {rules.quoted(rule)}" if rule else text)
    percent, reason = int(due[1]), f"{order.late_days} days late"
    args = {"order_id": order.order_id, "percent": percent, "reason": reason}
    result = talk.do("apply_discount", args, f"{order.order_id} was {reason} and the policy says {percent} percent.")
    why = refusal_of(result)
    if why is not None:
        talk.say(f"I could not give a discount on order {order.order_id}: {why}. {rules.quoted(rule)}")
    given = result.get("percent", percent)
    talk.say(f"I have applied a discount of {given} percent to order {order.order_id}. {rules.quoted(rule)}")


def _rule_of_percent(found: list[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The document that grants a percentage for lateness."""
    late = [document for document in found if "late" in str(document["text"]).lower()]
    return next((document for document in late if words.PERCENT.search(str(document["text"]))), None)


def make_return(talk: Talk) -> None:
    """Opens a return for delivered items."""
    order = the_order(talk)
    if talk.did("create_return") is None:
        _may_return(talk, order)
    pieces = pieces_of(talk, order, "return")
    names = ", ".join(piece.name for piece in pieces)
    if talk.did("create_return") is None and any(piece.final_sale for piece in pieces):
        rules.cannot(talk, f"The {names} cannot be returned.", "items marked final sale")
    args = {"order_id": order.order_id, "item_ids": [piece.item_id for piece in pieces]}
    result = talk.do("create_return", args, f"{order.order_id} is delivered, so a return can be opened.")
    number = f" {result['return_id']}" if result.get("return_id") else ""
    done = f"Return{number} for {names} of order {order.order_id} is created; we e-mail you the label."
    done_or_why(talk, result, done, "returning items")


def _may_return(talk: Talk, order: Bought) -> None:
    if order.status == "processing":
        text = f"Order {order.order_id} has not shipped, so there is nothing to send back yet, but I can cancel it."
        talk.say(f"{text} Shall I cancel order {order.order_id}? (yes/no)", cancel_call(talk, order))
    if order.why.get("return"):
        why = order.why["return"]
        rules.cannot(talk, f"Order {order.order_id} cannot be returned: {why}.", "returning items days after delivery")


def cancel_return(talk: Talk) -> None:
    """Withdraws a return; finds it through its order when its number is not given."""
    return_id, did = talk.wish.return_id, talk.did("cancel_return")
    if return_id is None and did is None:
        order = the_order(talk)
        if not order.return_ids:
            talk.say(f"I see no open return for order {order.order_id}. Which return number do you mean?")
        return_id = order.return_ids[0]
    result = talk.do("cancel_return", {"return_id": return_id}, f"The user keeps the items, so I withdraw {return_id}.")
    done_or_why(talk, result, f"Return {result.get('return_id', return_id)} is cancelled.", "returning items")


POLICIES: Final = {
    Act.REFUND: refund,
    Act.DISCOUNT: discount,
    Act.RETURN: make_return,
    Act.CANCEL_RETURN: cancel_return,
}
