"""What was said and done in a session, turn by turn: what users answer to and goals are checked on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent_runtime.records import TurnResult


@dataclass(frozen=True, kw_only=True)
class Act:
    """A tool call of a turn, with its result; a refusal is a result with `refused`."""

    tool: str
    args: Mapping[str, Any] = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether it happened."""
        return "refused" not in self.result and "error" not in self.result


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """A message and its reply. `user` is "" where a turn went on after an approval; `status` is a TurnStatus."""

    user: str
    reply: str
    status: str = "answered"
    acts: tuple[Act, ...] = ()
    trace_id: str = ""


Transcript = tuple[Exchange, ...]


def exchange(user: str, result: TurnResult) -> Exchange:
    """The exchange that a turn of the runtime was."""
    acts = tuple(Act(tool=each.tool, args=each.args, result=each.result) for each in result.tools)
    return Exchange(user=user, reply=result.reply, status=result.status.value, acts=acts, trace_id=result.trace_id)
