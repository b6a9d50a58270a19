"""Where a piece of personal information may be: one native pass over a column's bytes, without the GIL.

`scan` reads the data buffer and the offsets of an Arrow string column once and lists candidate ranges. It is
lenient on purpose: what it lists, `core.pii.patterns` confirms or refuses with precise rules. What it does not list is
clean, so each rule here is implied by the precise one. `pii_blocks` says beforehand in which regions of the column
there can be any; a text of mostly letters costs one table look-up per byte of a region.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from collector.native import compiled, compiled_into_caller
from collector.pii_blocks import (
    ANCHOR,
    BLOCK,
    CHAIN,
    FIRST,
    IBAN_LENGTH,
    PAIRS,
    PREFIX_BYTES,
    PREFIX_STARTS,
    packed,
    regions,
)
from collector.pii_values import made_of_words, may_follow
from core.pii.tables import (
    ASSIGNED,
    EMAIL,
    IBAN,
    IPV6,
    LABEL_REACH,
    LABELS,
    NUMBER_CARD,
    NUMBER_IP,
    NUMBER_PHONE,
    NUMBER_SSN,
    PREFIXES,
    SECRET,
    SEPARATORS,
)

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

LABEL_REACH_AFTER: Final = 16  # bytes after a number in which its label is looked for

_WORD, _DIGIT, _LOCAL, _HEX, _DOMAIN, _GLUE, _NEAR, _QUOTED = 1, 2, 4, 8, 16, 32, 64, 128
_T_DIGIT, _T_AT, _T_COLON, _T_EQUALS, _T_PREFIX, _T_PERCENT, _T_INITIAL = 1, 2, 4, 8, 16, 32, 64


def _classes() -> Bytes:
    table = np.zeros(256, dtype=np.uint8)
    for c in range(256):
        letter = chr(c)
        if c < 128 and (letter.isalnum() or letter == "_"):
            table[c] |= _WORD
        if c < 128 and letter.isdigit():
            table[c] |= _DIGIT
        if c >= 128 or letter.isalnum() or letter in "._%+-'!#&*~":
            table[c] |= _LOCAL
        if letter in "0123456789abcdefABCDEF":
            table[c] |= _HEX
        if c >= 128 or letter.isalnum() or letter in ".-":
            table[c] |= _DOMAIN
        if c in b"\"'\\ ]":
            table[c] |= _QUOTED
        if c in SEPARATORS:
            table[c] |= _GLUE | _NEAR
        if letter.isdigit() and c < 128:
            table[c] |= _NEAR
    return table


def _label_index() -> tuple[Ints, Ints]:
    """(first, chain): buckets by the low five bits of a label's first two letters, as linked lists."""
    first, chain = np.full(1024, -1, dtype=np.int64), np.full(len(LABELS), -1, dtype=np.int64)
    for n, label in enumerate(LABELS):
        bucket = (ord(label[0]) & 31) * 32 + (ord(label[1]) & 31)
        chain[n] = first[bucket]
        first[bucket] = n
    return first, chain


def _triggers() -> Bytes:
    table = np.zeros(256, dtype=np.uint8)
    for c in b"0123456789":
        table[c] |= _T_DIGIT
    table[ord("@")] |= _T_AT
    table[ord(":")] |= _T_COLON
    table[ord("=")] |= _T_EQUALS
    table[ord("%")] |= _T_PERCENT
    for prefix, k in zip(PREFIXES, ANCHOR, strict=True):
        table[ord(prefix[int(k)])] |= _T_PREFIX if k else _T_PREFIX | _T_INITIAL
    return table


_CLASS: Final = _classes()
_TRIGGER: Final = _triggers()
_LABEL_BYTES, _LABEL_STARTS = packed(LABELS)
_LABEL_FIRST, _LABEL_CHAIN = _label_index()
_NAME_END: Final = np.isin(np.arange(256), np.frombuffer(b"yntdgsYNTDGS", dtype=np.uint8)).astype(np.uint8)

_unsigned: Any = np.uint64
_wide: Any = np.int64  # typed loosely: to mypy a NumPy integer is no int, to numba they are the same


@compiled
def _escape_end(data: Any, lo: int, i: int) -> int:
    """The end of a JSON escape backslash-u-XXXX that covers byte `i`, else `i`."""
    for j in range(max(lo + 1, i - 4), i + 1):
        if data[j] == 117 and data[j - 1] == 92:  # u after a backslash
            return j + 5
    return i


