"""Decompression that cannot be made to lose data or to fill memory."""

from __future__ import annotations

import zlib

from core.errors import TooLarge, Undecodable

_STEP = 1 << 20


def gunzip(body: bytes, limit: int) -> bytes:
    """All members of a gzip body.

    Raises TooLarge as soon as more than `limit` bytes come out, Undecodable when the body is no gzip, is cut short,
    fails its checksum, or has anything but another member behind it.
    """
    if body[:2] != b"\x1f\x8b":
        raise Undecodable("Content-Encoding says gzip, but the body is not gzip; send it plain or compress it", "body")
    out = bytearray()
    rest = body
    while rest:
        member = zlib.decompressobj(zlib.MAX_WBITS | 16)
        rest = _member(member, rest, out, limit)
    return bytes(out)


def _member(member: zlib._Decompress, data: bytes, out: bytearray, limit: int) -> bytes:
    try:
        while not member.eof:
            piece = member.decompress(data, _STEP)
            out += piece
            if len(out) > limit:
                raise TooLarge(
                    f"the body is larger than {limit} bytes after decompression; send smaller batches", "body"
                )
            data = member.unconsumed_tail
            if not piece and not data and not member.eof:
                raise Undecodable("the gzip body is cut short", "body")
    except zlib.error as error:
        raise Undecodable(f"the gzip body is broken: {error}", "body") from error
    return member.unused_data
