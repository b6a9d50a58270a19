"""What the simulated model is about to answer, before a planted fault changes it. A fault of seam `model` gives a
pure function `(Proposal, Situation) -> Proposal`; `faults.table.alter_reply` applies those of a session in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class ProposedCall:
    """One tool call; `args` are JSON values."""

    tool: str
    args: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """An answer of the model: calls (the turn goes on) or text alone (the turn ends).

    `thought` is the line beside the calls, without its "Thought:" mark. `asks` are the calls that `text` asks the
    user to confirm: empty unless the text is such a question. The last three say how the wire answers: the model's
    name in the response (None: the one asked for), time added before the first byte, and tokens added to the usage.
    """

    text: str = ""
    thought: str = ""
    confidence: float | None = None
    alternatives: tuple[str, ...] = ()
    calls: tuple[ProposedCall, ...] = ()
    asks: tuple[ProposedCall, ...] = ()
    model: str | None = None
    delay_ms: float = 0.0
    extra_input_tokens: int = 0


@dataclass(frozen=True, kw_only=True)
class Message:
    """One message the model was given. A `tool` message names its tool and holds the result, as an object."""

    role: Literal["system", "user", "assistant", "tool"]
    text: str = ""
    calls: tuple[ProposedCall, ...] = ()
    tool: str | None = None
    result: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What the model sees when it answers: who it is (first line of the instructions), what was said, its tools."""

    agent: str
    messages: tuple[Message, ...]
    tools: frozenset[str]
    session_id: str

    @property
    def is_specialist(self) -> bool:
        """Whether this request is answered to the user; the supervisor's, a planner's or a critic's is not."""
        return self.agent in {"order", "account", "technical", "escalation"}

    def of_turn(self) -> tuple[Message, ...]:
        """The messages after the user's last one."""
        for position in range(len(self.messages) - 1, -1, -1):
            if self.messages[position].role == "user":
                return self.messages[position + 1 :]
        return self.messages

    def user_texts(self) -> tuple[str, ...]:
        """What the user said, oldest first."""
        return tuple(message.text for message in self.messages if message.role == "user")
