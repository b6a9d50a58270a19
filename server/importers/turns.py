"""Which messages of a recorded conversation belong to which turn, and when each call ran. Pure functions.

A message's `at_ns` is when it was complete, so a call runs from the message before it to its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from server.importers import genai
from server.importers.messages import Call, Message, ModelCall, Step, ToolCall, Turn, UserActivity
from server.importers.turn_spans import assistant_message


def turns_of(messages: Sequence[Message], *, start_ns: int) -> tuple[list[Turn], str | None]:
    """The turns in order, and the scripted greeting that came before them, if there was one."""
    walk = _Walk(at_ns=start_ns)
    for index, message in enumerate(messages):
        walk.take(index, message)
    return walk.end(), walk.greeting


@dataclass(kw_only=True)
class _Walk:
    """The state of one pass over the messages."""

    at_ns: int
    history: list[str] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    greeting: str | None = None
    pending: UserActivity = field(default_factory=UserActivity)
    pending_from: tuple[int, int] | None = None  # index and time of the first user text that waits for a reply
    current: Turn | None = None
    waiting: dict[tuple[int, int], tuple[Call, int]] = field(default_factory=dict)
    anyone_spoke: bool = False

    def take(self, index: int, message: Message) -> None:
        match message.role:
            case "user":
                self._close()
                self._user(index, message)
            case "assistant":
                self._agent(index, message)
            case "tool":
                self._result(index, message)
            case _:
                self.history.append(genai.message(message.role, [genai.text_part(message.text or "")]))
        self.anyone_spoke = self.anyone_spoke or message.role != "system"
        self.at_ns = message.at_ns

    def end(self) -> list[Turn]:
        self._close()
        closing = "\n\n".join(self.pending.texts) or None
        if self.turns:
            last = self.turns[-1]
            self.turns[-1] = replace(last, closing=closing, user=last.user.merged(self.pending))
        elif self.pending_from:
            self._open(*self.pending_from)
            self._close()
        return self.turns

    def _user(self, index: int, message: Message) -> None:
        heard = None if message.calls else (message.text or "")
        self.pending = self.pending.and_message(message, heard)
        if heard is not None:
            self.pending_from = self.pending_from or (index, message.at_ns)
            self.history.append(genai.message("user", [genai.text_part(heard)]))

    def _agent(self, index: int, message: Message) -> None:
        if not self.anyone_spoke and not message.has_usage and not message.calls:
            self.greeting = message.text
            self.history.append(assistant_message(message, None))
            return
        if self.current is None:
            self._open(*(self.pending_from or (index, self.at_ns)))
        step = ModelCall(index=index, message=message, start_ns=self.at_ns, n_history=len(self.history))
        self._add(step)
        self.history.append(assistant_message(message, None))
        for position, call in enumerate(message.calls):
            self.waiting[index, position] = (call, message.at_ns)

    def _result(self, index: int, message: Message) -> None:
        assert message.result is not None
        if message.result.by_user:
            self.pending = self.pending.and_result(message)
            return
        part: dict[str, object] = {"type": "tool_call_response", "id": message.result.call_id, "response": message.text}
        self.history.append(genai.message("tool", [part]))
        if self.current is None:
            self._open(index, self.at_ns)
        found = next((key for key, (call, _) in self.waiting.items() if call.id == message.result.call_id), None)
        call = (
            self.waiting.pop(found)[0] if found else Call(id=message.result.call_id, name="unknown", arguments="null")
        )
        where = found or (index, 0)
        self._add(
            ToolCall(
                index=where[0],
                position=where[1],
                call=call,
                start_ns=self.at_ns,
                end_ns=message.at_ns,
                result=message,
            )
        )

    def _open(self, index: int, start_ns: int) -> None:
        self.current = Turn(index=index, start_ns=start_ns, user=self.pending, history=self.history)
        self.pending, self.pending_from = UserActivity(), None

    def _add(self, step: Step) -> None:
        assert self.current is not None
        self.current = replace(self.current, steps=(*self.current.steps, step))

    def _close(self) -> None:
        if self.current is None:
            return
        for (index, position), (call, at_ns) in self.waiting.items():
            self._add(ToolCall(index=index, position=position, call=call, start_ns=at_ns, end_ns=at_ns, result=None))
        self.turns.append(self.current)
        self.current = None
        self.waiting.clear()
