"""The compiled half of decoding: attributes of scanned spans become offsets, winners and text.

`attribute_table` makes one row per attribute and picks, for every span and column, the attribute that fills it;
`render_values` writes the text of values that are not strings; `gather` copies slices into an Arrow string column.
Text lies in one of three buffers: 0 the request body, 1 rendered values, 2 texts made in Python.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from collector.native import as_double, copy, kernel
from collector.number_text import put, put_all, put_int, put_uint
from collector.render import (
    T_ARRAY,
    T_DOUBLE,
    T_INT,
    T_KVLIST,
    T_STRING,
    pair,
    put_json,
    put_quoted,
    put_text,
    value_of,
)
from collector.wire import FIXED64, LENGTH, VARINT, content_hash, field, fixed64, varint

MAX_ATTRIBUTES: Final = 1024
KEY_SEED: Final = 1
VALUE_SEED: Final = 2
SLOT_MASK: Final = 2047
MOST_TOKENS: Final = 1 << 53


class Attr(IntEnum):
    """Columns of the attribute table."""

    KEY = 0
    KEY_LEN = 1
    TYPE = 2
    SOURCE = 3
    TEXT = 4
    TEXT_LEN = 5
    NUMBER = 6
    KEY_ID = 7
    KEPT = 8
    VALUE = 9
    VALUE_LEN = 10
    HASH = 11


ATTR_WIDTH: Final = 12
_KEY, _KEY_LEN, _TYPE, _SOURCE, _TEXT, _TEXT_LEN, _NUMBER, _KEY_ID, _KEPT, _VALUE, _VALUE_LEN, _HASH = range(12)

# Bits of the span's notes
DUPLICATE_KEY: Final = 4
TRUNCATED: Final = 8
FLAGGED: Final = 16
EVALUATION_EVENT: Final = 32

NAME_TEXT: Final = np.frombuffer(b'{"name":', np.uint8)
TIME_TEXT: Final = np.frombuffer(b',"time_ns":', np.uint8)
ATTRIBUTES_TEXT: Final = np.frombuffer(b',"attributes":{', np.uint8)
DROPPED_TEXT: Final = np.frombuffer(b',"dropped":', np.uint8)
STATE_TEXT: Final = np.frombuffer(b',"trace_state":', np.uint8)
TRACE_TEXT: Final = np.frombuffer(b'{"trace_id":"', np.uint8)
SPAN_TEXT: Final = np.frombuffer(b'","span_id":"', np.uint8)
LINK_TEXT: Final = np.frombuffer(b'","attributes":{', np.uint8)
EVALUATION_NAME: Final = np.frombuffer(b"gen_ai.evaluation.result", np.uint8)
HEX: Final = np.frombuffer(b"0123456789abcdef", np.uint8)


def scratch_for(
    n_columns: int,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Room for one call of `attribute_table`: a lower-case value, nothing, a number's text, a rank per column."""
    return np.empty(96, np.uint8), np.zeros(0, np.uint8), number_room(), np.empty(n_columns, np.int64)


def number_room() -> npt.NDArray[np.uint8]:
    """Room for the text of one number, and its digits."""
    return np.zeros(64, np.uint8)


