"""Finding what a content rule forbids, in one text: words, a pattern, kinds of personal information.

Words are compared after NFKC, casefold and the removal of characters that nobody sees; patterns see the text after
NFKC and that removal. Both run on RE2, whose time is linear in the text whatever the pattern. Look-alikes of other
scripts (a Cyrillic а for a Latin a) are not the same letter here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import re2

from core.records import PiiEntity

MOST_PROGRAM_BYTES: Final = 1 << 20  # of one compiled pattern
MOST_FOUND: Final = 10_000  # in one text
MOST_HELD: Final = 200  # characters of a stream held back for one rule at most

_MOST_MAPPED: Final = 100_000  # characters of a text whose disguised letters are told apart

_INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e007f\U000e0100-\U000e01ef]+"
)
_INSIDE_WORDS: Final = r"\pL\pN\pM_"
_SPACE: Final = r"[\s\pZ]+"
# Scripts that put no space between words: a word of them is found anywhere.
_UNSPACED: Final = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")

Span = tuple[int, int]
EntityFinder = Callable[[str, frozenset[PiiEntity]], Iterable[Span]]


def compiled(pattern: str, *, longest: bool = False, most_bytes: int = MOST_PROGRAM_BYTES) -> Any:
    """The pattern for RE2. Raises ValueError: not RE2's syntax (no look-around, no back-references), or too large."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = most_bytes
    options.longest_match = longest
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        said = error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else str(error)
        raise ValueError(f"{said} (patterns are RE2's: no look-around, no back-references)") from error


def plain(text: str) -> str:
    """The text without invisible characters, in NFKC."""
    return text if text.isascii() else unicodedata.normalize("NFKC", _INVISIBLE.sub("", text))


def folded(text: str) -> str:
    """The same without the difference of upper and lower case."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", plain(text).casefold())


def _spaced_once(text: str) -> str:
    return re.sub(r"\s+", " ", text)


class Reading:
    """One text in the forms that rules look at, each made once; what is found there is said in the text as it came."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._bytes: dict[Any, bytes] = {}

    def form(self, of: Callable[[str], str]) -> bytes:
        """The text in the form `plain` or `folded`, as UTF-8."""
        made = self._bytes.get(of)
        if made is None:
            made = self._bytes[of] = of(self.text).encode("utf-8", "replace")
        return made

    def spans(self, of: Callable[[str], str], found: list[Span]) -> list[Span]:
        """Where ascending spans of bytes of a form are in the text; the whole text where that is too much to say."""
        if not found or self.text.isascii():
            return found
        whole = self.form(of)
        characters, at, n = [], 0, 0
        for edge in (edge for span in found for edge in span):
            n += len(whole[at:edge].decode("utf-8", "replace"))
            characters.append(n)
            at = edge
        edges, form = iter(characters), whole.decode("utf-8", "replace")
        if form == self.text or (len(form) == len(self.text) and form == self.text.casefold()):
            return list(zip(edges, edges, strict=True))
        places = self._places(of, form)
        if places is None:
            return [(0, len(self.text))]
        return [(places[start][0], places[end - 1][1]) for start, end in zip(edges, edges, strict=True)]

    def _places(self, of: Callable[[str], str], form: str) -> Sequence[Span] | None:
        """For every character of a form: where in the text the letter is that it came from."""
        text = self.text
        if len(text) > _MOST_MAPPED:
            return None
        places, pieces = [], []
        for begin, stop in _clusters(text):
            piece = of(text[begin:stop])
            places += [(begin, stop)] * len(piece)
            pieces.append(piece)
        return places if "".join(pieces) == form else None


def _clusters(text: str) -> Iterable[Span]:
    """Letters with what combines with them and with the invisible characters behind them."""
    begin = 0
    for at in range(1, len(text)):
        if not unicodedata.combining(text[at]) and not _INVISIBLE.match(text[at]):
            yield begin, at
            begin = at
    if text:
        yield begin, len(text)


