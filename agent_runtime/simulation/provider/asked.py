"""What was asked of the model, free of any provider's dialect. Everything here came from a client: untrusted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from agent_runtime.simulation.provider.tokens import count_tokens


class Role(StrEnum):
    """Whose message it is; instructions are kept apart."""

    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class Choice(StrEnum):
    """Whether the model may, must or must not call a tool."""

    AUTO = "auto"
    REQUIRED = "required"
    NONE = "none"


class RequestRefused(Exception):
    """The request cannot be answered. `status` is HTTP's; `kind`, `param` and `code` are OpenAI's words."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.param = param
        self.code = code
        self.headers = dict(headers or {})


@dataclass(frozen=True, kw_only=True)
class Call:
    """A tool call of an assistant message."""

    call_id: str
    tool: str
    args: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Message:
    """One message. A tool message has the `call_id` it answers and the tool's name, "" if no call has that id."""

    role: Role
    text: str = ""
    calls: tuple[Call, ...] = ()
    call_id: str = ""
    tool: str = ""


def unpaired(messages: Iterable[Message]) -> tuple[set[str], set[str]]:
    """Calls whose results do not follow at once, and results that answer no call: by id, of the first such place."""
    waiting: set[str] = set()
    for message in messages:
        if message.role is not Role.TOOL:
            if waiting:
                break
            waiting = {call.call_id for call in message.calls}
        elif message.call_id not in waiting:
            return set(), {message.call_id}
        waiting.discard(message.call_id)
    return waiting, set()


@dataclass(frozen=True, kw_only=True)
class Offered:
    """A tool the model may call, with its JSON schema."""

    name: str
    schema: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request. `output_schema` wants JSON text of that schema; `must_call` names the only tool allowed.

    `session_id` and `release` come from W3C baggage and never from the prompt; "" when there was none.
    """

    model: str
    instructions: str
    messages: tuple[Message, ...]
    tools: tuple[Offered, ...] = ()
    choice: Choice = Choice.AUTO
    must_call: str | None = None
    output_schema: Offered | None = None
    wants_json: bool = False
    max_tokens: int | None = None
    stream: bool = False
    stream_usage: bool = False
    session_id: str = ""
    release: str = ""

    def tool_names(self) -> frozenset[str]:
        """Gives the names of the tools offered."""
        return frozenset(tool.name for tool in self.tools)

    def input_tokens(self) -> int:
        """Estimates what the whole request costs, tools included: at least 1."""
        spoken = sum(
            4 + count_tokens(m.text) + sum(12 + count_tokens(str(c.args)) for c in m.calls) for m in self.messages
        )
        offered = sum(8 + count_tokens(tool.name) + count_tokens(str(tool.schema)) for tool in self.tools)
        return max(1, count_tokens(self.instructions) + spoken + offered)

    def digest(self) -> str:
        """16 hex digits of who asked what: ids of calls are left out, so that equal dialogues hash alike."""
        hashed = hashlib.blake2b(digest_size=8)
        for text in (self.session_id, self.model, self.instructions):
            hashed.update(text.encode("utf-8", "replace") + b"\0")
        for message in self.messages:
            called = "".join(f"{call.tool}{call.args}" for call in message.calls)
            hashed.update(f"{message.role}\0{message.text}\0{called}\0".encode("utf-8", "replace"))
        return hashed.hexdigest()
