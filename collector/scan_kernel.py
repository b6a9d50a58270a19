"""The compiled half of collector.scan: counts the spans of a request, and fills one row for each.

Columns of a row are plain integers here, as numba wants them; collector.scan.Col names them.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import types

from collector.native import kernel, kernel_as
from collector.wire import (
    BAD_UTF8,
    FIXED32,
    FIXED64,
    LENGTH,
    MALFORMED,
    MAX_DEPTH,
    TOO_DEEP,
    VARINT,
    content_hash,
    field,
    fixed32,
    fixed64,
    valid_utf8,
    varint,
)

READONLY: Final = types.Array(types.uint8, 1, "C", readonly=True)

# Bits of Col.ISSUES, as collector.scan has them.
PARENT_INVALID: Final = 1
UTF8_BROKEN: Final = 2

# Plain integers for the kernels: numba freezes them as constants.
_START, _END, _RESOURCE, _SCOPE, _REFUSAL = 0, 1, 2, 3, 4
_TRACE, _SPAN, _PARENT, _NAME, _NAME_LEN, _KIND = 5, 6, 7, 8, 9, 10
_START_NS, _END_NS, _STATUS, _MESSAGE, _MESSAGE_LEN = 11, 12, 13, 14, 15
_N_ATTR, _N_EVENTS, _N_LINKS, _DROPPED, _FLAGS, _STATE, _STATE_LEN, _ISSUES, _PRIORITY, _HASH = (
    16,
    17,
    18,
    19,
    20,
    21,
    22,
    23,
    24,
    25,
)
_EVALUATION: Final = np.frombuffer(b"gen_ai.evaluation", np.uint8)
_GUARDRAIL: Final = np.frombuffer(b"guardrail", np.uint8)
_KIND_KEY: Final = np.frombuffer(b"openinference.span.kind", np.uint8)
_TYPE_KEY: Final = np.frombuffer(b"langfuse.observation.type", np.uint8)
_AWS_KEY: Final = np.frombuffer(b"aws.bedrock.guardrail.id", np.uint8)
_GUARD_VALUE: Final = np.frombuffer(b"guardrail", np.uint8)
_EVAL_VALUE: Final = np.frombuffer(b"evaluator", np.uint8)


@kernel
def count(buf):  # type: ignore[no-untyped-def]
    """-> (resource spans, scope spans, spans, position of broken framing or -1)"""
    n_resources = n_scopes = n_spans = 0
    pos, end = 0, buf.size
    while pos < end:
        number, kind, at, length, after = field(buf, pos, end)
        if after < 0:
            return n_resources, n_scopes, n_spans, pos
        if number == 1 and kind == LENGTH:
            n_resources += 1
            inner, inner_end = at, at + length
            while inner < inner_end:
                number, kind, at2, length2, after2 = field(buf, inner, inner_end)
                if after2 < 0:
                    return n_resources, n_scopes, n_spans, inner
                if number == 2 and kind == LENGTH:
                    n_scopes += 1
                    deep, deep_end = at2, at2 + length2
                    while deep < deep_end:
                        number, kind, _, _, after3 = field(buf, deep, deep_end)
                        if after3 < 0:
                            return n_resources, n_scopes, n_spans, deep
                        if number == 2 and kind == LENGTH:
                            n_spans += 1
                        deep = after3
                inner = after2
        pos = after
    return n_resources, n_scopes, n_spans, -1


@kernel
def fill(buf, spans, resources, scopes):  # type: ignore[no-untyped-def]
    """Fills the three tables; the framing was checked by `count`."""
    r = c = s = 0
    pos, end = 0, buf.size
    while pos < end:
        number, kind, at, length, after = field(buf, pos, end)
        if number == 1 and kind == LENGTH:
            inner, inner_end = at, at + length
            while inner < inner_end:
                number, kind, at2, length2, after2 = field(buf, inner, inner_end)
                if number == 1 and kind == LENGTH:
                    resources[r, 0], resources[r, 1] = at2, at2 + length2
                elif number == 2 and kind == LENGTH:
                    deep, deep_end = at2, at2 + length2
                    while deep < deep_end:
                        number, kind, at3, length3, after3 = field(buf, deep, deep_end)
                        if number == 1 and kind == LENGTH:
                            scopes[c, 0], scopes[c, 1] = at3, at3 + length3
                        elif number == 2 and kind == LENGTH:
                            row = spans[s]
                            row[_START], row[_END] = at3, at3 + length3
                            row[_RESOURCE], row[_SCOPE] = r, c
                            _span(buf, row)
                            s += 1
                        deep = after3
                    c += 1
                inner = after2
            r += 1
        pos = after


@kernel
def _span(buf, row):  # type: ignore[no-untyped-def]
    """Reads one span into its row and judges it."""
    pos, end = row[_START], row[_END]
    trace_len = span_len = parent_len = 0
    row[_TRACE] = row[_SPAN] = row[_PARENT] = -1
    worst = 0
    while pos < end:
        number, kind, at, length, pos = field(buf, pos, end)
        if pos < 0:
            row[_REFUSAL] = 1
            return
        if kind == LENGTH:
            if number == 1:
                row[_TRACE], trace_len = at, length
            elif number == 2:
                row[_SPAN], span_len = at, length
            elif number == 3:
                row[_STATE], row[_STATE_LEN] = at, length
                worst |= _text(buf, at, at + length)
            elif number == 4:
                row[_PARENT], parent_len = at, length
            elif number == 5:
                row[_NAME], row[_NAME_LEN] = at, length
                worst |= _text(buf, at, at + length)
            elif number == 9:
                row[_N_ATTR] += 1
                worst |= _attribute(buf, at, at + length)
                if _marks_priority(buf, at, at + length):
                    row[_PRIORITY] = 1
            elif number == 11:
                row[_N_EVENTS] += 1
                worst |= _event(buf, at, at + length, row)
            elif number == 13:
                row[_N_LINKS] += 1
                worst |= _link(buf, at, at + length)
            elif number == 15:
                worst |= _status(buf, at, at + length, row)
        elif kind == VARINT:
            value, _ = varint(buf, at, end)
            if number == 6:
                row[_KIND] = np.int64(np.int32(np.uint32(value & np.uint64(0xFFFFFFFF))))
            elif number in (10, 12, 14):
                row[_DROPPED] += np.int64(value & np.uint64(0xFFFFFFFF))
        elif kind == FIXED64:
            if number == 7:
                row[_START_NS] = fixed64(buf, at)
            elif number == 8:
                row[_END_NS] = fixed64(buf, at)
        elif kind == FIXED32 and number == 16:
            row[_FLAGS] = fixed32(buf, at)
    if row[_STATUS] == 2 or _starts(buf, row[_NAME], row[_NAME] + row[_NAME_LEN], _GUARDRAIL):
        row[_PRIORITY] = 1
    row[_HASH] = content_hash(buf, row[_START], row[_END], 7)
    row[_REFUSAL] = _judge(buf, row, trace_len, span_len, worst)
    if worst & BAD_UTF8:
        row[_ISSUES] |= UTF8_BROKEN
    if parent_len == 0 or (parent_len == 8 and _zero(buf, row[_PARENT], 8)):
        row[_PARENT] = -1
    elif parent_len != 8 or (span_len == 8 and _same(buf, row[_PARENT], row[_SPAN], 8)):
        row[_PARENT] = -1
        row[_ISSUES] |= PARENT_INVALID


@kernel
def _judge(buf, row, trace_len, span_len, worst):  # type: ignore[no-untyped-def]
    if worst & MALFORMED:
        return 1
    if trace_len == 0 and span_len == 0:
        return 9
    if trace_len != 16:
        return 6 if trace_len in (32, 36) and _hexadecimal(buf, row[_TRACE], trace_len) else 2
    if span_len != 8:
        return 7 if span_len == 16 and _hexadecimal(buf, row[_SPAN], 16) else 3
    if _zero(buf, row[_TRACE], 16):
        return 4
    if _zero(buf, row[_SPAN], 8):
        return 5
    if worst & TOO_DEEP:
        return 8
    return 0


@kernel
def _zero(buf, at, size):  # type: ignore[no-untyped-def]
    for i in range(size):  # noqa: SIM110 - compiled
        if buf[at + i] != 0:
            return False
    return True


@kernel
def _same(buf, a, b, size):  # type: ignore[no-untyped-def]
    for i in range(size):  # noqa: SIM110 - compiled
        if buf[a + i] != buf[b + i]:
            return False
    return True


@kernel
def _hexadecimal(buf, at, size):  # type: ignore[no-untyped-def]
    for i in range(size):
        b = buf[at + i]
        if not (48 <= b <= 57 or 65 <= b <= 70 or 97 <= b <= 102 or b == 45):
            return False
    return True


@kernel
def _starts(buf, pos, end, text):  # type: ignore[no-untyped-def]
    if pos < 0 or end - pos < text.size:
        return False
    for i in range(text.size):  # noqa: SIM110 - compiled
        if (buf[pos + i] | 0x20) != (text[i] | 0x20):
            return False
    return True


@kernel
def _text(buf, pos, end):  # type: ignore[no-untyped-def]
    return 0 if valid_utf8(buf, pos, end) else BAD_UTF8


@kernel_as(types.int64(READONLY, types.int64, types.int64, types.int64))
def check_value(buf, pos, end, depth):  # type: ignore[no-untyped-def]
    """Judges an AnyValue and everything inside it; bits of collector.wire."""
    if depth > MAX_DEPTH:
        return TOO_DEEP
    worst = 0
    while pos < end:
        number, kind, at, length, pos = field(buf, pos, end)
        if pos < 0:
            return MALFORMED
        if kind != LENGTH:
            continue
        if number == 1:
            if not valid_utf8(buf, at, at + length):
                worst |= BAD_UTF8
        elif number == 5 or number == 6:
            inner, inner_end = at, at + length
            while inner < inner_end:
                n2, k2, at2, len2, inner = field(buf, inner, inner_end)
                if inner < 0:
                    return MALFORMED
                if n2 != 1 or k2 != LENGTH:
                    continue
                if number == 5:
                    worst |= check_value(buf, at2, at2 + len2, depth + 1)
                else:
                    pair, pair_end = at2, at2 + len2
                    while pair < pair_end:
                        n3, k3, at3, len3, pair = field(buf, pair, pair_end)
                        if pair < 0:
                            return MALFORMED
                        if k3 == LENGTH and n3 == 1 and not valid_utf8(buf, at3, at3 + len3):
                            worst |= BAD_UTF8
                        elif k3 == LENGTH and n3 == 2:
                            worst |= check_value(buf, at3, at3 + len3, depth + 1)
                if worst & (MALFORMED | TOO_DEEP):
                    return worst
    return worst


@kernel
def _attribute(buf, pos, end):  # type: ignore[no-untyped-def]
    worst = 0
    while pos < end:
        number, kind, at, length, pos = field(buf, pos, end)
        if pos < 0:
            return MALFORMED
        if kind == LENGTH and number == 1:
            worst |= _text(buf, at, at + length)
        elif kind == LENGTH and number == 2:
            worst |= check_value(buf, at, at + length, 1)
    return worst


@kernel
def _event(buf, pos, end, row):  # type: ignore[no-untyped-def]
    worst = 0
    while pos < end:
        number, kind, at, length, pos = field(buf, pos, end)
        if pos < 0:
            return MALFORMED
        if kind == LENGTH and number == 2:
            worst |= _text(buf, at, at + length)
            if _starts(buf, at, at + length, _EVALUATION) or _starts(buf, at, at + length, _GUARDRAIL):
                row[_PRIORITY] = 1
        elif kind == LENGTH and number == 3:
            worst |= _attribute(buf, at, at + length)
    return worst


@kernel
def _link(buf, pos, end):  # type: ignore[no-untyped-def]
    worst = 0
    while pos < end:
        number, kind, at, length, pos = field(buf, pos, end)
        if pos < 0:
            return MALFORMED
        if kind == LENGTH and number == 3:
            worst |= _text(buf, at, at + length)
        elif kind == LENGTH and number == 4:
            worst |= _attribute(buf, at, at + length)
    return worst


@kernel
def _status(buf, pos, end, row):  # type: ignore[no-untyped-def]
    worst = 0
    while pos < end:
        number, kind, at, length, pos = field(buf, pos, end)
        if pos < 0:
            return MALFORMED
        if kind == LENGTH and number == 2:
            row[_MESSAGE], row[_MESSAGE_LEN] = at, length
            worst |= _text(buf, at, at + length)
        elif kind == VARINT and number == 3:
            value, _ = varint(buf, at, end)
            row[_STATUS] = np.int64(np.int32(np.uint32(value & np.uint64(0xFFFFFFFF))))
    return worst


@kernel
def _marks_priority(buf, pos, end):  # type: ignore[no-untyped-def]
    """Whether a KeyValue marks its span as guardrail or evaluation (collector.dialects.PRIORITY_KEYS)."""
    number, kind, at, length, after = field(buf, pos, end)
    if after < 0 or number != 1 or kind != LENGTH or length < 9:
        return False
    key_end = at + length
    if _starts(buf, at, key_end, _EVALUATION) or _starts(buf, at, key_end, _AWS_KEY):
        return True
    if not (_starts(buf, at, key_end, _KIND_KEY) or _starts(buf, at, key_end, _TYPE_KEY)):
        return False
    number, kind, at, length, after = field(buf, after, end)
    if after < 0 or number != 2 or kind != LENGTH:
        return False
    number, kind, at, length, after = field(buf, at, at + length)
    if after < 0 or number != 1 or kind != LENGTH or length != 9:
        return False
    return _starts(buf, at, at + length, _GUARD_VALUE) or _starts(buf, at, at + length, _EVAL_VALUE)
