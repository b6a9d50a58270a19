"""The questions the agent asks. They name the act and what it is done to, so that an answer is clear."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from agent_runtime.simulation.provider.brain import words
from agent_runtime.simulation.provider.brain.understanding import sentences
from agent_runtime.simulation.provider.brain.words import Act

YES_NO: Final = "(yes/no)"
_CONFIRMS: Final = (
    (Act.CANCEL, re.compile(r"Shall I cancel order (LK-\d{5,8})")),
    (
        Act.REFUND,
        re.compile(r"The refund for .{1,600}? of order LK-\d{5,8} is \$(?P<amount>\d+\.\d\d)\. Shall I refund"),
    ),
    (Act.CLOSE, re.compile(r"Shall I close your account")),
    (Act.PERSON, re.compile(r"Shall I (?:(?:pass|hand) this (?:on )?to|bring in) a person")),
    (Act.TICKET, re.compile(r"Shall I open a ticket")),
)


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question of ours. `confirms` is the act that a yes agrees to; None: it asked for something missing."""

    text: str
    confirms: Act | None = None
    order_id: str | None = None
    amount_usd: str | None = None


def question_in(text: str) -> Question | None:
    """Finds the question with which one of our replies ends, None when it asks nothing."""
    for act, pattern in _CONFIRMS:
        found = pattern.search(text)
        if found:
            orders = words.ORDER_ID.search(found[0])
            amount = found.groupdict().get("amount")
            return Question(
                text=found[0], confirms=act, order_id=f"LK-{orders[1]}" if orders else None, amount_usd=amount
            )
    asks = any(part.endswith("?") and "anything else" not in part for part in sentences(text))
    return Question(text=text) if asks else None
