"""Text that is not UTF-8 made UTF-8 inside protobuf messages, field by field; nothing else changes.

Which fields are text is written down per message below; every other field is copied as it is.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from collector.arrow_text import frozen
from collector.wire import LENGTH, field

# message -> {field number: "text" or the message inside}
_SHAPES: Final[dict[str, dict[int, str]]] = {
    "span": {3: "text", 5: "text", 9: "pair", 11: "event", 13: "link", 15: "status"},
    "event": {2: "text", 3: "pair"},
    "link": {3: "text", 4: "pair"},
    "status": {2: "text"},
    "pair": {1: "text", 2: "value"},
    "value": {1: "text", 5: "array", 6: "kvlist"},
    "array": {1: "value"},
    "kvlist": {1: "pair"},
    "resource": {1: "pair"},
    "scope": {1: "text", 2: "text", 3: "pair"},
}


def repaired(raw: bytes, shape: str) -> bytes:
    """The message with every byte sequence that is not UTF-8 replaced by U+FFFD; raw where the framing is broken."""
    buffer = frozen(np.frombuffer(raw, np.uint8))
    out = bytearray()
    pos, end = 0, len(raw)
    inside = _SHAPES[shape]
    while pos < end:
        number, kind, at, length, after = field(buffer, pos, end)
        if after < 0:
            return raw
        meaning = inside.get(number) if kind == LENGTH else None
        if meaning is None:
            out += raw[pos:after]
        else:
            part = raw[at : at + length]
            mended = part.decode("utf-8", "replace").encode() if meaning == "text" else repaired(part, meaning)
            out += varint_bytes(number << 3 | LENGTH) + varint_bytes(len(mended)) + mended
        pos = after
    return bytes(out)


def repaired_request(resource: bytes, scope: bytes, span: bytes) -> bytes:
    """An ExportTraceServiceRequest that holds the one span, repaired, under its resource and scope."""
    return one_span_request(resource, scope, repaired(span, "span"))


def one_span_request(resource: bytes, scope: bytes, span: bytes) -> bytes:
    """An ExportTraceServiceRequest that holds the one span as it is, under its resource and scope."""
    spans = _message(1, scope) + _message(2, span)
    return _message(1, _message(1, resource) + _message(2, spans))


def _message(number: int, content: bytes) -> bytes:
    return varint_bytes(number << 3 | LENGTH) + varint_bytes(len(content)) + content


def varint_bytes(value: int) -> bytes:
    """The varint of a non-negative number."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
