"""Protobuf wire primitives, compiled: varints, fields, UTF-8 and hashes.

Every function works on a contiguous uint8 array and never reads outside [pos, end). A negative position means
"malformed". All run without the GIL.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from collector.native import kernel

VARINT: Final = 0
FIXED64: Final = 1
LENGTH: Final = 2
FIXED32: Final = 5

# Results of checking a value; bits, so that they combine.
MALFORMED: Final = 1
BAD_UTF8: Final = 2
TOO_DEEP: Final = 4

MAX_DEPTH: Final = 64


@kernel
def varint(buf, pos, end):  # type: ignore[no-untyped-def]
    """-> (value as uint64, next position or -1). At most ten bytes, as the wire format allows."""
    value = np.uint64(0)
    shift = np.uint64(0)
    for _ in range(10):
        if pos >= end:
            return value, -1
        byte = np.uint64(buf[pos])
        pos += 1
        value |= (byte & np.uint64(0x7F)) << shift
        if byte < np.uint64(0x80):
            return value, pos
        shift += np.uint64(7)
    return value, -1


@kernel
def field(buf, pos, end):  # type: ignore[no-untyped-def]
    """Reads one field header and its extent.

    -> (number, wire type, payload start, payload length, next position or -1). For VARINT the payload is the varint
    itself; groups (wire types 3 and 4) and field number 0 are malformed.
    """
    tag, at = varint(buf, pos, end)
    if at < 0:
        return 0, 0, 0, 0, -1
    number = np.int64(tag >> np.uint64(3))
    kind = np.int64(tag & np.uint64(7))
    if number == 0 or number > 536870911:
        return 0, 0, 0, 0, -1
    if kind == 0:
        _, after = varint(buf, at, end)
        if after < 0:
            return 0, 0, 0, 0, -1
        return number, kind, at, after - at, after
    if kind == 1:
        if at + 8 > end:
            return 0, 0, 0, 0, -1
        return number, kind, at, 8, at + 8
    if kind == 5:
        if at + 4 > end:
            return 0, 0, 0, 0, -1
        return number, kind, at, 4, at + 4
    if kind == 2:
        size, at = varint(buf, at, end)
        if at < 0 or size > np.uint64(end - at):
            return 0, 0, 0, 0, -1
        length = np.int64(size)
        return number, kind, at, length, at + length
    return 0, 0, 0, 0, -1


@kernel
def fixed64(buf, pos):  # type: ignore[no-untyped-def]
    """Eight little-endian bytes as a signed integer (two's complement)."""
    value = np.uint64(0)
    for i in range(8):
        value |= np.uint64(buf[pos + i]) << np.uint64(8 * i)
    return np.int64(value)


@kernel
def fixed32(buf, pos):  # type: ignore[no-untyped-def]
    """Four little-endian bytes as a non-negative integer."""
    return (
        np.int64(buf[pos])
        | (np.int64(buf[pos + 1]) << 8)
        | (np.int64(buf[pos + 2]) << 16)
        | (np.int64(buf[pos + 3]) << 24)
    )


@kernel
def valid_utf8(buf, pos, end):  # type: ignore[no-untyped-def]
    """Whether the bytes are well-formed UTF-8 (Unicode 15, table 3-7: no surrogates, no overlong forms)."""
    i = pos
    while i < end:
        a = buf[i]
        if a < 0x80:
            while i + 8 <= end and (np.uint64(fixed64(buf, i)) & np.uint64(0x8080808080808080)) == np.uint64(0):
                i += 8
            while i < end and buf[i] < 0x80:
                i += 1
            continue
        if a < 0xC2:
            return False
        if a < 0xE0:
            if i + 1 >= end or (buf[i + 1] & 0xC0) != 0x80:
                return False
            i += 2
        elif a < 0xF0:
            if i + 2 >= end or (buf[i + 1] & 0xC0) != 0x80 or (buf[i + 2] & 0xC0) != 0x80:
                return False
            if (a == 0xE0 and buf[i + 1] < 0xA0) or (a == 0xED and buf[i + 1] > 0x9F):
                return False
            i += 3
        elif a < 0xF5:
            if i + 3 >= end:
                return False
            if (buf[i + 1] & 0xC0) != 0x80 or (buf[i + 2] & 0xC0) != 0x80 or (buf[i + 3] & 0xC0) != 0x80:
                return False
            if (a == 0xF0 and buf[i + 1] < 0x90) or (a == 0xF4 and buf[i + 1] > 0x8F):
                return False
            i += 4
        else:
            return False
    return True


@kernel
def content_hash(buf, pos, end, seed):  # type: ignore[no-untyped-def]
    """A 64-bit hash of the bytes: eight at a time, multiply and fold, finished as MurmurHash3 does."""
    h = np.uint64(seed) ^ (np.uint64(end - pos) * np.uint64(0x9E3779B97F4A7C15))
    i = pos
    while i + 8 <= end:
        h = (h ^ np.uint64(fixed64(buf, i))) * np.uint64(0xFF51AFD7ED558CCD)
        h ^= h >> np.uint64(32)
        i += 8
    tail = np.uint64(0)
    shift = np.uint64(0)
    while i < end:
        tail |= np.uint64(buf[i]) << shift
        shift += np.uint64(8)
        i += 1
    h = (h ^ tail) * np.uint64(0xC4CEB9FE1A85EC53)
    h ^= h >> np.uint64(33)
    h *= np.uint64(0xFF51AFD7ED558CCD)
    h ^= h >> np.uint64(33)
    return np.int64(h)
