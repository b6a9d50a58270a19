"""Simulated users: they want what their scenario says, in the words of their persona.

A message is a pure function of scenario, persona, chance and transcript. Personas change wording and patience, never
facts. The transcript is folded from its start, so there is no state that could differ from what was said.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random
from typing import Final

from agent_runtime.errors import InvalidInput
from agent_runtime.simulation.scenario import Prepared, Scenario
from agent_runtime.simulation.transcript import Transcript

_SENTENCE_END: Final = re.compile(r"(?<=[.!?:])\s+|\n")  # not the point of an amount
_ELSE: Final = re.compile(
    r"anything else|something else|what else|can i (do|help you with) (for you )?(today|now)", re.I
)
_OPEN: Final = re.compile(
    r"\b(which|what|who|where|how|why|tell me|give me|send me|could i have|may i have|let me know)\b", re.I
)
_CONFIRM: Final = re.compile(
    r"\b(shall i|should i|may i|can i|could i|do you (want|wish|agree|confirm)|would you like|are you sure|"
    r"is (that|this) (right|correct|ok|okay|fine)|please confirm|confirm|go ahead|proceed|okay to|ok to)\b",
    re.I,
)
_PERSON: Final = re.compile(r"\b(person|colleague|human|team member|someone|escalat\w*|hand (it|this|you))\b", re.I)
_REFUSAL: Final = re.compile(r"\b(cannot|can't|can not|not possible|unable|not able|may not|not allowed|sorry)\b", re.I)
_ORDER_ID: Final = re.compile(r"LK-\d{5,}")
_MONEY: Final = re.compile(r"(?<![\d.])(\d+\.\d\d)(?!\d)")
# What an open question is about, most telling words first; each topic is a name in the scenario's facts.
_TOPICS: Final = (
    ("return", re.compile(r"\breturn (number|id)|which return\b", re.I)),
    (
        "order",
        re.compile(r"which (one|order|of (these|them|your orders))|order (number|id)|what order|\border\b.*\?", re.I),
    ),
    ("item", re.compile(r"\b(which|what) (items?|article|part)|\bitems?\b", re.I)),
    ("email", re.compile(r"e-?mail", re.I)),
    ("address", re.compile(r"address|where .*(send|go|deliver|ship)", re.I)),
    ("product", re.compile(r"\bsku\b|GEAR-|product|device|model|article", re.I)),
    ("symptom", re.compile(r"symptom|happen|problem|wrong|describe|notice|fault", re.I)),
    ("reason", re.compile(r"\breason\b|\bwhy\b", re.I)),
)


@dataclass(frozen=True, kw_only=True)
class Persona:
    """How somebody writes. Each opening, answer or yes is put into one of the frames; `{}` is what she has to say."""

    name: str
    frames: tuple[str, ...]
    yes: tuple[str, ...]
    no: str = "No, thank you."
    patience: int = 0  # more or fewer messages than the scenario's
    lower: bool = False


PERSONAS: Final = (
    Persona(name="brief", frames=("{}",), yes=("Yes.", "Yes please."), no="No."),
    Persona(
        name="polite",
        frames=("Hello! {}", "Good morning, may I ask for your help? {}"),
        yes=("Yes, please do.", "Yes, thank you."),
    ),
    Persona(
        name="chatty",
        frames=("Hi there, I hope you are having a nice day! {}", "Hey, we just came back from the mountains. {}"),
        yes=("Yes please, that would be lovely.", "Yes, go ahead, thanks so much."),
        patience=2,
    ),
    Persona(
        name="impatient",
        frames=("{} Quickly please.", "{} I am in a hurry."),
        yes=("Yes.", "Yes, go ahead."),
        patience=-2,
    ),
    Persona(
        name="confused",
        frames=("Sorry, I am new to this. {}", "I hope I am right here. {}"),
        yes=("Yes, I think that is right, please do.", "Yes, please."),
    ),
    Persona(
        name="non_native",
        frames=("Hello dear support. {}", "Excuse my English. {}"),
        yes=("Yes, is correct.", "Yes, do it please."),
    ),
    Persona(
        name="formal",
        frames=("Dear Larkspur team, {}", "To whom it may concern: {}"),
        yes=("Yes, I confirm.", "Yes, I agree."),
    ),
    Persona(name="careless", frames=("{}",), yes=("yes", "yes do it"), no="no thanks", lower=True),
)


def persona_named(name: str) -> Persona:
    """The persona of this name. Raises InvalidInput."""
    for each in PERSONAS:
        if each.name == name:
            return each
    raise InvalidInput(f"there is no persona {name!r}; there are {', '.join(each.name for each in PERSONAS)}")


def next_message(prepared: Prepared, persona: Persona, chance: Random, transcript: Transcript) -> str | None:
    """What the user says next; None when she has what she wanted, or has lost her patience."""
    scenario = prepared.scenario
    n_said = sum(1 for each in transcript if each.user)
    current = _current(scenario, transcript)
    if current >= len(scenario.requests) or n_said >= max(2, scenario.patience + persona.patience):
        return None
    opened = _opened(scenario, transcript, current)
    if not opened:
        return _framed(_one(scenario.requests[current].openings, chance), persona, chance)
    return _answer(scenario, persona, chance, transcript, current)


def is_satisfied(scenario: Scenario, transcript: Transcript) -> bool:
    """Whether every wish was answered in a way that pleased the user."""
    return _current(scenario, transcript) >= len(scenario.requests)


def _current(scenario: Scenario, transcript: Transcript) -> int:
    """Which request is open: each reply can only settle the one that was open when it came."""
    current, opened = 0, False
    for each in transcript:
        opened = opened or bool(each.user)
        if current >= len(scenario.requests) or each.status == "waiting_approval" or not opened:
            continue
        if _settles(scenario, transcript, current, each.reply):
            current, opened = current + 1, False
    return current


def _opened(scenario: Scenario, transcript: Transcript, current: int) -> bool:
    """Whether the open request was said: by the message after the reply that settled the one before it."""
    if not transcript:
        return False
    return current == 0 or _current(scenario, transcript[:-1]) == current


def _settles(scenario: Scenario, transcript: Transcript, current: int, reply: str) -> bool:
    if not re.search(scenario.requests[current].done, reply, re.IGNORECASE):
        return False
    if scenario.changes_mind and not _mind_changed(scenario, transcript):
        return False
    question = _question(reply)
    return not question or bool(_REFUSAL.search(reply) and not _OPEN.search(question))


def _mind_changed(scenario: Scenario, transcript: Transcript) -> bool:
    core = scenario.changes_mind.lower()
    return any(core in each.user.lower() for each in transcript)


def _question(reply: str) -> str:
    """The questions of a reply that want an answer, as one text."""
    asked = [each.strip() for each in _SENTENCE_END.split(reply) if "?" in each]
    return " ".join(each for each in asked if not _ELSE.search(each))


def _answer(scenario: Scenario, persona: Persona, chance: Random, transcript: Transcript, current: int) -> str:
    reply = transcript[-1].reply
    question = _question(reply)
    if _CONFIRM.search(question) and not _OPEN.search(question):
        return _confirmation(scenario, persona, chance, transcript, reply, question)
    told = _facts(scenario, question) or _facts(scenario, reply if not question and _OPEN.search(reply) else "")
    if told:
        return _cased(told, persona)
    return _framed(_one(scenario.requests[current].openings, chance), persona, chance)


def _confirmation(
    scenario: Scenario, persona: Persona, chance: Random, transcript: Transcript, reply: str, question: str
) -> str:
    if _PERSON.search(question):
        return _one(persona.yes, chance) if scenario.wants_person else persona.no
    if scenario.changes_mind and not _mind_changed(scenario, transcript):
        return _cased(scenario.changes_mind, persona)
    meant, named = _meant(scenario), set(_ORDER_ID.findall(reply))
    if meant and named and not meant & named:
        return _cased(f"No, that is not the one. I mean {sorted(meant)[0]}.", persona)
    amounts = {str(call.args["amount_usd"]) for call in scenario.gold_calls("refund_order")}
    if amounts and _MONEY.search(question) and not amounts & set(_MONEY.findall(reply)):
        return _cased(f"No, it should be {sorted(amounts)[0]} USD.", persona)
    return _one(persona.yes, chance)


def _meant(scenario: Scenario) -> set[str]:
    return {str(call.args["order_id"]) for call in scenario.gold if "order_id" in call.args}


def _facts(scenario: Scenario, question: str) -> str:
    """The facts that a question is about. One about an order that also names items is about the order first."""
    told = [scenario.facts[topic] for topic, words in _TOPICS if topic in scenario.facts and words.search(question)]
    return " ".join(dict.fromkeys(told)) if question else ""


def _framed(text: str, persona: Persona, chance: Random) -> str:
    return _cased(_one(persona.frames, chance).replace("{}", text), persona)


def _cased(text: str, persona: Persona) -> str:
    """Small letters for who writes so; ids, addresses and e-mails stay as they are: they are facts."""
    if not persona.lower:
        return text
    return " ".join(word if re.search(r"\d|@|[A-Z].*[A-Z]", word) else word.lower() for word in text.split(" "))


def _one(choices: tuple[str, ...], chance: Random) -> str:
    return choices[chance.randrange(len(choices))]
