"""One file of the journal: records sealed one by one, and how they are read back after a crash.

A record is a header of 32 bytes and a sealed content:

    magic "AJR1" · content length u32 · position u64 · kind u8 · records before it in the same write u16 ·
    5 bytes zero · CRC-32 of the 24 bytes before u32 · 4 bytes zero ·
    AES-256-GCM(content, nonce = 4 zero bytes + position, associated data = the header)

A data key seals one segment, and a position is used once in it, so no nonce repeats. Positions follow each other.

What cannot be read and belongs to the last write of a segment was never acknowledged if that write was cut short: the
tail is the beginning of a record, or zeros, or a sector of it reads as zeros, as one does that never reached the disk
(sealed content never does). That is left out in silence. Anything else that is not a sound record is damage and is
reported: a later write begins only when the one before is synced.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag

from collector.seal import TAG_BYTES, SegmentKey

MAGIC: Final = b"AJR1"
HEADER: Final = struct.Struct("<4sIQBH5xII")
TAG: Final = TAG_BYTES
SECTOR: Final = 512
MOST_COUNTED: Final = 65_535  # records before one in its write; more count as so many
LET_GO: Final = 4 << 20  # bytes read after which their pages are given back


@dataclass(frozen=True, kw_only=True, slots=True)
class Sealed:
    """Where a sound record lies in its segment."""

    position: int
    kind: int
    offset: int
    length: int  # of the sealed content
    n_before: int = 0  # in the same write


@dataclass(frozen=True, kw_only=True, slots=True)
class Damage:
    """Bytes that are not a record any more."""

    offset: int
    length: int


def header_of(position: int, kind: int, length: int, n_before: int = 0) -> bytes:
    """The 32 bytes before a sealed content of `length` bytes."""
    start = HEADER.pack(MAGIC, length, position, kind, min(n_before, MOST_COUNTED), 0, 0)[:24]
    return start + struct.pack("<II", zlib.crc32(start), 0)


def seal(cipher: SegmentKey, position: int, kind: int, content: bytes, n_before: int = 0) -> list[bytes]:
    """The header of one record, which `n_before` others precede in the same write, and pieces of its sealed content."""
    header = header_of(position, kind, len(content) + TAG, n_before)
    return [header, *cipher.seal(_nonce(position), content, header)]


def unseal(cipher: SegmentKey, raw: bytes | mmap.mmap, record: Sealed) -> bytes | None:
    """The content of a record inside `raw`, None when it was altered."""
    start = record.offset + HEADER.size
    header = raw[record.offset : start]
    try:
        return cipher.unseal(_nonce(record.position), raw[start : start + record.length], header)
    except InvalidTag:
        return None


def _nonce(position: int) -> bytes:
    return b"\0\0\0\0" + position.to_bytes(8, "big")


def read(path: Path, cipher: SegmentKey) -> Iterator[tuple[Sealed, bytes] | Damage]:
    """Every sound record of a segment, with its content, and the damage between them.

    The file is mapped and what was read is let go, so that memory does not grow with the segment.
    """
    if path.stat().st_size == 0:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
        yield from _records(raw, cipher, first_position(path))


def first_position(path: Path) -> int:
    """Of the records in a segment, by its name."""
    return int(path.name.split("-")[0])


def _records(raw: mmap.mmap, cipher: SegmentKey, expected: int) -> Iterator[tuple[Sealed, bytes] | Damage]:
    """`expected` is the position of the first record, then of the one after the last sound one."""
    at = let_go = 0
    bad_from: int | None = None
    unsure: list[tuple[int, Damage]] = []  # with the first position lost: perhaps of the last write, and cut short
    while at + HEADER.size <= len(raw):
        record = _record_at(raw, at)
        content = unseal(cipher, raw, record) if record else None
        if record is None or content is None:
            bad_from = at if bad_from is None else bad_from
            at = raw.find(MAGIC, at + 1)
            if at < 0:
                break
            continue
        if bad_from is not None:
            unsure.append((expected, Damage(offset=bad_from, length=at - bad_from)))
            bad_from = None
        write_began = record.position - record.n_before
        yield from (bad for position, bad in unsure if position < write_began)
        unsure = [each for each in unsure if each[0] >= write_began]
        expected = record.position + 1
        yield record, content
        at += HEADER.size + record.length
        if at - let_go > LET_GO:
            upto = at // mmap.PAGESIZE * mmap.PAGESIZE
            raw.madvise(mmap.MADV_DONTNEED, let_go, upto - let_go)
            let_go = upto
    if bad_from is not None and not _torn(raw[bad_from:]):
        unsure.append((expected, Damage(offset=bad_from, length=len(raw) - bad_from)))
    yield from (bad for _, bad in unsure if not _lacks_a_sector(raw, bad))


def _torn(tail: bytes) -> bool:
    """Whether a tail can be what is left of a write that was cut short."""
    if len(tail) < HEADER.size or not tail.strip(b"\0"):
        return True
    magic, length, _, _, _, checksum, zero = HEADER.unpack(tail[: HEADER.size])
    sound: bool = magic == MAGIC and zero == 0 and checksum == zlib.crc32(tail[:24])
    return sound and int(length) > len(tail) - HEADER.size


def _lacks_a_sector(raw: mmap.mmap, bad: Damage) -> bool:
    """Whether some sector, or the part of one that is in the stretch, is nothing but zeros."""
    end = bad.offset + bad.length
    edges = [bad.offset, *range(bad.offset // SECTOR * SECTOR + SECTOR, end, SECTOR), end]
    return any(b - a >= TAG and not raw[a:b].strip(b"\0") for a, b in pairwise(edges))


def _record_at(raw: bytes | mmap.mmap, at: int) -> Sealed | None:
    header = raw[at : at + HEADER.size]
    magic, length, position, kind, n_before, checksum, zero = HEADER.unpack(header)
    if magic != MAGIC or zero != 0 or checksum != zlib.crc32(header[:24]):
        return None
    if at + HEADER.size + length > len(raw) or length < TAG:
        return None
    return Sealed(position=position, kind=kind, offset=at, length=length, n_before=n_before)