def _bounded(word: str) -> tuple[bool, bool]:
    left, right = word[0], word[-1]
    return tuple((c.isalnum() or c == "_") and not _UNSPACED.match(c) for c in (left, right))  # type: ignore[return-value]


class Words:
    """Finds whole words and phrases; a space of a phrase is any white space."""

    def __init__(self, words: Iterable[str]) -> None:
        self._words = sorted({form for word in words if (form := _spaced_once(folded(word)).strip())})
        groups: dict[tuple[bool, bool], list[str]] = {}
        for word in self._words:
            groups.setdefault(_bounded(word), []).append(_SPACE.join(re.escape(part) for part in word.split(" ")))
        before, behind = f"(?:^|[^{_INSIDE_WORDS}])", f"(?:$|[^{_INSIDE_WORDS}])"
        parts = [
            f"{before * left}({'|'.join(named)}){behind * right}" for (left, right), named in sorted(groups.items())
        ]
        self._program = compiled("|".join(parts), longest=True, most_bytes=64 << 20) if parts else None
        self._beginnings = {word[:n] for word in self._words for n in range(1, len(word) + 1)}
        self._firsts = {word[0] for word in self._words}
        self._longest = max(map(len, self._words), default=0)

    def spans(self, reading: Reading, begins: bool, most: int) -> list[Span]:
        """Where they are. `begins` False: the first character is only there to show what stood before."""
        found: list[Span] = []
        if self._program is None:
            return found
        text, at = reading.form(folded), 0
        while len(found) < most and (match := self._program.search(text, at)):
            group = next(n for n, inside in enumerate(match.groups(), 1) if inside is not None)
            start, at = match.span(group)
            if begins or start:
                found.append((start, at))
        return reading.spans(folded, found)

    def held_from(self, text: str) -> int:
        """From where on the end of the text may be the beginning of a word, so that it must wait for what follows."""
        first = max(0, len(text) - min(2 * self._longest + 8, MOST_HELD))
        firsts, ascii_ = self._firsts, text.isascii()
        tail = text[first:].lower() if ascii_ else text[first:]
        for n, letter in enumerate(tail):
            if ascii_ and letter not in firsts:  # quick, for every chunk of every stream passes here
                continue
            before = text[first + n - 1] if first + n else " "
            if (before.isalnum() or before == "_") and not _UNSPACED.match(letter):
                continue
            if _spaced_once(tail[n:] if ascii_ else folded(tail[n:])) in self._beginnings:
                return first + n
        return len(text)


class Pattern:
    """Finds what an RE2 pattern matches."""

    def __init__(self, pattern: str) -> None:
        self._program = compiled(pattern)

    def spans(self, reading: Reading, begins: bool, most: int) -> list[Span]:
        """Where it matches; `^` only where the text `begins`."""
        found: list[Span] = []
        text = reading.form(plain)
        at = 0 if begins else len(text[:4].decode("utf-8", "ignore")[:1].encode())
        while len(found) < most and at <= len(text) and (match := self._program.search(text, at)):
            start, end = match.span()
            if end > start:
                found.append((start, end))
            at = end if end > start else end + 1
        return reading.spans(plain, found)

    def held_from(self, text: str) -> int:
        """The last MOST_HELD characters: how long a match is, or where it may begin, is not known."""
        return max(0, len(text) - MOST_HELD)


@dataclass(frozen=True, kw_only=True)
class Entities:
    """Finds kinds of personal information."""

    find: EntityFinder
    kinds: frozenset[PiiEntity]

    def spans(self, reading: Reading, begins: bool, most: int) -> list[Span]:
        """Where they are."""
        return list(islice(self.find(reading.text, self.kinds), most))

    def held_from(self, text: str) -> int:
        """The last MOST_HELD characters."""
        return max(0, len(text) - MOST_HELD)


Finder = Words | Pattern | Entities
