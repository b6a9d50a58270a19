"""Who answers a message: one question to the supervisor, never the user's tools."""

from __future__ import annotations

from typing import Final

from agent_runtime.ask import Asker, Question
from agent_runtime.context import Route, TurnContext

_ROUTE: Final = Question(
    agent="supervisor",
    instructions=(
        "You route the last message of a customer of Larkspur, a shop for outdoor gear.\n"
        "order: orders, deliveries, returns, refunds, discounts. account: e-mail, address, password, closing it.\n"
        "technical: trouble with gear, and questions about policies. escalation: asks for a person, threats, abuse.\n"
        "risk is high when money moves or something cannot be undone; ambiguous when it could mean several things."
    ),
    tool="route",
    answer=Route,
    what="Says who answers.",
)


async def route(asker: Asker, turn: TurnContext) -> Route:
    """Gives the route of the turn's message. Raises ModelFailed, LimitReached."""
    return await asker.ask(_ROUTE, turn.recent, turn.text, turn.release, turn.spending)