@compiled
def _after_escape(data: Any, lo: int, i: int) -> bool:
    """Whether the bytes before `i` end a JSON escape, so that what stands there is no letter."""
    if i - 2 >= lo and data[i - 2] == 92:
        c = data[i - 1]
        return bool(c == 110 or c == 114 or c == 116 or c == 98 or c == 102)
    return bool(i - 6 >= lo and data[i - 5] == 117 and data[i - 6] == 92)


@compiled
def _labelled(data: Any, lo: int, hi: int, start: int, end: int) -> bool:
    """Whether a word of LABELS (any case) starts within reach before `start`, or after `end`."""
    for side in range(2):
        a = max(lo, start - LABEL_REACH) if side == 0 else end
        b = start if side == 0 else min(hi - 1, end + LABEL_REACH_AFTER)
        for i in range(a, b):
            n = _LABEL_FIRST[(data[i] & 31) * 32 + (data[i + 1] & 31)]
            while n >= 0:
                s, e = _LABEL_STARTS[n], _LABEL_STARTS[n + 1]
                k = s
                while k < e and i + k - s < hi and (data[i + k - s] | 32) == _LABEL_BYTES[k]:
                    k += 1
                if k == e:
                    return True
                n = _LABEL_CHAIN[n]
    return False


@compiled
def _luhn(data: Any, start: int, end: int) -> bool:
    total = 0
    double = False
    for i in range(end - 1, start - 1, -1):
        d = _wide(data[i]) - 48
        if double:
            d = d * 2 - 9 if d > 4 else d * 2
        total += d
        double = not double
    return total % 10 == 0


@compiled
def _number(data: Any, lo: int, hi: int, start: int, shape: Any) -> tuple[int, int]:
    """(end, bits) of the run of digit groups at `start`; `shape` is scratch for group lengths and separators."""
    n_groups, length, digits, bits = 0, 0, 0, 0
    i = start
    while i < hi:
        c = data[i]
        if 48 <= c <= 57:
            length += 1
            digits += 1
            i += 1
            continue
        gap = 0
        while gap < 2 and i + gap < hi:
            if not _CLASS[data[i + gap]] & _GLUE:
                break
            gap += 1
        if gap == 0 or i + gap >= hi or not 48 <= data[i + gap] <= 57:
            break
        bits |= _grouped(data, i, length, shape, n_groups)
        shape[0, n_groups % 8] = length
        shape[1, n_groups % 8] = data[i]
        n_groups += 1
        length = 0
        i += gap
    bits |= _grouped(data, i, length, shape, n_groups)
    n_groups += 1
    plus = start > lo and data[start - 1] == 43
    paren = start > lo and data[start - 1] == 40
    escaped_plus = start - 6 >= lo and data[start - 6] == 92 and data[start - 1] | 32 == 98 and data[start - 2] == 50
    if digits >= 7 and (plus or escaped_plus or (paren and n_groups > 1)):
        bits |= NUMBER_PHONE
    if digits >= 9 and data[start] == 48 and n_groups > 1:
        bits |= NUMBER_PHONE
    dated = n_groups == 3 and shape[0, 0] == 4 and shape[0, 1] == 2 and length == 2
    decimal = n_groups == 2 and shape[1, 0] == 46
    weak = 7 <= digits <= 24 and bits & (NUMBER_PHONE | NUMBER_SSN) == 0 and not (dated or decimal)
    if weak and _labelled(data, lo, hi, start, i):
        bits |= NUMBER_PHONE | NUMBER_SSN
    return i, bits


@compiled
def _grouped(data: Any, end: int, length: int, shape: Any, n: int) -> int:
    """Bits that the last groups of a run speak for, `length` being the group that ends at `end`."""
    bits = 0
    if 12 <= length <= 19 and _luhn(data, end - length, end):
        bits |= NUMBER_CARD
    if n == 0:
        return bits
    one, sep = shape[0, (n - 1) % 8], shape[1, (n - 1) % 8]
    if n >= 1 and one == 3 and length == 7:
        bits |= NUMBER_PHONE
    if n < 2:
        return bits
    two, sep_two = shape[0, (n - 2) % 8], shape[1, (n - 2) % 8]
    if length >= 4 and one == 3 and two >= 3:
        bits |= NUMBER_PHONE
    if length >= 4 and one == 2 and two >= 3:
        bits |= NUMBER_SSN
    if two >= 4 and ((one == 4 and length >= 4) or one == 6):
        bits |= NUMBER_CARD
    if n >= 3 and sep == 46 and sep_two == 46 and shape[1, (n - 3) % 8] == 46 and length <= 3 and one <= 3 and two <= 3:
        bits |= NUMBER_IP
    return bits


