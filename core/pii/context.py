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
# JSON escapes of ASCII from space to ~, however often the text was encoded.
ESCAPE = re.compile(rb"(?<!\\)\\++u00([2-7][0-9A-Fa-f])")
_RANK = {entity: n for n, entity in enumerate(PiiEntity)}
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


def unescaped(found: re.Match[bytes]) -> bytes:
    """The character an escape stands for, unless JSON must escape it."""
    character = bytes([int(found[1], 16)])
    return found[0] if character in (b'"', b"\\", b"\x7f") else character


def disjoint(found: list[Found]) -> list[Found]:
    """In order of place; of overlapping ones the longer stays, then the more telling entity."""
    chosen: list[Found] = []
    for one in sorted(found, key=lambda f: (f.start, -f.end, _RANK[f.entity])):
        if chosen and one.start < chosen[-1].end:
            if one.end - one.start > chosen[-1].end - chosen[-1].start:
                chosen[-1] = one
            continue
        chosen.append(one)
    return chosen


def whole_characters(value: bytes, start: int, end: int) -> tuple[int, int]:
    """The range grown so that it cuts no UTF-8 character."""
    while start > 0 and value[start] & 0xC0 == 0x80:
        start -= 1
    while end < len(value) and value[end] & 0xC0 == 0x80:
        end += 1
    return start, end
