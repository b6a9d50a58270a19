"""ReAct: ask, act, observe, again, until the model answers in text or a person is needed. One step, one span.

The loop is pydantic-ai's; here are its steps, their spans, limits and checkpoints. A checkpoint is taken after the
model's answer and before its tool calls, and after their results, so that a resumed turn repeats neither.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from opentelemetry.trace import Span
from pydantic_ai import Agent, DeferredToolRequests, DeferredToolResults, ModelSettings, ToolDenied
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
)
from pydantic_ai.run import AgentRun

from agent_runtime.agents import SpecialistAgent
from agent_runtime.context import TurnContext
from agent_runtime.errors import ModelFailed
from agent_runtime.models import Models
from agent_runtime.reasoning.thought import read_thought
from agent_runtime.records import Decision, Document
from agent_runtime.seams import Check, Guardrail, Stage
from agent_runtime.stages import pass_stage
from agent_runtime.telemetry import Telemetry

Save = Callable[[TurnContext], Awaitable[None]]
Run = AgentRun[TurnContext, str | DeferredToolRequests]


@dataclass(frozen=True, kw_only=True)
class Loop:
    """What the strategies share: the agents, their models, where checkpoints go."""

    agents: dict[Any, SpecialistAgent]
    models: Models
    telemetry: Telemetry
    save: Save
    guardrails: Sequence[Guardrail] = ()


async def react(loop: Loop, turn: TurnContext, history: Sequence[ModelMessage]) -> str | DeferredToolRequests:
    """Works until the turn's answer, or gives the calls that wait for a person.

    `history` is of earlier turns; `turn.messages` of this one so far (a resumed, approved or planned turn has some).
    Raises LimitReached, ModelFailed (blocked by a guardrail) and pydantic-ai's AgentRunError.
    """
    so_far = ModelMessagesTypeAdapter.validate_json(turn.messages)
    release = turn.release
    async with loop.agents[turn.agent].iter(
        None if so_far else turn.text,
        message_history=[*history, *so_far],
        deferred_tool_results=_decided(turn, so_far),
        conversation_id=turn.given.session_id,
        model=loop.models.of(release),
        model_settings=ModelSettings(temperature=release.parameters.temperature),
        instructions=instructions(turn) or None,
        deps=turn,
    ) as run:
        node = run.next_node
        while not Agent.is_end_node(node):
            if Agent.is_model_request_node(node):
                node = await _step(loop, turn, run, node, len(history))
            else:
                node = await run.next(node)  # the prompt, or calls that an earlier process left
            await _keep(loop, turn, run, len(history), node)
        return node.data.output


def instructions(turn: TurnContext) -> str:
    """What this turn adds to the specialist's instructions."""
    approach = f"Approach chosen for this request: {turn.approach}" if turn.approach else ""
    return "\n".join(part for part in (turn.notes, approach) if part)


def _decided(turn: TurnContext, so_far: Sequence[ModelMessage]) -> DeferredToolResults | None:
    answered = {part.tool_call_id for m in so_far for part in m.parts if isinstance(part, ToolReturnPart)}
    waiting = {call: yes for call, yes in turn.decisions.items() if call not in answered}
    if not waiting:
        return None
    refused = ToolDenied("A person did not approve this action. Tell the customer and offer other help.")
    return DeferredToolResults(approvals={call: True if yes else refused for call, yes in waiting.items()})


async def _step(loop: Loop, turn: TurnContext, run: Run, node: Any, n_history: int) -> Any:
    turn.spending.step()
    number = turn.spending.reasoned()
    with (
        loop.telemetry.span(f"step {number}", {"assay.step.index": number}) as span,
        measured(span, turn.documents),
    ):
        if turn.strategy:
            span.set_attribute("assay.step.strategy", turn.strategy.value)
        if turn.approach:
            span.set_attribute("assay.step.approach", turn.approach)
        node = await run.next(node)
        if Agent.is_call_tools_node(node):
            turn.spending.answered(node.model_response)
            _say_thought(span, node.model_response)
            _guard(loop, turn, node.model_response)
            await _keep(loop, turn, run, n_history, node)
            node = await run.next(node)
    return node


@contextmanager
def measured(span: Span, documents: Sequence[Document]) -> Iterator[None]:
    """Notes on a step's span how long it took and which documents it read, however it ends."""
    started, n_before = time.perf_counter(), len(documents)
    try:
        yield
    finally:
        span.set_attribute("assay.step.documents", [each.doc_id for each in documents[n_before:]])
        span.set_attribute("assay.step.latency_ms", round((time.perf_counter() - started) * 1000, 3))


def _guard(loop: Loop, turn: TurnContext, response: ModelResponse) -> None:
    """Guards calls and what stands beside them; an answer in text has the output stage. Raises ModelFailed."""
    calls = [part for part in response.parts if isinstance(part, ToolCallPart)]
    if not calls:
        return
    texts = [part.content for part in response.parts if isinstance(part, TextPart)]
    guard_written(loop, turn, "\n".join([*texts, *(part.args_as_json_str() for part in calls)]))


def guard_written(loop: Loop, turn: TurnContext, written: str) -> None:
    """Raises ModelFailed when a guardrail blocks what a model wants to do."""
    asked = Check(given=turn.given, text=written, parameters=turn.parameters, agent=turn.agent)
    verdict = pass_stage(loop.telemetry, loop.guardrails, Stage.GENERATION, asked)
    if verdict.decision is Decision.BLOCK:
        raise ModelFailed(f"a guardrail blocked what the model wrote: {verdict.reason}")


def _say_thought(span: Span, response: ModelResponse) -> None:
    """Beside calls all text is the thought; in an answer only what says that it is one."""
    text = "\n".join(part.content for part in response.parts if isinstance(part, TextPart))
    calls = any(isinstance(part, ToolCallPart) for part in response.parts)
    thought = read_thought(text, marked=not calls)
    if thought.text:
        span.set_attribute("assay.step.thought", thought.text)
    if thought.confidence is not None:
        span.set_attribute("assay.step.confidence", thought.confidence)
    if thought.alternatives:
        span.set_attribute("assay.step.alternatives", thought.alternatives)


async def _keep(loop: Loop, turn: TurnContext, run: Run, n_history: int, node: Any) -> None:
    """Notes the messages so far; written down while calls or their results are open, as `finish` writes the answer."""
    messages = run.all_messages()[n_history:]
    if Agent.is_model_request_node(node):  # the results of calls, not sent yet
        messages = [*messages, node.request]
    turn.messages = ModelMessagesTypeAdapter.dump_json(messages)
    if len(messages) > 1 and not Agent.is_end_node(node) and _calls(messages):
        await loop.save(turn)


def _calls(messages: Sequence[ModelMessage]) -> bool:
    return any(isinstance(part, ToolCallPart) for message in messages[-2:] for part in message.parts)
