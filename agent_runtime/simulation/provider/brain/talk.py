"""One turn as the policies see it: what is wanted, which tools there are, and what they have answered so far.

A policy is written straight on: `look` and `do` give a tool's result if this turn has it, and otherwise end the
policy by raising `Next` with the call that fetches it; the next request comes back with the result.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from agent_runtime.simulation.proposal import Message, Proposal, ProposedCall, Situation
from agent_runtime.simulation.provider.brain.conversation import Wish

MOST_SAME_CALLS: Final = 3


class Next(Exception):
    """The proposal that this request is answered with."""

    def __init__(self, proposal: Proposal) -> None:
        super().__init__(proposal.thought or proposal.text)
        self.proposal = proposal


@dataclass(frozen=True, kw_only=True)
class Done:
    """A call of this turn and what it gave."""

    tool: str
    args: Mapping[str, Any]
    result: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Talk:
    """What a policy may look at. `salt` decides between equal wordings."""

    agent: str
    wish: Wish
    tools: frozenset[str]
    done: tuple[Done, ...] = ()
    salt: str = ""
    situation: Situation | None = field(default=None, repr=False)

    def look(self, tool: str, args: Mapping[str, Any], thought: str, *, confidence: float = 0.9) -> Mapping[str, Any]:
        """Gives the result of a read with these arguments. Raises Next: it has to be called first."""
        same = [done for done in self.done if done.tool == tool]
        for done in reversed(same):
            if dict(done.args) == dict(args) or len(same) >= MOST_SAME_CALLS:
                return done.result
        raise Next(self._call(tool, args, thought, confidence))

    def do(self, tool: str, args: Mapping[str, Any], thought: str, *, confidence: float = 0.95) -> Mapping[str, Any]:
        """Gives the result of a write, whatever its arguments: no write is made twice in a turn. Raises Next."""
        found = self.did(tool)
        if found is not None:
            return found
        raise Next(self._call(tool, args, thought, confidence))

    def did(self, tool: str) -> Mapping[str, Any] | None:
        """Gives the last result of a tool in this turn, None when it was not called."""
        return next((done.result for done in reversed(self.done) if done.tool == tool), None)

    def say(self, text: str, *asks: ProposedCall) -> NoReturn:
        """Ends the turn with `text`; `asks` are the calls that it asks the user to agree to."""
        raise Next(Proposal(text=text, asks=asks))

    def pick(self, *wordings: str) -> str:
        """Chooses a wording by hash."""
        hashed = hashlib.blake2b("\0".join((self.salt, *wordings)).encode("utf-8", "replace"), digest_size=4).digest()
        return wordings[int.from_bytes(hashed, "big") % len(wordings)]

    def _call(self, tool: str, args: Mapping[str, Any], thought: str, confidence: float) -> Proposal:
        if tool not in self.tools:
            return Proposal(text="That is not something I can do here. Shall I pass this to a person? (yes/no)")
        others = tuple(sorted(self.tools - {tool}))
        alternatives = (others[len(thought) % len(others)],) if others else ()
        call = ProposedCall(tool=tool, args=dict(args))
        return Proposal(thought=thought, confidence=confidence, alternatives=alternatives, calls=(call,))


def done_in(messages: Sequence[Message]) -> tuple[Done, ...]:
    """Pairs the calls of a turn with their results, in order."""
    waiting: list[ProposedCall] = []
    found: list[Done] = []
    for message in messages:
        waiting += message.calls
        if message.role != "tool":
            continue
        call = next((c for c in waiting if message.tool in (None, c.tool)), None)
        if call is not None:
            waiting.remove(call)
            found.append(Done(tool=call.tool, args=call.args, result=message.result))
        elif message.tool is not None:
            found.append(Done(tool=message.tool, args={}, result=message.result))
    return tuple(found)


def refusal_of(result: Mapping[str, Any]) -> str | None:
    """Says why a tool did nothing, None when it did what was asked."""
    for name in ("refused", "error", "denied"):
        if name in result:
            return str(result[name])[:300] or name
    return None
