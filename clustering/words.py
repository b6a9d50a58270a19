"""The words of a text in any script, and the terms of one and two words in it.

Python's own idea of a word breaks scripts of India and Arabic at their vowel signs, and takes a clause of Chinese or
Thai for one word; both are mended here. Nothing is learned: equal texts give equal terms.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from clustering.function_words import FUNCTION_WORDS, NEGATIONS, PARTICLES

LONGEST: Final = 30  # characters of a word; what is longer is an id, an address or base64
MOST_DIGITS: Final = 3  # of a word; what has more is a number of an order, a card or a person
_GRAMS: Final = (2, 3, 4)  # characters of the pieces of a run of Chinese characters
_RUN: Final = 4  # characters of the pieces of other scripts without spaces

# Signs that belong to the letter before them: Latin and Cyrillic accents, Hebrew, Arabic, the scripts of India.
_SIGNS: Final = (
    "\u0300-\u036f\u0483-\u0487\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed\u0900-\u0963\u0970-\u0dff"
)
_HAN: Final = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_KATAKANA: Final = "\u30a1-\u30fa\u30fc"
_HIRAGANA: Final = "\u3041-\u309f"
_THAI: Final = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # and Lao, Burmese, Khmer
_LETTER: Final = rf"[\w{_SIGNS}{_THAI}]"
_WORD: Final = re.compile(rf"{_LETTER}+(?:'{_LETTER}+)*")
_WITHOUT_SPACES: Final = re.compile(f"[{_HAN}{_KATAKANA}{_HIRAGANA}{_THAI}]")
_PIECE: Final = re.compile(
    f"(?P<han>[{_HAN}]+)|(?P<katakana>[{_KATAKANA}]+)|(?P<hiragana>[{_HIRAGANA}]+)|(?P<thai>[{_THAI}]+)"
    f"|(?P<word>[^{_HAN}{_KATAKANA}{_HIRAGANA}{_THAI}]+)"
)
_BREAK: Final = re.compile(r"[^\w\s'’" + _SIGNS + _THAI + r"-]+|\n+")
_STATUS: Final = re.compile(r"[45]\d\d")  # of HTTP: the one number that says the same to everybody
_DIGIT: Final = re.compile(r"\d")


def phrases(text: str) -> list[list[str]]:
    """The words of a text in lower case, in order, broken where punctuation or a word that is left out stands. Left out
    are numbers but HTTP's statuses, words of more than 3 digits or 30 characters, and single letters. A run of Chinese
    gives its pieces of 2 to 4 characters, of Thai of 4; of Japanese the syllables that carry its grammar give none."""
    plain = text if text.isascii() else unicodedata.normalize("NFKC", text)
    found: list[list[str]] = []
    for part in _BREAK.split(plain.replace("’", "'").lower().replace("i\u0307", "i")):  # of Turkish İ
        run: list[str] = []
        for match in _WORD.finditer(part):
            said = match[0]
            if not said.isascii() and _WITHOUT_SPACES.search(said):
                found += [[piece] for piece in _pieces(said)]
                continue
            word = _kept(said)
            if word:
                run.append(word)
            else:
                found.append(run)
                run = []
        found.append(run)
    return [run for run in found if run]


def words(text: str) -> list[str]:
    """The words of a text, as phrases tells them."""
    return [word for phrase in phrases(text) for word in phrase]


def terms_in(text: str) -> set[str]:
    """Words that are no function words, and pairs of neighbours that neither begin nor end with one; but a pair may
    begin with a negation and end with an English particle."""
    found: set[str] = set()
    for phrase in phrases(text):
        told = [word not in FUNCTION_WORDS and word not in NEGATIONS for word in phrase]
        found |= {word for word, says in zip(phrase, told, strict=True) if says}
        for n in range(len(phrase) - 1):
            first, last = phrase[n], phrase[n + 1]
            begins = told[n] or (first in NEGATIONS and told[n + 1])
            if begins and (told[n + 1] or last in PARTICLES) and first != last:
                found.add(f"{first} {last}")
    return found


def _kept(said: str) -> str:
    """The word as it counts; empty where it is left out."""
    head, apostrophe, rest = said.partition("'")
    word = rest if apostrophe and len(head) <= 2 else said  # l'argent, d'une, qu'il; and i'm, which leaves nothing
    word = word.removesuffix("'s").strip("_")
    if not 2 <= len(word) <= LONGEST:
        return ""
    if word.isdigit():
        return word if _STATUS.fullmatch(word) else ""
    return "" if len(_DIGIT.findall(word)) > MOST_DIGITS else word


def _pieces(said: str) -> list[str]:
    """What a run of scripts without spaces, perhaps with other words in it, is made of."""
    found: list[str] = []
    for match in _PIECE.finditer(said):
        piece = match[0]
        match match.lastgroup:
            case "han":
                found += [piece[at : at + n] for n in _GRAMS for at in range(len(piece) - n + 1)]
            case "katakana":
                found += [piece] if 2 <= len(piece) <= LONGEST else []
            case "thai":
                found += (
                    [piece[at : at + _RUN] for at in range(max(1, len(piece) - _RUN + 1))] if len(piece) > 1 else []
                )
            case "word":
                found += [kept] if (kept := _kept(piece)) else []
    return found
