"""Plays a scenario between a simulated user, the brain and the shop, without the runtime: routing, tools, approval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from random import Random
from typing import Any, Final

from agent_runtime.errors import BackendRefused
from agent_runtime.simulation.backend import Shop
from agent_runtime.simulation.documents import current
from agent_runtime.simulation.proposal import Message, Proposal, ProposedCall, Situation
from agent_runtime.simulation.provider.brain.brain import propose
from agent_runtime.simulation.provider.brain.understanding import content_words
from agent_runtime.simulation.provider.brain.words import STOP
from agent_runtime.simulation.scenario import Prepared, cents
from agent_runtime.simulation.transcript import Act, Exchange, Transcript
from agent_runtime.simulation.users import Persona, next_message

_WRITES: Final = ("cancel_order", "change_address", "refund_order", "apply_discount", "create_return", "cancel_return")
ORDER: Final = frozenset(["find_orders", "get_order", *_WRITES, "search_policy", "escalate"])
ACCOUNT: Final = frozenset(
    ["get_account", "update_email", "update_address", "reset_password", "close_account", "search_policy", "escalate"]
)
TECHNICAL: Final = frozenset(["run_diagnostic", "create_ticket", "search_help", "search_policy", "escalate"])
TOOLS: Final[Mapping[str, frozenset[str]]] = {
    "order": ORDER,
    "account": ACCOUNT,
    "technical": TECHNICAL,
    "escalation": frozenset({"search_policy", "escalate"}),
}
MOST_STEPS: Final = 10
NOT_APPROVED: Final = "A person did not approve this action. Tell the customer and offer other help."


def situation(agent: str, messages: list[Message], tools: frozenset[str], session_id: str = "s") -> Situation:
    """What the brain sees when `agent` is asked."""
    system = Message(role="system", text=f"Agent: {agent}\nYou work for Larkspur.")
    return Situation(agent=agent, messages=(system, *messages), tools=tools, session_id=session_id)


def routed(messages: list[Message]) -> Mapping[str, Any]:
    """The supervisor's route of a conversation that ends with a user's message."""
    return propose(situation("supervisor", messages, frozenset({"route"})), 0).calls[0].args


@dataclass
class Player:
    """One session. `keep_calls` False forgets tool calls between turns, as a history of plain texts does."""

    shop: Shop
    prepared: Prepared
    keep_calls: bool = True
    n_calls: int = 0

    async def play(self, persona: Persona, seed: int = 0) -> Transcript:
        """The whole session."""
        told: Transcript = ()
        messages: list[Message] = []
        for turn in range(30):
            chance = Random(f"{seed}-{self.prepared.session_id}-{turn}")
            text = next_message(self.prepared, persona, chance, told)
            if text is None:
                return told
            messages.append(Message(role="user", text=text))
            exchange, messages = await self._turn(text, messages)
            told = (*told, exchange)
        raise AssertionError("the session did not end")

    async def _turn(self, text: str, messages: list[Message]) -> tuple[Exchange, list[Message]]:
        agent = str(routed(messages)["agent"])
        history = list(messages)
        acts: list[Act] = []
        for _ in range(MOST_STEPS):
            proposal = propose(situation(agent, messages, TOOLS[agent], self.prepared.session_id), 0)
            if not proposal.calls:
                said = Message(role="assistant", text=proposal.text)
                return (
                    Exchange(user=text, reply=proposal.text, acts=tuple(acts)),
                    [*(messages if self.keep_calls else history), said],
                )
            messages = [*messages, _assistant(proposal)]
            for call in proposal.calls:
                result, answer = await self._call(call)
                acts.append(Act(tool=call.tool, args=call.args, result=result))
                messages.append(Message(role="tool", text=answer, tool=call.tool, result=result))
        raise AssertionError(f"{agent} did not end its turn: {[asdict(act) for act in acts]}")

    async def _call(self, call: ProposedCall) -> tuple[dict[str, Any], str]:
        self.n_calls += 1
        if call.tool in ("search_help", "search_policy"):
            found = {"documents": found_for(call.tool.removeprefix("search_"), call.args["query"])}
            return found, str(found)
        if (
            call.tool == "refund_order"
            and not self.prepared.scenario.approves
            and cents(call.args["amount_usd"]) > 12_000
        ):
            return {"error": NOT_APPROVED}, NOT_APPROVED
        try:
            key = f"{self.prepared.session_id}-{self.n_calls}"
            result = await self.shop.call(call.tool, self.prepared.user_id, call.args, key=key)
        except BackendRefused as refused:
            result = {"refused": str(refused)}
        return result, str(result)


def found_for(kind: str, query: str) -> list[dict[str, Any]]:
    """The four documents that share most words with the query, as a retriever of plain skill would find them."""
    wanted = content_words(query, STOP)
    held = [document for document in current() if document.doc_id.startswith(kind)]
    scored = [(len(wanted & content_words(f"{d.title} {d.text}", STOP)) / max(1, len(wanted)), d) for d in held]
    best = sorted(scored, key=lambda each: (-each[0], each[1].doc_id))[:4]
    return [{"id": d.doc_id, "title": d.title, "text": d.text, "score": score} for score, d in best if score]


def _assistant(proposal: Proposal) -> Message:
    return Message(role="assistant", text=f"Thought: {proposal.thought}", calls=proposal.calls)
