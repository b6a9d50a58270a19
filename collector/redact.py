"""Structured personal information and secrets are replaced before anything reaches the lake.

A native pass (`pii_scan`) reads a column once and lists candidates; rows without one are never touched. Candidates
are confirmed by `core.pii`, and what is confirmed is replaced by a mark: `[EMAIL]`, or `[EMAIL:9f86d081a2b3]`
(the first 12 hexadecimal digits of HMAC-SHA256 with the tenant's key) where a tenant chose to hash.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import replace
from functools import cached_property
from typing import Any, Final, assert_never

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from collector import pii_scan
from core.pii.context import ESCAPE, Found, disjoint, unescaped, whole_characters
from core.pii.patterns import confirm
from core.pii.quotes import Quotes
from core.records import PiiEntity, PiiMode, PiiPolicy

HASH_DIGITS: Final = 12
_MAX_PASSES: Final = 8


class Redactor:
    """One tenant's policy applied to text and to columns. Thread-safe: it keeps no state between calls."""

    def __init__(self, policy: PiiPolicy, hash_key: bytes) -> None:
        """`hash_key` is the tenant's own secret, so that hashes join within a tenant and never across tenants."""
        self._modes = {entity: policy.mode(entity) for entity in PiiEntity}
        self._policy = policy
        self._key = hash_key
        self._idle = all(mode is PiiMode.KEEP for mode in self._modes.values())

    @cached_property
    def sparing_ips(self) -> Redactor:
        """The same choices, but IP addresses stay: for columns that hold versions, which look like them."""
        by_entity = {**self._policy.by_entity, PiiEntity.IP: PiiMode.KEEP}
        return Redactor(replace(self._policy, by_entity=by_entity), self._key)

    def text(self, value: str) -> str:
        """`value` with every recognised piece replaced. Idempotent; JSON stays JSON."""
        if self._idle or not value:
            return value
        return self._bytes(value.encode("utf-8", "surrogatepass"), False).decode("utf-8", "surrogatepass")

    def identifier(self, value: str) -> str:
        """An id (of a session, a user) as `column` would leave it with `identifier`."""
        if self._idle or not value:
            return value
        return self._bytes(value.encode("utf-8", "surrogatepass"), True).decode("utf-8", "surrogatepass")

    def column(self, values: pa.Array | pa.ChunkedArray, *, identifier: bool = False) -> tuple[pa.Array, int]:
        """A string column with every recognised piece replaced, and the number of rows changed; nulls are kept.

        With `identifier` (session_id, user_id) `redact` becomes `hash`, so that the id still joins. Dictionaries
        are redacted once per distinct value. Raises pyarrow.ArrowInvalid for what is no text.
        """
        column = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
        if isinstance(column, pa.ChunkedArray):
            column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
        if self._idle or len(column) == 0 or pa.types.is_null(column.type):
            return column, 0
        if pa.types.is_dictionary(column.type):
            return self._dictionary(column, identifier)
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            column = column.cast(pa.large_string())
        rows, texts = self._changed(column, identifier)
        if not rows:
            return column, 0
        mask = np.zeros(len(column), dtype=bool)
        mask[rows] = True
        binary = pa.large_binary() if pa.types.is_large_string(column.type) else pa.binary()
        replacements = pa.array(texts, type=binary).view(column.type)
        return pc.replace_with_mask(column, pa.array(mask), replacements), len(rows)

    def _dictionary(self, column: pa.DictionaryArray, identifier: bool) -> tuple[pa.Array, int]:
        words, n_changed = self.column(column.dictionary, identifier=identifier)
        if n_changed == 0:
            return column, 0
        changed = pc.not_equal(
            column.cast(words.type), pa.DictionaryArray.from_arrays(column.indices, words).cast(words.type)
        )
        return pa.DictionaryArray.from_arrays(column.indices, words), int(pc.sum(changed).as_py() or 0)

    def _changed(self, column: pa.Array, identifier: bool) -> tuple[list[int], list[bytes]]:
        """The rows that change, in order, and their new bytes."""
        data, offsets = text_buffers(column)
        found, escaped = pii_scan.candidates_and_escapes(data, offsets)
        rows: list[int] = []
        texts: list[bytes] = []
        valid = None if column.null_count == 0 else column.is_valid()
        bounds = np.flatnonzero(np.diff(found[:, 0], prepend=-1, append=len(column)))
        for first, last in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            row = int(found[first, 0])
            if valid is not None and not valid[row].as_py():
                continue
            lo = int(offsets[row])
            before = data[lo : int(offsets[row + 1])].tobytes()
            marks = found[first:last, 1:].copy()
            marks[:, :2] -= lo
            after = self._replaced(before, marks.tolist(), identifier)
            if after != before:
                rows.append(row)
                texts.append(self._bytes(after, identifier))
        return self._with_escapes(column, identifier, rows, texts, escaped.tolist())

    def _with_escapes(
        self, column: pa.Array, identifier: bool, rows: list[int], texts: list[bytes], escaped: list[int]
    ) -> tuple[list[int], list[bytes]]:
        """Adds those of the rows `escaped` in which JSON escapes (\\u0040 for an at sign) hide what a reader of the
        JSON would see."""
        if not escaped:
            return rows, texts
        changed = dict(zip(rows, texts, strict=True))
        for row in escaped:
            before = changed.get(row)
            if before is None and column[row].is_valid:
                before = column[row].as_py().encode("utf-8", "surrogatepass")
            if before is None or not ESCAPE.search(before):
                continue
            after = self._unhidden(before, identifier)
            if after != before:
                changed[row] = after
        return sorted(changed), [changed[row] for row in sorted(changed)]

    def _unhidden(self, value: bytes, identifier: bool) -> bytes:
        """`value` redacted with its escapes of printable ASCII undone, if that uncovers anything; else as it is."""
        plain = ESCAPE.sub(unescaped, value)
        after = self._seen(plain, identifier) if plain != value else value
        return after if after != plain else value

    def _bytes(self, value: bytes, identifier: bool) -> bytes:
        """`value` redacted, escaped pieces too."""
        after = self._seen(value, identifier)
        return self._unhidden(after, identifier) if b"\\u00" in after else after

    def _seen(self, value: bytes, identifier: bool) -> bytes:
        """`value` redacted until nothing more is found: what a mark uncovers is found by the next pass."""
        for _ in range(_MAX_PASSES):
            data = np.frombuffer(value, dtype=np.uint8)
            found = pii_scan.candidates(data, np.array([0, len(data)], dtype=np.int32))
            after = self._replaced(value, found[:, 1:].tolist(), identifier) if len(found) else value
            if after == value:
                break
            value = after
        return value

    def _replaced(self, value: bytes, candidates: list[list[int]], identifier: bool) -> bytes:
        found: list[Found] = []
        consumed = 0
        for start, end, bits in candidates:
            if start < consumed:
                continue
            for one in confirm(value, start, end, bits):
                found.append(one)
                if one.entity is PiiEntity.SECRET:
                    consumed = max(consumed, one.end)
        if not found:
            return value
        quotes = Quotes(value)
        parts: list[bytes] = []
        done = 0
        for one in disjoint(found):
            start, end = whole_characters(value, one.start, one.end)
            mark = self._mark(one.entity, value[start:end], identifier)
            if mark is None:
                continue
            parts += (value[done:start], quotes.around(start, end, mark))
            done = end
        return b"".join([*parts, value[done:]])

    def _mark(self, entity: PiiEntity, piece: bytes, identifier: bool) -> bytes | None:
        """What replaces `piece`; None keeps it."""
        mode = self._modes[entity]
        if identifier and mode is PiiMode.REDACT:
            mode = PiiMode.HASH
        name = entity.value.upper()
        match mode:
            case PiiMode.KEEP:
                return None
            case PiiMode.REDACT:
                return f"[{name}]".encode()
            case PiiMode.HASH:
                digest = hmac.new(self._key, _canonical(entity, piece), hashlib.sha256).hexdigest()
                return f"[{name}:{digest[:HASH_DIGITS]}]".encode()
            case _:
                assert_never(mode)


def text_buffers(column: pa.Array) -> tuple[npt.NDArray[np.uint8], npt.NDArray[Any]]:
    """The data bytes and the n + 1 row bounds of a string array, without a copy."""
    wide = pa.types.is_large_string(column.type)
    _, offsets, data = column.buffers()
    width = np.int64 if wide else np.int32
    bounds = np.frombuffer(offsets, dtype=width)[column.offset : column.offset + len(column) + 1]
    return np.frombuffer(data if data is not None else b"", dtype=np.uint8), bounds


def _canonical(entity: PiiEntity, piece: bytes) -> bytes:
    """The spelling that is hashed: the same address or number written another way has the same hash."""
    if entity is PiiEntity.EMAIL:
        return piece.lower().replace(b"%40", b"@")
    if entity in (PiiEntity.PHONE, PiiEntity.CARD, PiiEntity.SSN):
        return re.sub(rb"\D", b"", piece)
    if entity is PiiEntity.IBAN:
        return re.sub(rb"[ -]", b"", piece).upper()
    return piece
