"""What one message says: its act and what it names. Pure; the same text is always understood the same."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from agent_runtime.simulation.provider.brain import words
from agent_runtime.simulation.provider.brain.words import Act

MOST_CHARS = 4_000


@dataclass(frozen=True, kw_only=True)
class Understood:
    """A message. `act` None: none was recognised. Lists keep the order of the text."""

    text: str
    act: Act | None = None
    yes: bool = False
    no: bool = False
    angry: bool = False
    injection: bool = False
    question: bool = False
    order_ids: tuple[str, ...] = ()
    item_ids: tuple[str, ...] = ()
    return_ids: tuple[str, ...] = ()
    sku: str | None = None
    email: str | None = None
    address: str | None = None
    amount_usd: str | None = None
    percent: int | None = None
    reason: str | None = None


@lru_cache(maxsize=4096)
def understand(text: str) -> Understood:
    """Understands one message of a user, in English; of a very long one its first 4,000 characters."""
    said = text[:MOST_CHARS]
    emails = words.EMAIL.findall(said)
    percent = words.PERCENT.search(said)
    amount = words.AMOUNT.search(said)
    sku = words.SKU.search(said)
    reason = words.BECAUSE.search(said)
    return Understood(
        text=said,
        act=act_of(said),
        yes=bool(words.YES.search(said)) and not words.NO.search(said),
        no=bool(words.NO.search(said)),
        angry=bool(words.ANGRY.search(said)),
        injection=bool(words.INJECTION.search(said)),
        question=any(words.QUESTION.search(part) for part in sentences(said)),
        order_ids=_unique(f"LK-{number}" for number, _ in words.ORDER_ID.findall(said)),
        item_ids=_unique(f"LK-{number}{item}" for number, item in words.ORDER_ID.findall(said) if item),
        return_ids=_unique(found.upper() for found in words.RETURN_ID.findall(said)),
        sku=sku[0].upper() if sku else None,
        email=emails[-1].rstrip(".") if emails else None,
        address=address_of(said),
        amount_usd=(amount[1] or amount[2]) if amount else None,
        percent=int(percent[1]) if percent else None,
        reason=reason[1].strip() if reason else None,
    )


def act_of(text: str) -> Act | None:
    """Names what a text wants, None when it is nothing known. Of several acts the more particular one."""
    if words.INJECTION.search(text):
        return Act.INJECTION
    parts = sentences(text)
    found = _first_act(parts)
    if words.SKU.search(text) and words.SYMPTOM.search(text) and found in (None, Act.HELP, Act.STATUS, Act.DIAGNOSE):
        return Act.DIAGNOSE
    if asks_rules(text, parts) and found is not Act.PERSON:
        sure = words.SURELY_POLICY.search(text)
        return found if found in (Act.HELP, Act.DIAGNOSE) and not sure else Act.POLICY
    if found is not None:
        return found
    if words.COMPLEX.search(text):
        return Act.PERSON
    for act, pattern in ((Act.THANKS, words.THANKS), (Act.BYE, words.GOODBYE)):
        if pattern.search(text):
            return act
    if any(words.QUESTION.search(part) and len(content_words(part)) > 1 for part in parts):
        return Act.POLICY
    return Act.GREET if words.GREETING.search(text) else None


def _first_act(parts: list[str]) -> Act | None:
    for act, pattern in words.ACTS:
        if any(pattern.search(part) for part in parts):
            return act
    return None


def asks_rules(text: str, parts: list[str]) -> bool:
    """Whether a text asks about the rules and not about something of the user's own."""
    if words.SURELY_OWN.search(text):
        return False
    asking = [part for part in parts if words.QUESTION.search(part)]
    if any(words.SURELY_POLICY.search(part) for part in asking):
        return True
    return any(words.POLICY.search(part) for part in asking) and not words.OWN.search(text)


def sentences(text: str) -> list[str]:
    """Splits a text into sentences with their marks; a point inside a number or address splits nothing."""
    return [part for part in re.split(r"(?<=[.!?])\s+|\n+", text.strip()) if part]


def question_of(text: str) -> str:
    """Gives the sentences that ask about rules, else those that ask anything, else the whole text."""
    asking = [part for part in sentences(text) if words.QUESTION.search(part)]
    telling = [part for part in asking if words.SURELY_POLICY.search(part) or words.POLICY.search(part)]
    return " ".join(telling or asking) or text


def address_of(text: str) -> str | None:
    """Finds a postal address: a house number and a street, up to the end of the sentence."""
    found = words.STREET.search(words.ORDER_ID.sub("#", text))
    if found is None:
        return None
    return found[1] or found[2].title()


def content_words(text: str, empty: frozenset[str] = words.EMPTY) -> frozenset[str]:
    """Gives the words that tell things apart, lower case and cut to their stems."""
    found = re.findall(r"[a-z][a-z0-9-]+", text.lower())
    return frozenset(_stem(word) for word in found if word not in empty and len(word) > 2)


@lru_cache(maxsize=8192)
def _stem(word: str) -> str:
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word.removesuffix(ending)
            break
    if len(word) > 3 and word[-1] == word[-2]:
        word = word[:-1]
    return word.removesuffix("e").removesuffix("y").removesuffix("i")


def _unique(found: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(found))
