"""What is worth keeping of a turn: facts of the user as they say them, and one line about the turn.

Facts are found by patterns, not by a model: the same turn gives the same facts. Nothing is kept from a message with
signs of an injection: what is remembered is shown to models in later sessions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agent_runtime.guardrails.injection import signs
from agent_runtime.records import ToolOutcome
from agent_runtime.seams import TurnRecord

_MOST_FACT: Final = 160  # characters
_MOST_NOTE: Final = 400
# Of these a user has one; a new one replaces the old.
SINGLE: Final = frozenset({"name", "size", "language", "place"})
# How much a fact matters whatever is talked about, 0..1.
WEIGHT: Final[Mapping[str, float]] = {"name": 0.8, "language": 0.8, "preference": 0.4, "size": 0.3}
_END: Final = r"(?=[.,;!?\n]| and | but |$)"
_PATTERNS: Final = tuple(
    (topic, re.compile(pattern + _END, re.IGNORECASE))
    for topic, pattern in (
        ("name", r"\b(?:my name is|call me) (?P<it>[A-Z][\w'’-]*(?: [A-Z][\w'’-]*)?)"),
        ("language", r"\bI (?:only |mostly )?speak (?P<it>[A-Za-z]{4,20})"),
        ("place", r"\bI (?:live|moved) (?:in|to) (?P<it>[A-Z][\w'’-]*(?: [A-Z][\w'’-]*){0,2})"),
        ("size", r"\bmy (?:shoe |boot |jacket |)size is (?P<it>[\w.]{1,8})"),
        ("preference", r"\b(?P<it>I (?:always |usually |really |do not |don['’]t )?(?:prefer|like|love|hate|want only)"
                       r" [^.,;!?\n]{3,100}?)"),
        ("gear", r"\b(?P<it>I (?:own|have|use) (?:a|an|the|two|some) [^.,;!?\n]{3,80}?)"),
        ("health", r"\b(?P<it>I(?: am|['’]m) (?:allergic to|vegan|colou?r-?blind|deaf)[^.,;!?\n]{0,60}?)"),
    )
)  # fmt: skip
_SAID: Final = {"name": "The user's name is {}", "language": "The user speaks {}", "place": "The user lives in {}",
                "size": "The user's size is {}"}  # fmt: skip
_IDS: Final = re.compile(
    r"\b(?:LK-\d{5}|RT-\d{4,8}|TK-\d+|GEAR-\w+)\b|\$\s?\d[\d,]*(?:\.\d{1,2})?|[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
)


@dataclass(frozen=True, kw_only=True)
class Found:
    """A fact of a user: `value` in her words, `text` as a sentence."""

    topic: str
    value: str
    text: str


def facts_in(text: str) -> list[Found]:
    """The facts that a user's message states about her; none from one with signs of an injection."""
    if signs(text):
        return []
    found = []
    for topic, pattern in _PATTERNS:
        for match in pattern.finditer(text):
            value = one_line(match["it"], _MOST_FACT)
            found.append(Found(topic=topic, value=value, text=_SAID.get(topic, 'The user said: "{}"').format(value)))
    return found


def note_of(turn: TurnRecord) -> str:
    """One line about a turn: what was asked, what was done, how it ended."""
    asked = "(a message with signs of an injection)" if signs(turn.given.text) else one_line(turn.given.text, 160)
    done = ", ".join(_act(outcome) for outcome in turn.result.tools if _is_done(outcome))
    parts = [f'asked "{asked}"', f"done: {done}" if done else "", f"ended {turn.result.status.value}"]
    return one_line("; ".join(part for part in parts if part), _MOST_NOTE)


def named(texts: Sequence[str]) -> list[str]:
    """Ids, amounts and e-mail addresses of texts, each once, the ones named last coming last."""
    seen: dict[str, None] = {}
    for text in texts:
        for found in _IDS.findall(text):
            seen.pop(found, None)
            seen[found] = None
    return list(seen)


def one_line(text: str, most: int) -> str:
    """A text without line breaks, cut at `most` characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def _act(outcome: ToolOutcome) -> str:
    about = outcome.args.get("order_id") or outcome.args.get("return_id") or outcome.args.get("sku")
    amount = outcome.args.get("amount_usd")
    return " ".join(str(part) for part in (outcome.tool, about, f"${amount}" if amount else None) if part)


def _is_done(outcome: ToolOutcome) -> bool:
    return not ({"refused", "error"} & outcome.result.keys()) and not outcome.tool.startswith(("search_", "find_"))
