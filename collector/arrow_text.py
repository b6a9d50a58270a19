"""Arrow string columns made from slices of byte buffers, without a Python object per value."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from collector.columns import gather, put_hex

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


@dataclass(kw_only=True)
class MadeText:
    """Texts that were made in Python, end to end in one buffer (source 2)."""

    _parts: list[bytes] = field(default_factory=list)
    _size: int = 0

    def add(self, text: str) -> tuple[int, int]:
        """Keeps `text` and returns (start, length) of its UTF-8."""
        raw = text.encode("utf-8", "replace")
        start = self._size
        self._parts.append(raw)
        self._size += len(raw)
        return start, len(raw)

    def buffer(self) -> Bytes:
        """All texts so far, read-only."""
        return frozen(np.frombuffer(b"".join(self._parts), np.uint8))


@dataclass(frozen=True, kw_only=True)
class Slices:
    """Where the text of each row lies: `source` -1 means null. All int64 of one length."""

    source: Ints
    start: Ints
    length: Ints

    @classmethod
    def nothing(cls, n: int) -> Slices:
        """All null."""
        return cls(source=np.full(n, -1, np.int64), start=np.zeros(n, np.int64), length=np.zeros(n, np.int64))

    @classmethod
    def of_body(cls, start: Ints, length: Ints, *, empty_is_null: bool = True) -> Slices:
        """Slices of the request body; an empty one is null unless told otherwise."""
        source = np.where(length > 0, 0, -1) if empty_is_null else np.zeros(len(start), np.int64)
        return cls(source=source.astype(np.int64), start=start.copy(), length=length.copy())

    def put(self, row: int, text: tuple[int, int]) -> None:
        """Row `row` becomes a text of the made buffer."""
        self.source[row], self.start[row], self.length[row] = 2, text[0], text[1]


@dataclass(frozen=True, kw_only=True)
class Buffers:
    """The three places text can lie in."""

    body: Bytes
    rendered: Bytes
    made: Bytes

    def strings(self, slices: Slices) -> pa.StringArray:
        """The texts as an Arrow string array; nulls where the source is -1."""
        null = slices.source < 0
        length = np.where(null, 0, slices.length)
        offsets = np.zeros(len(length) + 1, np.int64)
        np.cumsum(length, out=offsets[1:])
        data = np.empty(int(offsets[-1]), np.uint8)
        gather(self.body, self.rendered, self.made, slices.source, slices.start, length, offsets, data)
        return string_array(offsets, data, None if not null.any() else ~null)


def string_array(offsets: Ints, data: Bytes, valid: npt.NDArray[np.bool_] | None = None) -> pa.StringArray:
    """An Arrow string array of `len(offsets) - 1` texts over `data`."""
    n = len(offsets) - 1
    bitmap = None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.StringArray.from_buffers(
        n, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data), bitmap, -1 if bitmap else 0
    )


def frozen(array: Bytes) -> Bytes:
    """The array, read-only: the kernels are compiled for one kind of buffer."""
    array.flags.writeable = False
    return array


def numbers(values: npt.NDArray[np.generic], valid: npt.NDArray[np.bool_] | None, kind: pa.DataType) -> pa.Array:
    """An Arrow number array with nulls where `valid` is False."""
    return pa.array(values, kind, mask=None if valid is None else ~valid)


def money(nano_usd: Ints, valid: npt.NDArray[np.bool_]) -> pa.Array:
    """decimal128(18, 9) from whole nano-dollars."""
    words = np.empty((len(nano_usd), 2), np.int64)
    words[:, 0] = nano_usd
    words[:, 1] = nano_usd >> 63
    bitmap = pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Decimal128Array.from_buffers(pa.decimal128(18, 9), len(nano_usd), [bitmap, pa.py_buffer(words)], -1)


def hex_strings(body: npt.NDArray[np.uint8], starts: Ints, width: int) -> pa.StringArray:
    """`width` bytes from each start as hexadecimal text; null where the start is -1."""
    offsets = np.zeros(len(starts) + 1, np.int64)
    out = np.empty(int((starts >= 0).sum()) * width * 2, np.uint8)
    put_hex(body, np.ascontiguousarray(starts), width, offsets, out)
    return string_array(offsets, out, starts >= 0)


def renamed(column: pa.StringArray, names: dict[str, str]) -> pa.Array:
    """The column with values replaced by `names` (looked up with ASCII letters lower-cased)."""
    coded = pc.dictionary_encode(column)
    values = [names.get(v.lower() if v.isascii() else v, v) for v in coded.dictionary.to_pylist()]
    return pa.array(values, pa.string()).take(coded.indices)
