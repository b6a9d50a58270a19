"""Attribute values as text, compiled: AnyValue to its canonical text, and to JSON where it is nested.

The canonical text of a value (kept in the `attributes` map, its type in `attribute_types`):
s string as it is · i decimal · d shortest decimal that reads back the same · b true/false · y standard base64 ·
a, k compact JSON · n empty. Inside JSON, bytes are {"$bytes":"..."} and NaN or infinities are quoted.

As in collector.number_text, an empty `out` means a dry run that only counts.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import types

from collector.native import as_double, kernel, kernel_as
from collector.number_text import put, put_all, put_double, put_int
from collector.scan_kernel import READONLY
from collector.wire import FIXED64, LENGTH, VARINT, field, fixed64, varint

TRUE: Final = np.frombuffer(b"true", np.uint8)
FALSE: Final = np.frombuffer(b"false", np.uint8)
NULL: Final = np.frombuffer(b"null", np.uint8)
BYTES_OPEN: Final = np.frombuffer(b'{"$bytes":"', np.uint8)
HEX: Final = np.frombuffer(b"0123456789abcdef", np.uint8)
BASE64: Final = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", np.uint8)

# Letters of attribute_types.
T_STRING, T_INT, T_DOUBLE, T_BOOL, T_BYTES, T_ARRAY, T_KVLIST, T_EMPTY = 115, 105, 100, 98, 121, 97, 107, 110
_WRITABLE: Final = types.Array(types.uint8, 1, "C")


@kernel
def value_of(buf, pos, end):  # type: ignore[no-untyped-def]
    """-> (type letter, payload start, payload length, number). The last field of the oneof wins, as in protobuf.

    `number` is the integer, the bits of the double, or 0/1.
    """
    letter, start, size, number = T_EMPTY, pos, 0, np.int64(0)
    while pos < end:
        tag, kind, at, length, pos = field(buf, pos, end)
        if pos < 0:
            break
        if kind == LENGTH:
            if tag == 1:
                letter, start, size = T_STRING, at, length
            elif tag == 5:
                letter, start, size = T_ARRAY, at, length
            elif tag == 6:
                letter, start, size = T_KVLIST, at, length
            elif tag == 7:
                letter, start, size = T_BYTES, at, length
        elif kind == VARINT and (tag == 2 or tag == 3):
            raw, _ = varint(buf, at, end)
            start, size = at, length
            if tag == 2:
                letter, number = T_BOOL, np.int64(1) if raw != np.uint64(0) else np.int64(0)
            else:
                letter, number = T_INT, np.int64(raw)
        elif kind == FIXED64 and tag == 4:
            letter, start, size, number = T_DOUBLE, at, length, fixed64(buf, at)
    return letter, start, size, number


@kernel
def put_escaped(out, at, buf, pos, end):  # type: ignore[no-untyped-def]
    """The inside of a JSON string: quote, backslash and control characters escaped, everything else as it is."""
    dry = out.size == 0
    for i in range(pos, end):
        b = buf[i]
        if b >= 32 and b != 34 and b != 92:
            if not dry:
                out[at] = b
            at += 1
        elif b == 34 or b == 92:
            at = put(out, put(out, at, 92), b)
        elif b == 10:
            at = put(out, put(out, at, 92), 110)
        elif b == 13:
            at = put(out, put(out, at, 92), 114)
        elif b == 9:
            at = put(out, put(out, at, 92), 116)
        elif b == 8:
            at = put(out, put(out, at, 92), 98)
        elif b == 12:
            at = put(out, put(out, at, 92), 102)
        else:
            at = put(out, put(out, put(out, put(out, at, 92), 117), 48), 48)
            at = put(out, put(out, at, HEX[b >> 4]), HEX[b & 15])
    return at


@kernel
def put_quoted(out, at, buf, pos, end):  # type: ignore[no-untyped-def]
    """A JSON string."""
    return put(out, put_escaped(out, put(out, at, 34), buf, pos, end), 34)


@kernel
def put_base64(out, at, buf, pos, end):  # type: ignore[no-untyped-def]
    """Standard base64 with padding (RFC 4648 section 4)."""
    i = pos
    while i < end:
        left = end - i
        a = np.int64(buf[i])
        b = np.int64(buf[i + 1]) if left > 1 else np.int64(0)
        c = np.int64(buf[i + 2]) if left > 2 else np.int64(0)
        at = put(out, at, BASE64[a >> 2])
        at = put(out, at, BASE64[((a & 3) << 4) | (b >> 4)])
        at = put(out, at, BASE64[((b & 15) << 2) | (c >> 6)] if left > 1 else np.uint8(61))
        at = put(out, at, BASE64[c & 63] if left > 2 else np.uint8(61))
        i += 3
    return at


@kernel
def pair(buf, pos, end):  # type: ignore[no-untyped-def]
    """A KeyValue -> (key start, key length, value start, value length); absent parts have length 0."""
    key, key_len, value, value_len = pos, 0, pos, 0
    while pos < end:
        tag, kind, at, length, pos = field(buf, pos, end)
        if pos < 0:
            break
        if kind == LENGTH and tag == 1:
            key, key_len = at, length
        elif kind == LENGTH and tag == 2:
            value, value_len = at, length
    return key, key_len, value, value_len


@kernel_as(types.int64(_WRITABLE, types.int64, READONLY, types.int64, types.int64, _WRITABLE))
def put_json(out, at, buf, pos, end, scratch):  # type: ignore[no-untyped-def]
    """An AnyValue as JSON. Depth was bounded by the scan."""
    letter, start, size, number = value_of(buf, pos, end)
    if letter == T_STRING:
        return put_quoted(out, at, buf, start, start + size)
    if letter == T_INT:
        return put_int(out, at, number)
    if letter == T_BOOL:
        return put_all(out, at, TRUE if number else FALSE)
    if letter == T_DOUBLE:
        value = as_double(number)
        if np.isfinite(value):
            return put_double(out, at, value, scratch)
        return put(out, put_double(out, put(out, at, 34), value, scratch), 34)
    if letter == T_BYTES:
        at = put_base64(out, put_all(out, at, BYTES_OPEN), buf, start, start + size)
        return put(out, put(out, at, 34), 125)
    if letter == T_EMPTY:
        return put_all(out, at, NULL)
    stop = start + size
    at = put(out, at, 91 if letter == T_ARRAY else 123)
    first = True
    inner = start
    while inner < stop:
        tag, kind, item, length, inner = field(buf, inner, stop)
        if tag != 1 or kind != LENGTH:
            continue
        if not first:
            at = put(out, at, 44)
        first = False
        if letter == T_ARRAY:
            at = put_json(out, at, buf, item, item + length, scratch)
            continue
        key, key_len, value, value_len = pair(buf, item, item + length)
        at = put(out, put_quoted(out, at, buf, key, key + key_len), 58)
        at = put_json(out, at, buf, value, value + value_len, scratch)
    return put(out, at, 93 if letter == T_ARRAY else 125)


@kernel
def put_text(out, at, buf, letter, start, size, number, scratch):  # type: ignore[no-untyped-def]
    """The canonical text of a value whose type is not string; `start` is where `value_of` found it."""
    if letter == T_INT:
        return put_int(out, at, number)
    if letter == T_BOOL:
        return put_all(out, at, TRUE if number else FALSE)
    if letter == T_DOUBLE:
        return put_double(out, at, as_double(number), scratch)
    if letter == T_BYTES:
        return put_base64(out, at, buf, start, start + size)
    return at
