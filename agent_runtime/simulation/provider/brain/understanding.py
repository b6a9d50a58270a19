"""What one message says: its act and what it names. Pure; the same text is always understood the same."""

from __future__ import annotations

import re
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
        angry=bool(words.ANGRY.search(said)) or _shouts(said),
        injection=bool(words.INJECTION.search(said)),
        question=bool(words.QUESTION.search(said)),
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
    """Names what a text wants, None when it is nothing known."""
    if words.INJECTION.search(text):
        return Act.INJECTION
    if words.QUESTION.search(text) and words.POLICY.search(text) and not words.OWN.search(text):
        found = next((act for act, pattern in words.ACTS if pattern.search(text)), None)
        return found if found in (Act.PERSON, Act.HELP, Act.DIAGNOSE) and not _names_rules(text) else Act.POLICY
    for act, pattern in words.ACTS:
        if pattern.search(text):
            return act
    if words.COMPLEX.search(text):
        return Act.PERSON
    for act, pattern in ((Act.THANKS, words.THANKS), (Act.BYE, words.GOODBYE), (Act.GREET, words.GREETING)):
        if pattern.search(text):
            return act
    return None


def _names_rules(text: str) -> bool:
    return bool(re.search(r"\b(?:polic|warrant|guarantee|how long|how many days|covered)", text, re.IGNORECASE))


def address_of(text: str) -> str | None:
    """Finds a postal address: a house number and a street, up to the end of the sentence."""
    found = words.STREET.search(words.ORDER_ID.sub("#", text))
    return found[1].strip(" .,") if found and " " in found[1].strip() else None


def content_words(text: str) -> frozenset[str]:
    """Gives the words that tell things apart, lower case and without plural s."""
    found = re.findall(r"[a-z][a-z0-9-]+", text.lower())
    return frozenset(word.rstrip("s") for word in found if word not in words.EMPTY and len(word) > 2)


def _shouts(text: str) -> bool:
    letters = [c for c in text if c.isalpha()]
    return (len(letters) > 20 and sum(c.isupper() for c in letters) > 0.7 * len(letters)) or text.count("!") >= 3


def _unique(found: object) -> tuple[str, ...]:
    return tuple(dict.fromkeys(found))  # type: ignore[call-overload]
