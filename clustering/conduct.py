"""Signs of conduct: what the agent did against what was said. Pure, and of one session alone.

A call that writes is held against the conversation before it: is it on what was named last, are its figures any that
somebody told, did the agent claim what no call did, or decline and do it all the same. The words that are looked for
are English; where a conversation has none of them there is no sign, which says nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from clustering.cleaning import cleaned
from clustering.told import Called, Spoken, Told
from evaluators import spoken
from evaluators.rules.figures import numbers_of
from evaluators.rules.refusals import declines
from evaluators.rules.wording import sentences
from evaluators.rules.writes import WRITE_VERBS, writes

_MOST_TEXT: Final = 60_000  # characters that are looked at
_MOST_CALLS: Final = 60
_MOST_NAME: Final = 60
_ID: Final = re.compile(r"\b([A-Za-z]{1,6})[-_#]?\d{3,}\b")
_MONEY: Final = re.compile(r"[$€£]\s?(\d[\d,]*(?:\.\d+)?)|\b(\d[\d,]*\.\d\d)\b")
_PERCENT: Final = re.compile(r"\b(\d+(?:\.\d+)?)\s?(?:%|percent\b|per cent\b)")
_FIGURE: Final = re.compile(r"-?\d{1,12}(?:\.\d{1,6})?")
_SMALL: Final = 10  # whole numbers up to it count things, and an agent finds them itself
_HANDS_OVER: Final = re.compile(r"escalat|transfer|hand_?(?:off|over)|ticket|human|person", re.IGNORECASE)
_CLAIM: Final = re.compile(
    r"\b(?:i|we)(?:'ve|\s+have)\s+(?:\w+\s+){0,2}?(?P<done>\w{3,}(?:ed|t|en))\b"
    r"|\b(?:is|are|has\s+been|have\s+been)\s+(?:now\s+|successfully\s+)?(?P<state>\w{3,}(?:ed|t|en))\b",
    re.IGNORECASE,
)
_NOT_SO: Final = re.compile(
    r"\b(?:no|not|never|nothing|none|cannot|\w+n't|if|when|until|unless|once|can|will|must)\b", re.I
)
_TOKEN: Final = re.compile(r"\w+")
_IRREGULAR: Final = {"sent": "send", "made": "make", "paid": "pay", "bought": "buy", "set": "set", "reset": "reset"}
_UNKNOWING: Final = re.compile(
    r"\b(?:i|we)\s+(?:do\s+not|don't|could\s+not|couldn't|cannot|can't)\s+(?:know|find|tell)\b|\bdo(?:es)?\s+not\s+say\b",
    re.IGNORECASE,
)
_WORD: Final = re.compile(r"[^\W\d_]{3,}")
_ALIKE: Final = 0.7  # of the words of two messages, to be the same wish again
_FEWEST_WORDS: Final = 4


def conduct_of(told: Told) -> list[str]:
    """The session's signs of conduct, those that say most first."""
    return list(dict.fromkeys([*_of_writes(told), *_of_claims(told), *_of_answers(told)]))


def took_effect(call: Called) -> bool:
    """Whether a call did what it was made for: no error, and a result that tells neither an error nor a refusal."""
    return call.error is None and not _refusal(call)


def _refusal(call: Called) -> bool:
    found = spoken.parsed(call.result)
    return isinstance(found, dict) and bool(found.get("error") or found.get("refused"))


def _of_writes(told: Told) -> Iterator[str]:
    """Arguments of writes against what was said before them, and writes that were declined in words."""
    results: list[str] = []
    for call in told.calls[:_MOST_CALLS]:
        if writes(call.name) and took_effect(call) and not _HANDS_OVER.search(call.name):
            before = _before(told.messages, call.turn)
            heard = "\n".join([*(one.text for one in before), *results])[-_MOST_TEXT:]
            for key, value in sorted(call.arguments.items()):
                if sign := _against(value, before, heard):
                    yield f"{_named(call.name)} with {sign.format(cleaned(key, _MOST_NAME))}"
            if any(one.role == "assistant" and declines(one.text) for one in _of_turn(told.messages, call.turn)):
                yield f"{_named(call.name)} done and declined in words"
        elif _refusal(call):
            yield f"{_named(call.name)} was refused"
        results.append((call.result or "")[:_MOST_TEXT])


def _named(tool: str) -> str:
    """A tool's name as a phrase has it: names are strangers' words, too."""
    return cleaned(tool, _MOST_NAME)


