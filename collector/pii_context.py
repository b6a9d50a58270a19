"""What stands around a candidate, on bytes: letters and JSON escapes, blanks, marks of an earlier redaction."""

from __future__ import annotations

import re
from dataclasses import dataclass

from core.records import PiiEntity


@dataclass(frozen=True, slots=True)
class Found:
    """A confirmed range [start, end) of a text's bytes."""

    start: int
    end: int
    entity: PiiEntity


_WORD = re.compile(rb"[A-Za-z0-9_]")
_ESCAPE_BEFORE = re.compile(rb"\\(?:[nrtbf]|u[0-9A-Fa-f]{4})\Z")
ESCAPED = re.compile(rb"u([0-9A-Fa-f]{4})|[nrtbf]")  # what follows the backslash
_MARK_BEFORE = re.compile(rb"\[(?:EMAIL|PHONE|CARD|SSN|IBAN|IP|SECRET):\Z")


def glued_left(text: bytes, start: int) -> bool:
    """Whether a word character stands right before `start` (a JSON escape such as \\n is none)."""
    if start == 0 or not _WORD.match(text, start - 1):
        return False
    return not _ESCAPE_BEFORE.search(text[max(0, start - 6) : start])


def glued_right(text: bytes, end: int) -> bool:
    return end < len(text) and _WORD.match(text, end) is not None


def marked(text: bytes, start: int) -> bool:
    """Whether the range is the hash inside a mark such as [PHONE:123456789012]."""
    return _MARK_BEFORE.search(text[max(0, start - 8) : start]) is not None


def blanks_end(text: bytes, position: int) -> int:
    """The end of what stands before `position`, blanks and escaped blanks (at most 512 bytes of them) left out."""
    limit = max(0, position - 512)
    while position > limit:
        if text[position - 1] in b" \t\r\n":
            position -= 1
        elif text[position - 1] in b"nrt" and text[position - 2 : position - 1] == b"\\":
            position -= 2
            while position > limit and text[position - 1] == 0x5C:
                position -= 1
        else:
            break
    return position
