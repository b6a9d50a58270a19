"""What customers of the invented shop write, what its tools answer, and what its agent replies: data, nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Topic:
    """One kind of request. Braces in the texts are filled with the session's facts."""

    name: str
    opening: tuple[str, ...]
    tool: str
    arguments: str
    result: str
    reply: tuple[str, ...]
    query: str | None = None
    documents: tuple[str, ...] = ()


TOPICS: Final = (
    Topic(
        name="order_status",
        opening=("Where is my order {order}?", "Hi, order {order} should have been here {day}. What happened to it?"),
        tool="get_order",
        arguments='{{"order_id":"{order}"}}',
        result='{{"order_id":"{order}","item":"{thing}","status":"in transit","carrier":"UPS","expected":"{day}"}}',
        reply=("Your {thing} is on its way with UPS and should reach you {day}.",),
    ),
    Topic(
        name="return",
        opening=(
            "I'd like to send back the {thing} from order {order}, it is too small.",
            "How do I return a {thing}?",
        ),
        tool="create_return_label",
        arguments='{{"order_id":"{order}","reason":"size"}}',
        result='{{"label":"RL-{number}","valid_days":14}}',
        reply=("Done: return label RL-{number} is valid for 14 days. We refund {price} USD once it is back.",),
        query="return policy size exchange",
        documents=(
            "Returns are free within 30 days in unused condition.",
            "Refunds go to the original payment method.",
        ),
    ),
    Topic(
        name="product_advice",
        opening=("Which {thing} is right for a week in the Dolomites?", "Is the {thing} waterproof?"),
        tool="search_catalogue",
        arguments='{{"query":"{thing}","in_stock":true}}',
        result='{{"hits":[{{"name":"{thing} Alto","price":{price},"rating":4.6}},{{"name":"{thing} Light"}}]}}',
        reply=("I would take the {thing} Alto at {price} USD: fully waterproof, rated 4.6 by 212 people.",),
        query="{thing} waterproof rating guide",
        documents=("The Alto line uses a three-layer membrane (20,000 mm).", "The Light line is water-repellent only."),
    ),
    Topic(
        name="address_change",
        opening=("Please send order {order} to 12 Hill Road instead. My mail is {mail}.",),
        tool="update_address",
        arguments='{{"order_id":"{order}","address":"12 Hill Road","contact":"{mail}"}}',
        result='{{"order_id":"{order}","updated":true}}',
        reply=("The new address is noted for order {order}. You get a confirmation by mail.",),
    ),
    Topic(
        name="refund",
        opening=("The {thing} arrived broken and I want my {price} dollars back!", "Refund for order {order}, please."),
        tool="refund",
        arguments='{{"order_id":"{order}","amount_usd":{price}}}',
        result='{{"refund_id":"RF-{number}","status":"pending"}}',
        reply=(
            "I am sorry about the {thing}. Refund RF-{number} over {price} USD is under way, it takes 3 to 5 days.",
        ),
        query="damaged item refund policy",
        documents=("Damaged items are refunded in full or replaced.",),
    ),
)
FOLLOW_UPS: Final = (
    "Are you sure about that?",
    "How long will it take?",
    "Can I also get an invoice? Send it to {mail}.",
    "And what does that cost me?",
    "Thanks! One more thing: do you ship to Norway?",
    "You can call me at (415) 555-0132 if anything changes.",
)
FOLLOW_UP_REPLIES: Final = (
    "Yes, I checked it in our system just now.",
    "Usually two to four working days.",
    "Of course, the invoice is on its way.",
    "Nothing at all, it is covered by our service promise.",
    "We do, shipping to Norway takes about a week.",
    "Noted, thank you.",
)
THINGS: Final = ("rain jacket", "trekking tent", "sleeping bag", "trail shoe", "headlamp", "45 l backpack", "stove")
FIRST_NAMES: Final = (
    "anna",
    "ben",
    "chiara",
    "dmitri",
    "elif",
    "farid",
    "grace",
    "hugo",
    "ines",
    "jonas",
    "kofi",
    "lena",
)
