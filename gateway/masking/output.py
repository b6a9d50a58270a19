"""Personal information in an answer that the caller did not give: masked for good, also when it arrives in pieces."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from core.pii.context import Found
from core.pii.find import find
from core.pii.quotes import Quotes
from core.records import PiiEntity
from gateway.masking.placeholders import Placeholders

MOST_HELD: Final = 256  # characters of a stream that wait for what follows, when nothing was found in them yet
MOST_FOUND: Final = 8_192  # of something found, or of a token that may be: what follows it is dropped
_TRIMMED: Final = 8_192  # characters of a stream that are kept after they were passed on
_CONTEXT: Final = 512  # characters before that say what a piece is: a label, the name of a key


class OutputMask:
    """What is found in texts of one answer, and the marks that replace it: `[EMAIL]`."""

    def __init__(self, entities: frozenset[PiiEntity], placeholders: Placeholders | None) -> None:
        """`placeholders` are those of the call: they and the values behind them are the caller's own."""
        self._entities = entities
        self._placeholders = placeholders
        self._given = {_plain(value) for value in placeholders.values()} if placeholders else set()
        self.counts: Counter[str] = Counter()

    def masked(self, text: str) -> str:
        """The text with a mark in place of each piece."""
        return self.replaced(text, 0, len(text), self.found(text)) if text else text

    def found(self, text: str) -> list[Found]:
        """What is to be masked, in characters."""
        return [one for one in find(text) if one.entity in self._entities and not self._is_given(text, one)]

    def _is_given(self, text: str, one: Found) -> bool:
        if self._placeholders is None:
            return False
        piece = text[one.start : one.end]
        around = text[max(0, one.start - 1) : one.end + 1]
        return _plain(piece) in self._given or self._placeholders.holds(around)

    def replaced(self, text: str, start: int, end: int, found: list[Found]) -> str:
        """The part [start, end) of the text with marks; quoted where one takes the place of a bare number of JSON."""
        quotes: Quotes | None = None
        parts: list[str] = []
        for one in found:
            if one.end <= start or one.start >= end:
                continue
            mark = f"[{one.entity.value.upper()}]"
            self.counts[one.entity.value] += 1
            if text[one.start : one.end].isdigit():
                quotes = quotes or Quotes(text.encode("utf-8", "surrogatepass"))
                first, last = (len(text[:at].encode("utf-8", "surrogatepass")) for at in (one.start, one.end))
                mark = quotes.around(first, last, mark.encode()).decode()
            parts += (text[start : one.start], mark)
            start = one.end
        return "".join([*parts, text[start:end]])


def _plain(value: str) -> str:
    """The spelling in which values are compared."""
    return re.sub(r"[\s.()/-]", "", value).casefold()


# --- streams --------------------------------------------------------------------------------------------------------

# How what may still become something looks from its end backwards: every pattern is for the reversed text, the names
# (key, token, secret, password, ...) too.
_ENDS: Final = "yek|nek|ter|dro|dws|dwp|gis|sla|noi"
_SIGN: Final = rf"[\s\\]{{0,4}}>?[:=]{{1,3}}[\"'\\ \]]{{0,7}}(?i:{_ENDS})"
_WAITING: Final = tuple(
    re.compile(pattern)
    for pattern in (
        r"[^\s\"<>]*",  # a word: an address, a token
        r"(?:[:.,]|[A-Za-z]{0,8}[\s,(\u2013-]{0,4})?[0-9 .()/\xa0-]*[0-9][+(]?",  # digit groups and a label after them
        r"[A-Za-z0-9 -]{0,40}[0-9]{2}[A-Za-z]{2}",  # an IBAN in groups
        r"[^\s\"]* +(?i:reraeb|cisab|nekot|yekipa)",
        r"-{0,5}[A-Z0-9 ]{0,40}NIGEB-----",
        rf"(?:[^\s\"'`]{{0,256}}[\"'`])?{_SIGN}",  # the value of a name such as password, in quotes
        rf"[^\[\]{{}}]{{0,200}}\[{_SIGN}",  # or of a list
    )
)
_JSON_TOKEN: Final = re.compile(r"[A-Za-z0-9_.-]*Jye")  # eyJ: its second dot, far behind, says what it is
_TOKEN_END: Final = re.compile(r"[\s\"<>]")


class OutputStream:
    """Masks one text that arrives in pieces."""

    def __init__(self, mask: OutputMask) -> None:
        self._mask = mask
        self._text = ""
        self._done = 0
        self._dropping = False  # in something that was found and has no end

    def feed(self, piece: str) -> str:
        """What can be passed on now."""
        if self._dropping:
            end = _TOKEN_END.search(piece)
            if end is None:
                return ""
            piece, self._dropping = piece[end.start() :], False
        self._text += piece
        return self._passed(len(self._text) - self._waiting())

    def end(self) -> str:
        """What was held back."""
        return self._passed(len(self._text), last=True)

    def _waiting(self) -> int:
        """How many characters at the end may still become something."""
        held = self._text[self._done :]
        if not held:
            return 0
        tail = held[: -MOST_HELD - 1 : -1]
        waiting = max(found.end() for pattern in _WAITING if (found := pattern.match(tail)))
        token = _JSON_TOKEN.match(held[: -MOST_FOUND - 1 : -1]) if "eyJ" in held else None
        return max(waiting, token.end() if token else 0)

    def _passed(self, until: int, *, last: bool = False) -> str:
        text, size = self._text, len(self._text)
        first = max(0, self._done - _CONTEXT)
        found = [
            Found(one.start + first, one.end + first, one.entity)
            for one in self._mask.found(text[first:])
            if one.end + first > self._done
        ]
        for one in found:
            if one.end == size and not last:
                self._dropping = size - one.start > MOST_FOUND
                until = size if self._dropping else min(until, one.start)
            elif one.start < until < one.end:
                until = one.start
        until = max(until, self._done)
        passed = self._mask.replaced(text, self._done, until, [one for one in found if one.start < until])
        self._done = until
        if until > _TRIMMED and text.lstrip()[:1] not in ("{", "["):  # of JSON all is needed to know what is a string
            self._text, self._done = text[until - _CONTEXT :], _CONTEXT
        return passed