@compiled
def _iban_end(data: Any, hi: int, start: int) -> int:
    """The end of what may be an IBAN at `start` (two letters of a country that has them, two digits), else -1."""
    a, b = _wide(data[start] | 32) - 97, _wide(data[start + 1] | 32) - 97
    if start + 15 > hi or not (0 <= a < 26 and 0 <= b < 26):
        return -1
    needed = _wide(IBAN_LENGTH[a * 26 + b])
    if needed == 0 or not 48 <= data[start + 3] <= 57:
        return -1
    i, n = start, 0
    while i < hi and n < needed:
        c = data[i]
        if _CLASS[c] & _WORD and c != 95:
            n += 1
        elif not (c == 32 or c == 45) or data[i - 1] == 32 or data[i - 1] == 45:
            return -1
        i += 1
    return i if n == needed else -1


@compiled
def _ipv6_range(data: Any, lo: int, hi: int, colon: int) -> tuple[int, int]:
    """The run of hexadecimal digits and colons around `colon`, or (0, 0) if it cannot be an IPv6 address."""
    start, end, colons, double = colon, colon, 0, False
    while start > lo and colon - start < 5 and _CLASS[data[start - 1]] & _HEX:
        start -= 1
    while end < hi and end - start < 46 and (_CLASS[data[end]] & _HEX or data[end] == 58):
        if data[end] == 58:
            colons += 1
            double = double or data[end - 1] == 58
        end += 1
    if colons >= 7 or (double and colons >= 2):
        return start, end
    return 0, 0


@compiled
def _assigned(data: Any, lo: int, hi: int, i: int) -> bool:
    """Whether the word before the ':' or '=' at `i` (past quotes, backslashes, spaces) may name a secret, and what
    follows may be one."""
    j = i - 1
    while j >= lo and i - j < 8 and (data[j] == 34 or data[j] == 39 or data[j] == 92 or data[j] == 32 or data[j] == 93):
        j -= 1
    if j - 2 < lo or _NAME_END[data[j]] == 0:
        return False
    a, b, c = data[j - 2] | 32, data[j - 1] | 32, data[j] | 32
    # (passw)ord, (pa)sswd, pwd
    if (a == 111 and b == 114 and c == 100) or ((a == 115 or a == 112) and b == 119 and c == 100):
        return may_follow(data, hi, i, 6)
    if a == 105 and b == 111 and c == 110:  # (authorizat)ion
        named = j - 12 >= lo and data[j - 12] | 32 == 97
    else:
        named = (
            (b == 101 and ((a == 107 and (c == 121 or c == 110)) or (a == 114 and c == 116)))  # key, (to)ken, (sec)ret
            or (a == 115 and b == 105 and c == 103)  # sig
            or (a == 97 and b == 108 and c == 115)  # (credenti)als
        )
    return bool(named and may_follow(data, hi, i, 16))


@compiled
def _put(out: Any, n: int, row: int, start: int, end: int, bits: int) -> int:
    """Write one candidate if there is room; the count goes on either way, so that the caller sees the overflow."""
    if n < out.shape[0]:
        out[n, 0], out[n, 1], out[n, 2], out[n, 3] = row, start, end, bits
    return n + 1


@compiled
def _prefixes(data: Any, lo: int, hi: int, i: int, p: int, row: int, out: Any, n: int) -> int:
    """List the known prefixes of the bucket that begins at `p` and whose rarest byte stands at `i`."""
    while p >= 0:
        start = i - ANCHOR[p]
        s, e = PREFIX_STARTS[p], PREFIX_STARTS[p + 1]
        if start >= lo and start + e - s + 4 <= hi:
            k = s
            while k < e and data[start + k - s] == PREFIX_BYTES[k]:
                k += 1
            glued = (
                start > lo
                and _CLASS[data[start - 1]] & _CLASS[data[start]] & _WORD
                and not _after_escape(data, lo, start)
            )
            words = k == e and made_of_words(data, start, e - s, hi)
            if k == e and not words and (not glued or data[i] == 126 or PREFIX_BYTES[s] == 58):
                n = _put(out, n, row, start, start + e - s, SECRET)
        p = CHAIN[p]
    return n