@kernel
def attribute_table(  # type: ignore[no-untyped-def]
    buf, spans, slot_hash, slot_key, first, action_column, action_rank, marks, kinds, best, table, notes, scratch
):
    """Fills `table` (attributes in order), `best` (n, columns) with winning rows or -1, `notes` and kind codes.

    `kinds` is a tuple (kind_rank, present_kind, value_rank, value_hash, value_kind, prefix_rank, prefix_kind,
    prefix_first, prefix_text, family_first, family_text, out) whose last array receives one code per span; `scratch` is
    what `scratch_for` answers.
    Returns the bytes that `render_values` will need.
    """
    out_kind = kinds[11]
    lower, nothing, text, ranks = scratch
    needed = 0
    row = 0
    for s in range(spans.shape[0]):
        ranks[:] = 1 << 30
        kind_best = 1 << 30
        begin = row
        pos, end = spans[s, 0], spans[s, 1]
        while pos < end:
            tag, wire, at, length, pos = field(buf, pos, end)
            if tag == 11 and wire == LENGTH and _is_evaluation(buf, at, at + length):
                notes[s] |= EVALUATION_EVENT
            if tag != 9 or wire != LENGTH:
                continue
            if row - begin >= MAX_ATTRIBUTES:
                notes[s] |= TRUNCATED
                continue
            key, key_len, value, value_len = pair(buf, at, at + length)
            letter, start, size, number = value_of(buf, value, value + value_len)
            a = table[row]
            a[_KEY], a[_KEY_LEN], a[_TYPE], a[_NUMBER], a[_KEPT] = key, key_len, letter, number, 1
            a[_VALUE], a[_VALUE_LEN] = value, value_len
            if letter == T_STRING:
                a[_SOURCE], a[_TEXT], a[_TEXT_LEN] = 0, start, size
            else:
                a[_SOURCE], a[_TEXT] = 1, needed
                if letter == T_ARRAY or letter == T_KVLIST:  # noqa: SIM109 - compiled
                    a[_TEXT_LEN] = put_json(nothing, 0, buf, value, value + value_len, text)
                else:
                    a[_TEXT_LEN] = put_text(nothing, 0, buf, letter, start, size, number, text)
                needed += a[_TEXT_LEN]
            a[_HASH] = content_hash(buf, key, key + key_len, KEY_SEED)
            slot = a[_HASH] & SLOT_MASK
            while slot_key[slot] >= 0 and slot_hash[slot] != a[_HASH]:
                slot = (slot + 1) & SLOT_MASK
            a[_KEY_ID] = slot_key[slot]
            if _earlier_duplicate(buf, table, begin, row):
                notes[s] |= DUPLICATE_KEY
            row += 1
        for r in range(begin, row):
            a = table[r]
            k = a[_KEY_ID]
            if a[_KEPT] == 0:
                continue
            if k < 0:
                if _in_family(buf, a[_KEY], a[_KEY_LEN], kinds[9], kinds[10]):
                    notes[s] |= FLAGGED
                continue
            if marks[k]:
                notes[s] |= FLAGGED
            if a[_TEXT_LEN] == 0:
                continue
            for i in range(first[k], first[k + 1]):
                column = action_column[i]
                if action_rank[i] < ranks[column]:
                    ranks[column] = action_rank[i]
                    best[s, column] = r
            rank = kinds[0][k]
            if 0 <= rank < kind_best:
                code = _kind_of(buf, k, rank, a[_TYPE], a[_TEXT], a[_TEXT_LEN], kinds, lower)
                if code >= 0:
                    kind_best = rank
                    out_kind[s] = code
    return needed


@kernel
def _is_evaluation(buf, pos, end):  # type: ignore[no-untyped-def]
    """Whether an Event message is named gen_ai.evaluation.result."""
    while pos < end:
        tag, wire, at, length, pos = field(buf, pos, end)
        if pos < 0:
            return False
        if tag == 2 and wire == LENGTH:
            if length != EVALUATION_NAME.size:
                return False
            for i in range(length):  # noqa: SIM110 - compiled
                if buf[at + i] != EVALUATION_NAME[i]:
                    return False
            return True
    return False


@kernel
def _earlier_duplicate(buf, table, begin, row):  # type: ignore[no-untyped-def]
    """Drops earlier rows with the same key: the last one sent wins."""
    found = False
    for other in range(begin, row):
        if table[other, _HASH] != table[row, _HASH] or table[other, _KEY_LEN] != table[row, _KEY_LEN]:
            continue
        if table[other, _KEPT] == 0:
            continue
        same = True
        for i in range(table[row, _KEY_LEN] - 1, -1, -1):
            if buf[table[other, _KEY] + i] != buf[table[row, _KEY] + i]:
                same = False
                break
        if same:
            table[other, _KEPT] = 0
            found = True
    return found


@kernel
def _in_family(buf, key, key_len, family_first, family_text):  # type: ignore[no-untyped-def]
    for f in range(family_first.size - 1):
        low, high = family_first[f], family_first[f + 1]
        size = high - low
        if key_len <= size:
            continue
        same = True
        for i in range(size):
            if buf[key + i] != family_text[low + i]:
                same = False
                break
        if same:
            digit = buf[key + size]
            return 48 <= digit <= 57
    return False


