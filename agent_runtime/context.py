"""What one turn knows while it is worked on; handed to the agents as pydantic-ai `deps`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel, Field

from agent_runtime.limits import Spending
from agent_runtime.records import (
    AgentName,
    Document,
    Intent,
    Parameters,
    Release,
    Strategy,
    ToolOutcome,
    TurnInput,
    TurnStatus,
)
from agent_runtime.seams import MessageText


class Route(BaseModel):
    """Where the supervisor sends a message; the arguments of its output tool `route`."""

    agent: AgentName
    intent: Intent
    risk: str = Field(default="low", pattern="^(low|high)$")
    ambiguous: bool = False
    confidence: float = Field(default=1.0, ge=0, le=1)


class PlannedStep(BaseModel):
    """One step of a plan. `args` may name earlier results as `$1.field`; see reasoning/plan.py."""

    tool: str
    args: dict[str, Any] = {}
    precondition: str = ""
    purpose: str = ""
    confidence: float | None = None  # 0..1
    alternatives: list[str] = []


@dataclass
class TurnContext:
    """Mutable; of one turn. `text` is the user's message after the input guardrails."""

    given: TurnInput
    turn_id: str
    index: int
    release: Release
    spending: Spending
    transcript: Sequence[MessageText] = ()  # of the whole session, with what tools answered
    recent: Sequence[MessageText] = ()  # what was said in the turns that fit the context
    text: str = ""
    notes: str = ""  # what memory gave, for the instructions
    route: Route | None = None
    strategy: Strategy | None = None
    approach: str = ""  # chosen by tree of thought
    plan: list[PlannedStep] = field(default_factory=list)
    plan_results: list[dict[str, Any]] = field(default_factory=list)  # of the plan's finished steps, in order
    n_plans: int = 0
    problem: str = ""  # why the plan failed, until it is undone and planned anew
    messages: bytes = b"[]"  # of this turn so far, as pydantic-ai writes them
    documents: list[Document] = field(default_factory=list)
    outcomes: list[ToolOutcome] = field(default_factory=list)
    decisions: dict[str, bool] = field(default_factory=dict)  # call id -> approved by a person
    parent: str = ""  # traceparent of the turn's first span
    ended: tuple[TurnStatus, str, str, str] | None = None  # it failed so; what it did may still have to be undone
    resumed: bool = False

    @property
    def agent(self) -> AgentName:
        """Who works on it."""
        return self.route.agent if self.route else AgentName.SUPERVISOR

    @property
    def parameters(self) -> Parameters:
        """Of its release."""
        return self.release.parameters

    def did(
        self,
        tool: str,
        args: Mapping[str, Any],
        result: Mapping[str, Any],
        key: str | None = None,
        replayed: bool = False,
    ) -> None:
        """Notes a tool call."""
        self.outcomes.append(ToolOutcome(tool=tool, args=args, result=result, key=key, replayed=replayed))


_WORKING: Final[ContextVar[TurnContext | None]] = ContextVar("turn", default=None)


@contextmanager
def working_on(turn: TurnContext) -> Iterator[None]:
    """Says which turn a model is asked for by a part that does not know turns: memory's summariser."""
    token = _WORKING.set(turn)
    try:
        yield
    finally:
        _WORKING.reset(token)


def worked_on() -> TurnContext | None:
    """The turn of `working_on`."""
    return _WORKING.get()
