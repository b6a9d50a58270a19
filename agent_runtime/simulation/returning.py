"""Customers who come back: what memory knows of them from an earlier talk, which nobody plays."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from agent_runtime.records import Intent, Parameters, TurnInput, TurnResult, TurnStatus
from agent_runtime.seams import Memory, TurnRecord
from agent_runtime.simulation.plans import Cast, chance_of

_SHARE: Final = 0.4
_DAYS: Final = (1.5, 45.0)  # ago
_SAID: Final = {
    Intent.ORDER: "When will my order arrive? I prefer delivery to a pickup point.",
    Intent.REFUND: "I want a refund for boots that do not fit. My boot size is 43.",
    Intent.ACCOUNT: "Please change the address of my account. I live in Boulder now.",
    Intent.TECHNICAL: "My stove does not light in the cold. I use the small Ember stove in winter.",
    Intent.POLICY: "How long can I return unused items? I mostly speak German.",
}


async def came_before(memory: Memory, chosen: Cast, user: tuple[str, str], seed: int, now: datetime) -> bool:
    """Lets memory know of an earlier session of a user (tenant, id); whether she had one is chance."""
    chance = chance_of(seed, "came before", chosen.session_id)
    text = _SAID.get(chosen.scenario.intent)
    if text is None or chance.random() >= _SHARE:
        return False
    tenant, user_id = user
    earlier = f"before-{user_id}"
    told = TurnInput(session_id=earlier, user_id=user_id, text=text, message_id=f"{earlier}:0", tenant=tenant)
    result = TurnResult(
        session_id=earlier,
        turn_id=earlier,
        index=0,
        status=TurnStatus.ANSWERED,
        reply="",
        agent=None,
        strategy=None,
        trace_id="0" * 32,
    )
    at = now - timedelta(days=chance.uniform(*_DAYS))
    await memory.remember(TurnRecord(given=told, result=result, at=at), Parameters())
    return True