@kernel
def _kind_of(buf, k, rank, letter, start, size, kinds, lower):  # type: ignore[no-untyped-def]
    """The kind that this attribute's value says, or -1."""
    if letter == T_STRING and size <= 96:
        for i in range(size):
            b = buf[start + i]
            lower[i] = b + 32 if 65 <= b <= 90 else b
        value = content_hash(lower, 0, size, VALUE_SEED)
        for i in range(kinds[2].size):
            if kinds[2][i] == rank and kinds[3][i] == value:
                return kinds[4][i]
    if letter == T_STRING:
        for p in range(kinds[5].size):
            low, high = kinds[7][p], kinds[7][p + 1]
            if kinds[5][p] != rank or size < high - low:
                continue
            same = True
            for i in range(high - low):
                b = buf[start + i]
                if (b + 32 if 65 <= b <= 90 else b) != kinds[8][low + i]:
                    same = False
                    break
            if same:
                return kinds[6][p]
    return kinds[1][k]


@kernel
def render_values(buf, table, out, scratch):  # type: ignore[no-untyped-def]
    """Writes the text of every value that is not a string at the place `attribute_table` gave it."""
    for row in range(table.shape[0]):
        a = table[row]
        if a[_SOURCE] != 1 or a[_TEXT_LEN] == 0:
            continue
        value, value_end = a[_VALUE], a[_VALUE] + a[_VALUE_LEN]
        if a[_TYPE] == T_ARRAY or a[_TYPE] == T_KVLIST:
            put_json(out, a[_TEXT], buf, value, value_end, scratch)
        else:
            letter, start, size, number = value_of(buf, value, value_end)
            put_text(out, a[_TEXT], buf, letter, start, size, number, scratch)


@kernel
def gather(body, rendered, made, source, start, length, offsets, out):  # type: ignore[no-untyped-def]
    """Copies slice i from its buffer to out[offsets[i]:offsets[i+1]]; a negative source copies nothing."""
    for i in range(source.size):
        at, low, size = offsets[i], start[i], length[i]
        if source[i] == 0:
            copy(out, at, body, low, size)
        elif source[i] == 1:
            copy(out, at, rendered, low, size)
        elif source[i] == 2:
            copy(out, at, made, low, size)


@kernel
def put_hex(buf, starts, width, offsets, out):  # type: ignore[no-untyped-def]
    """`width` bytes from each start as lower-case hexadecimal text; starts of -1 give nothing."""
    at = 0
    for i in range(starts.size):
        offsets[i] = at
        if starts[i] >= 0:
            for k in range(width):
                b = buf[starts[i] + k]
                out[at] = HEX[b >> 4]
                out[at + 1] = HEX[b & 15]
                at += 2
    offsets[starts.size] = at
    return at


@kernel
def token_counts(body, made, table, best, column, values, valid):  # type: ignore[no-untyped-def]
    """Whole non-negative numbers from ints, doubles or decimal text. valid: 1 good, 2 there but unusable."""
    for s in range(best.shape[0]):
        row = best[s, column]
        if row < 0:
            continue
        letter = table[row, _TYPE]
        valid[s] = 2
        if letter == T_INT:
            if 0 <= table[row, _NUMBER] <= MOST_TOKENS:
                values[s], valid[s] = table[row, _NUMBER], 1
        elif letter == T_DOUBLE:
            value = as_double(table[row, _NUMBER])
            if table[row, _NUMBER] >= 0 and 0 <= value <= MOST_TOKENS and value == np.floor(value):
                values[s], valid[s] = np.int64(value), 1
        elif letter == T_STRING:
            source = table[row, _SOURCE]
            text = body if source == 0 else made
            number = _whole(text, table[row, _TEXT], table[row, _TEXT_LEN])
            if number >= 0:
                values[s], valid[s] = number, 1


@kernel
def _whole(text, low, size):  # type: ignore[no-untyped-def]
    """Up to 16 digits, perhaps followed by a point and zeros, as a number of at most 2^53; else -1."""
    number = np.int64(0)
    i = 0
    while i < size and 48 <= text[low + i] <= 57:
        if i == 16:
            return np.int64(-1)
        number = number * 10 + np.int64(text[low + i]) - 48
        i += 1
    if i == 0 or number > MOST_TOKENS:
        return np.int64(-1)
    if i < size:
        if text[low + i] != 46 or i + 1 == size:
            return np.int64(-1)
        for k in range(i + 1, size):
            if text[low + k] != 48:
                return np.int64(-1)
    return number


