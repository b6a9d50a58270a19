"""Mutants of inputs: protobuf by its fields, JSON by its tokens, gzip by its members, anything by its bytes."""

from __future__ import annotations

import gzip
import random
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from collector.dialects import COST, FAMILIES, FLAG_KEYS, TEXT, TOKENS
from collector.inflate import gunzip
from collector.repair import varint_bytes
from core.errors import AssayError
from tests.fuzz.inputs import MAX_BYTES, Input

Field = tuple[int, int, bytes]  # number, wire type, payload without the length

_KEYS: Final = sorted(
    {key for keys in (*TEXT.values(), *TOKENS.values(), COST) for key in keys}
    | FLAG_KEYS
    | {
        f"{family.prefix}{index}.{rest}"
        for family in FAMILIES
        for index in (0, 1, 9999, 10000)
        for rest in ("message.role", "message.content", "document.content", "prompt.text", "")
    }
)
_TEXTS: Final = [
    *(key.encode() for key in _KEYS),
    b"",
    b"\x00",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xc0\x80",
    b"\xf4\x90\x80\x80",
    b"\xe2\x82",
    "e\u0301\u202e\U0001f98a".encode(),
    b"jane@example.org +1 212 555 0100 4111 1111 1111 1111 sk-" + b"a" * 48,
    b"9" * 400,
    b"1e400",
    b"-0",
    b"NaN",
    b"0x10",
    b'{"input": 1e999, "output": "x", "total": -1}',
    b'{"input":12,"output":3,"total":15,"cost":"0.1"}',
    b'[{"role":"user","content":[{"type":"text","text":1}]},{"message":{"content":null},"finish_reason":1}]',
    b'{"openai":{"cachedPromptTokens":3},"anthropic":{"usage":{"input_tokens":5,"cache_creation":{"a":1}}}}',
    b"[" * 200,
    b"[" * 60 + b"]" * 60,
    b"__proto__",
    b"${jndi:ldap://x}",
    b"2026-01-01T00:00:00Z",
    b"9999-12-31T23:59:59.999999999+23:59",
    b"chat",
    b"LLM",
    b"generation",
]
_NUMBERS: Final = [0, 1, 2, 7, 63, 64, 127, 128, 255, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1, 2**63, 2**64 - 1]
_VARINTS: Final = [b"\x80" * 9 + b"\x01", b"\xff" * 9 + b"\x7f", b"\x80" * 10 + b"\x01", b"\xff" * 11, b"\x80\x00"]
_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|true|false|null|[{}\[\],:]')
_TOKENS: Final = [
    *(b"null", b"true", b"0", b"-1", b"1.5", b"1e400", b"-0.0", b"NaN", b"Infinity", b"-Infinity", b"9" * 5000),
    *(b"9223372036854775807", b"9223372036854775808", b'"9223372036854775808"', b'"-9223372036854775808"', b'"1e3"'),
    *(b'""', b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\u0000"', b'"\\x"', b'"\xff"', b'"\xef\xbb\xbf"', b'"' + b"f" * 32),
    *(b"{}", b"[]", b"[{}]", b"[null]", b"[" * 70 + b"]" * 70, b'{"a":' * 70, b"{", b"}", b"[", b"]", b",", b":", b""),
    *(b'"resource_spans"', b'"scopeSpans"', b'"instrumentationLibrarySpans"', b'"intValue"', b'"stringValue"'),
    *(b'"arrayValue":{"values":', b'"SPAN_KIND_CLIENT"', b'"STATUS_CODE_ERROR"', b'"AAAAAAAAAAAAAAAAAAAAAA=="'),
    *(b'"traceId"', b'"spanId"', b'"parentSpanId"', b'"startTimeUnixNano"', b'"attributes"', b'"key"', b'"value"'),
]


def fields_of(raw: bytes) -> list[Field] | None:
    """The fields of a message; None where it is not one."""
    found: list[Field] = []
    at = 0
    while at < len(raw):
        tag, at = _varint(raw, at)
        number, wire = tag >> 3, tag & 7
        start = at
        match wire:
            case 0:
                _, at = _varint(raw, at)
            case 1:
                at += 8
            case 5:
                at += 4
            case 2:
                size, start = _varint(raw, at)
                at = start + size
            case _:
                return None
        if not 0 < start <= at <= len(raw) or number == 0:
            return None
        found.append((number, wire, raw[start:at]))
    return found


def _unpacked(body: bytes) -> bytes | None:
    try:
        return gunzip(body, MAX_BYTES)
    except AssayError:
        return None


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    for byte in raw[at : at + 10]:
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
    return 0, len(raw) + 1


def written(field: Field) -> bytes:
    """The bytes of a field."""
    number, wire, payload = field
    return varint_bytes(number << 3 | wire) + (varint_bytes(len(payload)) if wire == 2 else b"") + payload


class Mutator:
    """Makes mutants with one source of chance; `pool` gives other inputs to splice from."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.pool: list[Input] = []

    def mutant(self, parent: Input) -> Input:
        """A changed copy, now and then of another encoding than it says."""
        rng = self.rng
        body = _unpacked(parent.body) if parent.is_gzip and rng.random() < 0.7 else None
        was_plain = body is not None or not parent.is_gzip
        body = parent.body if body is None else body
        for _ in range(rng.choice([1, 1, 1, 2, 2, 3, 6])):
            body = (
                (self.json_text(body) if parent.is_json else self.protobuf(body)) if was_plain else self.any_bytes(body)
            )
        child = replace(parent, body=body[:MAX_BYTES], is_gzip=not was_plain)
        if was_plain and rng.random() < 0.06:
            child = replace(child, body=self.gzipped(child.body), is_gzip=True)
        if rng.random() < 0.01:
            child = replace(child, is_json=not child.is_json)
        if rng.random() < 0.01:
            child = replace(child, signal=rng.choice(["traces", "logs", "metrics"]))
        return child

    # -- bytes -----------------------------------------------------------------------------------------------------

    def any_bytes(self, raw: bytes) -> bytes:
        """One edit that knows nothing of the format."""
        rng, at = self.rng, self.rng.randrange(len(raw) + 1)
        match rng.randrange(8):
            case 0 if at < len(raw):
                return raw[:at] + bytes([raw[at] ^ 1 << rng.randrange(8)]) + raw[at + 1 :]
            case 1:
                return raw[:at]
            case 2:
                return raw[:at] + rng.randbytes(rng.randrange(1, 9)) + raw[at:]
            case 3:
                return raw[:at] + raw[at + rng.randrange(1, 17) :]
            case 4:
                return raw[:at] + bytes([rng.choice([0, 1, 0x7F, 0x80, 0xFF])]) + raw[at + 1 :]
            case 5:
                other = self._donor()
                return raw[:at] + other[rng.randrange(len(other) + 1) :]
            case 6:
                return raw[:at] + raw[at : at + 64] * 2 + raw[at + 64 :]
            case _:
                return raw[:at] + rng.choice(_VARINTS) + raw[at + 2 :]

    def _donor(self) -> bytes:
        return self.rng.choice(self.pool).body if self.pool else b"\x0a\x00"

    # -- protobuf --------------------------------------------------------------------------------------------------

    def protobuf(self, raw: bytes, depth: int = 0) -> bytes:
        """One edit of one field, somewhere inside; the messages around it keep a correct length."""
        rng = self.rng
        fields = fields_of(raw) if rng.random() < 0.95 else None
        if not fields:
            return self.any_bytes(raw)
        inner = [i for i, (_, wire, payload) in enumerate(fields) if wire == 2 and payload]
        if inner and depth < 12 and rng.random() < 0.85:
            i = rng.choice(inner)
            number, _, payload = fields[i]
            fields[i] = (number, 2, self.protobuf(payload, depth + 1))
            return b"".join(map(written, fields))
        parts = [written(field) for field in fields]
        i = rng.randrange(len(fields))
        parts[i] = self._edited(fields, i)
        return b"".join(parts)

    def _edited(self, fields: list[Field], i: int) -> bytes:
        rng = self.rng
        number, wire, payload = fields[i]
        operations: list[Callable[[], bytes]] = [
            lambda: b"",
            lambda: written(fields[i]) * rng.choice([2, 3, 20]),
            lambda: written(fields[i]) + written(rng.choice(fields)),
            lambda: written((rng.choice([number + 1, number + 8, 1, 2, 4, 5, 15, 16, 9999, 2**29 - 1]), wire, payload)),
            lambda: varint_bytes(number << 3 | rng.randrange(8)) + payload,
            lambda: written((number, 2, rng.choice(_TEXTS))),
            lambda: written((number, 2, rng.choice(_TEXTS) + rng.choice(_TEXTS))),
            lambda: written((number, 0, varint_bytes(rng.choice(_NUMBERS)))),
            lambda: written((number, 0, rng.choice(_VARINTS))),
            lambda: written((number, 1, rng.choice(_NUMBERS).to_bytes(8, "little"))),
            lambda: written((number, 5, rng.randbytes(4))),
            lambda: varint_bytes(number << 3 | 2) + varint_bytes(rng.choice([*_NUMBERS, len(payload) + 1])) + payload,
            lambda: written((number, 2, rng.randbytes(rng.choice([0, 1, 7, 8, 9, 15, 16, 17, 32])))),
            lambda: written((number, 2, self._nested(rng.choice([3, 40, 64, 65, 130])))),
            lambda: written((number, 2, self._piece())),
        ]
        return rng.choice(operations)()

    def _nested(self, depth: int) -> bytes:
        raw = b"\x0a\x01x"  # an AnyValue with a text
        for level in range(depth):
            array, pair = written((1, 2, raw)), written((1, 2, written((2, 2, raw))))
            raw = written((5, 2, array) if level % 3 else (6, 2, pair))
        return raw

    def _piece(self) -> bytes:
        """A message from inside another input."""
        raw = self._donor()
        for _ in range(self.rng.randrange(1, 6)):
            fields = [f for f in fields_of(raw) or [] if f[1] == 2 and f[2]]
            if not fields:
                break
            raw = self.rng.choice(fields)[2]
        return raw[:2000]

    # -- JSON and gzip ---------------------------------------------------------------------------------------------

    def json_text(self, raw: bytes) -> bytes:
        """One edit of one token."""
        rng = self.rng
        tokens = [match.span() for match in _TOKEN.finditer(raw)] if rng.random() < 0.95 else []
        if not tokens:
            return self.any_bytes(raw)
        (start, end), (other, stop) = rng.choice(tokens), rng.choice(tokens)
        match rng.randrange(6):
            case 0:
                return raw[:start] + raw[end:]
            case 1:
                return raw[:start] + raw[other:stop] + raw[end:]
            case 2:
                return raw[:end] + raw[min(start, other) : max(end, stop)] + raw[end:]
            case 3:
                text = rng.choice(_TEXTS).replace(b"\\", b"\\\\").replace(b'"', b'\\"')
                return raw[:start] + b'"' + text + b'"' + raw[end:]
            case _:
                return raw[:start] + rng.choice(_TOKENS) + raw[end:]

    def gzipped(self, raw: bytes) -> bytes:
        """The body compressed, and what can go wrong with that."""
        rng, packed = self.rng, gzip.compress(raw, 1, mtime=0)
        match rng.randrange(8):
            case 0:
                return packed + gzip.compress(b"", mtime=0)
            case 1:
                return packed[: rng.randrange(len(packed))]
            case 2:
                return packed + rng.randbytes(3)
            case 3:
                return gzip.compress(packed, mtime=0)
            case 4:
                half = len(raw) // 2
                return gzip.compress(raw[:half], mtime=0) + gzip.compress(raw[half:], mtime=0)
            case 5:
                return self.any_bytes(packed)
            case _:
                return packed
