"""What the simulated model's mind is asked in tests: who is asked, with which tools, and how a message is routed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from agent_runtime.records import AgentName
from agent_runtime.simulation.proposal import Message, Situation
from agent_runtime.simulation.provider.brain.brain import propose
from agent_runtime.tools.table import TOOLS as TABLE

TOOLS: Final[Mapping[str, frozenset[str]]] = {
    str(agent): frozenset(name for name, tool in TABLE.items() if agent in tool.agents)
    for agent in AgentName
    if agent is not AgentName.SUPERVISOR
}


def situation(agent: str, messages: Sequence[Message], tools: frozenset[str], session_id: str = "s") -> Situation:
    """What the brain sees when `agent` is asked."""
    system = Message(role="system", text=f"Agent: {agent}\nYou work for Larkspur.")
    return Situation(agent=agent, messages=(system, *messages), tools=tools, session_id=session_id)


def routed(messages: Sequence[Message]) -> Mapping[str, Any]:
    """The supervisor's route of a conversation that ends with a user's message."""
    return propose(situation("supervisor", messages, frozenset({"route"})), 0).calls[0].args
