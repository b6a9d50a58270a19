"""Whether a value can be a secret at all: native rules that spare `core.pii.secrets` the text in which it cannot.

They are lenient: what they refuse, `core.pii.secrets` refuses too. Each reads forward from a sign or a prefix to where
the value ends, and a value holds no other sign, so that text made to be expensive costs a few nanoseconds a byte.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from collector.native import compiled
from core.pii.tables import LIMIT, WORDS

_LEAD: Final = 16  # the most that can stand between a sign and its value: signs, blanks, escapes, a quote

_LOWER, _UPPER, _DIGIT, _OTHER, _VALUE, _GAP, _QUOTE, _KEY = 1, 2, 4, 8, 16, 32, 64, 128


def _kinds() -> Any:
    table = np.zeros(256, dtype=np.uint8)
    for c in range(256):
        letter = chr(c) if c < 128 else ""
        table[c] |= _LOWER if letter.islower() else _UPPER if letter.isupper() else _DIGIT if letter.isdigit() else 0
        if not (letter.isalnum() or (letter and letter in "_.-")):
            table[c] |= _OTHER
        if letter.isalnum() or (letter and letter in "_.~+/%!@#$^&*?-"):
            table[c] |= _VALUE
        if letter.isalnum() or (letter and letter in "_.~+/=:-"):
            table[c] |= _KEY
        if c in b":=>\\ \t\n\r\f\v":
            table[c] |= _GAP
        if c in b"\"'`":
            table[c] |= _QUOTE
    return table


_KIND: Final = _kinds()


@compiled
def _strong(kinds: int, length: int, least: int) -> bool:
    """What `core.pii.secrets` asks of a value, but for how many different characters it has."""
    n = (kinds & 1) + (kinds >> 1 & 1) + (kinds >> 2 & 1) + (kinds >> 3 & 1)
    return length >= least and (n >= 3 or (n == 2 and kinds & _DIGIT != 0))


@compiled
def _run(data: Any, i: int, end: int, any_character: bool, least: int) -> tuple[int, bool]:
    """(its end, whether it is strong) of the value that begins at `i`, two '=' at its end included."""
    start, kinds = i, 0
    while i < end:
        kind = _KIND[data[i]]
        if not (kind & _VALUE or (any_character and not (kind & _QUOTE or data[i] == 92 or data[i] <= 32))):
            break
        kinds |= kind & 15
        i += 1
    n_equals = 0
    while n_equals < 2 and i + n_equals < end and data[i + n_equals] == 61:
        kinds |= _OTHER
        n_equals += 1
    return i, _strong(kinds, i + n_equals - start, least)


@compiled
def may_follow(data: Any, hi: int, sign: int, least: int) -> bool:
    """Whether a value of `least` bytes or more that looks made up may follow the ':' or '=' at `sign`: one, in quotes
    or not, after a word such as Bearer or not, or one of a list."""
    i, end = sign, min(hi, sign + LIMIT)
    while i < end and i < sign + _LEAD and _KIND[data[i]] & _GAP:
        i += 1
    if i >= end:
        return False
    if data[i] == 91:  # a list: no value of it stands behind another bracket
        i += 1
        while i < end and not (data[i] == 91 or data[i] == 93 or data[i] == 123 or data[i] == 125):
            i, strong = _run(data, i, end, False, least)
            if strong:
                return True
            i += 1
        return False
    quoted = _KIND[data[i]] & _QUOTE != 0
    i += quoted
    after, strong = _run(data, i, end, quoted, least)
    if strong or not 5 <= after - i <= 6:
        return bool(strong)
    i = after  # Basic, Token, Bearer, ApiKey
    while i < end and data[i] == 32:
        i += 1
    return bool(i > after and _run(data, i, end, False, least)[1])


@compiled
def made_of_words(data: Any, start: int, least: int, hi: int) -> bool:
    """Whether lower-case words joined by hyphens or underscores stand at `start`: `least` bytes or more of them, to
    where no key can go on, or for WORDS bytes."""
    i, n_joints, end = start, 0, min(hi, start + WORDS)
    while i < end:
        if data[i] == 45 or data[i] == 95:
            if i == start or data[i - 1] == 45 or data[i - 1] == 95:
                return False
            n_joints += 1
        elif not _KIND[data[i]] & _LOWER:
            break
        i += 1
    if n_joints == 0 or i - start < least:
        return False
    if i == start + WORDS:
        return True
    return (i == hi or not _KIND[data[i]] & _KEY) and data[i - 1] != 45 and data[i - 1] != 95
