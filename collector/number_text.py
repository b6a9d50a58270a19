"""Numbers as text, compiled: decimal integers, and doubles in the shortest form that reads back the same.

Every function writes at `at` into the uint8 array `out` and returns the position after what it wrote. An empty `out`
means a dry run: only the position is computed, so that a caller can size its buffer exactly.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import types

from collector.native import kernel

# C library: the shortest decimal text of a double needs correctly rounded conversion both ways.
_gcvt: Any = types.ExternalFunction("gcvt", types.intp(types.float64, types.int32, types.intp))
_strtod: Any = types.ExternalFunction("strtod", types.float64(types.intp, types.intp))

NAN: Final = np.frombuffer(b"NaN", np.uint8)
INFINITY: Final = np.frombuffer(b"Infinity", np.uint8)
ZERO: Final = np.frombuffer(b"0.0", np.uint8)
DIGITS: Final = 32  # where in the scratch space the digits of a number are laid out, after the text it came as


@kernel
def put_int(out, at, value):  # type: ignore[no-untyped-def]
    """Writes a signed decimal (when `out` is not empty) and returns the position after it."""
    dry = out.size == 0
    if value == np.int64(-9223372036854775808):
        if not dry:
            low = 223372036854775808
            out[at] = 45
            out[at + 1] = 57
            for k in range(18):
                out[at + 19 - k] = 48 + low % 10
                low //= 10
        return at + 20
    if value < 0:
        if not dry:
            out[at] = 45
        at += 1
        value = -value
    digits = 1
    rest = value
    while rest >= 10:
        rest //= 10
        digits += 1
    if not dry:
        rest = value
        for k in range(digits):
            out[at + digits - 1 - k] = 48 + rest % 10
            rest //= 10
    return at + digits


@kernel
def put_double(out, at, value, scratch):  # type: ignore[no-untyped-def]
    """Writes the shortest decimal text that reads back as `value`, in Python's repr form; NaN, Infinity, -Infinity.

    `scratch` is a uint8 array of at least 64 bytes.
    """
    if np.isnan(value):
        return put_all(out, at, NAN)
    if np.isinf(value):
        if value < 0:
            at = put(out, at, 45)
        return put_all(out, at, INFINITY)
    size = 0
    for digits in (1, 2, 3, 4, 6, 8, 10, 12, 14, 15, 16, 17):
        size = _format(value, digits, scratch)
        if _strtod(scratch.ctypes.data, 0) == value:
            break
    return _put_repr(out, at, scratch, size)


@kernel
def _format(value, digits, scratch):  # type: ignore[no-untyped-def]
    _gcvt(value, digits, scratch.ctypes.data)
    size = 0
    while size < 63 and scratch[size] != 0:
        size += 1
    return size


@kernel
def put(out, at, code):  # type: ignore[no-untyped-def]
    """Writes one byte (when `out` is not empty) and returns the position after it."""
    if out.size:
        out[at] = code
    return at + 1


@kernel
def put_all(out, at, text):  # type: ignore[no-untyped-def]
    """Writes the bytes of the array `text` and returns the position after them."""
    if out.size:
        for k in range(text.size):
            out[at + k] = text[k]
    return at + text.size


@kernel
def _put_repr(out, at, scratch, size):  # type: ignore[no-untyped-def]
    """Turns C's %g text into Python's repr: digits and exponent are taken apart and laid out again."""
    i = 0
    if scratch[0] == 45:
        at = put(out, at, 45)
        i = 1
    n = 0
    point = -1
    exponent: Any = np.int64(0)
    while i < size and scratch[i] != 101:
        if scratch[i] == 46:
            point = n
        else:
            scratch[DIGITS + n] = scratch[i]
            n += 1
        i += 1
    if point < 0:
        point = n
    if i < size:
        i += 1
        sign = 1
        if scratch[i] == 45:
            sign = -1
            i += 1
        elif scratch[i] == 43:
            i += 1
        while i < size:
            exponent = exponent * 10 + (np.int64(scratch[i]) - 48)
            i += 1
        exponent *= sign
    lead = 0
    while lead < n - 1 and scratch[DIGITS + lead] == 48:
        lead += 1
    while n > lead + 1 and scratch[DIGITS + n - 1] == 48:
        n -= 1
    point = point - lead + exponent  # digits before the decimal point
    count = n - lead
    if count == 1 and scratch[DIGITS + lead] == 48:
        return put_all(out, at, ZERO)
    if -4 < point <= 16:
        if point <= 0:
            at = put(out, put(out, at, 48), 46)
            for _ in range(-point):
                at = put(out, at, 48)
            for k in range(count):
                at = put(out, at, scratch[DIGITS + lead + k])
            return at
        for k in range(max(point, count)):
            if k == point:
                at = put(out, at, 46)
            at = put(out, at, scratch[DIGITS + lead + k] if k < count else np.uint8(48))
        if count <= point:
            at = put(out, put(out, at, 46), 48)
        return at
    at = put(out, at, scratch[DIGITS + lead])
    if count > 1:
        at = put(out, at, 46)
        for k in range(1, count):
            at = put(out, at, scratch[DIGITS + lead + k])
    e = point - 1
    at = put(out, put(out, at, 101), 45 if e < 0 else 43)
    e = abs(e)
    if e < 10:
        at = put(out, at, 48)
    return put_int(out, at, e)


@kernel
def put_uint(out, at, value):  # type: ignore[no-untyped-def]
    """Writes the unsigned number whose two's complement is `value`."""
    if value >= 0:
        return put_int(out, at, value)
    tens = np.int64(np.uint64(value) // np.uint64(10))
    digit = np.int64(np.uint64(value) % np.uint64(10))
    return put(out, put_int(out, at, tens), 48 + digit)