@kernel
def _put_event(buf, pos, end, out, at, scratch):  # type: ignore[no-untyped-def]
    begin = pos
    name, name_len, time, dropped = pos, 0, np.int64(0), np.int64(0)
    while pos < end:
        tag, wire, start, length, pos = field(buf, pos, end)
        if tag == 2 and wire == LENGTH:
            name, name_len = start, length
        elif tag == 1 and wire == FIXED64:
            time = fixed64(buf, start)
        elif tag == 4 and wire == VARINT:
            raw, _ = varint(buf, start, end)
            dropped = np.int64(raw & np.uint64(0xFFFFFFFF))
    at = put_quoted(out, put_all(out, at, NAME_TEXT), buf, name, name + name_len)
    at = put_uint(out, put_all(out, at, TIME_TEXT), time)
    at = _put_members(buf, begin, end, 3, out, put_all(out, at, ATTRIBUTES_TEXT), scratch)
    at = put(out, at, 125)
    if dropped:
        at = put_int(out, put_all(out, at, DROPPED_TEXT), dropped)
    return put(out, at, 125)


@kernel
def _put_members(buf, pos, end, number, out, at, scratch):  # type: ignore[no-untyped-def]
    """The KeyValues of field `number` as members of a JSON object, braces left to the caller."""
    first = True
    while pos < end:
        tag, wire, start, length, pos = field(buf, pos, end)
        if tag != number or wire != LENGTH:
            continue
        key, key_len, value, value_len = pair(buf, start, start + length)
        if not first:
            at = put(out, at, 44)
        first = False
        at = put(out, put_quoted(out, at, buf, key, key + key_len), 58)
        at = put_json(out, at, buf, value, value + value_len, scratch)
    return at


@kernel
def _put_link(buf, pos, end, out, at, scratch):  # type: ignore[no-untyped-def]
    begin = pos
    trace, trace_len, span, span_len, state, state_len, dropped = pos, 0, pos, 0, pos, 0, np.int64(0)
    while pos < end:
        tag, wire, start, length, pos = field(buf, pos, end)
        if tag == 1 and wire == LENGTH:
            trace, trace_len = start, length
        elif tag == 2 and wire == LENGTH:
            span, span_len = start, length
        elif tag == 3 and wire == LENGTH:
            state, state_len = start, length
        elif tag == 5 and wire == VARINT:
            raw, _ = varint(buf, start, end)
            dropped = np.int64(raw & np.uint64(0xFFFFFFFF))
    at = put_all(out, at, TRACE_TEXT)
    for i in range(trace_len):
        at = put(out, put(out, at, HEX[buf[trace + i] >> 4]), HEX[buf[trace + i] & 15])
    at = put_all(out, at, SPAN_TEXT)
    for i in range(span_len):
        at = put(out, put(out, at, HEX[buf[span + i] >> 4]), HEX[buf[span + i] & 15])
    at = put(out, _put_members(buf, begin, end, 4, out, put_all(out, at, LINK_TEXT), scratch), 125)
    if state_len:
        at = put_quoted(out, put_all(out, at, STATE_TEXT), buf, state, state + state_len)
    if dropped:
        at = put_int(out, put_all(out, at, DROPPED_TEXT), dropped)
    return put(out, at, 125)


@kernel
def put_events(buf, spans, offsets, out, scratch):  # type: ignore[no-untyped-def]
    """The `events` JSON of every span; with an empty `out` only `offsets` is filled. Returns the size."""
    return _put_lists(buf, spans, 17, 11, offsets, out, scratch)


@kernel
def put_links(buf, spans, offsets, out, scratch):  # type: ignore[no-untyped-def]
    """The `links` JSON of every span; with an empty `out` only `offsets` is filled. Returns the size."""
    return _put_lists(buf, spans, 18, 13, offsets, out, scratch)


@kernel
def _put_lists(buf, spans, count, number, offsets, out, scratch):  # type: ignore[no-untyped-def]
    """The messages of field `number` (11 events, 13 links) as one JSON list per span; column `count` says how many."""
    at = 0
    for s in range(spans.shape[0]):
        offsets[s] = at
        if spans[s, count] == 0:
            continue
        at = put(out, at, 91)
        first = True
        pos, end = spans[s, 0], spans[s, 1]
        while pos < end:
            tag, wire, start, length, pos = field(buf, pos, end)
            if tag != number or wire != LENGTH:
                continue
            if not first:
                at = put(out, at, 44)
            first = False
            if number == 11:
                at = _put_event(buf, start, start + length, out, at, scratch)
            else:
                at = _put_link(buf, start, start + length, out, at, scratch)
        at = put(out, at, 93)
    offsets[spans.shape[0]] = at
    return at