@compiled
def _at_sign(data: Any, lo: int, hi: int, i: int, width: int, row: int, out: Any, n: int) -> int:
    """List the range around an '@' (or %40, `width` 3) that has a local part before and a domain after."""
    start, end = i, i + width
    while start > lo and i - start < 320 and _CLASS[data[start - 1]] & _LOCAL:
        start -= 1
    while end < hi and end - i < 260 and _CLASS[data[end]] & _DOMAIN:
        end += 1
    if end - i <= width or (start == i and (i == lo or data[i - 1] <= 32)):
        return n
    return _put(out, n, row, start, end, EMAIL)


@compiled_into_caller
def _plain_number_end(data: Any, lo: int, hi: int, i: int) -> int:
    """The end of the digits at `i` where they can be nothing of interest, as most are; else `i`."""
    if i - 7 < lo:
        return i
    before = data[_unsigned(i - 1)]
    if _CLASS[before] & _WORD:
        # Glued to a word that is longer than an IBAN's two letters, with no JSON escape in reach.
        if not (_CLASS[data[_unsigned(i - 2)]] & _CLASS[data[_unsigned(i - 3)]] & _WORD):
            return i
        for j in range(2, 8):
            if data[_unsigned(i - j)] == 92:
                return i
    elif before == 43 or before == 40:
        return i
    end = i + 1
    while end < hi and _CLASS[data[_unsigned(end)]] & _DIGIT:
        end += 1
    if _CLASS[before] & _WORD:
        return end
    follows = end + 1 < hi and _CLASS[data[_unsigned(end)]] & _GLUE and _CLASS[data[_unsigned(end + 1)]] & _NEAR
    return i if end - i >= 7 or follows else end


@compiled
def _digits(data: Any, lo: int, hi: int, i: int, row: int, out: Any, n: int, shape: Any) -> tuple[int, int]:
    """(next byte, count): list what the digits at `i` may be."""
    end = _escape_end(data, lo, i)
    if end != i:
        return min(end, hi), n
    if i >= lo + 1 and _CLASS[data[i - 1]] & _WORD and not _after_escape(data, lo, i):
        if i - 2 >= lo and (i - 3 < lo or not _CLASS[data[i - 3]] & _WORD or _after_escape(data, lo, i - 2)):
            end = _iban_end(data, hi, i - 2)
            if end > 0:
                return end, _put(out, n, row, i - 2, end, IBAN)
        while i < hi and _CLASS[data[i]] & _DIGIT:
            i += 1
        return i, n
    end, bits = _number(data, lo, hi, i, shape)
    if bits:
        n = _put(out, n, row, i, end, bits)
    return end, n


@compiled_into_caller
def _region_scan(
    data: Any, lo: int, hi: int, first: int, upto: int, row: int, out: Any, n: int, shape: Any
) -> tuple[int, int]:
    """(next byte, count): list what stands from `first` on and begins before `upto`, in a row from `lo` to `hi`."""
    i = first
    while i < upto:
        c = data[_unsigned(i)]  # an unsigned index needs no look at the array's other end
        trigger = _TRIGGER[c]
        if trigger == 0:
            i += 1
            continue
        if trigger & _T_PREFIX:
            if trigger & _T_INITIAL:
                n = _prefixes(data, lo, hi, i, _wide(FIRST[c]), row, out, n)
            pair = _unsigned(data[_unsigned(i - 1)]) << _unsigned(8) | _unsigned(c) if i > lo else _unsigned(0)
            if PAIRS[pair >> _unsigned(3)] >> (pair & _unsigned(7)) & 1:
                n = _prefixes(data, lo, hi, i, _wide(FIRST[pair]), row, out, n)
        if trigger & _T_DIGIT:
            end = _plain_number_end(data, lo, hi, i)
            if end > i:
                i = end
                continue
            i, n = _digits(data, lo, hi, i, row, out, n, shape)
            continue
        if trigger & _T_AT:
            n = _at_sign(data, lo, hi, i, 1, row, out, n)
        elif trigger & _T_PERCENT and i + 2 < hi and data[i + 1] == 52 and data[i + 2] == 48:
            n = _at_sign(data, lo, hi, i, 3, row, out, n)
        elif trigger & (_T_COLON | _T_EQUALS) and i > lo:
            if trigger & _T_COLON and i + 1 < hi and (data[i + 1] == 58 or _CLASS[data[i + 1]] & _HEX):
                start, end = _ipv6_range(data, lo, hi, i)
                if end > start:
                    n = _put(out, n, row, start, end, IPV6)
                    i = end
                    continue
            j = i - 1
            while j > lo and _CLASS[data[_unsigned(j)]] & _QUOTED:
                j -= 1
            if _NAME_END[data[_unsigned(j)]] and _assigned(data, lo, hi, i):
                n = _put(out, n, row, i, i + 1, ASSIGNED)
        i += 1
    return i, n