def _before(messages: Sequence[Spoken], turn: int) -> list[Spoken]:
    """What was said until the call of a turn: earlier turns, and the user's words of its own."""
    return [one for one in messages if one.turn < turn or (one.turn == turn and one.role == "user")]


def _of_turn(messages: Sequence[Spoken], turn: int) -> list[Spoken]:
    return [one for one in messages if one.turn == turn]


def _against(value: Any, before: Sequence[Spoken], heard: str) -> str | None:
    """What is wrong with an argument, as a phrase about its key; None where nothing is seen."""
    if isinstance(value, str) and (match := _ID.fullmatch(value)) is not None:
        named = _named_last(
            before, lambda text: {one[0].casefold() for one in _ID.finditer(text) if one[1] == match[1]}
        )
        return "another {} than was named" if named and value.casefold() not in named else None
    figure = _figure(value)
    if figure is None or (figure == figure.to_integral_value() and abs(figure) <= _SMALL):
        return None
    kind = _MONEY if figure.as_tuple().exponent or isinstance(value, str) else _PERCENT
    told = _named_last(before, lambda text: set(_figures(kind, text)))
    if told and figure.normalize() not in told:
        return "another {} than was named"
    return None if figure.normalize() in set(numbers_of(heard)) else "{} that nobody named"


def _named_last(before: Sequence[Spoken], found_in: Any) -> set[Any]:
    """What the latest message names that names any such thing."""
    return next((found for one in reversed(before) if (found := found_in(one.text[:_MOST_TEXT]))), set())


def _figures(kind: re.Pattern[str], text: str) -> Iterator[Decimal]:
    for one in kind.finditer(text):
        digits = next(group for group in one.groups() if group)
        yield Decimal(digits.replace(",", "")).normalize()


def _figure(value: Any) -> Decimal | None:
    """The number that an argument is; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    text = value if isinstance(value, str) else repr(value)
    return Decimal(text) if _FIGURE.fullmatch(text) else None


def _of_claims(told: Told) -> Iterator[str]:
    """What the agent says is done in a turn without a call that did anything, and that no tool told it."""
    acted = [call.turn for call in told.calls if writes(call.name) and took_effect(call)]
    for one in told.messages:
        if one.role != "assistant" or any(turn <= one.turn for turn in acted):
            continue
        results = " ".join((call.result or "")[:_MOST_TEXT] for call in told.calls if call.turn <= one.turn)
        heard = set(_TOKEN.findall(results.casefold()))
        for done in _claimed(one.text[:_MOST_TEXT]):
            if (verb := _verb(done)) and done not in heard:
                yield f"claims to have done what no tool did: {verb}"


def _claimed(text: str) -> Iterator[str]:
    """The participles of what a message says is done; sentences that deny, ask or make conditions say nothing."""
    for sentence in sentences(text):
        if not sentence.endswith("?") and not _NOT_SO.search(sentence):
            for match in _CLAIM.finditer(sentence):
                yield (match["done"] or match["state"]).casefold()


@lru_cache(maxsize=4096)
def _verb(done: str) -> str | None:
    """The verb of a participle, where it is one of those with which tools that write begin."""
    if done in _IRREGULAR:
        return _IRREGULAR[done]
    if not done.endswith("ed"):
        return None
    stem = done[:-2]
    doubled = stem[:-1] if len(stem) > 2 and stem[-1] == stem[-2] else stem
    forms = (stem, f"{stem}e", doubled, f"{stem[:-1]}y" if stem.endswith("i") else stem)
    return next((form for form in forms if form in WRITE_VERBS), None)


def repeats_of(told: Told) -> Iterator[str]:
    """The same words again: the agent's whole messages, and wishes that the user has to tell again."""
    said = Counter(_flat(text) for text in told.said_by("assistant"))
    if (most := max((n for text, n in said.items() if text), default=0)) > 1:
        yield "the agent said the same again" if most == 2 else "the agent said the same again and again"
    wishes = [found for text in told.said_by("user") if len(found := set(_flat(text).split())) >= _FEWEST_WORDS]
    again = sum(any(_share(one, other) >= _ALIKE for other in wishes[:place]) for place, one in enumerate(wishes))
    if again:
        yield "the user asked the same again" if again == 1 else "the user asked the same again and again"


def _flat(text: str) -> str:
    return " ".join(_WORD.findall(text[:_MOST_TEXT].casefold()))


def _share(one: set[str], other: set[str]) -> float:
    return len(one & other) / min(len(one), len(other))


def _of_answers(told: Told) -> Iterator[str]:
    if any(_UNKNOWING.search(text[:_MOST_TEXT]) for text in told.said_by("assistant")):
        yield "the agent did not know"
