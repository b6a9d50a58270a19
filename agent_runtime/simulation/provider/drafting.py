"""From a request to an answer: ask the brain, let the planted faults alter what it proposes, fit it to the request."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import orjson

from agent_runtime.simulation.proposal import Message as Said
from agent_runtime.simulation.proposal import Proposal, ProposedCall, Situation
from agent_runtime.simulation.provider.asked import Asked, Call, Choice, Message, Offered, RequestRefused
from agent_runtime.simulation.provider.brain.brain import propose
from agent_runtime.simulation.provider.brain.judging import JUDGES, verdict
from agent_runtime.simulation.provider.brain.naming import NAMERS, named
from agent_runtime.simulation.provider.brain.schemas import filled
from agent_runtime.simulation.provider.drafted import Drafted, Stop
from agent_runtime.simulation.provider.embeddings import MODELS as EMBEDDING_MODELS
from agent_runtime.simulation.provider.latency import MODEL_PREFIX
from agent_runtime.simulation.provider.tokens import count_tokens, cut_to_tokens

CONTEXT_TOKENS: Final = 128_000
_PER_CALL_TOKENS: Final = 12

Alter = Callable[[Proposal, Situation, str], Proposal]  # the third is the release's name


def draft(asked: Asked, seed: int, alter: Alter | None, created: int) -> tuple[Drafted, Proposal]:
    """Answers a request. Raises RequestRefused: no simulated model, or more than the context holds."""
    if not asked.model.startswith(MODEL_PREFIX):
        raise RequestRefused(
            f"The model '{asked.model:.80}' does not exist here: this provider is simulated and has only sim- models",
            status=404,
            param="model",
            code="model_not_found",
        )
    if asked.model in EMBEDDING_MODELS:
        said = f"{asked.model} is an embedding model: it is asked at POST /v1/embeddings"
        raise RequestRefused(said, status=404, param="model", code="model_not_found")
    input_tokens = asked.input_tokens()
    if input_tokens > CONTEXT_TOKENS:
        raise RequestRefused(
            f"This model's maximum context length is {CONTEXT_TOKENS} tokens, the messages have {input_tokens}",
            param="messages",
            code="context_length_exceeded",
        )
    situation = situation_of(asked)
    proposal = _fit(asked, propose(situation, seed), seed)
    if alter is not None:
        proposal = alter(proposal, situation, asked.release)
    return _drafted(asked, proposal, seed, input_tokens + proposal.extra_input_tokens, created), proposal


def situation_of(asked: Asked) -> Situation:
    """Gives what the brain and the faults may see."""
    spoken = tuple(_said(message) for message in asked.messages)
    system = (Said(role="system", text=asked.instructions),) if asked.instructions else ()
    tools = asked.tool_names() if asked.choice is not Choice.NONE else frozenset()
    if asked.must_call is not None:
        tools = frozenset({asked.must_call})
    return Situation(
        agent=_agent(asked.instructions), messages=system + spoken, tools=tools, session_id=asked.session_id
    )


def _agent(instructions: str) -> str:
    for line in instructions.splitlines():
        mark, _, name = line.partition(":")
        if mark.strip() == "Agent":
            return name.strip().lower()
    return ""


def _said(message: Message) -> Said:
    calls = tuple(ProposedCall(tool=call.tool, args=call.args) for call in message.calls)
    result = _result(message.text) if message.role == "tool" else {}
    return Said(role=message.role.value, text=message.text, calls=calls, tool=message.tool or None, result=result)


def _result(text: str) -> Mapping[str, Any]:
    try:
        result = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {"error": text[:500]}
    return result if isinstance(result, dict) else {"result": result}


def _fit(asked: Asked, proposal: Proposal, seed: int) -> Proposal:
    """Makes the proposal obey tool_choice and response_format, as a provider's own decoding would."""
    if asked.wants_json and not proposal.calls:
        wanted = asked.output_schema or Offered(name="output")
        text = orjson.dumps(_structured(asked, wanted, seed)).decode()
        return replace(proposal, text=text, thought="", asks=())
    if asked.choice is Choice.REQUIRED and not proposal.calls:
        tool = next((t for t in asked.tools if asked.must_call in (None, t.name)), None)
        if tool is not None:
            return Proposal(
                thought=proposal.thought, calls=(ProposedCall(tool=tool.name, args=_structured(asked, tool, seed)),)
            )
    return proposal


def _structured(asked: Asked, wanted: Offered, seed: int) -> dict[str, Any]:
    """What the brain says when it is offered `wanted` as its only tool, else any object the schema allows. A judge's
    brain is its own, and a namer's."""
    said_by_user = [message.text for message in asked.messages if message.role == "user"]
    special = None
    if asked.model.startswith(JUDGES):
        special = verdict(asked.model, wanted.schema, said_by_user, seed)
    elif asked.model.startswith(NAMERS):
        special = named(wanted.schema, said_by_user)
    if special is not None:
        return special
    situation = replace(situation_of(asked), tools=frozenset({wanted.name}))
    for call in propose(situation, seed).calls:
        if call.tool == wanted.name:
            return dict(call.args)
    said = next((message.text for message in reversed(asked.messages) if message.role == "user"), "")
    return filled(wanted.schema, f"{seed}\0{asked.session_id}\0{said}")


def _drafted(asked: Asked, proposal: Proposal, seed: int, input_tokens: int, created: int) -> Drafted:
    digest = hashlib.blake2b(f"{seed}\0{asked.digest()}".encode(), digest_size=12).hexdigest()
    calls = tuple(
        Call(call_id=f"call_sim_{digest[:18]}{index:02d}", tool=call.tool, args=call.args)
        for index, call in enumerate(proposal.calls)
    )
    content = content_of(proposal)
    stop = Stop.CALLS if calls else Stop.END
    called_tokens = sum(_PER_CALL_TOKENS + count_tokens(str(call.args)) for call in calls)
    if asked.max_tokens is not None and count_tokens(content) + called_tokens > asked.max_tokens:
        content, calls, stop = cut_to_tokens(content, asked.max_tokens), (), Stop.LENGTH
        called_tokens = 0
    return Drafted(
        model=proposal.model or asked.model,
        content=content,
        calls=calls,
        stop=stop,
        input_tokens=input_tokens,
        output_tokens=max(1, count_tokens(content) + called_tokens),
        digest=digest,
        created=created,
    )


def content_of(proposal: Proposal) -> str:
    """Gives the text on the wire: the thought line beside calls, the text alone otherwise."""
    if not proposal.calls or not proposal.thought:
        return proposal.text
    facts = []
    if proposal.confidence is not None:
        facts.append(f"confidence {proposal.confidence:.2f}")
    if proposal.alternatives:
        facts.append(f"alternatives: {', '.join(proposal.alternatives)}")
    line = f"Thought: {proposal.thought}" + (f" ({'; '.join(facts)})" if facts else "")
    return f"{line}\n{proposal.text}" if proposal.text else line
