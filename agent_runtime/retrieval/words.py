"""Words as search sees them: lower case, light stems of English, no stop words. Pure and deterministic."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

_WORD: Final = re.compile(r"[a-z0-9]+(?:[.'’][a-z0-9]+)*")
_FIGURE: Final = re.compile(r"\d+(?:[.,]\d+)*")
# What says nothing about a topic. "not" and "no" stay out too: figures and rules are compared elsewhere.
_STOP: Final = """
a about above all also am an and any are as at be because been before but by can could did do does doing done
for from get got had has have having he her here him his how i i'd i'll i'm i've if in into is it it's its just
let me more most much my no not now of off on one only or our out over own please she should so some such than
thank thanks that that's the their them then there these they this those to too until up us very was we were
what what's when where which while who why will with would yes you your yours
"""
STOP: Final = frozenset(_STOP.split())


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """The word without its ending: plural, -ed, -ing; short words and figures as they are."""
    if len(word) <= 3 or word[0].isdigit():
        return word
    for ending, put in (("sses", "ss"), ("ies", "y"), ("ing", ""), ("ed", ""), ("es", "e"), ("s", "")):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith(("ss", "us", "is")):
            word = word.removesuffix(ending) + put
            break
    if len(word) > 4 and word[-1] == word[-2] and word[-1] not in "aeiosl":
        word = word[:-1]  # planned -> plan
    return word.removesuffix("e") if len(word) > 4 else word


def terms(text: str) -> list[str]:
    """Stems in order, stop words left away."""
    plain = unicodedata.normalize("NFKD", text).lower().replace("’", "'")
    plain = "".join(char for char in plain if not unicodedata.combining(char))
    return [stem(word.removesuffix("'s")) for word in _WORD.findall(plain) if word not in STOP]


def figures(text: str) -> frozenset[str]:
    """The numbers of a text, as written without thousands separators: what a rule stands or falls with."""
    found = (figure.replace(",", "") for figure in _FIGURE.findall(text))
    return frozenset(_shortest(figure) for figure in found)


def grams(words: Iterable[str]) -> list[str]:
    """Three-letter pieces of words, with their edges marked; they meet where spellings differ."""
    pieces = []
    for word in words:
        edged = f"<{word}>"
        pieces += [edged[at : at + 3] for at in range(len(edged) - 2)]
    return pieces


def _shortest(figure: str) -> str:
    whole, _, part = figure.partition(".")
    part = part.rstrip("0")
    return f"{whole.lstrip('0') or '0'}.{part}" if part else whole.lstrip("0") or "0"
