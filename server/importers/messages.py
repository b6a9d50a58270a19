"""Records of a conversation as it was recorded: messages, calls, what the simulated user did, and turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Call:
    """A tool call somebody asked for; `arguments` is JSON text."""

    id: str | None
    name: str
    arguments: str


@dataclass(frozen=True, kw_only=True)
class ToolResult:
    """What makes a message the answer to a call: which one, whose, and whether it failed."""

    call_id: str | None
    by_user: bool
    is_error: bool


@dataclass(frozen=True, kw_only=True)
class Message:
    """One message of a recorded conversation, whatever benchmark it comes from. `at_ns`: when it was complete."""

    role: str  # system, user, assistant or tool
    text: str | None
    at_ns: int
    calls: tuple[Call, ...] = ()
    result: ToolResult | None = None  # set iff role is tool
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    has_usage: bool = False
    finish_reason: str | None = None
    reasoning: str | None = None
    retries: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ModelCall:
    """One agent message: it saw the first `n_history` messages of the conversation."""

    index: int
    message: Message
    start_ns: int
    n_history: int


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """The `position`-th call of agent message `index`, with its result if there is one."""

    index: int
    position: int
    call: Call
    start_ns: int
    end_ns: int
    result: Message | None


Step = ModelCall | ToolCall


@dataclass(frozen=True, kw_only=True)
class UserActivity:
    """What the simulated user did before a turn: its texts, and its own model and tool calls."""

    texts: tuple[str, ...] = ()
    costs_usd: tuple[float, ...] = ()
    input_tokens: int = 0
    output_tokens: int = 0
    calls: tuple[Mapping[str, object], ...] = ()

    def and_message(self, message: Message, text: str | None) -> UserActivity:
        """With one more message; `text` is what the agent gets to read of it."""
        return UserActivity(
            texts=(*self.texts, text) if text is not None else self.texts,
            costs_usd=self.costs_usd if message.cost_usd is None else (*self.costs_usd, message.cost_usd),
            input_tokens=self.input_tokens + (message.input_tokens or 0),
            output_tokens=self.output_tokens + (message.output_tokens or 0),
            calls=(
                *self.calls,
                *({"id": call.id, "name": call.name, "arguments": call.arguments} for call in message.calls),
            ),
        )

    def and_result(self, message: Message) -> UserActivity:
        """With the result of one of its tool calls."""
        call_id = message.result.call_id if message.result else None
        answered = [
            {**call, "result": message.text} if call["id"] == call_id and "result" not in call else call
            for call in self.calls
        ]
        return replace(self, calls=tuple(answered))

    def merged(self, later: UserActivity) -> UserActivity:
        """Both activities as one, without the later one's texts."""
        return UserActivity(
            texts=self.texts,
            costs_usd=(*self.costs_usd, *later.costs_usd),
            input_tokens=self.input_tokens + later.input_tokens,
            output_tokens=self.output_tokens + later.output_tokens,
            calls=(*self.calls, *later.calls),
        )


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A user's message and all the agent did until the user spoke again. `history` is shared by all turns."""

    index: int  # of the message it starts with
    start_ns: int
    user: UserActivity
    history: Sequence[str]
    steps: tuple[Step, ...] = ()
    closing: str | None = None

    @property
    def end_ns(self) -> int:
        """When the last step was complete; the start for a turn without steps."""
        return max([self.start_ns, *(_end_of(step) for step in self.steps)])


def _end_of(step: Step) -> int:
    return step.message.at_ns if isinstance(step, ModelCall) else step.end_ns
