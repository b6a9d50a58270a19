"""Tree of thought: several approaches to an unclear or high-stakes request, rated by a critic; the best is followed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

from pydantic import BaseModel, Field
from pydantic_ai import DeferredToolRequests
from pydantic_ai.messages import ModelMessage

from agent_runtime.ask import Asker, Question
from agent_runtime.context import TurnContext
from agent_runtime.errors import ModelFailed
from agent_runtime.reasoning.react import Loop, measured, react
from agent_runtime.records import Strategy


class Option(BaseModel):
    """One way to go about a request; `score` 0 (harmful) to 1 (best)."""

    approach: Annotated[str, Field(min_length=1, max_length=500)]
    score: Annotated[float, Field(ge=0, le=1)]
    why: str = ""


class Options(BaseModel):
    """The arguments of the critic's output tool `rate_options`."""

    options: Annotated[list[Option], Field(min_length=1, max_length=8)]


_APPROACHES: Final = (
    "ask the customer which of several things is meant",
    "look up the facts first, then propose one action and ask for a yes",
    "do what the customer has already confirmed",
    "explain why it cannot be done and what can",
    "hand the case to a person",
)
_CRITIC: Final = Question(
    agent="critic",
    instructions=(
        "Rate each approach to the customer's last message; add one if a better one is missing. Score 0..1: right "
        "outcome first, then no harm that cannot be undone, then few questions.\nApproaches:\n"
        + "\n".join(f"- {approach}" for approach in _APPROACHES)
    ),
    tool="rate_options",
    answer=Options,
    what="Rates the approaches.",
)


async def weigh_then_react(
    loop: Loop, asker: Asker, turn: TurnContext, history: Sequence[ModelMessage]
) -> str | DeferredToolRequests:
    """Weighs once per turn (a resumed turn keeps its choice), then follows the best approach step by step."""
    if not turn.approach:
        await _weigh(loop, asker, turn)
        await loop.save(turn)
    return await react(loop, turn, history)


async def _weigh(loop: Loop, asker: Asker, turn: TurnContext) -> None:
    number = turn.spending.reasoned()
    attributes = {"assay.step.index": number, "assay.step.strategy": Strategy.TREE.value}
    with loop.telemetry.span(f"step {number}", attributes) as span, measured(span, turn.documents):
        try:
            rated = await asker.ask(_CRITIC, turn.recent, turn.text, turn.release, turn.spending)
        except ModelFailed as error:  # without a critic the specialist goes on alone
            span.record_exception(error)
            return
        best, *others = sorted(rated.options, key=lambda option: -option.score)
        turn.approach = best.approach
        span.set_attribute("assay.step.thought", f"{best.approach}: {best.why}" if best.why else best.approach)
        span.set_attribute("assay.step.confidence", best.score)
        span.set_attribute("assay.step.alternatives", [f"{other.approach} ({other.score:.2f})" for other in others])
