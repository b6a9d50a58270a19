"""The simulated model's mind and the shop, without the runtime between them: what a session comes to by itself.

No guardrail, no cap, no retry but the one after a timeout: a fault must show in the goal here, and the runtime's own
parts are tested elsewhere.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from agent_runtime.errors import BackendRefused, BackendTimeout
from agent_runtime.records import Parameters
from agent_runtime.simulation import shop_orders
from agent_runtime.simulation.backend import Shop
from agent_runtime.simulation.documents import every_version
from agent_runtime.simulation.faults.table import alter_reply, altered_backend, altered_documents, altered_parameters
from agent_runtime.simulation.goals import Outcome, outcome
from agent_runtime.simulation.plans import Cast, chance_of
from agent_runtime.simulation.proposal import Message, Proposal, ProposedCall
from agent_runtime.simulation.provider.brain.brain import propose
from agent_runtime.simulation.scenario import Prepared, cents
from agent_runtime.simulation.transcript import Act, Exchange
from agent_runtime.simulation.users import next_message
from agent_runtime.simulation.world import World
from agent_runtime.tools.backend import Backend
from tests.agent_runtime.dialogues import TOOLS, situation

MOST_STEPS = 12
MOST_REPEATS = 2


@dataclass
class BareAgent:
    """One session's agent. `keep_calls` False forgets a turn's calls at its end, as a history of plain texts does."""

    prepared: Prepared
    backend: Backend
    faults: tuple[str, ...]
    parameters: Parameters
    seed: int = 1
    keep_calls: bool = True

    def __post_init__(self) -> None:
        self.messages: list[Message] = []
        self.n_calls = 0
        documents = altered_documents(self.faults, every_version())
        self.documents = {each.doc_id: each for each in documents}

    def _propose(self, agent: str, tools: frozenset[str]) -> Proposal:
        asked = situation(agent, self.messages, tools, self.prepared.session_id)
        return alter_reply(self.faults, propose(asked, self.seed), asked)

    def turn(self, text: str, approves: bool) -> Exchange:
        """One message to its reply."""
        self.messages.append(Message(role="user", text=text))
        agent = str(self._propose("supervisor", frozenset({"route"})).calls[0].args["agent"])
        n_before = len(self.messages)
        acts: list[Act] = []
        while True:
            proposal = self._propose(agent, TOOLS[agent])
            repeated = [sum(a.tool == c.tool and a.args == c.args for a in acts) for c in proposal.calls]
            if len(acts) >= MOST_STEPS or any(n >= MOST_REPEATS for n in repeated):
                return Exchange(user=text, reply="I cannot go on.", status="limit", acts=tuple(acts))
            if not proposal.calls:
                if not self.keep_calls:
                    del self.messages[n_before:]
                self.messages.append(Message(role="assistant", text=proposal.text))
                return Exchange(user=text, reply=proposal.text, acts=tuple(acts))
            self.messages.append(Message(role="assistant", text=proposal.thought, calls=proposal.calls))
            for call in proposal.calls:
                self.n_calls += 1
                act = self._act(call, f"{self.n_calls}", approves)
                acts.append(act)
                self.messages.append(Message(role="tool", tool=call.tool, result=act.result))

    def _act(self, call: ProposedCall, step: str, approves: bool) -> Act:
        amount = cents(call.args["amount_usd"]) if call.tool == "refund_order" else 0
        if amount > self.parameters.approval_above_usd * 100 and not approves:
            return Act(tool=call.tool, args=call.args, result={"refused": "a person did not approve it"})
        key = f"{self.prepared.session_id}:{step}"
        result: dict[str, Any] = {"error": "timed out twice"}
        for attempt in range(2):
            key = key if self.parameters.idempotent_writes else f"{key}:{attempt}"
            try:
                result = asyncio.run(self.backend.call(call.tool, self.prepared.user_id, call.args, key=key))
                break
            except BackendRefused as refusal:
                result = {"refused": str(refusal)}
                break
            except BackendTimeout:
                continue
        if call.tool.startswith("search_"):
            found = [self.documents[each["id"]] for each in result["documents"]]
            scored = zip(found, result["documents"], strict=True)
            result = {
                "documents": [
                    {"id": d.doc_id, "title": d.title, "text": d.text, "score": r["score"]} for d, r in scored
                ]
            }
        return Act(tool=call.tool, args=call.args, result=result)


def play(
    world: World, prepared: Prepared, chosen: Cast, seed: int = 1, *, keep_calls: bool = True
) -> tuple[Outcome, tuple[Exchange, ...]]:
    """A whole session: what it came to, and what was said."""
    parameters = altered_parameters(chosen.faults, Parameters())
    caps = shop_orders.Caps(
        refund_cents=int(parameters.refund_cap_usd * 100), discount_percent=parameters.discount_cap_percent
    )
    backend = altered_backend(chosen.faults, Shop(world, caps=caps))
    agent = BareAgent(prepared, backend, chosen.faults, parameters, seed, keep_calls)
    transcript: tuple[Exchange, ...] = ()
    while True:
        chance = chance_of(seed, chosen.session_id, len(transcript))
        text = next_message(prepared, chosen.persona, chance, transcript)
        if text is None:
            return outcome(world, prepared, transcript), transcript
        transcript = (*transcript, agent.turn(text, prepared.scenario.approves))
