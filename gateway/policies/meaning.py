"""When are two short questions the same? By the words that carry their meaning, without a model.

Two questions are compared only if they agree exactly in everything that turns an answer around: numbers and ids,
placeholders of masked values, quoted texts, negation, question words, words such as your and should, and what stands
behind from, to, than, before ... and the order of the words that both have: who hit whom. Then their similarity is the
cosine of their words (endings cut; words such as "the" or "please" count little), less 0.20 for the first word that
only one of them has and 0.12 for every other. Above 0.80 the words are the same, below they may differ: no synonyms.
What that is worth, and why it is not a model's vectors, is in docs/gateway-policies.md. The lists of words are English:
in other languages every word carries meaning, and fewer questions meet.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

N_DIMENSIONS: Final = 256
MOST_CHARACTERS: Final = 500  # a longer text is too much for a comparison of words
_LIGHT_WEIGHT: Final = 0.15
_PAIR_WEIGHT: Final = 0.2
_PER_WORD: Final = 0.12
_ANY_WORD: Final = 0.08

_WORD: Final = re.compile(r"\w+(?:'\w+)?")
_EXACT: Final = re.compile(r"<[A-Z_]+\d+>|\"[^\"]*\"|“[^”]*”|`[^`]*`|(?<!\w)'[^']+'(?!\w)|\S*\d[^\s?!,;]*")
_NEGATION: Final = re.compile(
    r"\b(?:not|no|nor|never|none|without|cannot|nothing|nobody|neither|except|unless)\b|n't\b"
)


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


_ASKING: Final = _listed("what when where who whom whose why how which")
_TURNING: Final = _ASKING | _listed("your yours his her their or should must")
_DIRECTION: Final = _listed(
    "from to into onto than before after by over under above below between versus vs until since against"
)
_LIGHT: Final = _TURNING | _listed(
    """a an the this that these those and but so if then i me my mine we us our you he him she it its they them is am
    are was were be been being do does did doing done have has had having can could would will shall may might to of in
    on at by for with from into about as there here please hi hello hey thanks thank just also too very really some any
    want need like know tell help let get got give trying try way possible able go going what's i'm i've i'd it's
    there's that's i'll"""
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Meaning:
    """A question: a hash of what must agree, its words without endings in order, and the vector of them (length 1)."""

    exact: int
    order: tuple[str, ...]
    vector: NDArray[np.float32]


def meaning_of(text: str) -> Meaning | None:
    """What the question asks; None if it is too long, or has fewer than two words that carry meaning."""
    if len(text) > MOST_CHARACTERS:
        return None
    lowered = text.lower().replace("’", "'")
    said = _WORD.findall(lowered)
    order = tuple(_stem(word) for word in said if word not in _LIGHT)
    if len({*order}) < 2:
        return None
    exact = (
        tuple(found.rstrip(".") for found in _EXACT.findall(text)),
        len(_NEGATION.findall(lowered)),
        frozenset(said) & _TURNING,
        frozenset(_directions(said)),
    )
    return Meaning(exact=hash(exact), order=order, vector=_vector(said, order))


def similarity(cosine: float, one: tuple[str, ...], other: tuple[str, ...]) -> float:
    """0 to 1 for the words of two questions whose `exact` agrees."""
    if one == other:
        return max(0.0, min(cosine, 1.0))
    shared = {*one} & {*other}
    if [word for word in one if word in shared] != [word for word in other if word in shared]:
        return 0.0
    return max(0.0, min(cosine, 1.0 - _ANY_WORD - _PER_WORD * len({*one} ^ {*other})))


def _directions(said: list[str]) -> list[tuple[str, str]]:
    """Pairs such as (to, euro) of "dollars to euros" and (than, dog) of "bigger than a dog"; none of "want to pay"."""
    found = []
    for n, word in enumerate(said):
        if word in _DIRECTION and not (word == "to" and (n == 0 or said[n - 1] in _LIGHT)):
            found += [(word, _stem(behind)) for behind in said[n + 1 : n + 4] if behind not in _LIGHT][:1]
    return found


def _vector(said: list[str], order: tuple[str, ...]) -> NDArray[np.float32]:
    weights = {_place(_stem(word)): _LIGHT_WEIGHT for word in said if word in _LIGHT}
    weights.update((_place(f"{one} {two}"), _PAIR_WEIGHT) for one, two in pairwise(order))
    weights.update((_place(word), 1.0) for word in order)
    values = [0.0] * N_DIMENSIONS
    for (at, sign), weight in weights.items():
        values[at] += sign * weight
    vector = np.array(values, np.float32)
    return vector / np.float32(math.sqrt(vector @ vector) or 1.0)


@lru_cache(maxsize=20_000)
def _place(word: str) -> tuple[int, int]:
    """The dimension of a word, and its sign there: hashing instead of a vocabulary."""
    hashed = crc32(word.encode("utf-8", "replace"))
    return hashed % N_DIMENSIONS, 1 if hashed >> 31 else -1


@lru_cache(maxsize=20_000)
def _stem(word: str) -> str:
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    if len(word) > 3 and word[-1] == word[-2]:
        word = word[:-1]
    return word[:-1] if len(word) > 4 and word.endswith("e") else word
