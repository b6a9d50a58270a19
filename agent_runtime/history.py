"""The sessions' finished turns in memory, so that a turn does not read its whole session from the disk again.

Each agent has a context of its own: of another agent's turns it is told what was said, not what their tools answered.
"""

from __future__ import annotations

import json
import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from agent_runtime.checkpoints import Checkpoints, Past
from agent_runtime.records import AgentName, TurnInput
from agent_runtime.seams import Fitted, MessageText

_log = logging.getLogger(__name__)
_MOST_SESSIONS: Final = 2048


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """A finished turn of `agent`: `texts` are its messages in words, `messages` as the model had them."""

    texts: tuple[MessageText, ...]
    messages: Sequence[ModelMessage]
    agent: AgentName | None

    @property
    def said(self) -> tuple[MessageText, ...]:
        """Without the tools."""
        return tuple(text for text in self.texts if text.role != "tool")


class Histories:
    """Least recently used sessions are dropped and read again when they come back."""

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints
        self._sessions: OrderedDict[tuple[str, str], list[Exchange]] = OrderedDict()

    async def of(self, given: TurnInput) -> list[Exchange]:
        """The session's exchanges, oldest first; not to be changed."""
        key = (given.tenant, given.session_id)
        if key not in self._sessions:
            past = await self._checkpoints.past(*key)
            self._sessions[key] = [each for each in map(_read, past) if each is not None]
            if len(self._sessions) > _MOST_SESSIONS:
                self._sessions.popitem(last=False)
        self._sessions.move_to_end(key)
        return self._sessions[key]

    def add(self, given: TurnInput, done: Exchange) -> None:
        """Adds a turn that was just finished."""
        known = self._sessions.get((given.tenant, given.session_id))
        if known is not None:
            known.append(done)

    def forget(self) -> None:
        """Drops everything; the disk has it."""
        self._sessions.clear()


def _read(past: Past) -> Exchange | None:
    try:
        return exchange(past.said, past.reply, past.messages, past.agent)
    except ValidationError:
        _log.warning("the messages of an earlier turn cannot be read and are left away")
        return None


def exchange(said: str, reply: str, messages: bytes, agent: AgentName | None) -> Exchange:
    """Reads a finished turn. Raises pydantic's ValidationError."""
    read = ModelMessagesTypeAdapter.validate_json(messages)
    results = [part.content for m in read for part in m.parts if isinstance(part, ToolReturnPart)]
    tools = (MessageText(role="tool", text=json.dumps(results, ensure_ascii=False, default=str)),) if results else ()
    texts = (MessageText(role="user", text=said), *tools, MessageText(role="assistant", text=reply))
    return Exchange(texts=texts, messages=read, agent=agent)


def kept(past: Sequence[Exchange], fitted: Fitted) -> list[Exchange]:
    """The turns that fit; one of which any message is left away is left away whole."""
    seen = 0
    found = []
    for each in past:
        if seen >= fitted.n_left_away:
            found.append(each)
        seen += len(each.texts)
    return found


def as_told(past: Sequence[Exchange], agent: AgentName) -> list[ModelMessage]:
    """The turns as messages for `agent`: its own with their tool calls, of others what was said."""
    messages: list[ModelMessage] = []
    for each in past:
        if each.agent is agent:
            messages.extend(each.messages)
        else:
            said, reply = each.said
            messages += [ModelRequest(parts=[UserPromptPart(said.text)]), ModelResponse(parts=[TextPart(reply.text)])]
    return messages


def closed(messages: bytes, text: str, reply: str) -> bytes:
    """The turn's messages, ending in `reply`; calls that were never answered are left away."""
    read = ModelMessagesTypeAdapter.validate_json(messages)
    if not read:
        read = [ModelRequest(parts=[UserPromptPart(text)])]
    last = read[-1]
    if isinstance(last, ModelResponse):
        if not any(isinstance(p, ToolCallPart) for p in last.parts) and last.text == reply:
            return messages
        read.pop()
    return ModelMessagesTypeAdapter.dump_json([*read, ModelResponse(parts=[TextPart(reply)])])
