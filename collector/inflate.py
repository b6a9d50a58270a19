"""Decompression that cannot be made to lose data, to fill memory, or to keep other threads waiting.

zlib works without the GIL, but what it is given and what is left of it are copied with it. So bodies go in and come out
in small pieces: fed whole, a body of many members, or of noise, is copied again for each megabyte or member of it.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterator
from typing import Final

from core.errors import TooLarge, Undecodable

MOST_MEMBERS: Final = 10_000
_STEP_IN: Final = 64 << 10
_STEP_OUT: Final = 256 << 10
_GLIMPSE: Final = 32 << 10  # zlib's first block: nothing is put together, nothing grows
_MAGIC: Final = b"\x1f\x8b"


def gunzip(body: bytes, limit: int) -> bytes:
    """All members of a gzip body.

    Raises TooLarge as soon as more than `limit` bytes come out or it has more than MOST_MEMBERS, Undecodable when the
    body is no gzip, is cut short, fails its checksum, or has anything but another member behind it.
    """
    if body[:2] != _MAGIC:
        raise Undecodable("Content-Encoding says gzip, but the body is not gzip; send it plain or compress it", "body")
    if declared_size(body) > limit:
        # Too large or broken, whichever it is: it is read until that is known, and nothing of it is kept.
        deque(_pieces(body, limit, _GLIMPSE), maxlen=0)
    return b"".join(_pieces(body, limit, _STEP_OUT))


def declared_size(body: bytes) -> int:
    """What a gzip body's last four bytes say that its last member holds (RFC 1952, ISIZE: modulo 2^32)."""
    return int.from_bytes(body[-4:], "little")


def _pieces(body: bytes, limit: int, step: int) -> Iterator[bytes]:
    rest, at, size, n_members = memoryview(body), 0, 0, 0
    while at < len(body):
        n_members += 1
        if n_members > MOST_MEMBERS:
            raise TooLarge(f"the gzip body has more than {MOST_MEMBERS} members; send smaller batches", "body")
        member = zlib.decompressobj(zlib.MAX_WBITS | 16)
        while not member.eof:
            given: bytes | memoryview = member.unconsumed_tail
            if not given:
                given = rest[at : at + _STEP_IN]
                at += len(given)
            piece = _inflated(member, given, step)
            size += len(piece)
            if size > limit:
                raise TooLarge(
                    f"the body is larger than {limit} bytes after decompression; send smaller batches", "body"
                )
            if not piece and not given and not member.eof:
                raise Undecodable("the gzip body is cut short", "body")
            yield piece
        at -= len(member.unused_data)


def _inflated(member: zlib._Decompress, given: bytes | memoryview, step: int) -> bytes:
    try:
        return member.decompress(given, step)
    except zlib.error as error:
        raise Undecodable(f"the gzip body is broken: {error}", "body") from error