@compiled
def scan(data: Any, offsets: Any, first_row: int, regions: Any, out: Any, shape: Any) -> tuple[int, int]:
    """List the candidates of the rows from `first_row` on.

    `data` is the column's bytes (uint8), `offsets` its n + 1 row bounds (int32 or int64), `regions` an (r, 2) int64
    array of the ranges to read, in order, `out` an (m, 4) int64 array that receives (row, start, end, bits), start and
    end being positions in `data`; `shape` (2, 8) is scratch. Answers (number of candidates in `out`, next row to
    scan); the next row is `first_row` when not even one row's candidates fit.
    """
    n, r = 0, 0
    for row in range(first_row, len(offsets) - 1):
        before, lo, hi = n, _wide(offsets[row]), _wide(offsets[row + 1])
        i = lo
        while i < hi:
            while r < len(regions) and regions[r, 1] <= i:
                r += 1
            if r == len(regions) or regions[r, 0] >= hi:
                break
            i, n = _region_scan(data, lo, hi, max(i, regions[r, 0]), min(hi, regions[r, 1]), row, out, n, shape)
        if n > out.shape[0]:
            return before, row
        if r == len(regions):
            break
    return n, len(offsets) - 1


def candidates(data: Bytes, offsets: npt.NDArray[Any]) -> Ints:
    """All candidates of a column as an (n, 4) array of (row, start, end, bits), in order of row."""
    return candidates_and_escapes(data, offsets)[0]


def candidates_and_escapes(data: Bytes, offsets: npt.NDArray[Any]) -> tuple[Ints, Ints]:
    """The candidates, and the numbers of the rows in which a JSON escape of printable ASCII may show."""
    lo = int(offsets[0])
    within, escapes = regions(data[lo : int(offsets[-1])])
    found = listed(data, offsets, within + lo)
    if not len(escapes):
        return found, escapes
    begins, ends = escapes * BLOCK + lo - 4, escapes * BLOCK + lo + BLOCK  # an escape is six bytes, its fifth decides
    first = np.searchsorted(offsets, begins, side="right") - 1
    after = np.searchsorted(offsets, ends, side="left")
    rows = [np.arange(max(0, a), min(b, len(offsets) - 1)) for a, b in zip(first.tolist(), after.tolist(), strict=True)]
    return found, np.unique(np.concatenate(rows))


def listed(data: Bytes, offsets: npt.NDArray[Any], within: Ints) -> Ints:
    """The candidates in the regions `within` ((n, 2), in order and apart from each other), as `candidates` has them."""
    data, offsets = data.view(), offsets.view()
    data.flags.writeable = offsets.flags.writeable = False  # one kind of array, so that one compilation serves all
    parts: list[Ints] = []
    row, room, shape = 0, 4096, np.zeros((2, 8), dtype=np.int64)
    while row < len(offsets) - 1 and len(within):
        out = np.empty((room, 4), dtype=np.int64)
        n, reached = scan(data, offsets, row, within, out, shape)
        if reached == row:
            room *= 4
            continue
        parts.append(out[:n])
        row = reached
    return np.concatenate(parts) if parts else np.empty((0, 4), dtype=np.int64)


def compile_kernels() -> None:
    """Compile for both offset widths now, so that no start-up pays for it (the machine code is cached on disk)."""
    data = np.frombuffer(b"a@b.cc +1 415 555 2671 sk-", dtype=np.uint8)
    for width in (np.int32, np.int64):
        candidates(data, np.array([0, len(data)], dtype=width))
