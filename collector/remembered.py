"""What was read from some bytes, remembered within a bound of bytes.

Who sends chooses how large these bytes are, and that they never come again: a bound of their number bounds nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Final, Generic, Protocol, TypeVar

OF_ONE: Final = 4_096  # bytes of an entry beside its texts: a small one still keeps a page from being given back


class Texts(Protocol):
    """A value that can say which texts it holds, so that they are counted."""

    def texts(self) -> Iterable[str | None]:
        """The texts, None for those that are not there."""


V = TypeVar("V", bound=Texts)


class Remembered(Generic[V]):
    """`read`, whose answers are remembered. Thread-safe: at worst something is read twice.

    What is asked for is young; once the young weigh half of `most_bytes` they become old, and the old are forgotten.
    """

    def __init__(self, read: Callable[[bytes], V], most_bytes: int) -> None:
        self._read = read
        self._half = most_bytes // 2
        self._young: dict[bytes, V] = {}
        self._old: dict[bytes, V] = {}
        self._weight = 0

    def __call__(self, raw: bytes) -> V:
        """What `read` makes of `raw`."""
        found = self._young.get(raw)
        if found is None:
            found = self._old.get(raw)
            found = self._read(raw) if found is None else found
            self._keep(raw, found)
        return found

    @property
    def n(self) -> int:
        """How many entries are held, those twice that are both young and old."""
        return len(self._young) + len(self._old)

    def _keep(self, raw: bytes, value: V) -> None:
        weight = OF_ONE + sys.getsizeof(raw) + sum(sys.getsizeof(text) for text in value.texts())
        if weight > self._half:
            return
        if self._weight + weight > self._half:
            self._old, self._young, self._weight = self._young, {}, 0
        self._young[raw] = value
        self._weight += weight
