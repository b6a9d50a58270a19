"""When rows were stored: the time that `as_of` goes by, fixed so that the same question always has the same answer.

A row carries a time (`ingested_at`) that is later than any moment before its append began; it can be read a little
later, once the append is committed. Who asks for a moment therefore first lets the appends end that may carry an
earlier time. What begins afterwards carries a later one. See docs/decisions/0007-as-of-by-ingestion-time.md.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pyarrow as pa

from core.clock import NS_PER_S, Clock
from core.errors import StorageFailed
from store.schema import AT

LOCK: Final = "_stamps.lock"
COLUMN: Final = "ingested_at"
LONGEST_APPEND_S: Final = 600  # nobody waits for moments longer ago
WAIT_S: Final = 10.0
_POLL_S: Final = 0.005


class Stamps:
    """The stamps of one lake on one machine, whose processes share a lock file in `root`. Thread-safe."""

    def __init__(self, root: Path, clock: Clock) -> None:
        self._path = root / LOCK
        self._clock = clock
        self._lock = threading.Lock()
        self._last_us = 0

    @contextmanager
    def stamped(self, rows: pa.Table) -> Iterator[pa.Table]:
        """The rows with the time of their storing, to be committed before it ends. Rows of tables without such a
        column stay as they are. Raises StorageFailed."""
        if COLUMN not in rows.column_names:
            yield rows
            return
        descriptor = self._opened()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            at = pa.repeat(pa.scalar(self._next_us(), AT), rows.num_rows)
            yield rows.set_column(rows.schema.get_field_index(COLUMN), rows.schema.field(COLUMN), at)
        finally:
            os.close(descriptor)

    def let_end(self, as_of_ns: int) -> None:
        """Returns when every append of this machine that may carry a time up to `as_of_ns` can be read.

        Moments long ago, and those yet to come, are not waited for. Raises StorageFailed after WAIT_S seconds.
        """
        now_ns = self._clock()
        if not now_ns - LONGEST_APPEND_S * NS_PER_S <= as_of_ns <= now_ns:
            return
        descriptor = self._opened()
        deadline = time.monotonic() + WAIT_S
        pause = threading.Event()
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise StorageFailed(f"rows are being stored for {WAIT_S:g} s already; ask again") from None
                pause.wait(_POLL_S)
        finally:
            os.close(descriptor)

    def _next_us(self) -> int:
        """Microseconds since the epoch: later than now, and never less than the one before."""
        with self._lock:
            self._last_us = max(self._last_us, self._clock() // 1000 + 1)
            return self._last_us

    def _opened(self) -> int:
        try:
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise StorageFailed(f"{self._path} cannot be opened: {error.strerror}") from error
