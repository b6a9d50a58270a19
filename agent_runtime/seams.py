"""Where memory, retrieval and guardrails plug into a turn: three protocols and the values they hand over.

The turn (turn.py) opens the spans `memory recall`, `memory store` and `guardrail STAGE.NAME` around these calls and
writes their answers on them; `retrieve INDEX` spans are the retriever's own. All are made once and shared by every
turn at the same time, so none keeps a turn's state in itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from agent_runtime.records import AgentName, Decision, Document, Parameters, ToolOutcome, TurnInput, TurnResult


class Horizon(StrEnum):
    """How far back a remembered piece comes from."""

    CONTEXT = "context"  # pinned facts and summary of this session
    SESSION = "session"  # summaries of earlier sessions
    PROFILE = "profile"  # what is known of the user


@dataclass(frozen=True, kw_only=True)
class ContextPiece:
    """One remembered text that goes before the model. `score` is 0..1, after similarity and decay; `at` when it was
    last said, None where nobody knows."""

    piece_id: str
    horizon: Horizon
    text: str
    score: float = 1.0
    at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Recalled:
    """What memory gives to a turn: pieces, best first."""

    pieces: Sequence[ContextPiece] = ()


@dataclass(frozen=True, kw_only=True)
class TurnRecord:
    """A finished turn as memory sees it. `at` is UTC."""

    given: TurnInput
    result: TurnResult
    at: datetime


class Summarise(Protocol):
    """Asks the summariser model; the runtime hands one to memory."""

    async def __call__(self, text: str) -> str:
        """Gives a summary of `text`, shorter than it. Raises ModelFailed."""
        ...


class Memory(Protocol):
    """The three horizons. Everything is of one tenant and one user; nothing of another user is ever given."""

    async def recall(self, given: TurnInput, parameters: Parameters, now: datetime) -> Recalled:
        """Gives what is worth telling the model about this user, session and text; empty when nothing is."""
        ...

    async def fit(self, messages: Sequence[MessageText], given: TurnInput, parameters: Parameters) -> Fitted:
        """Says how many of the oldest `messages` are left away to stay under `parameters.context_tokens`.

        `Fitted.summary` then stands for them; zero left away and "" when all fit.
        """
        ...

    async def remember(self, turn: TurnRecord, parameters: Parameters) -> int:
        """Keeps what is worth keeping of a finished turn; gives how many pieces were written."""
        ...

    async def forget(self, tenant: str, user_id: str) -> Mapping[str, int]:
        """Deletes everything of a user; gives rows deleted by store name."""
        ...

    async def forget_topic(self, tenant: str, user_id: str, topic: str) -> Mapping[str, int]:
        """Deletes what is remembered of a user about a topic; gives rows deleted by store name. Raises InvalidInput."""
        ...

    async def expire(self, now: datetime) -> Mapping[str, int]:
        """Deletes what has expired at `now`, of everybody; gives rows deleted by store name."""
        ...


@dataclass(frozen=True, kw_only=True)
class MessageText:
    """One earlier message of the session as plain text; `role` is user, assistant or tool."""

    role: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """How a session's messages fit the context: the oldest `n_left_away` are replaced by `summary`."""

    n_left_away: int = 0
    summary: str = ""


@dataclass(frozen=True, kw_only=True)
class Grounding:
    """How well an answer stands on documents: `score` 0..1, the ids it cites, and those it cites that do not exist."""

    score: float
    cited: Sequence[str] = ()
    unknown: Sequence[str] = ()
    grounded: bool = True


class Retriever(Protocol):
    """Search over the indexes `help` and `policy`."""

    async def search(self, index: str, query: str, tenant: str, k: int = 4) -> Sequence[Document]:
        """Gives up to `k` documents of this tenant, best first, scored 0..1. Raises InvalidInput: no such index."""
        ...

    def ground(self, answer: str, documents: Sequence[Document], threshold: float) -> Grounding:
        """Measures how much of `answer` the documents support; `grounded` is score >= threshold."""
        ...


class Stage(StrEnum):
    """Where in a turn a guardrail stands."""

    INPUT = "input"
    GENERATION = "generation"  # what the model wrote beside its tool calls, before they are made
    OUTPUT = "output"
    ACTION = "action"


@dataclass(frozen=True, kw_only=True)
class Check:
    """What a guardrail looks at. `text` is the user's message (input), what the model wrote beside
    its calls and their arguments (generation), the answer (output) or the user's message again (action).

    `transcript` is the session's plain text before this turn's text, oldest first, with what tools answered. An
    action's confirmation is looked up there: the last assistant text is the question, the user's text its answer.
    `tool` and `args` are set at the action stage, `documents` and `outcomes` hold what the turn has read and done so
    far.
    """

    given: TurnInput
    text: str
    parameters: Parameters
    transcript: Sequence[MessageText] = ()
    agent: AgentName | None = None
    tool: str | None = None
    args: Mapping[str, Any] = field(default_factory=dict)
    documents: Sequence[Document] = ()
    outcomes: Sequence[ToolOutcome] = ()


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A guardrail's answer. `text` replaces the checked text on rewrite and is told to the user on block."""

    decision: Decision = Decision.ALLOW
    reason: str = ""
    text: str | None = None


class Guardrail(Protocol):
    """One rule. `name` is a short word; spans and tests call it `STAGE.NAME`. Pure: no clock, no I/O, no state."""

    @property
    def name(self) -> str:
        """E.g. `injection`, `pii`, `citations`, `confirmation`."""
        ...

    @property
    def stage(self) -> Stage:
        """Where it stands."""
        ...

    def check(self, asked: Check) -> Verdict:
        """Decides. A block at the action stage refuses the call with {"refused": reason}; the turn goes on."""
        ...
