"""A set of 64-bit hashes in memory of a fixed size, which forgets its oldest members."""

from __future__ import annotations

from dataclasses import dataclass, field
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap
from typing import Final

import numpy as np
import numpy.typing as npt

from collector.native import kernel

SLOTS: Final = 1 << 20
LOAD: Final = 0.7
FULL: Final = int(SLOTS * LOAD)
# 10 generations hold 7.3 million spans in 42 MB, six minutes at full speed: exporters give up within five. The oldest
# are forgotten first.
GENERATIONS: Final = 10


@kernel
def _probe(slots, hashes, seen):  # type: ignore[no-untyped-def]
    """Marks the hashes whose fingerprint is in the table."""
    mask = slots.size - 1
    for i in range(hashes.size):
        if seen[i]:
            continue
        h = np.uint64(hashes[i])
        mark = np.uint32(h >> np.uint64(32)) | np.uint32(1)
        at = np.int64(h & np.uint64(mask))
        while slots[at] != 0:
            if slots[at] == mark:
                seen[i] = True
                break
            at = (at + 1) & mask


@kernel
def _insert(slots, hashes, seen):  # type: ignore[no-untyped-def]
    """Adds the hashes, marking those that were there (earlier in this very batch)."""
    mask = slots.size - 1
    added = 0
    for i in range(hashes.size):
        h = np.uint64(hashes[i])
        mark = np.uint32(h >> np.uint64(32)) | np.uint32(1)
        at = np.int64(h & np.uint64(mask))
        while slots[at] != 0 and slots[at] != mark:
            at = (at + 1) & mask
        if slots[at] == mark:
            seen[i] = True
        else:
            slots[at] = mark
            added += 1
    return added


def _no_fingerprints(slots: int) -> npt.NDArray[np.uint32]:
    """Pages of their own: on the heap they would outlive the batches around them and leave holes."""
    return np.frombuffer(mmap(-1, slots * 4, MAP_PRIVATE | MAP_ANONYMOUS), np.uint32)


@dataclass(kw_only=True)
class Fingerprints:
    """A set that forgets its oldest members; answers "perhaps" wrongly about once in 10^8.

    `slots` of a generation, a power of two, are used to 70 %; the newest `generations` are kept.
    """

    slots: int = SLOTS
    generations: int = GENERATIONS
    _generations: list[npt.NDArray[np.uint32]] = field(default_factory=list)
    _used: int = 0

    def add(self, hashes: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Adds all; True where it was perhaps there before, or stands earlier in `hashes`."""
        seen = np.zeros(len(hashes), bool)
        step = self._full // 4
        for start in range(0, len(hashes), step):
            part = slice(start, start + step)
            self._add(np.ascontiguousarray(hashes[part]), seen[part])
        return seen

    def holds(self, hashes: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """True where it is perhaps there."""
        seen = np.zeros(len(hashes), bool)
        for slots in self._generations:
            _probe(slots, hashes, seen)
        return seen

    @property
    def _full(self) -> int:
        return int(self.slots * LOAD)

    def _add(self, hashes: npt.NDArray[np.int64], seen: npt.NDArray[np.bool_]) -> None:
        if not self._generations or self._used + len(hashes) > self._full:
            self.begin_generation()
        for slots in self._generations[:-1]:
            _probe(slots, hashes, seen)
        self._used += int(_insert(self._generations[-1], hashes, seen))

    def begin_generation(self) -> None:
        """What is added from now on is forgotten later than what was added so far; the oldest may go."""
        self._generations = [*self._generations[-(self.generations - 1) :], _no_fingerprints(self.slots)]
        self._used = 0

    @property
    def nbytes(self) -> int:
        """Memory held."""
        return sum(g.nbytes for g in self._generations)
