"""The gold actions of a scenario, played by an agent that always knows what to do: what proves that a goal is right."""

from __future__ import annotations

import json

from agent_runtime.errors import BackendRefused
from agent_runtime.simulation.documents import current
from agent_runtime.simulation.goals import Outcome, outcome
from agent_runtime.simulation.scenario import IRREVERSIBLE, Call, Prepared
from agent_runtime.simulation.transcript import Act, Exchange, Transcript
from agent_runtime.simulation.world import World
from agent_runtime.tools.backend import Backend

_UNKNOWN = "I don't know, I can only help with orders, accounts, gear and our policies."


async def play_gold(prepared: Prepared, backend: Backend) -> Transcript:
    """Does the gold actions in order, asking before the irreversible ones, and tells every result."""
    scenario = prepared.scenario
    told: list[Exchange] = []
    user = scenario.requests[0].openings[0]
    for number, call in enumerate(scenario.gold):
        if call.tool in IRREVERSIBLE:
            told.append(Exchange(user=user, reply=f"Shall I {call.tool.replace('_', ' ')}: {json.dumps(call.args)}?"))
            user = "Yes."
        act = await _done(prepared, backend, call, number)
        told.append(Exchange(user=user, reply=_reply(prepared, act), acts=(act,)))
        user = "And then?"
    return tuple(told) if told else (Exchange(user=user, reply=_UNKNOWN),)


async def gold_outcome(world: World, prepared: Prepared, backend: Backend) -> Outcome:
    """Whether the goal passes after its gold actions."""
    return outcome(world, prepared, await play_gold(prepared, backend))


async def _done(prepared: Prepared, backend: Backend, call: Call, number: int) -> Act:
    key = f"gold:{prepared.session_id}:{number}"
    try:
        result = await backend.call(call.tool, prepared.user_id, call.args, key=key)
    except BackendRefused as refusal:
        result = {"refused": str(refusal)}
    return Act(tool=call.tool, args=call.args, result=result)


def _reply(prepared: Prepared, act: Act) -> str:
    """The result as it is, and after a search the documents that the goal wants cited."""
    if not act.tool.startswith("search_"):
        return json.dumps(dict(act.result)).replace('"final_sale": true', "final sale")
    found = {each["id"] for each in act.result.get("documents", [])}
    cited = [each for each in current() if each.doc_id in found & set(prepared.scenario.goal.cites)]
    return " ".join(f"{each.text} [{each.doc_id}]" for each in cited)
