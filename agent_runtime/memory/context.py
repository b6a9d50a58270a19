"""Which of a session's messages go before the model, and what stands for those that do not.

The oldest turns are left away whole until the rest fits into three fifths of the budget, so that the next turns fit
too and the summary, once made, is used again. Ids, amounts and addresses that were named, and facts that were pinned,
are never summarised away: they stand before the summary word for word.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agent_runtime.memory.facts import named, one_line
from agent_runtime.seams import MessageText

_CHARS_PER_TOKEN: Final = 4
_PER_MESSAGE: Final = 4  # tokens of its frame
_KEPT_SHARE: Final = 0.6
_SUMMARY_SHARE: Final = 0.2
_MOST_NAMED: Final = 64


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What stands for the first `n` messages; `digest` says which they were."""

    n: int = 0
    digest: str = ""
    text: str = ""


def tokens(text: str) -> int:
    """An estimate, a token per four bytes: never a tokenizer's exact count."""
    return (len(text.encode()) + _CHARS_PER_TOKEN - 1) // _CHARS_PER_TOKEN


def cost(messages: Sequence[MessageText]) -> int:
    """The tokens of messages, with their frames."""
    return sum(tokens(message.text) + _PER_MESSAGE for message in messages)


def digest(messages: Sequence[MessageText]) -> str:
    """Names a sequence of messages."""
    whole = hashlib.blake2b(digest_size=12)
    for message in messages:
        whole.update(f"{message.role}\x1f{message.text}\x1e".encode())
    return whole.hexdigest()


def n_left_away(messages: Sequence[MessageText], budget: int) -> int:
    """How many of the oldest messages go, so that what stays begins a turn and fits into its share of the budget."""
    room = int(budget * _KEPT_SHARE)
    kept = len(messages)
    used = 0
    for position in range(len(messages) - 1, -1, -1):
        used += cost(messages[position : position + 1])
        if used > room:
            break
        if messages[position].role == "user":
            kept = position
    return kept


def still_fits(known: Summary, messages: Sequence[MessageText], budget: int) -> bool:
    """Whether an earlier summary stands for a beginning of these messages and the rest still fits beside it."""
    if not 0 < known.n <= len(messages) or digest(messages[: known.n]) != known.digest:
        return False
    return cost(messages[known.n :]) + int(budget * _SUMMARY_SHARE) <= budget


def pinned_lines(left_away: Sequence[MessageText], pins: Sequence[str]) -> str:
    """What is never summarised away, as text that goes before the summary; "" when there is nothing."""
    names = named([message.text for message in left_away])[-_MOST_NAMED:]
    lines = [f"Pinned: {pin}" for pin in pins]
    if names:
        lines.append("Named: " + ", ".join(names))
    return "\n".join(lines)


def summary_room(budget: int, pinned: str) -> int:
    """Characters that a summary may have beside what is pinned."""
    return max(0, int(budget * _SUMMARY_SHARE) - tokens(pinned)) * _CHARS_PER_TOKEN


def told(earlier: str, messages: Sequence[MessageText]) -> str:
    """What the summariser reads: the summary so far and what came after it."""
    lines = [f"{message.role}: {message.text}" for message in messages]
    return "\n".join([f"Summary so far: {earlier}"] * bool(earlier) + lines)


def extract(earlier: str, messages: Sequence[MessageText], most: int) -> str:
    """A summary without a model: the start of each message of user and assistant, newest kept when room ends."""
    lines = [earlier] * bool(earlier)
    lines += [f"{m.role}: {one_line(m.text, 120)}" for m in messages if m.role != "tool"]
    return cut_front("\n".join(lines), most)


def cut_front(text: str, most: int) -> str:
    """The last characters of a text that fit into `most` bytes."""
    return text.encode()[-most:].decode(errors="ignore") if most else ""


def cut(text: str, most: int) -> str:
    """The first characters of a text that fit into `most` bytes."""
    return text.encode()[:most].decode(errors="ignore")
