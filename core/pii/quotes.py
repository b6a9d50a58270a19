"""Keeps JSON valid where a word takes the place of a bare number, at any depth of nesting."""

from __future__ import annotations

import re

from core.pii.context import blanks_end

_QUOTE = re.compile(rb'(\\*)"')
_AFTER_NUMBER = re.compile(rb"(?:\s|\\+[nrt]){0,512}[,\]}]")


class Quotes:
    """Where the strings of a JSON text begin and end: a mark that takes the place of a bare number needs quotes.

    One forward pass over the text's quotes, however many marks are placed, in order of place.
    """

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._begun = False  # the quotes are looked for when the first bare number is there
        self._quotes = _QUOTE.finditer(text)
        self._next: re.Match[bytes] | None = None
        self._open: list[int] = []  # where each string that is open begins, outermost first

    def around(self, start: int, end: int, mark: bytes) -> bytes:
        """`mark`, quoted where the range [start, end) is a bare number of a JSON document."""
        if not self._text[start:end].isdigit():
            return mark
        before = blanks_end(self._text, start)
        if self._text[before - 1 : before] not in (b":", b",", b"[") or not _AFTER_NUMBER.match(self._text, end):
            return mark
        self._advance(start)
        begins = self._open[-1] if self._open else 0
        if self._text[begins : begins + 64].lstrip(b" \t\r\n\\nrt")[:1] not in (b"{", b"["):
            return mark
        quote: bytes = b"\\" * (2 ** len(self._open) - 1) + b'"'
        return quote + mark + quote

    def _advance(self, position: int) -> None:
        if not self._begun:
            self._begun, self._next = True, next(self._quotes, None)
        while self._next is not None and self._next.end() <= position:
            level = _level(len(self._next[1]))
            if level == len(self._open):
                self._open.append(self._next.end())
            elif level < len(self._open):
                del self._open[level:]
            self._next = next(self._quotes, None)


def _level(n_backslashes: int) -> int:
    """How deep in nested JSON strings a quote after so many backslashes stands."""
    level = 0
    while n_backslashes % 2:
        n_backslashes = (n_backslashes - 1) // 2
        level += 1
    return level
