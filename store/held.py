"""Decoded rows of small files, kept so that reading them again costs no decoding.

A file of the lake never changes once it is committed. What is kept belongs to the file as it looked when it was decoded
(store/trust.py, fingerprint), and is given for as long as it looks the same.
"""

from __future__ import annotations

import mmap
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import pyarrow as pa

from store.delta_log import LakeFile
from store.trust import Fingerprint, fingerprint

# Tables of short rows, which every page asks for again and again. Spans are long, and read by columns.
HELD_TABLES: Final = frozenset({"turns", "sessions", "rollups", "scores"})
# More rows than these are read by columns and pruned by statistics instead: decoding them whole would cost more.
MOST_ROWS: Final = 16_384
MOST_BYTES: Final = 32 * 1024 * 1024
COLUMN_BYTES: Final = 1024  # what Arrow needs to describe one column of one file


class HeldRows:
    """The rows of files by path, those that were used least recently given up first. Thread-safe.

    It never keeps more than `most_bytes`; rows that alone are larger are not kept. What is kept lies in memory of its
    own, mapped for it and unmapped when it goes. As the engine made them, rows take twice the memory they say, and
    those that come and go leave holes between what stays.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._n_bytes = 0
        self._rows: OrderedDict[str, tuple[Fingerprint | None, pa.Table, int]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def n_bytes(self) -> int:
        """The memory that what is kept takes."""
        return self._n_bytes

    def rows(self, file: LakeFile, decode: Callable[[LakeFile], pa.Table]) -> pa.Table:
        """The file's rows, from `decode` where they are not kept."""
        seen = fingerprint(file.path)
        with self._lock:
            found = self._rows.get(file.path)
            if found is not None and found[0] == seen:
                self._rows.move_to_end(file.path)
                return found[1]
        self._drop_the_gone()
        rows, n_bytes = packed(decode(file))
        if fingerprint(file.path) == seen:
            with self._lock:
                self._keep(file.path, seen, rows, n_bytes)
        return rows

    def _drop_the_gone(self) -> None:
        """Gives up the rows of files that are no longer there: replaced, expired, or erased."""
        with self._lock:
            gone = [path for path, (seen, *_) in self._rows.items() if seen is not None and fingerprint(path) is None]
            for path in gone:
                self._n_bytes -= self._rows.pop(path)[2]

    def _keep(self, path: str, seen: Fingerprint | None, rows: pa.Table, n_bytes: int) -> None:
        if (earlier := self._rows.pop(path, None)) is not None:
            self._n_bytes -= earlier[2]
        if n_bytes > self._most_bytes:
            return
        self._rows[path] = (seen, rows, n_bytes)
        self._n_bytes += n_bytes
        while self._n_bytes > self._most_bytes:
            _, (*_, gone) = self._rows.popitem(last=False)
            self._n_bytes -= gone


def packed(rows: pa.Table) -> tuple[pa.Table, int]:
    """The same rows in one piece of memory, mapped for them alone, and the bytes they take with their description."""
    size = pa.MockOutputStream()
    _write(size, rows)
    place = mmap.mmap(-1, size.size())
    _write(pa.FixedSizeBufferWriter(pa.py_buffer(place)), rows)
    with pa.ipc.open_stream(pa.py_buffer(place)) as stream:
        return stream.read_all(), len(place) + COLUMN_BYTES * rows.num_columns


def _write(sink: pa.NativeFile, rows: pa.Table) -> None:
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)


def worth_holding(table: str, files: tuple[LakeFile, ...]) -> bool:
    """Whether a query over these files of a table is answered from kept rows."""
    return table in HELD_TABLES and 0 < sum(file.n_rows for file in files) <= MOST_ROWS
