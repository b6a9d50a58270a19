"""Whether an answer may be given that rests on documents alone: below the threshold it is "I don't know"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agent_runtime.records import AgentName, Decision, Risk
from agent_runtime.retrieval.grounding import cited, sentences, states_policy
from agent_runtime.seams import Check, Retriever, Stage, Verdict
from agent_runtime.tools.table import TOOLS

I_DO_NOT_KNOW: Final = "I don't know: our policies and help pages do not answer this. Shall I bring in a person?"


def rests_on_searches(asked: Check) -> bool:
    """Whether a reply has nothing but searches to stand on.

    Only they were made; or the technical agent has made no call at all and states a policy, other than one that an
    earlier reply of the session cited.
    """
    tools = [TOOLS[outcome.tool] for outcome in asked.outcomes if outcome.tool in TOOLS]
    if tools:
        return all(tool.index and tool.risk is Risk.READ for tool in tools)
    if asked.agent is not AgentName.TECHNICAL or not any(map(states_policy, sentences(asked.text))):
        return False
    earlier = {doc_id for each in asked.transcript if each.role == "assistant" for doc_id in cited(each.text)}
    return not earlier.intersection(cited(asked.text))


@dataclass(frozen=True)
class Grounded:
    """`output.grounding`: asked where `rests_on_searches`."""

    retriever: Retriever
    name: str = "grounding"
    stage: Stage = Stage.OUTPUT

    def check(self, asked: Check) -> Verdict:
        """Rewrites a reply that its documents do not support."""
        threshold = asked.parameters.grounding_threshold
        found = self.retriever.ground(asked.text, asked.documents, threshold)
        reason = f"score {found.score:.2f}, threshold {threshold:g}"
        if found.grounded:
            return Verdict(reason=reason)
        return Verdict(decision=Decision.REWRITE, reason=reason, text=I_DO_NOT_KNOW)
