"""What is acknowledged and waits to be stored: whole, or where it lies in the journal, packed until its turn comes.

A million requests of one span each may wait while the disk of the lake is full. As objects they take half a kilobyte
each, and Python's collector of garbage looks at every one of them; packed, a hundred bytes, which it passes by.
"""

from __future__ import annotations

import struct
from collections import deque
from pathlib import Path
from typing import Final

from collector.intake import Acknowledged
from collector.journal import Place
from collector.kinds import EntryKind
from collector.segment import Sealed
from core.ids import TenantId

# Position, microseconds of receipt, bytes of the body; of its record: offset, length, records before it, kind. The
# segment's name and the tenant follow, with a slash between them, which neither has.
_LAID: Final = struct.Struct("<qqqqqHB")


class WaitingEntries:
    """Entries in the order in which they came, of the journal in `folder`. Not locked: their owner's lock is."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._entries: deque[Acknowledged | bytes] = deque()

    def __len__(self) -> int:
        return len(self._entries)

    def append(self, entry: Acknowledged, *, whole: bool) -> bool:
        """Keeps an entry, `whole` or, if it has a place in the journal, without its bytes; whether it is whole."""
        packed = None if whole or entry.place is None else _packed(entry, entry.place)
        self._entries.append(entry if packed is None else packed)
        return packed is None

    def take(self, most_bytes: int) -> tuple[list[Acknowledged], int]:
        """The oldest that have `most_bytes` together, one of any size at least, and how many bytes they have."""
        taken: list[Acknowledged] = []
        size = 0
        while self._entries:
            first = self._entries[0]
            entry = _unpacked(first, self._folder) if isinstance(first, bytes) else first
            if taken and size + entry.size > most_bytes:
                break
            self._entries.popleft()
            taken.append(entry)
            size += entry.size
        return taken, size


def _packed(entry: Acknowledged, place: Place) -> bytes:
    """All of an entry but its bytes and what was found in them."""
    at = place.record
    fixed = _LAID.pack(entry.position, entry.received_at_us, entry.size, at.offset, at.length, at.n_before, entry.kind)
    return fixed + f"{place.path.name}/{entry.tenant}".encode()


def _unpacked(packed: bytes, folder: Path) -> Acknowledged:
    """The entry that was packed, to be read from the journal in `folder`."""
    position, received_at_us, size, offset, length, n_before, kind = _LAID.unpack_from(packed)
    segment, _, tenant = packed[_LAID.size :].decode().partition("/")
    record = Sealed(position=position, kind=kind, offset=offset, length=length, n_before=n_before)
    return Acknowledged(
        position=position,
        kind=EntryKind(kind),
        tenant=TenantId(tenant),
        received_at_us=received_at_us,
        size=size,
        body=None,
        place=Place(path=folder / segment, record=record),
    )
