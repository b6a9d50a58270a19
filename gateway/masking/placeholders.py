"""What stands for a masked value, `<EMAIL_1>`, and the way back from what a model made of it.

The same value has the same placeholder within a call, numbered by first appearance, so that a conversation that grows
keeps its beginning and a provider's prompt cache stays valid. A number that the caller wrote itself is not given out.

Models alter placeholders. Restored are: any case in brackets, no brackets or only the first one (then in capitals:
`email_1` may be a column of a table), and `<`, `>` and `_` escaped for Markdown, HTML or JSON. A number that was not
given out stays as it is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

import orjson

from core.records import PiiEntity

MOST_DIGITS: Final = 6
WINDOW: Final = 40  # characters: more than the longest spelling of a placeholder has

_KINDS: Final = tuple(entity.value.upper() for entity in PiiEntity)
_KIND: Final = "|".join(_KINDS)
_SLASH: Final = r"\\{0,2}"
_OPEN: Final = rf"(?:{_SLASH}<|\\u003[cC]|&lt;)"
_CLOSE: Final = rf"(?:{_SLASH}>|\\u003[eE]|&gt;)"
# A word begins here; the letter of a JSON escape such as \n belongs to none.
_BEGIN: Final = r"(?:(?<![A-Za-z0-9_])|(?<=\\[nrtbf]))"

_NUMBER: Final = re.compile(rf"_([0-9]{{1,{MOST_DIGITS}}})(?![A-Za-z0-9_])")
_HEAD: Final = re.compile(rf"(?:(?P<open>{_OPEN})(?P<any>(?i:{_KIND}))|{_BEGIN}(?P<capitals>{_KIND})){_SLASH}\Z")
_CLOSES: Final = re.compile(_CLOSE)
_WRITTEN: Final = re.compile(rf"(?i)(?:{_KIND}){_SLASH}\Z")


class Placeholders:
    """The masked values of one call. `taken` are names that stand in the caller's own texts, such as EMAIL_1."""

    def __init__(self, taken: frozenset[str] = frozenset()) -> None:
        self._taken = taken
        self._names: dict[tuple[PiiEntity, str], str] = {}
        self._values: dict[str, str] = {}
        self._next: Counter[PiiEntity] = Counter()

    def __len__(self) -> int:
        return len(self._names)

    def name(self, entity: PiiEntity, value: str) -> str:
        """The name that stands for a value, EMAIL_1; in brackets it is the placeholder."""
        name = self._names.get((entity, value))
        while name is None:
            self._next[entity] += 1
            free = f"{entity.value.upper()}_{self._next[entity]}"
            name = free if free not in self._taken else None
        self._names[entity, value] = name
        self._values[name] = value
        return name

    def counts(self) -> dict[str, int]:
        """How many values of each kind were masked."""
        return dict(Counter(entity.value for entity, _ in self._names))

    def values(self) -> frozenset[str]:
        """The values that were masked."""
        return frozenset(self._values.values())

    def restored(self, text: str, *, in_json: bool = False, before: str = "") -> str:
        """`text` with its placeholders' values in their place, escaped for a JSON string when `in_json`. `before` is
        what stood in front of it: at least two characters, or all there are."""
        if "_" not in text:
            return text
        parts: list[str] = []
        done = len(before)
        whole = before + text
        for start, end, value in self._found(whole):
            if start < done:
                continue
            parts += (whole[done:start], orjson.dumps(value)[1:-1].decode() if in_json else value)
            done = end
        return "".join([*parts, whole[done:]]) if parts else text

    def _found(self, text: str) -> Iterator[tuple[int, int, str]]:
        for number in _NUMBER.finditer(text):
            head = _HEAD.search(text, max(0, number.start() - WINDOW), number.start())
            if head is None:
                continue
            kind = head["any"] or head["capitals"]
            value = self._values.get(f"{kind.upper()}_{number[1]}")
            if value is None:
                continue
            close = _CLOSES.match(text, number.end()) if head["open"] else None
            yield head.start(), close.end() if close else number.end(), value

    def holds(self, text: str) -> bool:
        """Whether a placeholder stands in the text."""
        return "_" in text and next(self._found(text), None) is not None


def written_names(text: str) -> Iterator[str]:
    """The names of placeholders, EMAIL_1, that stand in a text in any spelling."""
    if "_" not in text:
        return
    for number in _NUMBER.finditer(text):
        head = _WRITTEN.search(text, max(0, number.start() - WINDOW), number.start())
        if head is not None:
            yield f"{head[0].rstrip(chr(92)).upper()}_{number[1]}"


# --- streams --------------------------------------------------------------------------------------------------------


def _begun(word: str) -> str:
    """A pattern of every beginning of a word, the whole word too."""
    pattern = ""
    for letter in reversed(word):
        pattern = re.escape(letter) + (f"(?:{pattern})?" if pattern else "")
    return pattern


_BEGUN: Final = "|".join(map(_begun, _KINDS))
_NUMBERED: Final = rf"(?:{_KIND}){_SLASH}(?:_[0-9]{{0,{MOST_DIGITS}}})?"
_CLOSING: Final = rf"(?:\\{{1,2}}|{_begun(chr(92) + 'u003')}|{_begun('&gt')})"
# The end of a text that what follows may make a placeholder, or make another one.
_UNFINISHED: Final = re.compile(
    rf"(?:{_OPEN}(?i:{_BEGUN}|{_NUMBERED}{_CLOSING}?)?|{_BEGIN}(?:{_BEGUN}|{_NUMBERED})"
    rf"|\\{{1,2}}|{_begun(chr(92) + 'u003')}|{_begun('&lt')})\Z"
)
_MAY_BEGIN: Final = re.compile(r"[<\\&EPCSI]")


class Restorer:
    """Restores one text that arrives in pieces. Held back is only what can still become a placeholder."""

    def __init__(self, placeholders: Placeholders, *, in_json: bool = False) -> None:
        self._placeholders = placeholders
        self._in_json = in_json
        self._before = ""  # the last characters that were passed on, as they came
        self._held = ""

    def feed(self, piece: str) -> str:
        """What of the text can be passed on now."""
        text = self._held + piece
        end = len(text)
        first = max(0, end - WINDOW)
        if _MAY_BEGIN.search(text, first):
            whole = self._before + text
            unfinished = _UNFINISHED.search(whole, len(self._before) + first)
            end = unfinished.start() - len(self._before) if unfinished else end
        return self._passed(text, end)

    def end(self) -> str:
        """What was held back."""
        return self._passed(self._held, len(self._held))

    def _passed(self, text: str, end: int) -> str:
        ready, self._held = text[:end], text[end:]
        restored = self._placeholders.restored(ready, in_json=self._in_json, before=self._before)
        self._before = (self._before + ready)[-2:]
        return restored
