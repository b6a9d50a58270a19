"""The three texts of a session: intent, actions, outcome. Pure.

Each begins with what tells most, since embedders read a beginning only (MiniLM 256 tokens, some 1,000 characters).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final

from clustering.cleaning import cleaned, shortened
from clustering.signs import shown_arguments
from clustering.told import Called, Told

MOST_CHARS: Final = 2_000  # of a facet
FIRST_MESSAGE: Final = 1_200
FURTHER_MESSAGE: Final = 300
LAST_WORDS: Final = 300  # of the agent's last message
MOST_SIGNS: Final = 3  # those that say most: the others mostly follow from them
_MOST_CALLS: Final = 40
_MOST_DOCUMENTS: Final = 6


def intent_of(told: Told) -> str:
    """What the user asked: the first message, then the further ones, each shortened, none twice."""
    texts = told.said_by("user")
    shown = [cleaned(text, FIRST_MESSAGE if number == 0 else FURTHER_MESSAGE) for number, text in enumerate(texts)]
    return _joined(shown)


def actions_of(told: Told) -> str:
    """What the agent did, turn by turn: its tools in order with repeats counted, which documents were read, which
    agents took part, and what it said last."""
    parts = [_of_turn(turn, list(calls)) for turn, calls in groupby(told.calls[:_MOST_CALLS], lambda one: one.turn)]
    if not parts and (told.models or told.messages):
        parts = ["no tool was called"]
    documents = list(dict.fromkeys(name for found in told.retrieved for name in found))[:_MOST_DOCUMENTS]
    shown = [cleaned(name, 60) for name in documents]
    agents = list(dict.fromkeys(told.agents))[:_MOST_DOCUMENTS]
    parts += [f"documents: {', '.join(shown)}"] if shown else []
    parts += [f"agents: {', '.join(cleaned(name, 40) for name in agents)}"] if agents else []
    answers = told.said_by("assistant")
    parts += [cleaned(answers[-1], LAST_WORDS)] if answers else []
    return _joined(parts)


def outcome_of(signs: Sequence[str]) -> str:
    """How it went: the signs, those that say most first, a line each. Empty for a session that shows none."""
    return _joined(signs[:MOST_SIGNS])


def _of_turn(turn: int, calls: list[Called]) -> str:
    steps = []
    for said, same in groupby(_said(call) for call in calls):
        n = sum(1 for _ in same)
        steps.append(said if n == 1 else f"{said} {n} times")
    return f"turn {turn + 1}: {', then '.join(steps)}"


def _said(call: Called) -> str:
    arguments = shown_arguments(call.arguments)
    named = f"{call.name} ({arguments})" if arguments else call.name
    return f"{named} failed" if call.error else named


def _joined(parts: Iterable[str]) -> str:
    """The parts that say something, each once, a line each."""
    return shortened("\n".join(dict.fromkeys(part for part in parts if part)), MOST_CHARS)
