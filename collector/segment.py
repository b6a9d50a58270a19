"""One file of the journal: records sealed one by one, and how they are read back after a crash.

A record is a header of 32 bytes and a sealed content:

    magic "AJR1" · content length u32 · position u64 · kind u8 · 7 bytes zero · CRC-32 of the 24 bytes before u32 ·
    4 bytes zero · AES-256-GCM(content, nonce = 4 zero bytes + position, associated data = the header)

A data key seals one segment, and a position is used once in it, so no nonce repeats. A tail that is the beginning of a
record, or zeros, was never acknowledged (the write was cut short) and is left out in silence. Anything else that is
not a sound record is damage and is reported.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAGIC: Final = b"AJR1"
HEADER: Final = struct.Struct("<4sIQB7xII")
TAG: Final = 16
LET_GO: Final = 4 << 20  # bytes read after which their pages are given back


@dataclass(frozen=True, kw_only=True)
class Sealed:
    """Where a sound record lies in its segment."""

    position: int
    kind: int
    offset: int
    length: int  # of the sealed content


@dataclass(frozen=True, kw_only=True)
class Damage:
    """Bytes that are not a record any more."""

    offset: int
    length: int


def header_of(position: int, kind: int, length: int) -> bytes:
    """The 32 bytes before a sealed content of `length` bytes."""
    start = HEADER.pack(MAGIC, length, position, kind, 0, 0)[:24]
    return start + struct.pack("<II", zlib.crc32(start), 0)


def seal(cipher: AESGCM, position: int, kind: int, content: bytes) -> list[bytes]:
    """[header, sealed content] of one record."""
    header = header_of(position, kind, len(content) + TAG)
    return [header, cipher.encrypt(_nonce(position), content, header)]


def unseal(cipher: AESGCM, raw: bytes | mmap.mmap, record: Sealed) -> bytes | None:
    """The content of a record inside `raw`, None when it was altered."""
    start = record.offset + HEADER.size
    header = raw[record.offset : start]
    try:
        return cipher.decrypt(_nonce(record.position), raw[start : start + record.length], header)
    except InvalidTag:
        return None


def _nonce(position: int) -> bytes:
    return b"\0\0\0\0" + position.to_bytes(8, "big")


def read(path: Path, cipher: AESGCM) -> Iterator[tuple[Sealed, bytes] | Damage]:
    """Every sound record of a segment, with its content, and the damage between them.

    The file is mapped and what was read is let go, so that memory does not grow with the segment.
    """
    if path.stat().st_size == 0:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
        yield from _records(raw, cipher)


def _records(raw: mmap.mmap, cipher: AESGCM) -> Iterator[tuple[Sealed, bytes] | Damage]:
    at = let_go = 0
    bad_from: int | None = None
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
            yield Damage(offset=bad_from, length=at - bad_from)
            bad_from = None
        yield record, content
        at += HEADER.size + record.length
        if at - let_go > LET_GO:
            upto = at // mmap.PAGESIZE * mmap.PAGESIZE
            raw.madvise(mmap.MADV_DONTNEED, let_go, upto - let_go)
            let_go = upto
    if bad_from is not None and not _torn(raw[bad_from:]):
        yield Damage(offset=bad_from, length=len(raw) - bad_from)


def _torn(tail: bytes) -> bool:
    """Whether a tail can be what is left of a write that was cut short."""
    if len(tail) < HEADER.size or not tail.strip(b"\0"):
        return True
    magic, length, _, _, checksum, zero = HEADER.unpack(tail[: HEADER.size])
    sound: bool = magic == MAGIC and zero == 0 and checksum == zlib.crc32(tail[:24])
    return sound and int(length) > len(tail) - HEADER.size


def _record_at(raw: bytes | mmap.mmap, at: int) -> Sealed | None:
    header = raw[at : at + HEADER.size]
    magic, length, position, kind, checksum, zero = HEADER.unpack(header)
    if magic != MAGIC or zero != 0 or checksum != zlib.crc32(header[:24]):
        return None
    if at + HEADER.size + length > len(raw) or length < TAG:
        return None
    return Sealed(position=position, kind=kind, offset=at, length=length)
